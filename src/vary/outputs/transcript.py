"""A conversation written down: Markdown, text or JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vary.errors import OutputError

__all__ = ["render_transcript"]

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""A terminal that shows the file would obey them; only JSON, which escapes most, has them."""


def render_transcript(conversation: Mapping[str, Any], path: Path) -> str:
    """The text of a transcript in the format that the ending of `path` names.

    `conversation` is what `Conversation.to_dict` returns.  Raises `OutputError` for another ending.
    """
    formats = {".md": _markdown, ".txt": _text, ".json": _json}
    render = formats.get(path.suffix.lower())
    if render is None:
        raise OutputError(
            f"{path}: a conversation is saved as {', '.join(formats)}, not as '{path.suffix}'; "
            "choose a name with such an ending"
        )
    return render(conversation)


def _json(conversation: Mapping[str, Any]) -> str:
    return json.dumps(conversation, ensure_ascii=False, indent=2) + "\n"


def _text(conversation: Mapping[str, Any]) -> str:
    parts = [_heading(conversation)]
    for turn in conversation["turns"]:
        parts += [f"> {line}" for line in turn["question"].splitlines()]
        parts += [turn["text"].rstrip("\n")]
        parts += [f"[{turn['message']}]"] * bool(turn["message"]) + [""]
    return _CONTROLS.sub("", "\n".join(parts).rstrip("\n") + "\n")


def _markdown(conversation: Mapping[str, Any]) -> str:
    """Questions as headings; answers as they are, since the model may write Markdown itself."""
    parts = [f"# {_heading(conversation).strip()}"]
    for turn in conversation["turns"]:
        parts += ["## " + " ".join(turn["question"].split()), turn["text"].strip("\n")]
        parts += [f"*{turn['message']}*"] * bool(turn["message"])
    return _CONTROLS.sub("", "\n\n".join(part for part in parts if part) + "\n")


def _heading(conversation: Mapping[str, Any]) -> str:
    model = conversation["model"]
    version = f" {model['version']}" if model["version"] else ""
    return f"{conversation['image']}, page {conversation['page']}, with {model['name']}{version}\n"

"""Conversations to token ids by a chat template, with the answers as the very tokens that the model wrote."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import transformers
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from vary.errors import InputError, TaskError

__all__ = ["Message", "plain_text_options", "render_chat"]

Message = Mapping[str, Any]
"""A role, a content, and for an assistant's message that is known to the token its `ids`."""

_FIRST_MARK, _LAST_MARK = 0x100000, 0x10FFFD
"""Private-use characters, one of which stands for the answers while a template is filled in.

The library uses some of the private-use plane before this one in the same way, and drops them from texts.
"""


def render_chat(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    image_tokens: Sequence[int],
    *,
    template: str,
    image_token_id: int,
) -> list[int]:
    """The ids of a conversation up to where the model's next answer begins.

    Text is only text: special tokens that are spelled out in it are encoded letter by letter.

    Args:
        tokenizer: whose special tokens the template writes.
        messages: see `VaryProcessor.chat_ids`.
        image_tokens: how many tokens each image has.
        template: the Jinja text.
        image_token_id: the placeholder that the template writes once for an image.

    Raises:
        TaskError: if the template refuses the messages, for instance because it takes no text.
        InputError: if the messages have more or fewer images than `image_tokens`.
    """
    mark = _unused_character(messages)
    # An image's placeholder that the model wrote itself would be taken for the place of an image.
    messages = [
        message if image_token_id not in message.get("ids", ()) else _plain(message, None)
        for message in messages
    ]
    answers = [list(message["ids"]) for message in messages if "ids" in message]
    ids = _encode(tokenizer, [_plain(message, mark) for message in messages], template)
    filled = _with_answers(ids, answers, tokenizer.encode(mark, add_special_tokens=False))
    if filled is None:  # this tokenizer joins the mark with what stands around it: then the texts must do
        filled = _encode(tokenizer, [_plain(message, None) for message in messages], template)
    return _with_images(filled, image_tokens, image_token_id)


def plain_text_options(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> dict[str, Any]:
    """What `apply_chat_template` is told, so that special tokens spelled out in texts stay text.

    Raises `InputError` where the library cannot be told and a text has such a token: whoever wrote the text
    would write the prompt.
    """
    known = inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters
    if "sanitize_control_tokens" in known:
        return {"sanitize_control_tokens": True}
    spelled = sorted(token for token in tokenizer.get_added_vocab() if any(token in text for text in texts))
    if spelled:
        raise InputError(
            f"the text has {' '.join(spelled)}, which Transformers {transformers.__version__} takes for "
            "special tokens; leave them out, or pip install 'transformers>=5.23'"
        )
    return {}


def _encode(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], template: str) -> list[int]:
    options = plain_text_options(tokenizer, [_text(message["content"]) for message in messages])
    try:
        ids: list[int] = tokenizer.apply_chat_template(
            messages,
            chat_template=template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
            **options,
        )
    except TemplateError as error:
        raise TaskError(str(error)) from error
    return ids


def _plain(message: Message, mark: str | None) -> dict[str, Any]:
    """The message as the template takes it, `mark` in place of an answer that is known to the token."""
    marked = mark is not None and "ids" in message
    return {"role": message["role"], "content": mark if marked else message["content"]}


def _unused_character(messages: Sequence[Message]) -> str:
    """A private-use character that no message contains."""
    used = {char for message in messages for char in _text(message["content"])}
    return next(char for code in range(_FIRST_MARK, _LAST_MARK) if (char := chr(code)) not in used)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _with_images(ids: Sequence[int], counts: Sequence[int], image_token_id: int) -> list[int]:
    """Every placeholder as often as its image has tokens."""
    places = list(ids).count(image_token_id)
    if places != len(counts):
        raise InputError(
            f"the messages have {places} place(s) for images, but {len(counts)} image(s) were given"
        )
    left = iter(counts)
    filled: list[int] = []
    for token in ids:
        filled += [token] * (next(left) if token == image_token_id else 1)
    return filled


def _with_answers(ids: list[int], answers: Sequence[Sequence[int]], mark: Sequence[int]) -> list[int] | None:
    """The ids of every answer in place of the mark that stands for it; None where a mark is not found."""
    filled: list[int] = []
    start = 0
    for answer in answers:
        places = (at for at in range(start, len(ids)) if ids[at : at + len(mark)] == list(mark))
        if (place := next(places, None)) is None:
            return None
        filled += [*ids[start:place], *answer]
        start = place + len(mark)
    return [*filled, *ids[start:]]

"""MindOCR's settings file read, checked key by key and typed; every problem is listed with its line.

Nothing of a model is loaded here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from vary.errors import SettingsError, did_you_mean
from vary.mindocr.keys import DTYPES, KEYS, SECTIONS, Key, Kind

__all__ = ["Settings", "find_path", "parse_settings", "read_settings"]

MAX_BYTES = 2**16
"""No settings file is near that; a larger file is another one."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a settings file says.

    Attributes:
        source: the file.
        checkpoint, vocab_file: as they stand in the file; empty where they are left out.
        context: tokens of prompt and answer at most (`seq_length`).
        max_decode_length, max_new_tokens: see `longest`; the answer alone has `max_new_tokens` at most.
        do_sample, temperature, top_k, top_p, repetition_penalty, num_beams: as in the file.
        stop_ids: tokens that end an answer, besides `<|im_end|>`.
        dtype: the name of a torch type.
        use_past: whether keys and values of earlier tokens are kept.
        expected: the `checked` keys that the file has: value and line.
        notes: what the user should know although nothing is wrong.
    """

    source: Path
    checkpoint: str
    vocab_file: str
    context: int
    max_decode_length: int
    max_new_tokens: int | None
    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    num_beams: int
    stop_ids: tuple[int, ...]
    dtype: str
    use_past: bool
    expected: Mapping[str, tuple[Any, int]]
    notes: tuple[str, ...] = ()

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn; beams exclude that, as in MindOCR."""
        return self.do_sample and self.num_beams == 1

    @property
    def longest(self) -> int:
        """How many tokens prompt and answer may have together, by MindOCR's rule.

        `max_decode_length` counts only without `max_new_tokens`, and `seq_length` always.
        """
        if self.max_new_tokens is None:
            return min(self.context, self.max_decode_length)
        return self.context

    @property
    def longest_key(self) -> str:
        """The key that says so."""
        return "seq_length" if self.longest == self.context else "max_decode_length"


@dataclass(frozen=True, slots=True)
class _Problem:
    line: int
    text: str


def read_settings(path: str | os.PathLike[str]) -> Settings:
    """Reads a settings file.

    Raises:
        SettingsError: if the file is missing, no YAML, or any key or value in it cannot be followed.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(
            f"{os.fspath(path)}: the settings cannot be read ({error.strerror}); give MindOCR's "
            "vary_toy.yaml, or leave out --config_path for the one that vary ships"
        ) from error
    if len(content) > MAX_BYTES:
        raise SettingsError(f"{os.fspath(path)}: more than {MAX_BYTES} bytes; this is no settings file")
    return parse_settings(content, path)


def parse_settings(content: str | bytes, source: str | os.PathLike[str]) -> Settings:
    """The settings in a file's content (UTF-8); `source` names the file.

    Raises:
        SettingsError: as `read_settings`.
    """
    name = os.fspath(source)
    problems: list[_Problem] = []
    try:
        # The loader of `yaml.safe_load`, one step at a time: its nodes know their lines.
        loader = yaml.SafeLoader(content)
        root = loader.get_single_node()
        found = dict(_values(loader, root, problems))
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(_not_yaml(name, error)) from error
    if problems:
        raise SettingsError(_listed(name, problems))
    return _settings(Path(source), found)


def _values(
    loader: yaml.SafeLoader, root: yaml.Node | None, problems: list[_Problem]
) -> Iterator[tuple[str, tuple[Any, int]]]:
    """Each key's dotted name with its value and line; what is wrong is added to `problems`."""
    if not isinstance(root, yaml.MappingNode):
        line = 1 if root is None else root.start_mark.line + 1
        problems.append(_Problem(line, "expected the sections 'model' and 'processor' with their keys"))
        return
    seen: set[str] = set()
    for name, key_node, node in _entries(root, "", problems):
        line = key_node.start_mark.line + 1
        if name in seen:
            problems.append(_Problem(line, f"'{name}' stands here for the second time; keep one"))
            continue
        seen.add(name)
        key = KEYS[name]
        try:
            value = loader.construct_object(node, deep=True)
            if value is not None or not key.empty:
                yield name, (_checked(key, _number(key, node, value)), line)
        except ValueError as error:  # from YAML too: a date that is none
            problems.append(_Problem(line, f"'{name}' is {_shown(node)}, {error}"))
    if not any(name.startswith("model.") for name in seen) and not problems:
        problems.append(_Problem(1, "there is no section 'model' with its keys"))


def _entries(
    section: yaml.MappingNode, prefix: str, problems: list[_Problem]
) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """The known keys of a section and of those within it: dotted name, key, value."""
    for key_node, node in section.value:
        name = f"{prefix}{key_node.value if isinstance(key_node, yaml.ScalarNode) else '?'}"
        line = key_node.start_mark.line + 1
        if name in SECTIONS:
            if isinstance(node, yaml.MappingNode):
                yield from _entries(node, f"{name}.", problems)
            else:
                problems.append(_Problem(line, f"'{name}' is a single value, expected keys below it"))
        elif name in KEYS:
            yield name, key_node, node
        else:
            problems.append(_Problem(line, _unknown(name)))


def _unknown(name: str) -> str:
    """What to say of a key that is not in KEYS."""
    last_parts = {known.rpartition(".")[2]: known for known in (*KEYS, *SECTIONS)}
    last = name.rpartition(".")[2]
    if last in last_parts:
        return f"unknown key '{name}'; it belongs at '{last_parts[last]}'"
    hint = did_you_mean(name, (*KEYS, *SECTIONS)) or did_you_mean(last, last_parts)
    return f"unknown key '{name}'{hint or '; no file of MindOCR for Vary-toy has it, take it out'}"


def _number(key: Key, node: yaml.Node, value: Any) -> Any:
    """A number where YAML reads text: 1e-6, which for it lacks a dot; what is in quotes stays text."""
    plain = isinstance(node, yaml.ScalarNode) and not node.style
    if key.kind == "number" and isinstance(value, str) and plain:
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _checked(key: Key, value: Any) -> Any:
    """The value as the key's kind; raises ValueError with what was expected."""
    value = _AS_KIND[key.kind](value)
    for number in value if isinstance(value, tuple) else (value,):
        _check_bounds(key, number)
    if key.only and value not in key.only:
        raise ValueError(f"expected {' or '.join(map(str, key.only))}: {key.what}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected text")
    return value


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected True or False, without quotes")
    return value


def _type(value: Any) -> str:
    if value not in DTYPES:
        raise ValueError(f"expected one of {', '.join(DTYPES)}")
    return str(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("expected a whole number, without quotes")
    return value


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("expected a number, without quotes")
    return float(value)


def _ids(value: Any) -> tuple[int, ...]:
    ids = tuple(_whole(token) for token in (value if isinstance(value, list) else [value]))
    if not ids:
        raise ValueError("expected at least one token id")
    return ids


_AS_KIND: Mapping[Kind, Callable[[Any], Any]] = MappingProxyType(
    {"text": _text, "yes or no": _yes_or_no, "type": _type, "whole": _whole, "number": _real, "ids": _ids}
)


def _check_bounds(key: Key, value: Any) -> None:
    bounds = []
    if key.least is not None:
        bounds.append((value >= key.least, f"at least {key.least:g}"))
    if key.above is not None:
        bounds.append((value > key.above, f"more than {key.above:g}"))
    if key.most is not None:
        bounds.append((value <= key.most, f"at most {key.most:g}"))
    if not all(holds for holds, _ in bounds):
        raise ValueError(f"expected {' and '.join(text for _, text in bounds)}")


def _shown(node: yaml.Node) -> str:
    """A value as it stands in the file, as far as that is short."""
    if not isinstance(node, yaml.ScalarNode):
        return "a list" if isinstance(node, yaml.SequenceNode) else "a group of keys"
    text = f'"{node.value}"' if node.style else str(node.value)
    return (text if len(text) <= 60 else f"{text[:57]}...") or "empty"


def _not_yaml(name: str, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"{name}, line {mark.line + 1}" if mark is not None else name
    return f"{place}: not YAML that can be read ({getattr(error, 'problem', None) or error})"


def _listed(name: str, problems: list[_Problem]) -> str:
    if len(problems) == 1:
        return f"{name}, line {problems[0].line}: {problems[0].text}"
    lines = [f"  line {problem.line}: {problem.text}" for problem in sorted(problems, key=lambda p: p.line)]
    return "\n".join([f"{name}: {len(problems)} problems", *lines])


def _settings(source: Path, found: Mapping[str, tuple[Any, int]]) -> Settings:
    def get(name: str) -> Any:
        """The value in the file, or what MindOCR takes without it."""
        return found[name][0] if name in found else KEYS[name].default

    return Settings(
        source=source,
        checkpoint=get("model.checkpoint_name_or_path"),
        vocab_file=get("processor.tokenizer.vocab_file"),
        context=get("model.seq_length"),
        max_decode_length=get("model.max_decode_length"),
        max_new_tokens=get("model.max_new_tokens"),
        do_sample=get("model.do_sample"),
        temperature=get("model.temperature"),
        top_k=get("model.top_k"),
        top_p=get("model.top_p"),
        repetition_penalty=get("model.repetition_penalty"),
        num_beams=get("model.num_beams"),
        stop_ids=get("model.eos_token_id"),
        dtype=get("model.compute_dtype"),
        use_past=get("model.use_past"),
        expected=MappingProxyType({name: f for name, f in found.items() if KEYS[name].outcome == "checked"}),
        notes=tuple(_notes(get)),
    )


def _notes(get: Any) -> Iterator[str]:
    if get("model.num_beams") > 1 and get("model.do_sample"):
        yield "num_beams is above 1, so nothing is drawn: do_sample, top_k, top_p, temperature have no effect"
    if get("model.batch_size") > 1:
        yield f"batch_size is {get('model.batch_size')}: images are answered one after another all the same"
    if not get("model.use_past"):
        yield "use_past is False: the same answer, but the whole text is computed again for every token"


def find_path(text: str, source: Path) -> Path | None:
    """What a path in a settings file stands for: absolute, else in the current folder, else beside the file.

    MindOCR knows only the first two.  Returns None where nothing is there.
    """
    path = Path(os.path.expanduser(text))
    places = [path] if path.is_absolute() else [path, source.parent / path]
    return next((place for place in places if place.exists()), None)

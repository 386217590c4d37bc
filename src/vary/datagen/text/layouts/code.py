"""Lines of made-up programs and settings, for listings."""

from __future__ import annotations

from collections.abc import Callable

from vary.datagen.text.layouts.draft import Draft

__all__ = ["code_lines"]

_TYPES = ("int", "float", "str", "bool", "bytes", "list[int]")


def code_lines(draft: Draft, width: int) -> list[str]:
    """The lines of one listing, blank ones too, none longer than `width` characters."""
    maker = _MAKERS[draft.below(len(_MAKERS))]
    lines: list[str] = []
    wanted = 4 + draft.below(16)
    while len(lines) < wanted:
        if lines and draft.chance(0.6):
            lines.append("")
        lines += maker(draft)
    while lines and not lines[-1]:
        lines.pop()
    return [line for line in lines if len(line) <= width] or ["pass"]


def _name(draft: Draft) -> str:
    """An identifier made of one or two words."""
    words = [draft.authors[0].word() for _ in range(1 + draft.below(2))]
    words = [
        word.lower() if word.isascii() else ("value", "items", "page", "count")[draft.below(4)]
        for word in words
    ]
    return "_".join(words)


def _comment(draft: Draft) -> str:
    return draft.author.title(6)


def _python(draft: Draft) -> list[str]:
    function, first, second = _name(draft), _name(draft), _name(draft)
    kind = _TYPES[draft.below(len(_TYPES))]
    lines = [f"def {function}({first}, {second}=None) -> {kind}:"]
    if draft.chance(0.6):
        lines.append(f'    """{_comment(draft)}."""')
    if draft.chance(0.5):
        lines.append(f"    # {_comment(draft)}")
    lines += [f"    if not {first}:", f'        raise ValueError(f"no {first}: {{{first}!r}}")']
    if draft.chance(0.5):
        lines += [
            f"    for i, item in enumerate({first}):",
            f"        {second}[i] += item * {draft.below(99)}",
        ]
    return [*lines, f"    return {second}.{_name(draft)}({first}[{draft.below(9)}:])"]


def _c(draft: Draft) -> list[str]:
    name, count = _name(draft), _name(draft)
    lines = [f"/* {_comment(draft)} */"] if draft.chance(0.5) else []
    lines += [
        f"static int {name}(const char *s, size_t {count})",
        "{",
        f"    for (size_t i = 0; i < {count}; ++i) {{",
        f"        if (s[i] == '{chr(97 + draft.below(26))}' || s[i] >= 0x{draft.below(255):02X})",
        f"            return -{draft.below(9)};",
        "    }",
        f"    return {count} != 0 ? {draft.below(100)} : {_name(draft).upper()};",
        "}",
    ]
    return lines


def _json(draft: Draft) -> list[str]:
    lines = ["{"]
    for _ in range(2 + draft.below(3)):
        value = ("true", "null", str(draft.below(9999)), f'"{_name(draft)}"', "[1, 2, 3]")[draft.below(5)]
        lines.append(f'  "{_name(draft)}": {value},')
    return [*lines, f'  "{_name(draft)}": {{"{_name(draft)}": {draft.below(100)}.5}}', "}"]


def _shell(draft: Draft) -> list[str]:
    name = _name(draft)
    lines = [
        f"$ {name} --{_name(draft).replace('_', '-')}={draft.below(100)} -o {_name(draft)}.txt",
        f"$ grep -rn '{_name(draft)}' src | sort -u > {name}.log && echo $?",
        f"{name}: error: {_name(draft)} not found (code {draft.below(128)})",
        f"$ export {name.upper()}=/{_name(draft)}/{_name(draft)}:$PATH  # {_comment(draft)}",
        f"{draft.below(1 << 20)}  {_name(draft)}.py  {draft.below(100)}%",
    ]
    return [line for line in lines if draft.chance(0.7)] or lines[:1]


def _sql(draft: Draft) -> list[str]:
    table = _name(draft)
    lines = [f"-- {_comment(draft)}"] if draft.chance(0.4) else []
    lines += [
        f"SELECT {_name(draft)}, COUNT(*) AS n",
        f"FROM {table} t JOIN {_name(draft)} u ON t.id = u.{table}_id",
        f"WHERE u.{_name(draft)} >= {draft.below(5000)} AND t.{_name(draft)} LIKE '%{_name(draft)}%'",
        f"GROUP BY 1 ORDER BY n DESC LIMIT {1 + draft.below(100)};",
    ]
    return lines


def _settings(draft: Draft) -> list[str]:
    lines = [f"[{_name(draft)}]"]
    lines += [
        f"{_name(draft)} = {('true', 'off', str(draft.below(65536)), '0.0.0.0:80')[draft.below(4)]}"
        for _ in range(2 + draft.below(4))
    ]
    if draft.chance(0.5):
        lines.append(f"; {_comment(draft)}")
    return lines


_MAKERS: tuple[Callable[[Draft], list[str]], ...] = (_python, _python, _c, _json, _shell, _sql, _settings)

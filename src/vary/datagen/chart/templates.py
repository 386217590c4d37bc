"""Templates of charts with related content: topics with their categories, series, units and ranges.

`templates.json` holds `lists` (by language: ordered and unordered categories, names for the titles) and
`templates`, each with `id`, `language`, `shape` (of `content.SHAPES`), `titles` with `{year}`, `{city}` and
the like in them, `categories` (words or the name of a list, `years` for a run of years), `series`, `value`
and `unit` (the axis' name), `range` and `trend` of plausible values and their `decimals`; `across` is the
other axis of pairs and distributions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from types import MappingProxyType

__all__ = ["Lists", "Template", "all_templates", "category_lists", "template_words"]


@dataclass(frozen=True, slots=True)
class Template:
    """A topic; the fields are those of `templates.json`."""

    name: str
    language: str
    shape: str
    titles: tuple[str, ...]
    categories: str | tuple[str, ...]
    series: tuple[str, ...]
    value: str
    unit: str
    low: float
    high: float
    decimals: int
    trend: str
    across: tuple[str, float, float] | None


@dataclass(frozen=True, slots=True)
class Lists:
    """What templates of one language share: lists of categories, names for titles, how a year is written."""

    ordered: Mapping[str, tuple[str, ...]]
    unordered: Mapping[str, tuple[str, ...]]
    names: Mapping[str, tuple[str, ...]]
    year: str
    year_category: str


@lru_cache(maxsize=1)
def _file() -> dict[str, object]:
    text = resources.files("vary.datagen.chart").joinpath("templates.json").read_text(encoding="utf-8")
    content: dict[str, object] = json.loads(text)
    return content


@lru_cache(maxsize=1)
def all_templates() -> tuple[Template, ...]:
    """Every template, in the order of the file."""
    entries = _file()["templates"]
    assert isinstance(entries, list)
    return tuple(_template(entry) for entry in entries)


def _template(entry: dict[str, object]) -> Template:
    fields = MappingProxyType(entry)
    categories, across, span = fields.get("categories", ()), fields.get("across"), fields["range"]
    titles, series, decimals = fields["titles"], fields.get("series", []), fields["decimals"]
    assert isinstance(span, list)
    assert isinstance(titles, list)
    assert isinstance(series, list)
    assert isinstance(decimals, int)
    other = None
    if isinstance(across, dict):
        other = (str(across["name"]), float(across["range"][0]), float(across["range"][1]))
    return Template(
        name=str(fields["id"]),
        language=str(fields["language"]),
        shape=str(fields["shape"]),
        titles=tuple(titles),
        categories=categories if isinstance(categories, str) else tuple(_words(categories)),
        series=tuple(series),
        value=str(fields["value"]),
        unit=str(fields["unit"]),
        low=float(span[0]),
        high=float(span[1]),
        decimals=decimals,
        trend=str(fields["trend"]),
        across=other,
    )


def _words(value: object) -> list[str]:
    assert isinstance(value, list | tuple)
    return [str(word) for word in value]


@lru_cache(maxsize=4)
def category_lists(language: str) -> Lists:
    """The lists of a language."""
    lists = _file()["lists"]
    assert isinstance(lists, dict)
    entry = lists[language]
    plain = {
        part: MappingProxyType({name: tuple(words) for name, words in entry[part].items()})
        for part in ("ordered", "unordered", "names")
    }
    return Lists(plain["ordered"], plain["unordered"], plain["names"], entry["year"], entry["years"])


@lru_cache(maxsize=4)
def template_words(language: str) -> tuple[str, ...]:
    """All categories, series and axis names of a language's templates: words for random content."""
    lists = category_lists(language)
    words: dict[str, None] = {}
    for template in all_templates():
        if template.language == language:
            categories = () if isinstance(template.categories, str) else template.categories
            words.update(dict.fromkeys((*categories, *template.series, template.value)))
    for group in (*lists.ordered.values(), *lists.unordered.values(), *lists.names.values()):
        words.update(dict.fromkeys(group))
    return tuple(word for word in words if word and "{" not in word)

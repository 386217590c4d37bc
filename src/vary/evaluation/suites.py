"""What a reader is measured on: folders of page images with their exact text.

A suite is a folder with `pages.json`, a list of `{"image", "lang", "kind", "text"}`: the image's name inside
the folder, its language code, the kind of page, and the text that stands on it.  Other keys are ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vary.errors import DataError

__all__ = ["INDEX_NAME", "SuitePage", "load_suite"]

INDEX_NAME = "pages.json"
_KEYS = ("image", "lang", "kind", "text")


@dataclass(frozen=True, slots=True)
class SuitePage:
    """One page of a suite: where its image is, which group it counts in, and its exact text."""

    image: Path
    language: str
    kind: str
    text: str

    @property
    def stem(self) -> str:
        """The image's name without its ending: the name of its prediction, STEM.txt."""
        return self.image.stem

    @property
    def groups(self) -> tuple[str, str]:
        """The groups that this page counts in: its language, and its language with its kind."""
        return self.language, f"{self.language} {self.kind}"


def load_suite(folder: Path) -> list[SuitePage]:
    """The pages of a suite in the order of its index; the images need not be there, for scoring alone.

    Raises DataError, naming the file and the entry, for a folder that is no suite.
    """
    index = folder / INDEX_NAME
    try:
        entries = json.loads(index.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{index}: cannot be read ({error.strerror}); a suite needs this file") from error
    except ValueError as error:
        raise DataError(f"{index}: is not JSON in UTF-8 ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{index}: expected a list of at least one page, found {type(entries).__name__}")
    pages = [_page(entry, folder, f"{index}: entry {number}") for number, entry in enumerate(entries)]
    seen: dict[str, Path] = {}
    for page in pages:
        if page.stem in seen:
            raise DataError(
                f"{index}: {seen[page.stem].name} and {page.image.name} share the stem {page.stem!r}, so "
                "their predictions would share a file; rename one"
            )
        seen[page.stem] = page.image
    return pages


def _page(entry: Any, folder: Path, where: str) -> SuitePage:
    """One entry of the index, checked: every key there and a string, the image inside the folder."""
    if not isinstance(entry, dict):
        raise DataError(f"{where}: expected an object with {', '.join(_KEYS)}, found {type(entry).__name__}")
    for key in _KEYS:
        if not isinstance(entry.get(key), str):
            raise DataError(f"{where}: {key!r} must be a string, found {entry.get(key)!r}")
    name = Path(entry["image"])
    if name.is_absolute() or ".." in name.parts or not name.stem:
        raise DataError(f"{where}: image {entry['image']!r} must be a name inside the folder")
    return SuitePage(folder / name, entry["lang"], entry["kind"], entry["text"])

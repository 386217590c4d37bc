"""The `vary` command with a reader that needs no model: what it does, it does by the file's name.

`python fake_vary.py ARGUMENTS` runs it as a process; `install(monkeypatch)` puts the reader into this one.
"""

from __future__ import annotations

import functools
import sys
import time
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from vary.cli.main import main
from vary.errors import CheckpointError, DeviceError, InputError, TaskError
from vary.outputs.document import Block, Document, Line, Page, PageStatus, Provenance


class FakeReader:
    """Two pages of text for a .pdf, one for the rest; a name that begins with a status or a fault has it."""

    loaded: ClassVar[list[tuple[Any, str]]] = []
    calls: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    tasks = ("ocr", "detect", "chart")
    notes: tuple[str, ...] = ()

    @classmethod
    def load(
        cls, checkpoint: Any = None, *, device: str = "auto", dtype: Any = None, **options: Any
    ) -> FakeReader:
        if device == "xpu":
            raise DeviceError("device 'xpu' was asked for and is not available here")
        if checkpoint is not None and not Path(checkpoint).is_dir():
            raise CheckpointError(f"{checkpoint}: is no folder")
        cls.loaded.append((checkpoint, device))
        return cls()

    def read(self, source: Path, *, progress: Any = None, **options: Any) -> Document:
        self.calls.append((source.name, options))
        if options.get("task") == "dance":
            raise TaskError("the checkpoint does not know the task 'dance'; it knows ocr")
        if not source.exists():
            raise InputError(f"{source}: no such file")
        name = source.stem.split("-")[0]
        if name == "broken":
            raise InputError(f"{source}: is not an image")
        if name == "interrupt":
            raise KeyboardInterrupt
        if name == "slow":
            sys.stderr.write("reading\n")
            sys.stderr.flush()
            time.sleep(60)
        status = PageStatus(name) if name in list(PageStatus) else PageStatus.OK
        pages = [
            self._page(source, number, status) for number in range(1, 3 if source.suffix == ".pdf" else 2)
        ]
        for number in range(len(pages)):
            if progress is not None:
                progress(number + 1, len(pages))
        return Document(str(source), tuple(pages), Provenance(name="fake"))

    def read_many(
        self, sources: Iterable[Path], *, progress: Any = None, **options: Any
    ) -> Iterator[Document | InputError]:
        for number, source in enumerate(sources):
            if progress is not None:
                progress(number, 0, None)
            told = None if progress is None else functools.partial(progress, number)
            try:
                yield self.read(source, progress=told, **options)
            except InputError as error:
                yield error

    def _page(self, source: Path, number: int, status: PageStatus) -> Page:
        text = "" if status in (PageStatus.BLANK, PageStatus.FAILED) else f"文 of {source.name} {number}"
        blocks = (
            (Block((Line(text), Line("x" * 5000))),)
            if source.stem.startswith("long")
            else (Block((Line(text),)),)
        )
        message = f"{source}: page {number}: is odd" if status is PageStatus.FAILED else ""
        return Page(number, 10, 10, str(source), status, message, blocks)


def _module() -> types.ModuleType:
    module = types.ModuleType("vary.reader")
    module.Reader = FakeReader
    return module


def install(monkeypatch: pytest.MonkeyPatch) -> type[FakeReader]:
    """Make `vary.reader` the fake one, with empty records."""
    monkeypatch.setitem(sys.modules, "vary.reader", _module())
    monkeypatch.setattr(FakeReader, "loaded", [])
    monkeypatch.setattr(FakeReader, "calls", [])
    return FakeReader


if __name__ == "__main__":
    sys.modules["vary.reader"] = _module()
    sys.exit(main())

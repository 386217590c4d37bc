"""How many samples a second one core makes, engine by engine, pictures encoded as they go into shards.

python benchmarks/synth.py --corpus en.train.txt.xz zh.train.txt.xz --languages en,zh --pdf FOLDER
python benchmarks/synth.py lines --corpus en.train.txt.xz
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from vary.datagen.sample import Engine
from vary.datagen.shards.records import encode_sample
from vary.errors import VaryError

LINES, PAGES = 250.0, 8.0
"""What is aimed at, samples a second and core."""


class Row(NamedTuple):
    """An engine to measure: its classes by name, and the fields of its configuration."""

    module: str
    engine: str
    config: str
    fields: Callable[[argparse.Namespace], dict[str, Any] | None]
    unit: str = "pages"
    target: float = PAGES


def _texts(args: argparse.Namespace) -> dict[str, Any] | None:
    return {"corpus": tuple(args.corpus), "languages": args.languages} if args.corpus else None


# One row an engine; one without what it needs (a corpus, PDF files, a program) is named and passed over.
ENGINES = {
    "lines": Row("lines.engine", "LineEngine", "LineEngineConfig", _texts, "lines", LINES),
    "text": Row("text", "TextEngine", "TextEngineConfig", _texts),
    "pdf": Row(
        "pdf", "PdfEngine", "PdfConfig", lambda args: {"files": tuple(args.pdf)} if args.pdf else None
    ),
    "formula": Row("formula", "FormulaEngine", "FormulaEngineConfig", _texts),
    "chart": Row("chart", "ChartEngine", "ChartConfig", lambda args: {"languages": args.languages}),
    "scene": Row("scene", "SceneEngine", "SceneConfig", lambda args: {"languages": args.languages}),
}


def main() -> None:
    """Measure the engines that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"some of {', '.join(ENGINES)}")
    parser.add_argument("--corpus", nargs="+", default=[], metavar="FILE")
    parser.add_argument("--languages", default="en", type=lambda text: tuple(text.split(",")))
    parser.add_argument("--pdf", nargs="+", default=[], metavar="PATH")
    parser.add_argument("--seconds", type=float, default=20.0, help="to spend on each engine (default: 20)")
    args = parser.parse_args()
    if unknown := set(args.engines) - set(ENGINES):
        parser.error(f"no engine {', '.join(sorted(unknown))}; there are {', '.join(ENGINES)}")
    cv2.setNumThreads(1)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    for name in args.engines or ENGINES:
        row = ENGINES[name]
        fields = row.fields(args)
        if fields is None:
            print(
                f"{name}: not measured; give --pdf"
                if name == "pdf"
                else f"{name}: not measured; give --corpus"
            )
            continue
        try:
            began = time.perf_counter()
            room = import_module(f"vary.datagen.{row.module}")
            engine = getattr(room, row.engine)(getattr(room, row.config)(**fields))
            measure(engine, name, row, time.perf_counter() - began, args.seconds)
        except (VaryError, ModuleNotFoundError) as error:
            print(f"{name}: not measured, {error}")


def measure(engine: Engine, name: str, row: Row, started: float, seconds: float) -> None:
    """Draw indices for so many seconds of the clock and print what came of them."""
    engine.draw(0)  # what is loaded once
    samples, size, dropped = 0, 0, Counter[str]()
    clock, processor = time.perf_counter(), processor_seconds()
    index = 1
    while time.perf_counter() - clock < seconds and (engine.length is None or index < engine.length):
        draw = engine.draw(index)
        for sample in draw.samples:
            samples += sample.image is not None
            size += sum(len(data) for _, data in encode_sample(sample, getattr(engine, "jpeg_quality", None)))
        dropped += draw.dropped
        index += 1
    clock, processor = time.perf_counter() - clock, processor_seconds() - processor
    print(
        f"{name}: {samples / processor:.1f} {row.unit} a second and core (aim: {row.target:g}), "
        f"{samples / clock:.1f} by the clock; {samples} of {index - 1} indices, "
        f"{size / max(samples, 1) / 1024:.0f} KiB each, {sum(dropped.values())} left out; "
        f"started in {started:.1f} s"
    )


def processor_seconds() -> float:
    """Processor time of this process and of all it started: renderers, browsers, typesetters."""
    own = os.times()
    seconds = own.user + own.system + own.children_user + own.children_system
    if not Path("/proc/self/stat").exists():
        return seconds
    parents, times = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            parents[int(entry.name)] = int(fields[1])
            times[int(entry.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    for process in times:
        ancestor = parents[process]
        while ancestor in parents and ancestor != os.getpid():
            ancestor = parents[ancestor]
        seconds += times[process] if ancestor == os.getpid() else 0.0
    return seconds


if __name__ == "__main__":
    main()

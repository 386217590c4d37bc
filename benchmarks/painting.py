"""How many training lines a second one core paints, cuts and labels.

python benchmarks/painting.py --corpus FILE...
"""

from __future__ import annotations

import argparse
import platform
import time
from collections import Counter

import cv2

from vary.datagen.lines.engine import LineEngine, LineEngineConfig


def main() -> None:
    """Paint pages on one core and print lines a second, and what was dropped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", nargs="+", required=True)
    parser.add_argument("--languages", default="en")
    parser.add_argument("--pages", type=int, default=200)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    began = time.perf_counter()
    config = LineEngineConfig(corpus=tuple(args.corpus), languages=tuple(args.languages.split(",")))
    engine = LineEngine(config)
    engine.page(0)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"started in {time.perf_counter() - began:.1f} s: {len(engine.fonts.families)} font families")
    dropped: Counter[str] = Counter()
    samples = painted = 0
    clock, processor = time.perf_counter(), time.process_time()
    for index in range(1, args.pages + 1):
        page = engine.page_samples(index)
        samples, painted = samples + len(page.samples), painted + page.painted
        dropped += page.dropped
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    print(f"{samples} of {painted} painted lines kept ({1 - samples / painted:.1%} dropped): {dict(dropped)}")
    print(f"{samples / processor:.0f} lines a second and core, {samples / clock:.0f} by the clock")


if __name__ == "__main__":
    main()

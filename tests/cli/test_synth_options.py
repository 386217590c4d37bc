"""The options of `vary synth`'s engines and the fields of their configurations are the same facts."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from vary.cli.main import build_parser
from vary.cli.synth.running import configured
from vary.datagen.chart import ChartConfig
from vary.datagen.formula import FormulaEngineConfig
from vary.datagen.lines.engine import LineEngineConfig
from vary.datagen.pdf.config import PdfConfig
from vary.datagen.scene import SceneConfig
from vary.datagen.text import TextEngineConfig

OF_THE_RUN = {"command", "engine", "out", "samples", "samples_per_shard", "workers", "ray"}
CORPUS = ["--corpus", "a.txt"], {"corpus": ("a.txt",)}
ENGINES: dict[str, tuple[type[Any], tuple[list[str], dict[str, Any]]]] = {
    "lines": (LineEngineConfig, CORPUS),
    "text": (TextEngineConfig, CORPUS),
    "pdf": (PdfConfig, (["a.pdf"], {"files": ("a.pdf",)})),
    "formula": (FormulaEngineConfig, CORPUS),
    "chart": (ChartConfig, ([], {})),
    "scene": (SceneConfig, ([], {})),
}
"""The configurations, what must be given, and the fields that say so."""


@pytest.mark.parametrize("name", ENGINES)
def test_options_are_fields_with_the_same_defaults(name: str) -> None:
    config, (needed, given) = ENGINES[name]
    args = build_parser().parse_args(["synth", name, *needed, "--out", "o", "--samples", "1"])
    known = {field.name for field in fields(config)}
    idle = vars(args).keys() - known - OF_THE_RUN
    assert not idle, f"options that set no field of {config.__name__}: {idle}"
    assert configured(config, args) == config(**given)


def test_options_reach_their_fields() -> None:
    options = ["--kinds", "bar, pie", "--font-dir", "x", "--font-dir", "y", "--split-name", "test"]
    options += ["--clean-share", "0", "--corpus", "a", "b", "--exclude-fonts", "A*,B"]
    args = build_parser().parse_args(["synth", "chart", "--out", "o", "--samples", "1", *options])
    assert configured(ChartConfig, args) == ChartConfig(
        kinds=("bar", "pie"),
        font_folders=("x", "y"),
        split="test",
        clean_share=0.0,
        corpus=("a", "b"),
        exclude_fonts=("A*", "B"),
    )

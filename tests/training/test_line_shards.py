"""Stored lines that cannot be learned from are counted and named; painted ones are counted."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stored_lines import Stored
from vary.assets import nano_vocabulary
from vary.datagen.shards import write_shards
from vary.errors import TrainingError
from vary.model.modeling import VaryForConditionalGeneration
from vary.training.data.batches import BadSample
from vary.training.data.line_sources import Line, ShardLines
from vary.training.data.lines import PoolLoader, Stage, line_format, make_batches
from vary.training.recipes.lines import LinesRecipe, train_lines

GRAY = np.full((32, 64), 255, np.uint8)
FLAWED: dict[str, tuple[np.ndarray | None, str, str]] = {
    "no image": (None, "abc", "there is no image"),
    "page": (np.full((40, 30, 3), 255, np.uint8), "abc", "an image of 40 x 30 x 3; expected a gray line"),
    "wide": (np.full((32, 500), 255, np.uint8), "abc", r"500 pixels wide; expected 1 to 400 \(max_width\)"),
    "beyond": (GRAY, "a漢", "'漢' is beyond the first 512 ids"),
    "crowded": (GRAY, "abcdefghijklmnopqrs", "19 characters, which need 19 frames, and the image has 16"),
    "long": (GRAY, "x" * 30, "30 characters; the longest stage has 20"),
}


def stored(folder: Path, *flaws: str, good: int = 200) -> Path:
    lines: list[tuple[np.ndarray | None, str]] = [(GRAY, f"n {n}") for n in range(good)]
    write_shards(Stored(lines + [FLAWED[flaw][:2] for flaw in flaws]), folder, samples_per_shard=1000)
    return folder


def recipe_for(folder: Path, start: Path, **changes: object) -> LinesRecipe:
    settings = replace(
        LinesRecipe().settings,
        steps=8,
        precision="no",
        workers=0,
        log_every=1,
        save_every=0,
        evaluate_every=0,
        tensorboard=False,
        **changes,
    )
    stages = (Stage(1.0, 20),)
    return LinesRecipe(
        init_from=start, shards=(folder,), batch_pixels=1600, max_width=400, stages=stages, settings=settings
    )


@pytest.mark.parametrize("flaw", FLAWED)
def test_a_stored_line_that_cannot_be_used_is_named_with_its_reason(
    flaw: str, tiny_nano: VaryForConditionalGeneration, tmp_path: Path
) -> None:
    source = ShardLines((stored(tmp_path / "lines", flaw, good=3),), longest=20)
    form = line_format(tiny_nano, nano_vocabulary())
    loader = PoolLoader(source, form, batch_pixels=64, max_width=400, seed=0, max_chars=20)
    pool = loader[0]
    [bad] = pool.bad
    assert bad.name.startswith("lines/")
    assert ".tar, " in bad.name
    assert re.search(FLAWED[flaw][2], bad.reason)
    assert [sample for batch in pool.batches for sample in batch.bad] == [bad]
    assert pool.left_out == 0
    assert sum(batch.counts["samples"] for batch in pool.batches) == 3


def test_an_early_stage_has_no_bad_samples_of_later_ones(
    tiny_nano: VaryForConditionalGeneration, tmp_path: Path
) -> None:
    """Else few short lines would stand beside the flaws of all: more than 1 % of them."""
    source = ShardLines((stored(tmp_path / "lines", "long", "crowded", good=3),), longest=20)
    form = line_format(tiny_nano, nano_vocabulary())
    loader = PoolLoader(source, form, batch_pixels=64, max_width=400, seed=0, max_chars=9)
    assert loader[0].bad == ()


def test_bad_samples_are_nowhere_more_than_their_share(tiny_nano: VaryForConditionalGeneration) -> None:
    form = line_format(tiny_nano, nano_vocabulary())
    samples = [Line(GRAY, f"n {n}", f"{n}") for n in range(495)]
    bad = [BadSample(f"b{n}", "broken") for n in range(5)]
    pool = make_batches(
        [*samples, *bad],
        form,
        batch_pixels=1000,
        max_width=400,
        rng=np.random.default_rng(0),
        name="pool",
    )
    seen = found = 0
    for batch in pool.batches:
        seen, found = seen + batch.counts["samples"], found + len(batch.bad)
        assert found / (found + seen) <= 0.01
    assert [b for batch in pool.batches for b in batch.bad] == bad


def test_bad_lines_are_in_the_log_and_in_a_file(tiny_nano_folder: Path, tmp_path: Path) -> None:
    folder = stored(tmp_path / "lines", "beyond", "no image")
    train_lines(recipe_for(folder, tiny_nano_folder), tmp_path / "run", nano_vocabulary(), cpu=True)
    with (tmp_path / "run" / "log.csv").open(encoding="utf-8", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert int(last["samples"]) == 200
    assert last["bad_samples"] == "2"
    assert last["left_out"] == "0"
    with (tmp_path / "run" / "bad_samples.csv").open(encoding="utf-8", newline="") as file:
        bad = list(csv.DictReader(file))
    assert {row["reason"].split(" is ")[0] for row in bad} == {"'漢'", "there"}
    assert all(row["sample"].startswith("lines/") for row in bad)


def test_too_many_bad_lines_stop_the_run(tiny_nano_folder: Path, tmp_path: Path) -> None:
    folder = stored(tmp_path / "lines", *["beyond"] * 6)
    with pytest.raises(TrainingError, match=r"samples cannot be learned from, such as lines/.*tar, "):
        train_lines(recipe_for(folder, tiny_nano_folder), tmp_path / "run", nano_vocabulary(), cpu=True)
    allowed = recipe_for(folder, tiny_nano_folder, max_bad_share=0.05)
    train_lines(allowed, tmp_path / "allowed", nano_vocabulary(), cpu=True)

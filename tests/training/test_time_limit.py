"""A run by the clock ends when its time is over; its rate and curriculum have come to their end with it."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vary.assets import nano_vocabulary
from vary.datagen.lines.engine import LineEngineConfig
from vary.errors import TrainingError
from vary.model.modeling import VaryForConditionalGeneration
from vary.training.checkpoints import Position, latest_checkpoint
from vary.training.data.line_sources import PaintedLines
from vary.training.data.lines import Stage, line_format
from vary.training.recipes.lines import LinesRecipe, stage_batches, train_lines
from vary.training.settings import CLOCK_WARMUP, Clock, RunSettings, learning_rate

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
ENDLESS = 1_000_000


@pytest.fixture
def recipe(tiny_nano_folder: Path, tmp_path: Path) -> LinesRecipe:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the cat sat on the mat\nand ran away from a dog\n" * 4, encoding="utf-8")
    paint = LineEngineConfig(corpus=(str(corpus),), font_folders=(str(FONTS),), lines_per_page=(3, 4))
    settings = replace(
        LinesRecipe().settings,
        steps=ENDLESS,
        precision="no",
        workers=0,
        log_every=1,
        save_every=0,
        evaluate_every=0,
        tensorboard=False,
    )
    return LinesRecipe(init_from=tiny_nano_folder, paint=paint, batch_pixels=600, settings=settings)


def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the loop's time go on by half a second whenever it looks at it, which is twice a step."""
    ticks = itertools.count(0.0, 0.5)
    monkeypatch.setattr("vary.training.loop.time", SimpleNamespace(monotonic=lambda: next(ticks)))


def rates(folder: Path) -> list[float]:
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        return [float(row["learning_rate"]) for row in csv.DictReader(file)]


def test_a_run_ends_with_its_time_and_its_rate_has_fallen(
    recipe: LinesRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticking(monkeypatch)
    settings = replace(recipe.settings, time_limit=12 / 60, final_fraction=0.0, save_every=ENDLESS)
    monkeypatch.setattr("vary.training.settings.CLOCK_WARMUP", 1)
    train_lines(replace(recipe, settings=settings), tmp_path / "run", nano_vocabulary())
    found = rates(tmp_path / "run")
    assert len(found) == 12
    assert max(found) == pytest.approx(recipe.settings.learning_rate)
    assert found[6:] == sorted(found[6:], reverse=True)
    assert found[-1] < 0.2 * recipe.settings.learning_rate
    assert latest_checkpoint(tmp_path / "run") is not None  # the last step is saved, whatever its number
    assert (tmp_path / "run/model/model.safetensors").is_file()


def test_a_resumed_run_counts_the_time_before(
    recipe: LinesRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticking(monkeypatch)
    run = replace(recipe, settings=replace(recipe.settings, time_limit=4 / 60, save_every=ENDLESS))
    train_lines(run, tmp_path / "run", nano_vocabulary())
    assert len(rates(tmp_path / "run")) == 4
    train_lines(run, tmp_path / "run", nano_vocabulary(), resume=True)
    assert len(rates(tmp_path / "run")) == 4  # nothing is left to do
    longer = replace(recipe, settings=replace(recipe.settings, time_limit=9 / 60))
    train_lines(longer, tmp_path / "run", nano_vocabulary(), resume=True)
    assert len(rates(tmp_path / "run")) == 9


def test_the_curriculum_follows_the_clock(
    recipe: LinesRecipe, tiny_nano: VaryForConditionalGeneration
) -> None:
    recipe = replace(recipe, stages=(Stage(0.5, 9), Stage(1.0, 99)))
    assert recipe.paint is not None
    clock = Clock(ENDLESS, limit=100.0)
    source, form = PaintedLines(recipe.paint, pages=1), line_format(tiny_nano, nano_vocabulary())
    stream = stage_batches(recipe, source, form, Position(), 0, 1, clock=clock)
    longest = []
    for seconds in range(0, 100, 5):
        clock.seconds = float(seconds)
        [batch], place = next(stream)
        longest.append(int(batch.target_lengths.max()))
        assert place.step == len(longest)
    assert max(longest[:10]) <= 9
    assert max(longest[11:]) > 9


@given(
    schedule=st.sampled_from(["cosine", "trapezoid", "constant"]),
    step=st.integers(0, 10_000),
    seconds=st.floats(0, 600),
)
def test_without_a_limit_the_clock_is_the_steps(schedule: str, step: int, seconds: float) -> None:
    settings = RunSettings(learning_rate=1.0, schedule=schedule)  # type: ignore[arg-type]
    assert Clock(10_001, 0.0, seconds).learning_rate(step, settings) == learning_rate(step, 10_001, settings)
    assert not Clock(10_001, 0.0, seconds).over(step)


@given(rate=st.floats(20, 400), limit=st.floats(60, 600))
def test_at_an_even_speed_the_clock_is_as_many_steps(rate: float, limit: float) -> None:
    """Steps that all take the same time give the rates of a run of as many steps, once it is warm."""
    settings = RunSettings(learning_rate=1.0, warmup_fraction=0.02)
    steps = round(rate * limit)
    clock = Clock(ENDLESS * 1000, limit)
    for step in range(CLOCK_WARMUP, steps, max(1, steps // 50)):
        clock.seconds = step / rate
        assert clock.learning_rate(step, settings) == pytest.approx(
            learning_rate(step, steps, settings), abs=0.02
        )


def test_a_slow_first_step_does_not_end_the_warming_up() -> None:
    clock = Clock(ENDLESS, 600.0, seconds=20.0)
    assert clock.learning_rate(1, RunSettings(learning_rate=1.0)) < 0.03


def test_negative_time_is_refused() -> None:
    with pytest.raises(TrainingError, match="time_limit is -1"):
        RunSettings(time_limit=-1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_batches_lie_in_pinned_memory(recipe: LinesRecipe, tiny_nano: VaryForConditionalGeneration) -> None:
    assert recipe.paint is not None
    source, form = PaintedLines(recipe.paint, pages=1), line_format(tiny_nano, nano_vocabulary())
    [batch], _ = next(stage_batches(recipe, source, form, Position(), 0, 1, pin=True))
    assert batch.pixel_values.is_pinned()
    assert batch.counts["samples"] > 0

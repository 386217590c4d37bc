"""Lines on several processes: each goes on with its own lines, and what is said is said once."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stored_lines import Stored
from vary.assets import nano_vocabulary
from vary.cli.main import main
from vary.datagen.shards import write_shards
from vary.errors import TrainingError
from vary.model.modeling import VaryForConditionalGeneration
from vary.training.checkpoints import Position
from vary.training.data.batches import BadSample
from vary.training.data.line_sources import Line
from vary.training.data.lines import Stage, line_format
from vary.training.recipes.lines import LinesRecipe, own_position, stage_batches

STEPS = 14
GRAY = np.full((32, 64), 255, np.uint8)


class Uneven:
    """Pools of one to four batches of one line, every fifth without any, a bad sample in each."""

    def describe(self) -> None: ...

    def prepare(self) -> None: ...

    def pool(self, index: int, max_chars: int) -> list[Line | BadSample]:
        count = 0 if index % 5 == 3 else 1 + index * 7 % 4
        return [*(Line(GRAY, f"{index}.{n}") for n in range(count)), BadSample(f"bad {index}", "broken")]


@pytest.mark.parametrize("saved", range(1, STEPS))
def test_every_process_goes_on_with_its_own_lines(
    saved: int, tiny_nano: VaryForConditionalGeneration
) -> None:
    """Cut at each step, also where a stage ends; the checkpoint has the places of both."""
    recipe = LinesRecipe(
        batch_pixels=64,
        stages=(Stage(0.3, 9), Stage(1.0, 99)),
        settings=replace(LinesRecipe().settings, steps=STEPS, workers=0),
    )
    form = line_format(tiny_nano, nano_vocabulary())

    def steps(rank: int, position: Position) -> list[tuple[str, tuple[BadSample, ...], Position]]:
        stream = stage_batches(recipe, Uneven(), form, position, rank, 2)
        return [(batch.name, batch.bad, place) for [batch], place in stream]

    whole = [steps(rank, Position()) for rank in (0, 1)]
    assert [len(found) for found in whole] == [STEPS, STEPS]
    places = [found[saved - 1][2] for found in whole]
    checkpoint = replace(places[0], ranks=[[place.pool, place.batch] for place in places])
    for rank in (0, 1):
        assert steps(rank, own_position(checkpoint, rank, 2)) == whole[rank][saved:]


@pytest.mark.parametrize(("begun", "now"), [(2, 1), (1, 2), (2, 3)])
def test_another_number_of_processes_is_refused(begun: int, now: int) -> None:
    saved = Position(step=3, pool=1, batch=2, ranks=[[1, 2]] * begun)
    with pytest.raises(TrainingError, match=rf"begun on {begun} process\(es\), and these are {now}"):
        own_position(saved, 0, now)


def test_a_checkpoint_from_before_there_were_ranks_is_of_one_process() -> None:
    old = Position(step=3, pool=1, batch=2)
    assert own_position(old, 0, 1) == old
    with pytest.raises(TrainingError, match="begun on 1 process"):
        own_position(old, 0, 2)
    assert own_position(Position(), 1, 2) == Position()


def launched(arguments: list[str]) -> str:
    """What two processes say on standard error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--master-addr", "127.0.0.1", "--master-port", str(port), "-m", "vary", *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=400,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def losses(folder: Path) -> list[tuple[str, str]]:
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        return [(row["decoder"], row["ctc"]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_two_processes_are_resumed_exactly_and_speak_with_one_voice(
    tiny_nano_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 560 lines one process learns from pools of 512 and the other from pools of 48."""
    rng = np.random.default_rng(0)
    lines = [(rng.integers(0, 256, (32, 64), dtype=np.uint8), f"n {number}") for number in range(560)]
    write_shards(Stored(lines), tmp_path / "lines")
    run = tmp_path / "run"
    arguments = [
        *("train", "lines", "--shards", str(tmp_path / "lines"), "--out", str(run)),
        *("--init-from", str(tiny_nano_folder)),
        *("--steps", "6", "--save-every", "3", "--log-every", "1", "--batch-pixels", "1600"),
        *("--stages", "1:24", "--precision", "no", "--workers", "0", "--cpu", "--no-tensorboard"),
    ]
    said = launched(arguments)
    for step in range(1, 7):
        assert said.count(f"step {step}  ") == 1
    assert said.count("the trained model, ready") == 1
    whole = losses(run)
    assert len(whole) == 6
    state = json.loads((run / "checkpoint-0000003" / "training_state.json").read_text(encoding="utf-8"))
    first, second = state["ranks"]
    assert first != second, "both stand at the same place: this proves nothing"
    shutil.rmtree(run / "checkpoint-0000006")
    shutil.rmtree(run / "model")
    assert main([*arguments, "--resume"]) == 1
    assert "begun on 2 process(es), and these are 1" in capsys.readouterr().err
    launched([*arguments, "--resume"])
    assert losses(run) == whole

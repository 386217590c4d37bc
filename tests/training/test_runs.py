"""Runs that are cut, shared among processes, or fed with bad samples."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from learners import learner, opt_learner, processor_of, small_recipe, write_llava
from vary.errors import DataError, TrainingError
from vary.model.loading import load_model
from vary.training.checkpoints import latest_checkpoint
from vary.training.data.sources import DataSource, Mixture, open_source
from vary.training.recipes import train_multitask
from vary.training.running import RunFolder

WORDS = ("cat", "dog", "owl", "bee", "ant", "cow", "fox", "hen")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def losses(folder: Path) -> list[str]:
    return [row["loss"] for row in rows(folder)]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint with dropout in its decoder, and pages."""
    folder = tmp_path_factory.mktemp("start")
    model = opt_learner()
    model.save_pretrained(folder / "model")
    processor_of(model).save_pretrained(folder / "model")
    return folder / "model", write_llava(folder / "data", WORDS)


def command(start: tuple[Path, Path], out: Path, *more: str) -> list[str]:
    model, data = start
    return [
        *("train", "multitask", "--model", str(model), "--data", str(data), "--out", str(out), "--cpu"),
        *("--train", "vision_vocabulary,projector,decoder", "--precision", "no", "--workers", "0"),
        *("--batch", "4", "--micro-batch", "2", "--learning-rate", "0.003", "--log-every", "1"),
        *("--no-tensorboard", "--export-dtype", "float32", *more),
    ]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run_vary(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vary", *arguments],
        capture_output=True,
        text=True,
        timeout=400,
        env=environment(),
    )


@pytest.fixture(scope="module")
def uncut(start: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uncut") / "run"
    done = run_vary(command(start, folder, "--steps", "40", "--save-every", "5"))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("killed_after", [2, 13])
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    start: tuple[Path, Path], uncut: Path, tmp_path: Path, killed_after: int
) -> None:
    """Killed with -9: the losses of the next 20 steps and more are those of a run that was not killed."""
    out = tmp_path / "run"
    arguments = command(start, out, "--steps", "40", "--save-every", "5")
    process = subprocess.Popen(
        [sys.executable, "-m", "vary", *arguments],
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    deadline = time.monotonic() + 300
    while not (out / "log.csv").exists() or len(rows(out)) < killed_after:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(rows(out))
    assert before < 20, "the run was killed too late for 20 more steps"
    assert not (out / "model").exists()
    done = run_vary([*arguments, "--resume"])
    assert done.returncode == 0, done.stderr
    assert losses(out) == losses(uncut)
    assert len(losses(out)) == 40
    whole, resumed = load_model(uncut / "model"), load_model(out / "model")
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_resuming_a_finished_run_changes_nothing(start: tuple[Path, Path], uncut: Path) -> None:
    before = (uncut / "log.csv").read_bytes(), (uncut / "model" / "model.safetensors").read_bytes()
    done = run_vary([*command(start, uncut, "--steps", "40", "--save-every", "5"), "--resume"])
    assert done.returncode == 0, done.stderr
    after = (uncut / "log.csv").read_bytes(), (uncut / "model" / "model.safetensors").read_bytes()
    assert after == before


def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    """The same losses at the same global batch, in float32: gloo on this machine.  No dropout, which is drawn
    by each process for itself."""
    model = learner()
    folder = tmp_path / "start"
    model.save_pretrained(folder)
    processor_of(model).save_pretrained(folder)
    # Lengths differ, so that a mean over processes would not be the mean over tokens.
    data = write_llava(tmp_path / "data", ["a", "a much longer text", *WORDS])
    one, two = tmp_path / "one", tmp_path / "two"
    steps = ("--steps", "12", "--save-every", "0", "--clip", "0.5")
    done = run_vary(command((folder, data), one, *steps))
    assert done.returncode == 0, done.stderr
    launched = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--master-addr", "127.0.0.1", "--master-port", str(_free_port()), "-m", "vary"),
            *command((folder, data), two, *steps),
        ],
        capture_output=True,
        text=True,
        timeout=500,
        env=environment(),
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    alone = [float(loss) for loss in losses(one)]
    together = [float(loss) for loss in losses(two)]
    assert len(alone) == 12
    assert together == pytest.approx(alone, abs=1e-5)
    assert alone[-1] < alone[0]
    assert [row["samples"] for row in rows(two)] == [row["samples"] for row in rows(one)]
    first, second = load_model(one / "model"), load_model(two / "model")
    for name, weight in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], weight, atol=1e-4, rtol=1e-3)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def spoil(data: Path, count: int) -> None:
    for number in range(count):
        (data.parent / f"{number}.png").write_bytes(b"not a picture")


def test_a_bad_sample_is_counted_and_named_and_never_replaced(tmp_path: Path) -> None:
    data = write_llava(tmp_path / "data", [f"{n}" for n in range(200)])
    spoil(data, 1)
    model = learner()
    seen: list[dict[str, Any]] = []
    recipe = small_recipe(data, steps=None, batch=20, micro_batch=10)
    train_multitask(
        recipe, model, processor_of(model), tmp_path / "run", progress=lambda r: seen.append(dict(r))
    )
    assert seen[-1]["bad_samples"] == 1
    assert seen[-1]["samples"] == 199
    with (tmp_path / "run" / "bad_samples.csv").open(encoding="utf-8", newline="") as file:
        [bad] = csv.DictReader(file)
    assert bad["sample"] == "pages.json, record 0"
    assert "0.png" in bad["reason"]


def test_more_than_one_percent_of_bad_samples_stops_the_run(tmp_path: Path) -> None:
    data = write_llava(tmp_path / "data", [f"{n}" for n in range(100)])
    spoil(data, 5)
    model = learner()
    recipe = small_recipe(data, steps=None, batch=10, micro_batch=10)
    with pytest.raises(
        TrainingError, match=r"\d of \d+ samples cannot be learned from, such as pages.json, record"
    ):
        train_multitask(recipe, model, processor_of(model), tmp_path / "run")
    allowed = small_recipe(data, steps=None, batch=10, micro_batch=10, max_bad_share=0.05)
    train_multitask(allowed, learner(), processor_of(model), tmp_path / "allowed")
    assert rows(tmp_path / "allowed")[-1]["bad_samples"] == "5"


def test_a_full_disk_stops_the_run_and_keeps_the_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_llava(tmp_path / "data", WORDS)
    model = learner()
    real, calls = torch.save, []

    def full(*args: Any, **options: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(*args, **options)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match=r"cannot be written .*No space left.*make room and resume"):
        train_multitask(small_recipe(data, save_every=2), model, processor_of(model), tmp_path / "run")
    newest = latest_checkpoint(tmp_path / "run")
    assert newest is not None
    assert newest.name == "checkpoint-0000002"
    assert not list((tmp_path / "run").glob(".*partial"))


def test_a_run_with_other_settings_is_not_resumed(tmp_path: Path) -> None:
    data = write_llava(tmp_path / "data", WORDS)
    model = learner()
    train_multitask(small_recipe(data, steps=2), model, processor_of(model), tmp_path / "run")
    with pytest.raises(TrainingError, match="holds a run already"):
        train_multitask(small_recipe(data), learner(), processor_of(model), tmp_path / "run")
    # With other micro-batches the steps had other samples; without steps the data would end.
    for change in ({"seed": 3}, {"batch": 8}, {"max_length": 100}, {"micro_batch": 1}, {"steps": None}):
        other = small_recipe(data, **change)
        with pytest.raises(TrainingError, match=f"other settings .*{next(iter(change))}"):
            train_multitask(other, learner(), processor_of(model), tmp_path / "run", resume=True)


def test_a_run_is_not_resumed_on_other_data_or_beside_other_frozen_weights(tmp_path: Path) -> None:
    """A checkpoint has neither."""
    data, out = write_llava(tmp_path / "data", WORDS), tmp_path / "run"

    def run(steps: int, seed: int = 0) -> None:
        model = learner(seed=seed)
        recipe = small_recipe(data, steps=steps, save_every=1, trained=("projector", "decoder"))
        train_multitask(recipe, model, processor_of(model), out, resume=True)

    run(2)
    with pytest.raises(TrainingError, match=r"other frozen weights \(see frozen.json"):
        run(3, seed=1)
    kept = data.read_text(encoding="utf-8")
    write_llava(tmp_path / "data", WORDS[:-2])
    with pytest.raises(TrainingError, match=r"other data \(see data.json"):
        run(3)
    data.write_text(kept, encoding="utf-8")
    run(3)
    assert len(rows(out)) == 3


def test_shares_of_a_checkpoint_are_read_by_accelerate(tmp_path: Path) -> None:
    """With FSDP2 and ZeRO-2 a checkpoint has no file of the optimizer that is ours."""
    checkpoint = tmp_path / "checkpoint-0000007"
    checkpoint.mkdir()
    (checkpoint / "training_state.json").write_text(json.dumps({"step": 7}), encoding="utf-8")
    assert RunFolder.open(tmp_path, {}, resume=True, sharded=True).position.step == 7
    with pytest.raises(TrainingError, match="not a training checkpoint"):
        RunFolder.open(tmp_path, {}, resume=True)


def test_a_source_that_no_epoch_shows_is_refused(tmp_path: Path) -> None:
    few = open_source(DataSource(write_llava(tmp_path / "few", list("abcd"))))
    many = open_source(DataSource(write_llava(tmp_path / "many", list("0123456789"))))
    with pytest.raises(DataError, match=r"source 2 has 4 samples and the weight 0\.1: none"):
        Mixture([many, few], [1.0, 0.1], seed=0)


def test_weights_of_a_mixture_say_how_often_an_epoch_shows_a_sample(tmp_path: Path) -> None:
    few = open_source(DataSource(write_llava(tmp_path / "few", list("abcd"))))
    many = open_source(DataSource(write_llava(tmp_path / "many", list("0123456789"))))
    mixture = Mixture([few, many], [2.0, 0.5], seed=1)
    assert mixture.epoch_size == 13
    first, second = mixture.places(0, 13), mixture.places(13, 26)
    for epoch in (first, second):
        assert sorted(place for place in epoch if place[0] == 0) == sorted([(0, n) for n in range(4)] * 2)
        assert len({place for place in epoch if place[0] == 1}) == 5
    assert first != second
    assert mixture.places(5, 20) == (first + second)[5:20]
    assert Mixture([few, many], [2.0, 0.5], seed=1).places(0, 26) == first + second


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nothing", "no file or folder"),
        (lambda folder: folder, "a folder without manifest.json"),
        (lambda folder: folder / "x.txt", "a file of another kind"),
    ],
)
def test_data_that_is_not_there_is_said(tmp_path: Path, make: Any, words: str) -> None:
    (tmp_path / "x.txt").write_text("text", encoding="utf-8")
    with pytest.raises(DataError, match=words):
        open_source(DataSource(make(tmp_path)))


def test_a_model_that_reads_lines_is_refused(tiny_nano: Any, tmp_path: Path) -> None:
    from vary.assets import nano_vocabulary
    from vary.model.presets import nano_processor

    data = write_llava(tmp_path / "data", WORDS)
    with pytest.raises(TrainingError, match="vary train lines"):
        train_multitask(small_recipe(data), tiny_nano, nano_processor(nano_vocabulary()), tmp_path / "run")


@pytest.mark.parametrize(("batch", "micro"), [(4, 3), (3, 4)])
def test_a_step_that_cannot_be_cut_evenly_is_refused(tmp_path: Path, batch: int, micro: int) -> None:
    data = write_llava(tmp_path / "data", WORDS)
    model = learner()
    with pytest.raises(TrainingError, match=f"a multiple of {micro}"):
        train_multitask(
            small_recipe(data, batch=batch, micro_batch=micro), model, processor_of(model), tmp_path / "run"
        )


def test_texts_without_images_and_pages_are_mixed(tmp_path: Path) -> None:
    """Conversations about nothing but text, pages of both kinds, one batch."""
    import json

    data = write_llava(tmp_path / "data", WORDS)
    records = json.loads(data.read_text(encoding="utf-8"))
    records += [
        {
            "id": f"t{n}",
            "conversations": [
                {"from": "human", "value": "Say it."},
                {"from": "gpt", "value": word},
                {"from": "human", "value": "Again."},
                {"from": "gpt", "value": word},
            ],
        }
        for n, word in enumerate(WORDS)
    ]
    data.write_text(json.dumps(records), encoding="utf-8")
    model = learner()
    recipe = small_recipe(data, steps=None, epochs=2.0, batch=4, micro_batch=1)
    train_multitask(recipe, model, processor_of(model), tmp_path / "run")
    assert int(rows(tmp_path / "run")[-1]["samples"]) == 32
    assert int(rows(tmp_path / "run")[-1]["bad_samples"]) == 0
    Image.open(tmp_path / "data" / "0.png").verify()

"""The log of a run: going back to a checkpoint loses no row that counts, whenever the process dies."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from vary.training.answer_validation import AnswerValidation
from vary.training.checkpoints import Position
from vary.training.logs import RunLog
from vary.training.settings import RunSettings

SETTINGS = RunSettings(tensorboard=False)


def opened(folder: Path, step: int) -> RunLog:
    return RunLog(folder, ("loss",), SETTINGS, Accelerator(cpu=True), Position(step=step))


def written(folder: Path, steps: int) -> None:
    (folder / "log.csv").write_text(
        "step,loss,samples\n" + "".join(f"{step},0.5,{4 * step}\n" for step in range(1, steps + 1)),
        encoding="utf-8",
    )
    (folder / "bad_samples.csv").write_text(
        "step,sample,reason\n" + "".join(f"{step},s{step},broken\n" for step in range(1, steps + 1)),
        encoding="utf-8",
    )


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    written(tmp_path, 9)
    opened(tmp_path, 6)
    rows = read(tmp_path / "log.csv")
    assert [row["step"] for row in rows] == list("123456")
    assert [(row["loss"], row["samples"]) for row in rows] == [("0.5", str(4 * n)) for n in range(1, 7)]
    assert [row["sample"] for row in read(tmp_path / "bad_samples.csv")] == [f"s{n}" for n in range(1, 7)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad_samples.csv", "log.csv"]


@pytest.mark.parametrize("name", ["log.csv", "bad_samples.csv"])
def test_a_kill_while_rows_are_dropped_loses_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends at the moment when the new file would take the old one's place."""
    written(tmp_path, 9)
    before = (tmp_path / name).read_bytes()
    real = Path.replace

    class KilledError(BaseException):
        pass

    def killed(self: Path, target: Any) -> Path:
        if Path(target).name == name:
            raise KilledError
        return real(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KilledError):
        opened(tmp_path, 6)
    assert (tmp_path / name).read_bytes() == before
    monkeypatch.setattr(Path, "replace", real)
    opened(tmp_path, 6)
    assert [row["step"] for row in read(tmp_path / name)] == list("123456")


def test_lines_left_out_are_a_column(tmp_path: Path) -> None:
    with opened(tmp_path, 0) as log:
        log.add({"loss": 1.0}, {"samples": 4}, 0.0)
        row = log.write(Position(step=1, totals={"samples": 4, "left_out": 7, "cut": 2}), 0.1, 1.0, {})
    assert (row["left_out"], row["cut"]) == (7, 2)
    assert read(tmp_path / "log.csv")[0]["left_out"] == "7"


@pytest.mark.parametrize("rank", [0, 1])
def test_one_process_writes_the_answers(rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: rank)
    validation = AnswerValidation.__new__(AnswerValidation)
    validation.folder, validation.examples = tmp_path, []
    assert validation(None, 3) == {"cer": 0.0, "exact": 0.0}
    assert (tmp_path / "predictions" / "step-0000003.jsonl").exists() == (rank == 0)

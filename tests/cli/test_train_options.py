"""The options of `vary train lines` reach their fields, and what several processes say is said once."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from vary.cli import console
from vary.cli.main import build_parser, main
from vary.cli.train.lines import make_recipe
from vary.cli.train.running import finish_run, shown_progress
from vary.training.data.lines import Stage
from vary.training.recipes.lines import LinesRecipe

OF_THE_RUN = {"command", "recipe", "out", "resume", "cpu", "validation", "vocabulary"}
PAINTED = {"paint", "languages", "language_weights", "typeset_share", "rare_share", "characters"}
GIVEN: dict[str, tuple[list[str], Any]] = {
    "preset": (["other"], "other"),
    "init_from": (["start"], Path("start")),
    "shards": (["a", "b"], (Path("a"), Path("b"))),
    "paint": (["x.txt", "y.txt"], ("x.txt", "y.txt")),
    "languages": (["zh, en"], ("zh", "en")),
    "language_weights": (["1,3"], (1.0, 3.0)),
    "typeset_share": (["0.5"], 0.5),
    "rare_share": (["0.5"], 0.5),
    "characters": ([str(Path(__file__).parent / "rare_characters.txt"), "--rare-share", "0.5"], "电党纸"),
    "final_fraction": (["0.5"], 0.5),
    "stages": (["0.5:7,1:9"], (Stage(0.5, 7), Stage(1.0, 9))),
    "ctc_weight": (["0.25"], 0.25),
    "schedule": (["cosine"], "cosine"),
    "precision": (["no"], "no"),
    "compile": ([], True),
    "tensorboard": (None, False),  # --no-tensorboard
}
"""What is given for an option, and what its field then is; 3 or 0.125 for the others."""


def options() -> list[str]:
    """The names of all options that set a field."""
    args = parsed("--paint", "x.txt")
    return sorted(vars(args).keys() - OF_THE_RUN)


def parsed(*more: str) -> argparse.Namespace:
    return build_parser().parse_args(["train", "lines", "--out", "run", *more])


def values(recipe: LinesRecipe) -> dict[str, Any]:
    """The fields of recipe, settings and engine by the names that their options have."""
    flat = {
        field.name: getattr(part, field.name) for part in (recipe.settings, recipe) for field in fields(part)
    }
    if recipe.paint is not None:
        flat |= {name: getattr(recipe.paint, name) for name in PAINTED - {"paint"}}
        flat |= {"paint": recipe.paint.corpus}
    return flat


@pytest.mark.parametrize("name", options())
def test_every_option_reaches_its_field(name: str) -> None:
    flag = f"--{name.replace('_', '-')}"
    data = [] if name in {"paint", "shards"} else ["--paint", "x.txt"]
    if name == "language_weights":
        data += ["--languages", "en,zh"]
    for text, value in [GIVEN[name]] if name in GIVEN else [(["3"], 3), (["0.125"], 0.125)]:
        words = [f"--no-{flag[2:]}"] if text is None else [flag, *text]
        try:
            args = parsed(*data, *words)
        except SystemExit:  # not a number of the option's kind
            continue
        recipe = make_recipe(args)
        assert values(recipe)[name] == value
        assert values(make_recipe(parsed(*(data or ["--paint", "z.txt"])))).get(name) != value
        if name == "seed":
            assert recipe.paint is not None
            assert recipe.paint.seed == value
        return
    pytest.fail(f"{flag} takes neither 3 nor 0.125: say in GIVEN what it takes")


def test_typeset_share_is_for_painted_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--shards", str(tmp_path), "--typeset-share", "0.5", "--out", str(tmp_path / "run")]
    assert main(["train", "lines", *given]) == 2
    assert "--typeset-share is for --paint" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_bar_knows_the_steps_of_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from contextlib import contextmanager

    seen: list[tuple[int, int | None]] = []
    bars: list[str] = []

    @contextmanager
    def bar(label: str, unit: str) -> Any:
        bars.append(label)
        yield lambda done, total: seen.append((done, total))

    monkeypatch.setattr(console, "progress_bar", bar)
    with shown_progress("sft") as progress:
        assert not bars  # a process that is given no row draws none
        progress({"step": 1, "loss": 0.5, "steps": 8})
        progress({"step": 2, "loss": 0.25, "steps": 8})
    assert bars == ["sft"]
    assert seen == [(1, 8), (2, 8)]
    said = capsys.readouterr().err
    assert "step 2  loss 0.25\n" in said
    assert "steps" not in said


@pytest.mark.parametrize("is_main", [True, False])
def test_one_process_draws_the_losses_and_says_the_last_word(
    is_main: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("accelerate.PartialState.is_main_process", is_main)
    (tmp_path / "log.csv").write_text("step,loss,samples\n1,0.5,4\n2,0.25,8\n", encoding="utf-8")
    finish_run(tmp_path)
    assert (tmp_path / "loss.png").exists() == is_main
    assert ("the trained model" in capsys.readouterr().err) == is_main

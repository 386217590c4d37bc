"""`vary train demo`: its data, what is compared, the figures of the report, the chain and its resuming."""

from __future__ import annotations

import csv
import json
import math
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rapidfuzz.distance import Levenshtein

from learners import learner, processor_of, write_llava
from vary.cli.train.demo import SIZES as CLI_SIZES
from vary.datagen.sample import Sample
from vary.errors import TrainingError
from vary.model.image_processing import VaryImageProcessor
from vary.model.tokenization import encode_text
from vary.model.vocabulary_folder import save_vision_vocabulary
from vary.outputs.answers import parse_boxes
from vary.training.data.batches import BatchPlan, MicroBatches
from vary.training.data.examples import ExampleBuilder
from vary.training.data.sources import DataSource, Mixture
from vary.training.demo import SIZES, Judges, run_demo
from vary.training.demo.clip import train_clip
from vary.training.demo.comparison import Answer, Parts, graft, read_answers, write_answers
from vary.training.demo.language import make_tokenizer, train_language_model
from vary.training.demo.pages import DigitPages, PagesConfig, Scenes, ScenesConfig
from vary.training.demo.report import as_markdown, claims
from vary.training.demo.scores import gain_record, score, verdict
from vary.training.demo.sizes import SIDE
from vary.training.demo.vocabulary import ARMS, new_vocabulary
from vary.training.running import stop_ids

torch.set_num_threads(1)

JUDGES = Judges(
    distance=lambda left, right: int(Levenshtein.distance(left, right)),
    boxes=lambda text: [(box.label, box.edges) for box in parse_boxes(text).boxes],
)
TINY = replace(
    SIZES["ci"],
    pages=24,
    samples=16,
    chats=8,
    tests=4,
    batch=4,
    clip_steps=2,
    language_steps=2,
    vocabulary_steps=2,
    multitask_steps=2,
    tuning_steps=1,
    readable=1.0,
)


def drawn(engine: Any, count: int) -> list[Sample]:
    return [engine.draw(index).samples[0] for index in range(count)]


def quiet(row: Any) -> None:
    del row


# --- data ---------------------------------------------------------------------------------------------------


def test_pages_are_drawn_by_number_and_hold_all_of_their_digits() -> None:
    pages = drawn(DigitPages(PagesConfig(lines=2, digits=4)), 40)
    again = DigitPages(PagesConfig(lines=2, digits=4)).draw(17).samples[0]
    assert np.array_equal(pages[17].image, again.image)
    assert pages[17].answer == again.answer
    other = DigitPages(PagesConfig(lines=2, digits=4, split="test")).draw(17).samples[0]
    assert not np.array_equal(pages[17].image, other.image)
    for page in pages:
        assert page.image is not None
        dark = page.image < int(page.image.max()) - 60
        edges = [dark[0], dark[-1], dark[:, 0], dark[:, -1]]
        assert not np.concatenate(edges).any(), "a digit is cut by the page's edge"
        columns = dark[: SIDE // 2].any(axis=0)
        first = page.answer.split("\n")[0]
        # Digits stand apart, so the runs of dark columns in the upper half are the first line's digits.
        assert np.count_nonzero(np.diff(columns.astype(int)) == 1) == len(first)


def test_boxes_are_where_the_ink_is() -> None:
    for sample in drawn(Scenes(ScenesConfig(task="detect")), 30):
        assert sample.image is not None
        image = sample.image.astype(int)
        ink = np.abs(image - image[0, 0]).sum(-1) > 0
        for box in sample.boxes:
            left, top, right, bottom = (int(edge) for edge in (box.left, box.top, box.right, box.bottom))
            inside = ink[top:bottom, left:right]
            assert inside[0].any(), "nothing is drawn at the upper edge"
            assert inside[-1].any(), "nothing is drawn at the lower edge"
            assert inside[:, 0].any(), "nothing is drawn at the left edge"
            assert inside[:, -1].any(), "nothing is drawn at the right edge"
            ink[top:bottom, left:right] = False
        assert not ink.any(), "something is drawn outside of all boxes"
        told = [(box.label, box.edges) for box in parse_boxes(sample.answer).boxes]
        wanted = [
            (b.label, [e * 1000 / SIDE for e in (b.left, b.top, b.right, b.bottom)]) for b in sample.boxes
        ]
        assert [name for name, _ in told] == [name for name, _ in wanted]
        for (_, found), (_, edges) in zip(told, wanted, strict=True):
            assert np.allclose(found, edges, atol=0.5)


def test_the_tokenizer_has_the_words_of_every_prompt_and_answer() -> None:
    tokenizer = make_tokenizer()
    samples = [s for task in ("caption", "detect", "negative", "chat") for s in _scenes(task)]
    texts = [text for s in samples for text in (s.prompt, s.answer, *(part for t in s.later for part in t))]
    for text in texts:
        ids = encode_text(tokenizer, text)
        assert tokenizer.decode(ids) == text
        letters = [tokenizer.decode([token]) for token in ids]
        assert not [
            piece for piece in letters if len(piece) == 1 and piece.isalpha() and piece not in "aAI"
        ], text


def _scenes(task: Any) -> list[Sample]:
    return drawn(Scenes(ScenesConfig(task=task)), 20)


# --- what is compared ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Towers that have hardly been trained."""
    folder = tmp_path_factory.mktemp("parts")
    pictures = _scenes("caption")
    train_clip(pictures, folder / "clip", steps=1, seed=0, progress=quiet)
    texts = [sample.answer for sample in pictures]
    train_language_model(texts, folder / "language", steps=1, batch=4, seed=0, progress=quiet)
    network = new_vocabulary(3)
    processor = VaryImageProcessor(size={"height": SIDE, "width": SIDE})
    save_vision_vocabulary(network, processor, folder / "vocabulary" / "vocabulary")
    return Parts(folder / "vocabulary", folder / "clip", folder / "language")


def test_arms_differ_in_the_vocabulary_network_alone(parts: Parts) -> None:
    states = {arm: graft(parts, arm, seed=5)[0].state_dict() for arm in ARMS}
    base = states["with"]
    for arm in ARMS:
        assert states[arm].keys() == base.keys()
        different = {name for name, tensor in states[arm].items() if not torch.equal(tensor, base[name])}
        assert all(name.startswith("model.vision_vocabulary.") for name in different), (arm, different)
        assert bool(different) == (arm != "with")
    last = "model.vision_vocabulary.merge.0.weight"
    assert {n for n, t in states["without"].items() if not torch.equal(t, base[n])} == {last}
    projector = "model.projector.vision_vocabulary.weight"
    assert torch.equal(graft(parts, "without", seed=5)[0].state_dict()[projector], base[projector])
    assert not torch.equal(graft(parts, "with", seed=6)[0].state_dict()[projector], base[projector])


def test_without_the_vocabulary_clip_is_all_that_the_model_sees(parts: Parts) -> None:
    page, picture = drawn(DigitPages(PagesConfig()), 1)[0], _scenes("caption")[0]
    images = [Image.fromarray(sample.image) for sample in (page, picture) if sample.image is not None]
    for arm in ARMS:
        model, processor = graft(parts, arm, seed=0)
        pixels = processor.image_inputs(images)
        with torch.inference_mode():
            full = model.get_image_features(**pixels).pooler_output
            blind = model.get_image_features(
                pixel_values=torch.zeros_like(pixels["pixel_values"]),
                pixel_values_clip=pixels["pixel_values_clip"],
            ).pooler_output
        assert torch.equal(full, blind) == (arm == "without")
        assert not torch.equal(full[0], full[1])


def test_kept_examples_are_those_that_are_built_anew(tmp_path: Path) -> None:
    data = write_llava(tmp_path, ["one", "two", "three"])
    model = learner()
    builder = ExampleBuilder(processor_of(model), stop_ids(model), max_length=200)
    plan = BatchPlan(micro_batch=2, per_step=1, steps=5)
    kept, anew = (
        MicroBatches(Mixture.open([DataSource(data)], seed=1), builder, plan, pad_id=0, keep_examples=keep)
        for keep in (True, False)
    )
    for number in range(5):
        one, other = kept[number], anew[number]
        assert one.names == other.names
        assert torch.equal(one.input_ids, other.input_ids)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.pixels["pixel_values"], other.pixels["pixel_values"])
    for image in tmp_path.glob("*.png"):
        image.unlink()
    assert torch.equal(kept[4].input_ids, other.input_ids), "a kept example was built again"


# --- figures ------------------------------------------------------------------------------------------------


def test_scores_of_answers_by_hand() -> None:
    read = [Answer("ocr", 0, "12\n34", "12\n44"), Answer("ocr", 1, "7", "7777777")]
    assert score("ocr", read, JUDGES) == pytest.approx((1 + 1) / 6)  # the second counts no more than its page
    told = [Answer("caption", 0, "a red circle", " a red circle\n"), Answer("caption", 1, "a", "b")]
    assert score("caption", told, JUDGES) == 0.5
    boxes = [
        Answer("detect", 0, "red square: [000, 000, 100, 100]", "red square: [050, 000, 150, 100]"),
        Answer("detect", 1, "red square: [000, 000, 100, 100]", "blue square: [000, 000, 100, 100]"),
        Answer(
            "detect", 2, "red square: [000, 000, 100, 100]", "red square: [000, 000, 100, 100], [1, 1, 9, 9]"
        ),
        Answer("detect", 3, "red square: [000, 000, 100, 100]", "no box at all"),
    ]
    assert score("detect", boxes, JUDGES) == pytest.approx((1 / 3 + 0 + 1 + 0) / 5)


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([0.5, 0.6, 0.55], "helps"),
        ([-0.5, -0.6, -0.55], "hurts"),
        ([0.5, 0.6, -0.01], "unclear"),
        ([0.0, 0.0, 0.0], "unclear"),
        ([0.01, 0.5, 0.02], "unclear"),  # every seed is positive, but the spread is as large as the mean
        ([0.9], "unclear"),
    ],
)
def test_a_verdict_needs_every_seed_and_a_mean_beyond_the_spread(gains: list[float], expected: str) -> None:
    assert verdict(gains) == expected


def test_less_is_better_turns_gains_around() -> None:
    assert gain_record([0.1, 0.2], [0.8, 0.9], less_is_better=True)["seeds"] == pytest.approx([0.7, 0.7])
    assert gain_record([0.1, 0.2], [0.8, 0.9], less_is_better=False)["verdict"] == "hurts"


# --- the chain ----------------------------------------------------------------------------------------------


def check_report(folder: Path, sizes: Any, seeds: int) -> dict[str, Any]:
    """The report's figures, from the stored answers by other code, and what it claims, from its figures."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    for task, found in report["tasks"].items():
        figures: dict[str, list[float]] = {}
        for arm in ARMS:
            figures[arm] = [
                _figure(task, folder / "answers" / f"{arm}-{seed}.jsonl", sizes.tests)
                for seed in range(seeds)
            ]
            assert found["arms"][arm]["seeds"] == pytest.approx(figures[arm])
            assert found["arms"][arm]["mean"] == pytest.approx(np.mean(figures[arm]))
            if seeds > 1:
                assert found["arms"][arm]["spread"] == pytest.approx(np.std(figures[arm], ddof=1))
        for other in ("without", "untrained"):
            gains = np.subtract(figures["with"], figures[other]) * (-1 if task == "ocr" else 1)
            assert found["gains"][other]["seeds"] == pytest.approx(gains)
            assert found["gains"][other]["verdict"] == _verdict(gains.tolist())
    text = (folder / "report.md").read_text(encoding="utf-8")
    for sentence, found in zip(claims(report), report["tasks"].values(), strict=True):
        assert sentence in text
        verb = {"helps": " helps (", "hurts": " hurts (", "unclear": " makes no clear difference ("}
        assert verb[found["gains"]["without"]["verdict"]] in sentence
    with Image.open(folder / "report.png") as picture:
        assert picture.size[0] > picture.size[1] > 200
    assert (folder / "report.png").stat().st_size < 150_000
    return dict(report)


def _figure(task: str, path: Path, expected: int) -> float:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    rows = [row for row in rows if row["task"] == task]
    assert len(rows) == expected
    if task == "ocr":
        edits = [
            min(Levenshtein.distance(row["answer"], row["expected"]), len(row["expected"])) for row in rows
        ]
        return float(sum(edits) / sum(len(row["expected"]) for row in rows))
    if task == "caption":
        return float(np.mean([row["answer"].strip() == row["expected"] for row in rows]))
    return score("detect", list(read_answers(path))[-expected:], JUDGES)


def _verdict(gains: Sequence[float]) -> str:
    if len(gains) > 1 and len({math.copysign(1, gain) for gain in gains if gain}) == 1 and 0.0 not in gains:
        error = statistics.stdev(gains) / len(gains) ** 0.5
        if abs(statistics.mean(gains)) > 2 * error:
            return "helps" if gains[0] > 0 else "hurts"
    return "unclear"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demonstration of a few steps: everything is made, nothing is learned."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    run_demo(TINY, folder, seeds=1, judges=JUDGES)
    return folder


def test_the_chain_runs_and_reports_what_was_answered(shown: Path) -> None:
    report = check_report(shown, TINY, seeds=1)
    assert report["settings"]["multitask_steps"] == 2
    stages = {"data", "clip", "language", "vocabulary", "comparison"}
    assert set(report["times"]) == stages | {f"{arm}, seed 0" for arm in ARMS}
    assert all(report["times"][stage]["seconds"] > 0 for stage in stages)
    assert all(report["times"][f"{arm}, seed 0"]["processor_seconds"] > 0 for arm in ARMS)
    for name in ("with/seed-0/multitask", "with/seed-0/tuned", "untrained/seed-0/tuned", "vocabulary"):
        with (shown / name / "log.csv").open(encoding="utf-8", newline="") as file:
            assert list(csv.DictReader(file)), name
        assert (shown / name / "model" / "model.safetensors").exists()


def test_the_towers_stay_as_they_are_in_stage_2(shown: Path) -> None:
    from vary.model.loading import load_model

    before, _ = graft(Parts(shown / "vocabulary", shown / "clip", shown / "language"), "with", seed=0)
    after = load_model(shown / "with" / "seed-0" / "tuned" / "model", dtype=torch.float32).state_dict()
    same = {name for name, tensor in before.state_dict().items() if torch.equal(tensor, after[name])}
    towers = {n for n in after if n.startswith(("model.vision_vocabulary.", "model.clip."))}
    assert towers <= same
    assert "model.projector.vision_vocabulary.weight" not in same
    assert "lm_head.weight" not in same


def test_what_is_done_is_not_done_again(shown: Path) -> None:
    def changed(*gone: str) -> tuple[set[str], set[str]]:
        """The stages that were trained, and the files that were written, after some were taken away."""
        before = {path: path.stat().st_mtime_ns for path in _kept(shown)}
        for name in gone:
            path = shown / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        stages: set[str] = set()
        run_demo(TINY, shown, seeds=1, judges=JUDGES, progress=lambda stage, _row: stages.add(stage))
        return stages, {
            str(path.relative_to(shown)) for path in _kept(shown) if path.stat().st_mtime_ns != before[path]
        }

    answers, tuned = "answers/without-0.jsonl", "without/seed-0/tuned/model"
    assert changed() == (set(), set())
    assert changed(answers) == (set(), {answers})
    assert changed(answers, tuned) == ({"without, seed 0"}, {answers, f"{tuned}/model.safetensors"})
    check_report(shown, TINY, seeds=1)


def _kept(folder: Path) -> list[Path]:
    return [*folder.rglob("*.safetensors"), *folder.rglob("*.jsonl"), *folder.rglob("*.tar")]


def test_another_demonstration_or_other_files_are_refused(shown: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"other settings \(multitask_steps 2\)"):
        run_demo(replace(TINY, multitask_steps=9), shown, seeds=1, judges=JUDGES)
    (tmp_path / "letter.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(TrainingError, match="is not empty"):
        run_demo(TINY, tmp_path, seeds=1, judges=JUDGES)


def test_a_vocabulary_that_does_not_read_stops_the_comparison(shown: Path, tmp_path: Path) -> None:
    from vary.training.demo.chain import _begin

    strict = replace(TINY, readable=0.5)
    folder = tmp_path / "out"
    _begin(folder, strict, 0)
    for name in ("clip", "language"):
        (folder / name / "model").mkdir(parents=True)
    write_answers(folder / "answers" / "stage-1.jsonl", [Answer("ocr", 0, "1234", "9994")])
    with pytest.raises(
        TrainingError, match=r"error rate of 0\.750, more than 0\.5: there is nothing to compare"
    ):
        run_demo(strict, folder, seeds=1, judges=JUDGES)
    assert not (folder / "with").exists()


def test_the_command_knows_the_sizes() -> None:
    assert set(CLI_SIZES) == set(SIZES)


@pytest.mark.slow
def test_the_command_at_the_size_for_ci(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "vary", "train", "demo", "--out", str(folder), "--size", "ci"]
    done = subprocess.run(
        [*command, "--seeds", "2", "--workers", "2"],
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = check_report(folder, SIZES["ci"], seeds=2)
    assert done.stdout.splitlines() == claims(report)
    assert report["towers"]["vocabulary"]["character_error_rate"] <= SIZES["ci"].readable
    again = subprocess.run([*command[:-1], "small"], capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode != 0
    assert "holds a demonstration with other settings" in again.stderr


def test_the_documented_figures_are_those_of_a_run_at_this_size() -> None:
    docs = Path(__file__).parents[2] / "docs" / "training"
    report = json.loads((docs / "demo.json").read_text(encoding="utf-8"))
    size = asdict(SIZES["small"])
    assert {name: report["settings"][name] for name in size} == size
    assert report["settings"]["seeds"] == 3
    page = (docs / "demo.md").read_text(encoding="utf-8").splitlines()
    told = as_markdown(report).splitlines()
    figures = [line for line in told if line and not line.startswith(("#", "!"))]
    assert len(figures) > 10
    assert [line for line in figures if line not in page] == []

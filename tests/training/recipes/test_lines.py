"""Stage 1 end to end on tiny models: it learns, resumes exactly, stops when it must, and can be read with."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from transformers import set_seed

from factories import small_nano_config
from vary.assets import nano_vocabulary
from vary.datagen.lines.engine import LineEngineConfig
from vary.engine.generation import generate
from vary.errors import TrainingError
from vary.model.character_vocabulary import FIRST_RANK
from vary.model.loading import load_model
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.presets import CHINESE_ROWS, nano_processor
from vary.model.tokenization import read_tiktoken, write_tiktoken
from vary.reader import Reader
from vary.training.checkpoints import Position, latest_checkpoint
from vary.training.data.line_sources import Line, PaintedLines
from vary.training.data.lines import Stage, collate, line_format, sample_rows
from vary.training.losses import ctc_loss, line_losses
from vary.training.plots import plot_log
from vary.training.recipes.lines import LinesRecipe, build_model, stage_batches, train_lines

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture
def recipe(tiny_nano_folder: Path, tmp_path: Path) -> LinesRecipe:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the cat sat on the mat\nand ran away from a dog\n" * 4, encoding="utf-8")
    paint = LineEngineConfig(corpus=(str(corpus),), font_folders=(str(FONTS),), lines_per_page=(3, 4))
    settings = replace(
        LinesRecipe().settings,
        steps=6,
        warmup_fraction=0.3,
        precision="no",
        workers=0,
        log_every=1,
        save_every=3,
        evaluate_every=0,
        tensorboard=False,
    )
    return LinesRecipe(init_from=tiny_nano_folder, paint=paint, batch_pixels=600, settings=settings)


def changed(recipe: LinesRecipe, **changes: Any) -> LinesRecipe:
    """The recipe with other values, of its own or of how it steps."""
    stepping = {name: changes.pop(name) for name in list(changes) if hasattr(recipe.settings, name)}
    return replace(recipe, settings=replace(recipe.settings, **stepping), **changes)


class Nothing:
    """An evaluation without figures."""

    names = ()

    def __call__(self, model: torch.nn.Module, step: int) -> dict[str, float]:
        return {}


def losses(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        return [(row["step"], row["decoder"], row["ctc"]) for row in csv.DictReader(file)]


def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(recipe: LinesRecipe, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    uncut = train_lines(recipe, whole, nano_vocabulary())

    class PowerCutError(Exception):
        pass

    def power_cut(row: Mapping[str, Any]) -> None:
        if row["step"] == 4:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        train_lines(recipe, cut, nano_vocabulary(), progress=power_cut)
    checkpoint = latest_checkpoint(cut)
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-0000003"
    resumed = train_lines(recipe, cut, nano_vocabulary(), resume=True)
    assert losses(cut) == losses(whole)
    for name, weight in uncut.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_what_a_run_writes_can_be_read_with(recipe: LinesRecipe, tmp_path: Path) -> None:
    folder = tmp_path / "a.b c" / "模型"
    train_lines(changed(recipe, steps=2), folder, nano_vocabulary(), evaluate=Nothing())
    plot_log(folder / "log.csv", tmp_path / "loss.png")
    assert Image.open(tmp_path / "loss.png").size[0] > 500
    assert json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["settings"]["steps"] == 2
    data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    assert data["files"][0]["file"] == "corpus.txt"
    assert "DejaVu Sans" in data["fonts"]
    assert "DejaVu Serif" not in data["fonts"]
    page = Image.new("RGB", (200, 60), "white")
    ImageDraw.Draw(page).text((10, 20), "some text", fill="black")
    document = Reader.load(folder / "model", device="cpu").read(page, max_new_tokens=4)
    assert len(document.pages[0].lines) == 1
    assert document.model.version.endswith("seed 0, step 2")


def test_a_folder_with_a_run_is_not_overwritten(recipe: LinesRecipe, tmp_path: Path) -> None:
    train_lines(changed(recipe, steps=3), tmp_path / "run", nano_vocabulary())
    with pytest.raises(TrainingError, match="holds a run already"):
        train_lines(recipe, tmp_path / "run", nano_vocabulary())


def test_a_run_without_data_is_refused(recipe: LinesRecipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="shards or a corpus"):
        train_lines(changed(recipe, paint=None), tmp_path, nano_vocabulary())


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(
    recipe: LinesRecipe, tiny_nano: VaryForConditionalGeneration, tmp_path: Path
) -> None:
    broken = VaryForConditionalGeneration(tiny_nano.config)
    torch.nn.init.constant_(broken.model.projector.vision_vocabulary.weight, float("nan"))
    broken.save_pretrained(tmp_path / "broken")
    with pytest.raises(TrainingError, match=r"step 1: .* not finite .* pool 0, batch \d+"):
        train_lines(changed(recipe, init_from=tmp_path / "broken"), tmp_path / "run", nano_vocabulary())
    assert not (tmp_path / "run" / "model").exists()


def painted(text: str) -> np.ndarray:
    image = Image.new("L", (112, 32), 255)
    font = ImageFont.truetype(str(FONTS / "DejaVuSans.ttf"), 20)
    ImageDraw.Draw(image).text((4, 4), text, fill=0, font=font)
    return np.asarray(image)


def test_overfitted_lines_give_their_own_text_and_the_image_decides() -> None:
    """Trap T1: a model that has learned the texts but not to look gives the same text for every image."""
    set_seed(1)
    model = VaryForConditionalGeneration(small_nano_config(48, initializer_range=0.05))
    form = line_format(model, nano_vocabulary())
    texts = ["cat", "a dog", "Mouse", "12:30", "end.", "bird", "x + y", "Hello"]
    images = [painted(text) for text in texts]
    batch = collate(
        [(image, form.encode(text)) for image, text in zip(images, texts, strict=True)], form, "all"
    )
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    model.train()
    for _ in range(150):
        parts = line_losses(model, batch, batch.counts, form.pad_id)
        (parts["decoder"] + 0.5 * parts["ctc"]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    processor = nano_processor(nano_vocabulary())

    def read(pictures: list[np.ndarray]) -> list[str]:
        answers = generate(model, processor.build_inputs(pictures), 12)
        return [processor.tokenizer.decode(answer.ids) for answer in answers]

    assert read(images) == texts
    assert read(images[::-1]) == texts[::-1]
    assert read([np.full((32, 112), 255, np.uint8)] * len(texts)) != texts


@pytest.mark.parametrize("saved", range(1, 9))
def test_the_data_goes_on_where_it_stopped_at_every_step(
    recipe: LinesRecipe, tiny_nano: VaryForConditionalGeneration, saved: int
) -> None:
    """Also where a stage of the curriculum ends."""
    recipe = changed(
        recipe, steps=9, stages=(Stage(0.3, 9), Stage(0.6, 20), Stage(1.0, 99)), batch_pixels=300
    )
    assert recipe.paint is not None
    source, form = PaintedLines(recipe.paint, pages=1), line_format(tiny_nano, nano_vocabulary())
    whole = [(batch.name, at) for [batch], at in stage_batches(recipe, source, form, Position(), 0, 1)]
    assert [at.step for _, at in whole] == list(range(1, 10))
    rest = stage_batches(recipe, source, form, whole[saved - 1][1], 0, 1)
    assert [(batch.name, at) for [batch], at in rest] == whole[saved:]


def test_a_resumed_run_keeps_its_settings(recipe: LinesRecipe, tmp_path: Path) -> None:
    train_lines(changed(recipe, steps=3), tmp_path / "run", nano_vocabulary())
    with pytest.raises(TrainingError, match=r"other settings \(seed 0\)"):
        train_lines(changed(recipe, seed=5), tmp_path / "run", nano_vocabulary(), resume=True)


def test_data_without_a_line_to_learn_is_an_error(recipe: LinesRecipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="without a line to learn"):
        train_lines(changed(recipe, max_width=8), tmp_path / "run", nano_vocabulary())


@pytest.mark.parametrize(("asked", "rows"), [(None, CHINESE_ROWS), (700, 700)])
def test_a_checkpoint_grows_for_chinese_and_keeps_what_it_knew(
    recipe: LinesRecipe, asked: int | None, rows: int
) -> None:
    assert recipe.paint is not None
    assert recipe.init_from is not None
    chinese = replace(recipe.paint, languages=("en", "zh"))
    before = load_model(recipe.init_from, attention="eager").eval()
    grown = build_model(
        changed(recipe, paint=chinese, vocab_size=asked), torch.device("cpu"), nano_vocabulary()
    ).eval()
    assert grown.config.text_config.vocab_size == rows
    assert tuple(grown.config.languages) == ("en", "zh")
    table = grown.get_input_embeddings().weight
    assert table.shape[0] == rows
    assert grown.lm_head.weight is table  # and so the CTC branch's classifier too
    assert torch.equal(table[:512], before.get_input_embeddings().weight)
    new = table[512:].detach()
    assert float(new.std()) == pytest.approx(before.config.text_config.initializer_range, rel=0.05)
    assert abs(float(new.mean())) < 0.1 * float(new.std())
    form = line_format(before, nano_vocabulary())
    batch = collate([(painted("Mouse"), form.encode("Mouse"))], form, "one")
    inputs = {"input_ids": batch.input_ids, "pixel_values": batch.pixel_values, "labels": batch.labels}
    old, now = before(**inputs), grown(**inputs)
    torch.testing.assert_close(now.logits[..., :512], old.logits)
    torch.testing.assert_close(now.ctc_logits[..., :512], old.ctc_logits)


def test_an_english_run_keeps_its_table(recipe: LinesRecipe) -> None:
    model = build_model(recipe, torch.device("cpu"), nano_vocabulary())
    assert model.config.text_config.vocab_size == 512
    assert tuple(model.config.languages) == ("en",)


@pytest.mark.parametrize(("widest", "painted", "expected"), [(1536, 300, 300), (200, 300, 200), (8, 300, 32)])
def test_the_widest_lines_of_a_run_are_the_widest_that_are_read(
    recipe: LinesRecipe, widest: int, painted: int, expected: int
) -> None:
    assert recipe.paint is not None
    paint = replace(recipe.paint, max_width_px=painted)
    model = build_model(
        changed(recipe, max_width=widest, paint=paint), torch.device("cpu"), nano_vocabulary()
    )
    assert model.config.line_size == (32, expected)
    model.config._check()


def test_a_new_model_has_the_languages_that_it_is_trained_on(recipe: LinesRecipe) -> None:
    assert recipe.paint is not None
    chinese = changed(recipe, init_from=None, paint=replace(recipe.paint, languages=("zh",)))
    model = build_model(chinese, torch.device("cpu"), nano_vocabulary())
    assert tuple(model.config.languages) == ("zh",)


def test_a_table_is_not_cut(recipe: LinesRecipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has 512 rows of vocabulary, more than the 300"):
        train_lines(changed(recipe, vocab_size=300), tmp_path / "run", nano_vocabulary())


@pytest.mark.parametrize(
    ("asked", "ids", "words"),
    [
        (20_000, 10_858, "has 10858 ids, fewer than the 20000 rows"),
        (None, 700, f"has 700 ids, fewer than the {CHINESE_ROWS} rows .* vocab_size to 700 at most"),
        (None, 300, f"has 300 ids, fewer than the {CHINESE_ROWS} rows .* vocab_size to 512 at most"),
    ],
)
def test_a_table_does_not_grow_beyond_its_vocabulary(
    recipe: LinesRecipe, tmp_path: Path, asked: int | None, ids: int, words: str
) -> None:
    """Neither to the rows asked for nor to those that Chinese takes of itself."""
    assert recipe.paint is not None
    chinese = changed(recipe, paint=replace(recipe.paint, languages=("en", "zh")), vocab_size=asked)
    vocabulary = tmp_path / "short.tiktoken"
    ranks = read_tiktoken(nano_vocabulary())
    write_tiktoken(
        sorted(ranks, key=ranks.__getitem__)[: ids - FIRST_RANK], vocabulary, first_rank=FIRST_RANK
    )
    with pytest.raises(TrainingError, match=words):
        train_lines(chinese, tmp_path / "run", vocabulary)
    assert not list((tmp_path / "run").iterdir())


class ChineseLines:
    """A source without fonts: the pictures say nothing, the texts are beyond a table of 512 rows."""

    def __init__(self, folders: tuple[Path, ...], seed: int, longest: int) -> None:
        pass

    def describe(self) -> list[str]:
        return ["five lines"]

    def prepare(self) -> None:
        pass

    def pool(self, index: int, max_chars: int) -> list[Line]:
        return [Line(painted("x" * len(text)), text) for text in ("不一", "用中 a", "的人", "有如", "不 b")]


def test_a_grown_model_is_resumed_grown(
    recipe: LinesRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vary.training.recipes.lines.ShardLines", ChineseLines)
    folder = tmp_path / "run"
    chinese = changed(
        recipe, paint=None, shards=(tmp_path,), vocab_size=1500, steps=3, sampled_rows=8, learning_rate=1e-2
    )
    set_seed(chinese.settings.seed)
    fresh = (
        build_model(chinese, torch.device("cpu"), nano_vocabulary())
        .get_input_embeddings()
        .weight.detach()
        .clone()
    )
    train_lines(chinese, folder, nano_vocabulary())
    # The loss over all rows ends a run that began with drawn ones.
    train_lines(changed(chinese, steps=5, sampled_rows=0), folder, nano_vocabulary(), resume=True)
    assert [step for step, _, _ in losses(folder)] == list("12345")
    learned = load_model(folder / "model", dtype=torch.float32)
    assert learned.config.text_config.vocab_size == 1500
    form = line_format(learned, nano_vocabulary())
    text = torch.tensor(form.encode("不一用中的人有如"))
    assert int(text.min()) >= 512
    rows = learned.get_input_embeddings().weight.detach()
    assert float((rows[text] - fresh[text]).norm(dim=1).min()) > 0.05


@pytest.mark.parametrize("batch_ids", ["Mouse", "不一 a"])
def test_sampled_losses_are_those_of_a_table_of_these_rows(recipe: LinesRecipe, batch_ids: str) -> None:
    """Reference: the whole table's scores, all other columns at minus infinity."""
    model = build_model(changed(recipe, vocab_size=1500), torch.device("cpu"), nano_vocabulary()).eval()
    form = line_format(model, nano_vocabulary(), sampled_rows=40)
    ids = form.encode(batch_ids)
    batch = collate([(painted("Mouse"), ids)], form, "one")
    batch.rows = sample_rows(batch, form, np.random.default_rng(3))
    assert set(ids) | {form.pad_id, form.eos_id} <= set(batch.rows.tolist())
    assert 512 + 40 <= len(batch.rows) <= 512 + 40 + len(ids)
    parts = line_losses(model, batch, batch.counts, form.pad_id)
    whole = model(
        input_ids=batch.input_ids,
        pixel_values=batch.pixel_values,
        pixel_widths=batch.pixel_widths,
        labels=batch.labels,
    )
    hidden = torch.ones(1500, dtype=torch.bool)
    hidden[batch.rows] = False
    logits = whole.logits[:, :-1].masked_fill(hidden, -torch.inf)
    decoder = torch.nn.functional.cross_entropy(logits[0], batch.labels[0, 1:])
    spelled = whole.ctc_logits.masked_fill(hidden, -torch.inf)
    ctc = ctc_loss(spelled, whole.ctc_lengths, batch.targets, batch.target_lengths, form.pad_id, 1)
    torch.testing.assert_close(parts["decoder"], decoder)
    torch.testing.assert_close(parts["ctc"], ctc)


def test_models_that_read_pages_are_refused(recipe: LinesRecipe) -> None:
    with pytest.raises(TrainingError, match="tiny reads whole pages"):
        build_model(changed(recipe, init_from=None, preset="tiny"), torch.device("cpu"), nano_vocabulary())

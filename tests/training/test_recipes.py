"""Stage 1 end to end on tiny models: it learns, resumes exactly, stops when it must, and can be read with."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from transformers import set_seed

from factories import small_nano_config
from vary.assets import nano_vocabulary
from vary.datagen.text import TextEngineConfig
from vary.engine.generation import generate
from vary.errors import TrainingError
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.presets import nano_processor
from vary.reader import Reader
from vary.training.checkpoints import Position, latest_checkpoint
from vary.training.data import PaintedLines, Stage, collate
from vary.training.loop import LoopSettings, learning_rate
from vary.training.losses import vocabulary_losses
from vary.training.plots import plot_log
from vary.training.recipes import (
    VocabularyRecipe,
    build_model,
    line_format,
    stage_batches,
    train_vocabulary,
)

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture
def recipe(tiny_nano_folder: Path, tmp_path: Path) -> VocabularyRecipe:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the cat sat on the mat\nand ran away from a dog\n" * 4, encoding="utf-8")
    paint = TextEngineConfig(corpus=(str(corpus),), font_folders=(str(FONTS),), lines_per_page=(3, 4))
    return VocabularyRecipe(
        init_from=tiny_nano_folder,
        paint=paint,
        steps=6,
        batch_pixels=600,
        warmup_steps=2,
        precision="no",
        workers=0,
        log_every=1,
        save_every=3,
        evaluate_every=0,
    )


def losses(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        return [(row["step"], row["decoder"], row["ctc"]) for row in csv.DictReader(file)]


def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(recipe: VocabularyRecipe, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    uncut = train_vocabulary(recipe, whole, nano_vocabulary())

    class PowerCutError(Exception):
        pass

    def power_cut(line: str) -> None:
        if line.startswith("step 4"):
            raise PowerCutError

    with pytest.raises(PowerCutError):
        train_vocabulary(recipe, cut, nano_vocabulary(), progress=power_cut)
    checkpoint = latest_checkpoint(cut)
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-0000003"
    resumed = train_vocabulary(recipe, cut, nano_vocabulary(), resume=True)
    assert losses(cut) == losses(whole)
    for name, weight in uncut.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_what_a_run_writes_can_be_read_with(recipe: VocabularyRecipe, tmp_path: Path) -> None:
    folder = tmp_path / "a.b c" / "模型"
    train_vocabulary(replace(recipe, steps=2), folder, nano_vocabulary(), evaluate=lambda _: {})
    plot_log(folder / "log.csv", tmp_path / "loss.png")
    assert Image.open(tmp_path / "loss.png").size[0] > 500
    assert json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["steps"] == 2
    data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    assert data["corpus"][0]["file"] == "corpus.txt"
    assert "DejaVu Sans" in data["fonts"]
    assert "DejaVu Serif" not in data["fonts"]
    page = Image.new("RGB", (200, 60), "white")
    ImageDraw.Draw(page).text((10, 20), "some text", fill="black")
    document = Reader.load(folder / "model", device="cpu").read(page, max_new_tokens=4)
    assert len(document.pages[0].lines) == 1
    assert document.model.version.endswith("seed 0, step 2")


def test_a_folder_with_a_run_is_not_overwritten(recipe: VocabularyRecipe, tmp_path: Path) -> None:
    train_vocabulary(replace(recipe, steps=3), tmp_path / "run", nano_vocabulary())
    with pytest.raises(TrainingError, match="holds a run already"):
        train_vocabulary(recipe, tmp_path / "run", nano_vocabulary())


def test_a_run_without_data_is_refused(recipe: VocabularyRecipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="shards or a corpus"):
        train_vocabulary(replace(recipe, paint=None), tmp_path, nano_vocabulary())


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(
    recipe: VocabularyRecipe, tiny_nano: VaryForConditionalGeneration, tmp_path: Path
) -> None:
    broken = VaryForConditionalGeneration(tiny_nano.config)
    torch.nn.init.constant_(broken.model.projector.vision_vocabulary.weight, float("nan"))
    broken.save_pretrained(tmp_path / "broken")
    with pytest.raises(TrainingError, match=r"step 1: .* not finite .* pool 0, batch \d+"):
        train_vocabulary(replace(recipe, init_from=tmp_path / "broken"), tmp_path / "run", nano_vocabulary())
    assert not (tmp_path / "run" / "model").exists()


def test_the_rate_rises_stays_and_falls() -> None:
    settings = LoopSettings(100, 1.0, 10, 0.5, 0.1, {}, 1.0, 1, 1, 1)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([n / 10 for n in range(1, 11)])
    assert rates[10:50] == [1.0] * 40
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[-1] == pytest.approx(0.1)


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
        parts = vocabulary_losses(model, batch, form.pad_id)
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
    recipe: VocabularyRecipe, tiny_nano: VaryForConditionalGeneration, saved: int
) -> None:
    """Also where a stage of the curriculum ends."""
    recipe = replace(
        recipe, steps=9, stages=(Stage(0.3, 9), Stage(0.6, 20), Stage(1.0, 99)), batch_pixels=300
    )
    assert recipe.paint is not None
    source, form = PaintedLines(recipe.paint, pages=1), line_format(tiny_nano, nano_vocabulary())
    whole = [(batch.name, at) for batch, at in stage_batches(recipe, source, form, Position(), 0, 1)]
    assert [at.step for _, at in whole] == list(range(1, 10))
    rest = stage_batches(recipe, source, form, whole[saved - 1][1], 0, 1)
    assert [(batch.name, at) for batch, at in rest] == whole[saved:]


def test_a_resumed_run_keeps_its_settings(recipe: VocabularyRecipe, tmp_path: Path) -> None:
    train_vocabulary(replace(recipe, steps=3), tmp_path / "run", nano_vocabulary())
    with pytest.raises(TrainingError, match=r"other settings \(seed 0\)"):
        train_vocabulary(replace(recipe, seed=5), tmp_path / "run", nano_vocabulary(), resume=True)


def test_data_without_a_line_to_learn_is_an_error(recipe: VocabularyRecipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="without a line to learn"):
        train_vocabulary(replace(recipe, max_width=8), tmp_path / "run", nano_vocabulary())


def test_models_that_read_pages_are_refused(recipe: VocabularyRecipe) -> None:
    with pytest.raises(TrainingError, match="tiny reads whole pages"):
        build_model(replace(recipe, init_from=None, preset="tiny"), None, torch.device("cpu"))

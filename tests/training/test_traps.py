"""The traps that others fell into (T1 to T7), each on a tiny model through the production recipe."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from checkpoints import chat_config, chat_model, chat_processor
from learners import PROMPT, learner, page, processor_of, small_recipe, write_llava
from vary.conversation import Conversation
from vary.datagen.sample import Sample
from vary.errors import TrainingError
from vary.model.processing import VaryProcessor
from vary.reader import Reader
from vary.training.data.examples import IGNORED, ExampleBuilder
from vary.training.recipes import train_multitask
from vary.training.running import stop_ids

WORDS = ("cat", "dog", "owl", "bee", "ant", "cow", "fox", "hen")


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned eight pages, in a folder whose name breaks careless code (T6)."""
    folder = tmp_path_factory.mktemp("runs") / "a.b c" / "模型"
    data = write_llava(tmp_path_factory.mktemp("data"), WORDS)
    model = learner()
    recipe = small_recipe(data, steps=90, batch=8, micro_batch=8, log_every=30)
    train_multitask(recipe, model, processor_of(model), folder)
    return folder


def losses(folder: Path) -> list[float]:
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def read_all(folder: Path, pages: Sequence[np.ndarray]) -> list[str]:
    reader = Reader.load(folder, device="cpu")
    return [reader.read(Image.fromarray(p), task="ocr", max_new_tokens=8).text.strip() for p in pages]


def test_t1_each_page_gives_its_own_text_whatever_its_place(overfitted: Path) -> None:
    pages = [page(word) for word in WORDS]
    assert read_all(overfitted / "model", pages) == list(WORDS)
    assert read_all(overfitted / "model", pages[::-1]) == list(WORDS[::-1])


def test_t1_another_image_changes_what_is_written(overfitted: Path) -> None:
    reader = Reader.load(overfitted / "model", device="cpu")
    inputs = reader.processor.build_inputs([page("cat")], PROMPT)
    seen = reader.model(**inputs).logits[0, -1].detach()
    blank = reader.model(**{**inputs, "pixel_values": torch.zeros_like(inputs["pixel_values"])}).logits[0, -1]
    assert int(seen.argmax()) == ord("c")
    assert float((seen - blank.detach()).abs().max()) > 1.0


def test_t2_many_epochs_learn_what_as_many_copies_learn(tmp_path: Path) -> None:
    """A hundred epochs of four pages, and one epoch of a hundred copies of each."""
    words = WORDS[:4]
    epochs = write_llava(tmp_path / "four", words)
    copies = write_llava(tmp_path / "copies", words * 100)
    ends = []
    for name, data, count in (("epochs", epochs, 100.0), ("copies", copies, 1.0)):
        model = learner()
        recipe = small_recipe(data, steps=None, epochs=count, batch=4, micro_batch=4, log_every=5)
        train_multitask(recipe, model, processor_of(model), tmp_path / name)
        rows = losses(tmp_path / name)
        assert len(rows) == 20  # 400 samples in steps of 4
        ends.append(rows[-1])
    assert max(ends) < 0.1, ends


TEXTS = st.text(
    st.one_of(
        st.characters(codec="utf-8", exclude_categories=("Cs",)), st.sampled_from("中文，。<|im_end|>\n ")
    ),
    min_size=1,
    max_size=30,
).filter(lambda text: bool(text.strip()))


@pytest.mark.parametrize("layout", ["default", "mindocr"])
@hypothesis_settings(max_examples=60)
@given(rounds=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3), system=st.none() | TEXTS)
def test_t3_every_answer_is_learned_whole_and_nothing_else(
    layout: str, rounds: list[tuple[str, str]], system: str | None
) -> None:
    """Whatever stands in a chat: its answers and their ends, decoded, are all that is learned."""
    builder = ExampleBuilder(PROCESSOR, STOPS, max_length=10_000, layout=layout)
    (prompt, answer), *later = rounds
    sample = Sample(None, "chat", prompt, answer, "test", "CC0-1.0", later=tuple(later), system=system)
    ids, labels = builder.conversation(sample, ())
    assert len(ids) == len(labels)
    assert all(label in (IGNORED, token) for token, label in zip(ids, labels, strict=True))
    spans, inside = [], False
    for label in labels:
        if label == IGNORED:
            inside = False
            continue
        if not inside:
            spans.append([])
            inside = True
        spans[-1].append(label)
        if label in STOPS:
            inside = False
    assert len(spans) == len(rounds)
    header = builder.header
    for span, (_, text) in zip(spans, rounds, strict=True):
        assert span[: len(header)] == header
        assert span[-1] in STOPS
        assert PROCESSOR.tokenizer.decode(span[len(header) : -1]) == _nfc(text)


def _nfc(text: str) -> str:
    import unicodedata

    return unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("layout", ["default", "mindocr"])
@pytest.mark.parametrize(
    "prompt", ["Provide the ocr results of this image.", "写出这幅图中所有文字。", "a<imgpad>b\n"]
)
def test_t5_training_and_reading_build_the_same_prompt(prompt: str, layout: str) -> None:
    """Byte for byte: the reader's single question, a conversation's second one, and the training example."""
    image = page("cat", 128)
    builder = ExampleBuilder(PROCESSOR, STOPS, max_length=10_000, layout=layout)
    first, second = "an answer", "und 再来"
    sample = Sample(image, "ocr", prompt, first, "test", "CC0-1.0", later=((prompt, second),))
    example = builder.build(sample, "one")
    asked = PROCESSOR.build_inputs([image], prompt, layout=layout)
    start = next(place for place, label in enumerate(example.labels) if label != IGNORED)
    assert example.input_ids[:start] == asked["input_ids"][0].tolist()
    for name, value in example.pixels.items():
        torch.testing.assert_close(value, asked[name], rtol=0, atol=0)
    reader = Reader(RANDOM, PROCESSOR, "random", torch.device("cpu"))
    talk = Conversation(reader, Image.fromarray(image), layout=layout, max_new_tokens=5)
    turn = talk.ask(prompt)
    assert turn.text.strip()
    messages = [*talk.messages, {"role": "user", "content": [{"type": "text", "text": prompt}]}]
    told = PROCESSOR.build_chat_inputs(messages, [image], layout=layout)["input_ids"][0].tolist()
    answered = Sample(image, "ocr", prompt, turn.text, "test", "CC0-1.0", later=((prompt, second),))
    ids, labels = builder.conversation(answered, [RANDOM.config.image_seq_length])
    answer = len(labels) - next(n for n, label in enumerate(reversed(labels)) if label == IGNORED)
    assert ids[:answer] == told


def test_t5_a_known_checkpoint_starts_low_on_its_own_data(overfitted: Path, tmp_path: Path) -> None:
    data = write_llava(tmp_path / "data", WORDS)
    reader = Reader.load(overfitted / "model", device="cpu")
    recipe = small_recipe(data, steps=1, batch=8, micro_batch=8)
    train_multitask(recipe, reader.model, reader.processor, tmp_path / "run")
    assert losses(tmp_path / "run")[0] < 0.1


def test_t4_a_loss_that_is_not_finite_stops_and_names_the_batch(tmp_path: Path) -> None:
    data = write_llava(tmp_path / "data", WORDS)
    model = learner()
    torch.nn.init.constant_(model.model.projector.vision_vocabulary.weight, float("nan"))
    before = {name: value.clone() for name, value in model.model.language_model.state_dict().items()}
    with pytest.raises(TrainingError, match=r"step 1: .*not finite.*micro-batch 0 \(pages.json, record \d"):
        train_multitask(small_recipe(data), model, processor_of(model), tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()
    for name, value in model.model.language_model.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} was changed by a step that is not finite"


def test_t6_a_fresh_process_answers_the_same(overfitted: Path) -> None:
    image = overfitted / "cat.png"
    Image.fromarray(page("cat")).save(image)
    command = [sys.executable, "-m", "vary", "read", str(image), "--model", str(overfitted / "model")]
    done = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert "cat" in json.dumps(document["pages"][0])
    assert read_all(overfitted / "model", [page("cat")]) == ["cat"]


@pytest.mark.parametrize(
    "text", ["简体与繁體", "ＦＵＬＬ　ｗｉｄｔｈ", "שלום עולם", "한국어", "a\u0301 \u0915\u094d\u0937", "🙂"]
)
def test_t7_texts_go_through_data_and_tokenizer_unchanged(text: str, tmp_path: Path) -> None:
    from vary.training.data.sources import DataSource, open_source

    source = open_source(DataSource(write_llava(tmp_path, [text])))
    example = ExampleBuilder(PROCESSOR, STOPS, max_length=1000).build(source.load(0), "one")
    learned = [label for label in example.labels if label != IGNORED]
    assert PROCESSOR.tokenizer.decode(learned[:-1]) == _nfc(text)


CONFIG = chat_config()
PROCESSOR: VaryProcessor = chat_processor(CONFIG)
RANDOM = chat_model(CONFIG, letters="abcdefgh")
STOPS = frozenset(stop_ids(RANDOM))

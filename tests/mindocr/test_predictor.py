"""The predictor against the library's `generate`, option by option, and against the package's other ways."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from checkpoints import SPECIAL, chat_config, chat_model, chat_processor
from factories import tiny_opt_config, tiny_toy_config
from vary.conversation import Conversation
from vary.errors import CheckpointError, ContextError, DeviceError, SettingsError, TaskError
from vary.mindocr.keys import KEYS
from vary.mindocr.predictor import CHECKED, Predictor, sampling
from vary.mindocr.settings import Settings, read_settings
from vary.model.chat_templates import CHAT_TEMPLATES
from vary.model.configuration import VaryConfig
from vary.model.presets import preset_config
from vary.model.processing import VaryProcessor
from vary.model.tokenization import load_qwen_tokenizer
from vary.reader import Reader
from vary.weights.conversion import convert

QUERY = "Provide the ocr results of this image."
ENDS = [SPECIAL["<|endoftext|>"], SPECIAL["<|im_end|>"]]
MakeSettings = Callable[..., Settings]
WriteSettings = Callable[..., Path]


@pytest.fixture(scope="module")
def page() -> Image.Image:
    noise = np.random.default_rng(7).integers(0, 256, (180, 260, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.fixture
def reader(tiny_toy_folder: Path) -> Reader:
    """Fresh for every test: a predictor sets how the answers of its reader end."""
    return Reader.load(tiny_toy_folder, device="cpu", dtype=torch.float32)


def library_answer(reader: Reader, page: Image.Image, **options: Any) -> list[int]:
    """The new ids that the library's `generate` gives for MindOCR's prompt, up to the end of text."""
    inputs = reader.processor.build_inputs([page], QUERY, layout="mindocr")
    choices = {"do_sample": False, "max_new_tokens": 24, "eos_token_id": ENDS, "num_beams": 1, **options}
    with torch.inference_mode():
        ids = reader.model.generate(**inputs, **choices)[0, inputs["input_ids"].shape[1] :].tolist()
    return ids[: next((place for place, token in enumerate(ids) if token in choices["eos_token_id"]), None)]


def draw_with_our_numbers(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Lets the library draw by the random numbers of an answer of ours; what it draws from is its own."""
    numbers = iter(torch.rand(64, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))

    def multinomial(probabilities: torch.Tensor, num_samples: int) -> torch.Tensor:
        assert probabilities.shape[0] == num_samples == 1
        sums = probabilities.double().cumsum(-1)
        return torch.searchsorted(sums, next(numbers) * sums[:, -1:], right=True)

    monkeypatch.setattr(torch, "multinomial", multinomial)


def answer(reader: Reader, settings: Settings, page: Image.Image, **options: Any) -> list[int]:
    return list(Predictor(reader, settings, **options).conversation(page).ask(QUERY).ids)


DRAWN = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
OPTIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("repetition_penalty", {"repetition_penalty": 1.5}, {"repetition_penalty": 1.5}),
    ("max_new_tokens", {"max_new_tokens": 9}, {"max_new_tokens": 9}),
    ("do_sample", DRAWN, DRAWN),
    ("temperature", {**DRAWN, "temperature": 0.5}, {**DRAWN, "temperature": 0.5}),
    ("top_k", {**DRAWN, "top_k": 2}, {**DRAWN, "top_k": 2}),
    ("top_p", {**DRAWN, "top_p": 0.5}, {**DRAWN, "top_p": 0.5}),
    ("num_beams", {"num_beams": 3}, {"num_beams": 3, "early_stopping": False, "length_penalty": 1.0}),
]


@pytest.mark.parametrize(("name", "ours", "theirs"), OPTIONS, ids=[name for name, _, _ in OPTIONS])
def test_an_option_does_what_the_library_does(
    reader: Reader,
    settings: MakeSettings,
    page: Image.Image,
    name: str,
    ours: dict[str, Any],
    theirs: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if theirs.get("do_sample"):
        draw_with_our_numbers(monkeypatch, seed=5)
    expected = library_answer(reader, page, **theirs)
    found = answer(reader, settings(**ours), page, seed=5)
    assert found == expected
    # It has an effect: without it the answer is another one.
    before = DRAWN if name in ("temperature", "top_k", "top_p") else {}
    assert answer(reader, settings(**before), page, seed=5) != found


def test_without_sampling_its_options_have_no_effect(
    reader: Reader, settings: MakeSettings, page: Image.Image
) -> None:
    options = settings(top_k=2, top_p=0.5, temperature=9.0)
    assert answer(reader, options, page) == library_answer(reader, page)
    assert sampling(options).temperature == 0


def test_beams_exclude_sampling(reader: Reader, settings: MakeSettings, page: Image.Image) -> None:
    beams = answer(reader, settings(num_beams=3, **DRAWN), page)
    assert beams == library_answer(reader, page, num_beams=3, early_stopping=False)


def test_every_answer_is_drawn_with_the_seed(
    reader: Reader, settings: MakeSettings, page: Image.Image
) -> None:
    predictor = Predictor(reader, settings(**DRAWN))
    first = predictor.conversation(page).ask(QUERY)
    assert predictor.conversation(page).ask(QUERY).ids == first.ids
    assert Predictor(reader, settings(**DRAWN), seed=1).conversation(page).ask(QUERY).ids != first.ids


def test_max_decode_length_counts_the_prompt(
    reader: Reader, settings: MakeSettings, page: Image.Image
) -> None:
    length = reader.processor.build_inputs([page], QUERY, layout="mindocr")["input_ids"].shape[1]
    only_total = settings(max_new_tokens=None, max_decode_length=length + 7)
    turn = Predictor(reader, only_total).conversation(page).ask(QUERY)
    assert list(turn.ids) == library_answer(reader, page, max_new_tokens=7)
    assert turn.finish_reason == "length"
    # max_new_tokens wins; seq_length is never passed.
    both = settings(max_new_tokens=9, max_decode_length=length + 7)
    assert answer(reader, both, page) == library_answer(reader, page, max_new_tokens=9)
    context = settings(max_new_tokens=9, seq_length=length + 4)
    assert answer(reader, context, page) == library_answer(reader, page, max_new_tokens=4)


def test_a_prompt_that_leaves_no_room_is_refused(
    reader: Reader, settings: MakeSettings, page: Image.Image
) -> None:
    length = reader.processor.build_inputs([page], QUERY, layout="mindocr")["input_ids"].shape[1]
    with pytest.raises(ContextError, match=f"{length} tokens"):
        answer(reader, settings(seq_length=length), page)


def test_an_answer_ends_at_the_tokens_of_the_file(
    reader: Reader, settings: MakeSettings, page: Image.Image
) -> None:
    whole = library_answer(reader, page, repetition_penalty=2.0)
    stop = next(token for place, token in enumerate(whole) if place >= 3 and token not in whole[:place])
    options = settings(eos_token_id=stop, repetition_penalty=2.0)
    turn = Predictor(reader, options).conversation(page).ask(QUERY)
    assert list(turn.ids) == whole[: whole.index(stop)]
    assert turn.finish_reason == "stop"
    assert reader.model.generation_config.eos_token_id == sorted([stop, SPECIAL["<|im_end|>"]])
    Predictor(reader, settings(eos_token_id=None))
    assert reader.model.generation_config.eos_token_id == sorted([stop, SPECIAL["<|im_end|>"]]), "left alone"


def test_use_past_false_computes_everything_again(
    reader: Reader, settings: MakeSettings, page: Image.Image
) -> None:
    expected = [Predictor(reader, settings()).conversation(page)]
    expected_turns = [expected[0].ask(QUERY), expected[0].ask("And now?")]
    lengths: list[int] = []
    reader.model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    conversation = Predictor(reader, settings(use_past=False)).conversation(page)
    turns = [conversation.ask(QUERY), conversation.ask("And now?")]
    assert [turn.ids for turn in turns] == [turn.ids for turn in expected_turns]
    assert [turn.cached_tokens for turn in turns] == [0, 0]
    assert len(lengths) == sum(turn.tokens + (turn.finish_reason == "stop") for turn in turns)
    first = turns[0].prompt_tokens
    assert lengths[:3] == [first, first + 1, first + 2]


def test_the_answer_is_the_readers_and_the_conversations(
    reader: Reader, settings: MakeSettings, page: Image.Image
) -> None:
    options = settings(repetition_penalty=1.5)
    turn = Predictor(reader, options).conversation(page).ask(QUERY)
    chat = Conversation(reader, page, layout="mindocr", sampling=sampling(options), max_new_tokens=24)
    assert chat.ask(QUERY).text == turn.text
    read = reader.read(page, prompt=QUERY, layout="mindocr", repetition_penalty=1.5, max_new_tokens=24)
    assert read.pages[0].text.split() == turn.text.split()
    assert turn.text.strip()
    other = Predictor(reader, options, layout="default").conversation(page).ask(QUERY)
    assert other.text != turn.text


@pytest.fixture(scope="module")
def wordy(shared_dir: Path) -> Reader:
    """A narrow Vary-toy with Qwen's vocabulary and 256 tokens an image."""
    tiny = tiny_toy_config().to_dict()
    text = preset_config("vary-toy").text_config.to_dict()
    kept = ("vocab_size", "eos_token_id", "pad_token_id")
    tiny["text_config"] |= {"max_position_embeddings": 8192, **{name: text[name] for name in kept}}
    tiny["vision_vocabulary_config"] |= {"image_size": 1024, "num_hidden_layers": 1}
    tiny["vision_vocabulary_config"] |= {"global_attention_layers": (), "layer_norm_eps": 1e-6}
    tiny["clip_config"] |= {"image_size": 224, "hidden_size": 64, "num_attention_heads": 1}
    for name in ("image_token_id", "image_start_token_id", "image_end_token_id"):
        tiny.pop(name)  # the defaults are Qwen's
    config = VaryConfig(**tiny | {"tasks": ("ask",)})
    images = chat_processor(chat_config(lambda: config)).image_processor
    tokenizer = load_qwen_tokenizer(shared_dir / "assets" / "qwen.tiktoken")
    processor = VaryProcessor(images, tokenizer, 256, CHAT_TEMPLATES["vary_qwen"])
    return Reader(chat_model(config).half().float(), processor, "toy", torch.device("cpu"))


WORDY = {"vocab_size": 151860, "eos_token_id": 151643, "max_new_tokens": 6}


@pytest.mark.shared
def test_the_answer_is_a_greedy_decode_by_hand_on_mindocrs_ids(
    shared_dir: Path, wordy: Reader, settings: MakeSettings, page: Image.Image
) -> None:
    """On the recorded ids of MindOCR's own prompt."""
    recorded = json.loads((shared_dir / "golden" / "token_cases.json").read_text(encoding="utf-8"))
    prompt = recorded["prompts"]["mindocr"]
    ids = list(prompt["ids"])
    pixels = wordy.processor.image_processor([page], variant="mindocr", return_tensors="pt")
    with torch.inference_mode():
        features = wordy.model.get_image_features(**pixels)
        for _ in range(6):
            logits = wordy.model(input_ids=torch.tensor([ids]), mm_encoder_outputs={"image": features}).logits
            ids.append(int(logits[0, -1].argmax()))
    expected = ids[len(prompt["ids"]) :]
    turn = Predictor(wordy, settings(**WORDY)).conversation(page).ask(prompt["query"])
    assert turn.prompt_tokens == len(prompt["ids"])
    assert list(turn.ids) == expected
    assert not set(expected) & {151643, 151645}


@pytest.mark.shared
@pytest.mark.parametrize("to", ["mindspore", "authors"])
def test_a_file_of_weights_whose_sizes_only_the_settings_tell(
    wordy: Reader, settings: MakeSettings, page: Image.Image, tmp_path: Path, to: str
) -> None:
    """What the seed's users have: MindOCR's `.ckpt`, or the authors' `pytorch_model.bin` and nothing else."""
    expected = Predictor(wordy, settings(**WORDY)).conversation(page).ask(QUERY)
    wordy.model.save_pretrained(tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "theirs", to=to, dtype="float16")
    [weights] = [path for path in (tmp_path / "theirs").iterdir() if path.suffix in (".ckpt", ".bin")]
    (tmp_path / "theirs" / "config.json").unlink(missing_ok=True)
    wordy.processor.tokenizer.backend_tokenizer.save(str(tmp_path / "theirs" / "tokenizer.json"))
    named = settings(**WORDY, checkpoint_name_or_path=str(weights))
    predictor = Predictor.load(named, device="cpu")
    # A decoder so narrow has no heads of Qwen's width, and no tensor says how many it has.
    assert predictor.reader.model.config.text_config.num_attention_heads == 4
    turn = predictor.conversation(page).ask(QUERY)
    assert (turn.ids, turn.text) == (expected.ids, expected.text)


@pytest.mark.parametrize(
    ("said", "named"),
    [({"num_beams": 2}, "'model.num_beams' is 2"), ({"use_past": False}, "'model.use_past' is")],
)
def test_what_quantized_weights_do_not_follow_is_refused_before_loading(
    said: dict[str, Any],
    named: str,
    settings: MakeSettings,
    tiny_toy_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = settings(**said, checkpoint_name_or_path=str(tiny_toy_folder))
    with monkeypatch.context() as patched:
        patched.setattr("vary.mindocr.predictor.kernels_refuse", lambda *_: None)
        patched.delattr(Reader, "load")
        with pytest.raises(SettingsError, match=f"{named}.*leave out --quantize"):
            Predictor.load(asked, device="cpu", quantize="int8")
    # The kernels do not compute this one, and PyTorch follows everything.
    predictor = Predictor.load(asked, device="cpu", quantize="int8")
    assert predictor.reader._backend.parts()["decoder"].startswith("PyTorch int8-g64")


def test_a_model_that_does_not_fit_is_refused(
    settings: MakeSettings, tiny_toy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vary.engine.memory.available_memory", lambda _: 1000)
    with pytest.raises(DeviceError, match=r"needs about .* of memory, and cpu has 0\.0 MB free"):
        Predictor.load(settings(checkpoint_name_or_path=str(tiny_toy_folder)), device="cpu")


def test_every_checked_key_is_compared() -> None:
    assert set(CHECKED) == {name for name, key in KEYS.items() if key.outcome == "checked"}


def test_settings_of_another_checkpoint_are_refused_with_all_that_differs(
    reader: Reader, settings: MakeSettings
) -> None:
    wrong = settings(
        hidden_size=2048, num_layers=24, intermediate_size=80, rms_norm_eps=1e-5, theta=5000, seq_length=4096
    )
    with pytest.raises(SettingsError) as caught:
        Predictor(reader, wrong)
    message = str(caught.value)
    assert "'model.hidden_size' is 2048, but the checkpoint has 24\n" in message
    assert "'model.num_layers' is 24, but the checkpoint has 2\n" in message
    assert (
        "'model.intermediate_size' is 80, but the checkpoint has 40; Qwen's own configuration doubles it"
        in message
    )
    assert "'model.rms_norm_eps' is 1e-05, but the checkpoint has 1e-06" in message
    assert "'model.theta' is 5000, but the checkpoint has 10000" in message
    assert "'model.seq_length' is 4096, but the checkpoint has 2048 positions" in message
    assert "num_heads" not in message
    assert "line " in message


def test_an_end_token_beyond_the_vocabulary_is_refused(reader: Reader, settings: MakeSettings) -> None:
    with pytest.raises(
        SettingsError, match=r"'model\.eos_token_id' is 151643, but the checkpoint has 473 tokens"
    ):
        Predictor(reader, settings(eos_token_id=151643))


def test_an_unknown_layout_is_refused(reader: Reader, settings: MakeSettings) -> None:
    with pytest.raises(TaskError, match="did you mean 'mindocr'"):
        Predictor(reader, settings(), layout="mindorc")


def test_checkpoints_that_take_no_queries_are_refused(settings: MakeSettings, tiny_nano_folder: Path) -> None:
    with pytest.raises(TaskError, match="reads single text lines"):
        Predictor(Reader.load(tiny_nano_folder, device="cpu"), settings())
    config = chat_config(tiny_opt_config, tasks=("ocr", "chart"))
    reader = Reader(chat_model(config), chat_processor(config), "tiny-opt", torch.device("cpu"))
    with pytest.raises(TaskError, match="was not trained to answer questions"):
        Predictor(reader, settings())
    config = chat_config(tiny_opt_config)
    reader = Reader(chat_model(config), chat_processor(config), "tiny-opt", torch.device("cpu"))
    with pytest.raises(SettingsError, match="language model is opt"):
        Predictor(reader, settings())


def test_the_type_is_the_files_unless_another_is_asked_for(settings: MakeSettings) -> None:
    half = settings(compute_dtype="float16")
    predictor = Predictor.load(half, device="cpu")
    assert predictor.reader.model.dtype == torch.float16
    assert "--dtype float32" in predictor.notes[0]
    predictor = Predictor.load(half, device="cpu", dtype="float32")
    assert predictor.reader.model.dtype == torch.float32
    assert predictor.notes == ()


def test_float16_on_a_cpu_answers(settings: MakeSettings, page: Image.Image) -> None:
    turn = Predictor.load(settings(compute_dtype="float16"), device="cpu").conversation(page).ask(QUERY)
    assert turn.tokens > 0


@pytest.mark.parametrize("named", ["", "/path/to/vary_toy.ckpt", "nothing-of-that-name"])
def test_a_checkpoint_that_is_not_there(settings: MakeSettings, named: str) -> None:
    with pytest.raises(CheckpointError, match=r"checkpoint_name_or_path.*--model"):
        Predictor.load(settings(checkpoint_name_or_path=named), device="cpu")


def test_a_vocabulary_that_is_not_there(
    write_settings: WriteSettings, tiny_toy_folder: Path, tmp_path: Path
) -> None:
    path = write_settings()
    tokenizer = "processor:\n  tokenizer:\n    vocab_file: /path/to/qwen.tiktoken\n"
    path.write_text(path.read_text(encoding="utf-8") + tokenizer, encoding="utf-8")
    # The checkpoint has a tokenizer of its own.
    assert Predictor.load(read_settings(path), device="cpu").reader.name == tiny_toy_folder.name
    there = tmp_path / "elsewhere" / "qwen.tiktoken"
    there.parent.mkdir()
    there.touch()
    path.write_text(path.read_text(encoding="utf-8").replace("/path/to/qwen.tiktoken", str(there)), "utf-8")
    assert Predictor.load(read_settings(path), device="cpu").reader.name == tiny_toy_folder.name
    path.write_text(path.read_text(encoding="utf-8").replace(str(there), "/path/to/qwen.tiktoken"), "utf-8")
    (tmp_path / "bare.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"vocab_file is /path/to/qwen\.tiktoken.*--tokenizer"):
        Predictor.load(read_settings(path), model=str(tmp_path / "bare.ckpt"), device="cpu")


def test_the_name_of_fetched_weights(
    settings: MakeSettings, tiny_toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VARY_HOME", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vary-toy").symlink_to(tiny_toy_folder)
    predictor = Predictor.load(settings(checkpoint_name_or_path="vary-toy"), device="cpu")
    assert predictor.reader.name == "vary-toy"

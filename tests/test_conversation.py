"""A conversation: encoded once, nothing read twice, nothing lost, and the same as asking anew."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vary
from checkpoints import SPECIAL, chat_config, chat_model, chat_processor
from factories import tiny_opt_config, tiny_toy_config
from vary.conversation import Conversation, Turn
from vary.engine.generation import Sampling, generate
from vary.errors import ContextError, InputError, OutputError, TaskError, VaryError
from vary.inputs.pages import open_page
from vary.model.vision_vocabulary import VisionVocabulary
from vary.reader import Reader

PAGE = np.random.default_rng(0).integers(0, 255, (60, 50, 3), dtype=np.uint8)
OTHER = 255 - PAGE
LETTERS = string.ascii_letters + " .,\n"
END = SPECIAL["<|im_end|>"]


def make_reader(
    *, letters: str | None = LETTERS, seed: int = 0, make: Any = tiny_toy_config, **config: Any
) -> Reader:
    settings = chat_config(make, **config)
    return Reader(
        chat_model(settings, seed, letters=letters), chat_processor(settings), "tiny", torch.device("cpu")
    )


@pytest.fixture(scope="module")
def reader() -> Reader:
    return make_reader()


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images in every call of the vision vocabulary network."""
    calls: list[int] = []
    encode = VisionVocabulary.encode

    def counted(self: VisionVocabulary, pixels: torch.Tensor, *args: Any) -> Any:
        calls.append(len(pixels))
        return encode(self, pixels, *args)

    monkeypatch.setattr(VisionVocabulary, "encode", counted)
    return calls


@pytest.fixture
def steps(reader: Reader) -> Iterator[list[int]]:
    """The number of new tokens in every forward of the language model."""
    seen: list[int] = []
    hook = reader.model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    yield seen
    hook.remove()


def answer_anew(reader: Reader, chat: Conversation, question: str, image: Any = PAGE) -> list[int]:
    """What the model answers to the whole conversation in a fresh run, image and all, without a cache."""
    slot = [] if chat.turns else [{"type": "image"}]
    asked = {"role": "user", "content": [*slot, {"type": "text", "text": question}]}
    inputs = reader.processor.build_chat_inputs([*chat.messages, asked], [image], layout=chat.layout)
    [found] = generate(
        reader.model,
        inputs,
        chat.max_new_tokens or 99,
        sampling=chat.sampling,
        answer_header=reader.processor.answer_header(chat.layout),
    )
    return found.ids


QUESTIONS = ["What is this?", "漢字 and <|im_end|> <imgpad>?", "x", "And\nwhat else? " * 3]


@pytest.mark.parametrize("layout", [None, "mindocr"])
@pytest.mark.parametrize(
    "sampling", [{}, {"num_beams": 3}, {"temperature": 1.0, "seed": 4}, {"repetition_penalty": 1.4}], ids=str
)
@pytest.mark.parametrize("make", [tiny_toy_config, tiny_opt_config])
@pytest.mark.parametrize("letters", [LETTERS, None], ids=["letters", "any bytes"])
def test_turns_equal_asking_anew(
    make: Any, sampling: dict[str, Any], layout: str | None, letters: str | None
) -> None:
    reader = make_reader(make=make, letters=letters, seed=3)
    # Without a cache, a placeholder that a random model writes would be taken for a slot at the next step.
    reader.model.generation_config.suppress_tokens = [SPECIAL["<imgpad>"]]
    chat = Conversation(reader, PAGE, layout=layout, sampling=Sampling(**sampling), max_new_tokens=9)
    for question in QUESTIONS:
        expected = answer_anew(reader, chat, question)
        turn = chat.ask(question)
        assert list(turn.ids) == expected
    assert [turn.question for turn in chat.turns] == QUESTIONS


def test_the_image_is_encoded_once(reader: Reader, encodings: list[int]) -> None:
    chat = Conversation(reader, PAGE, max_new_tokens=4)
    for question in QUESTIONS:
        chat.ask(question)
    chat.reset()
    chat.ask("Again?")
    assert encodings == [1]
    chat.show(OTHER)
    chat.ask("And this?")
    assert encodings == [1, 1]


def test_a_turn_reads_only_what_is_new(reader: Reader, steps: list[int]) -> None:
    chat = Conversation(reader, PAGE, max_new_tokens=6)
    first = chat.ask("What is this?")
    assert first.finish_reason == "length"
    assert sum(steps) == first.prompt_tokens + first.tokens - 1
    assert first.cached_tokens == 0
    steps.clear()
    second = chat.ask("And that?")
    # The last token of the answer, its end, the new question and the header of the new answer.
    new = 1 + 1 + (1 + len("user\nAnd that?") + 1) + (1 + len("assistant\n"))
    assert sum(steps) == new + second.tokens - 1
    assert second.prompt_tokens - second.cached_tokens == new
    steps.clear()
    chat.reset()
    again = chat.ask("What is this?")
    assert again.cached_tokens == again.prompt_tokens - 1
    assert sum(steps) == again.tokens
    assert again.text == first.text


def test_pieces_are_whole_characters_and_together_the_text() -> None:
    """Also those of a model that writes any bytes, among them some that make no character."""
    reader = make_reader(letters=None)
    for seed in range(4):
        chat = Conversation(reader, PAGE, sampling=Sampling(1.0, seed=seed), max_new_tokens=60)
        pieces: list[str] = []
        turn = chat.ask("What?", pieces.append)
        assert "".join(pieces) == turn.text == chat.turns[0].text
        assert turn.text == reader.processor.tokenizer.decode(list(turn.ids), skip_special_tokens=True)
        assert len(pieces) > 1
        assert all(pieces)
    dictate(reader, [*"漢 é".encode(), 0xE6, 0x41, 0xFF, END])
    pieces = []
    turn = Conversation(reader, PAGE).ask("What?", pieces.append)
    assert pieces == ["漢", " ", "é", "\ufffdA", "\ufffd"]
    assert turn.text == "漢 é\ufffdA\ufffd"


def test_beams_answer_in_one_go(reader: Reader) -> None:
    pieces: list[str] = []
    chat = Conversation(reader, PAGE, sampling=Sampling(num_beams=2), max_new_tokens=5)
    turn = chat.ask("What?", pieces.append)
    assert "".join(pieces) == turn.text


def test_the_header_that_mindocrs_model_writes_is_no_part_of_the_answer() -> None:
    header = [SPECIAL["<|im_start|>"], *b"assistant\n"]
    answer = b"A page."
    reader = make_reader()
    dictate(reader, [*header, *answer, END])
    pieces: list[str] = []
    turn = Conversation(reader, PAGE, layout="mindocr").ask("What?", pieces.append)
    assert (turn.text, turn.tokens, turn.finish_reason) == ("A page.", 7, "stop")
    assert "".join(pieces) == "A page."
    page = reader.read(PAGE, prompt="What?", layout="mindocr").pages[0]
    assert page.text == "A page."

    dictate(reader, [*answer, END])  # and a model that writes none loses nothing
    assert Conversation(reader, PAGE, layout="mindocr").ask("What?").text == "A page."
    dictate(reader, [*header[:4], *answer, END])
    assert Conversation(reader, PAGE, layout="mindocr").ask("What?").text == "assA page."
    dictate(reader, [*header, *answer, END])
    cut = Conversation(reader, PAGE, layout="mindocr", max_new_tokens=5).ask("What?", pieces.append)
    assert (cut.text, cut.finish_reason) == ("", "length")
    assert "".join(pieces) == "A page."


def dictate(reader: Reader, ids: list[int]) -> None:
    """Make the model write these ids, whatever it sees, and anew after the end of text."""
    written = [0]

    def scores(hidden: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        assert len(hidden) == 1, "one token at a time"
        token = ids[min(written[0], len(ids) - 1)]
        written[0] = 0 if token == END else written[0] + 1
        table = torch.full((1, reader.model.config.text_config.vocab_size), -torch.inf)
        table[0, token] = 0.0
        return table

    reader.model.scores = scores  # type: ignore[method-assign]


def test_a_loop_is_cut_and_said() -> None:
    reader = make_reader()
    dictate(reader, [*b"It says: ", *(b"la di da\n" * 300)])
    pieces: list[str] = []
    chat = Conversation(reader, PAGE)
    turn = chat.ask("What?", pieces.append)
    assert turn.finish_reason == "loop"
    assert "ran into a repetition" in turn.message
    assert turn.text.startswith("It says: la di da")
    assert turn.text.count("la di da") < 5
    assert "".join(pieces).startswith(turn.text)
    dictate(reader, [*b"Yes.", END])
    again = chat.ask("Sure?")
    assert (again.text, again.message) == ("Yes.", "")
    assert again.cached_tokens > turn.prompt_tokens, (
        "the part of the looped answer that stays is not read again"
    )


def test_the_context_limit_is_said_and_nothing_is_lost() -> None:
    reader = make_reader(positions=200)
    reader.model.generation_config.suppress_tokens = [END]
    chat = Conversation(reader, PAGE)
    assert chat.context_length == 200
    first = chat.ask("What?")
    assert first.finish_reason == "length"
    assert first.prompt_tokens + first.tokens == 200
    assert "reached the 200 tokens that tiny holds" in first.message
    assert chat.tokens_left == 0
    before = chat.messages
    with pytest.raises(
        ContextError, match=r"has 2\d\d tokens with this question, and tiny holds 200.*reset\(\)"
    ):
        chat.ask("More?")
    assert chat.messages == before
    assert chat.turns == (first,)
    chat.reset()
    assert chat.tokens_left == 200 - chat.tokens > 50
    with pytest.raises(ContextError):
        chat.ask("a long question " * 20)
    assert chat.turns == ()
    room = chat.tokens_left or 0
    last = chat.ask("x" * (room - 1))  # the longest question that leaves room for an answer of one token
    assert (last.tokens, last.finish_reason) == (1, "length")
    chat.reset()
    with pytest.raises(ContextError):
        chat.ask("x" * room)


def test_the_other_limit_has_another_remedy(reader: Reader) -> None:
    turn = Conversation(reader, PAGE, max_new_tokens=3).ask("What?")
    assert (turn.tokens, turn.finish_reason) == (3, "length")
    assert turn.message == "the answer was cut at 3 tokens; raise max_new_tokens for a longer one"


@pytest.mark.parametrize("after", [0, 1, 4])
@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_an_interrupted_answer_is_as_if_it_had_not_been_asked_for(
    reader: Reader, after: int, error: type[BaseException]
) -> None:
    chat = Conversation(reader, PAGE, max_new_tokens=8)
    untouched = Conversation(reader, PAGE, max_new_tokens=8)
    assert chat.ask("What?").text == untouched.ask("What?").text
    heard: list[str] = []

    def stop(piece: str) -> None:
        heard.append(piece)
        if len(heard) > after:
            raise error

    before = chat.messages
    with pytest.raises(error):
        chat.ask("And?", stop)
    assert len(heard) == after + 1
    assert chat.messages == before
    for question in ("And?", "Or?"):
        assert chat.ask(question).ids == untouched.ask(question).ids


def test_interrupted_while_the_image_is_encoded(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = Conversation(reader, PAGE, max_new_tokens=4)

    def stop(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(VisionVocabulary, "encode", stop)
        with pytest.raises(KeyboardInterrupt):
            chat.ask("What?")
    assert chat.ask("What?").ids == Conversation(reader, PAGE, max_new_tokens=4).ask("What?").ids


def test_another_image_has_its_own_history_and_a_bad_one_changes_nothing(
    reader: Reader, tmp_path: Path
) -> None:
    chat = Conversation(reader, PAGE, max_new_tokens=6)
    first = chat.ask("What?")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG nothing")
    for wrong in (tmp_path / "bad.png", tmp_path / "missing.png"):
        with pytest.raises(InputError, match=wrong.name):
            chat.show(wrong)
    assert chat.turns == (first,)
    assert chat.ask("More?").ids == answer_after(reader, [first], "More?")
    Image.fromarray(OTHER).save(tmp_path / "other.png")
    chat.show(tmp_path / "other.png")
    assert chat.turns == ()
    assert chat.page.source == str(tmp_path / "other.png")
    assert chat.ask("What?").ids == Conversation(reader, OTHER, max_new_tokens=6).ask("What?").ids


def answer_after(reader: Reader, turns: list[Turn], question: str) -> tuple[int, ...]:
    fresh = Conversation(reader, PAGE, max_new_tokens=6)
    for turn in turns:
        fresh.ask(turn.question)
    return fresh.ask(question).ids


def test_pages_of_a_file(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "two.tiff"
    Image.fromarray(PAGE).save(path, save_all=True, append_images=[Image.fromarray(OTHER)])
    second = Conversation(reader, path, page=2, max_new_tokens=4)
    assert second.page.index == 1
    assert second.ask("What?").ids == Conversation(reader, OTHER, max_new_tokens=4).ask("What?").ids
    assert Conversation(reader, open_page(path, 2), max_new_tokens=4).ask("What?").ids == second.turns[0].ids
    for page, message in ((3, "two.tiff"), (0, "counted from 1")):
        with pytest.raises(InputError, match=message):
            Conversation(reader, path, page=page)


def test_a_system_message_of_ones_own(reader: Reader) -> None:
    chat = Conversation(reader, PAGE, system="Be brief.", max_new_tokens=4)
    chat.ask("What?")
    assert chat.messages[0] == {"role": "system", "content": "Be brief."}
    assert len(chat.messages) == 3
    assert chat.tokens < Conversation(reader, PAGE).tokens + 20
    assert chat.ask("x").ids != Conversation(reader, PAGE, max_new_tokens=4).ask("x").ids


def test_what_was_said_counts(reader: Reader) -> None:
    chat = Conversation(reader, PAGE, max_new_tokens=5)
    empty = chat.tokens
    assert chat.tokens_left == 2048 - empty
    turn = chat.ask("What?")
    assert turn.prompt_tokens == empty + len("What?")
    assert chat.tokens == turn.prompt_tokens + turn.tokens + 1 + len("suser\ne") + len("sassistant\n")


@pytest.mark.parametrize("question", ["", "  \n"])
def test_nothing_is_no_question(reader: Reader, question: str) -> None:
    with pytest.raises(TaskError, match="empty"):
        Conversation(reader, PAGE).ask(question)


def test_a_question_that_is_no_text_is_refused(reader: Reader) -> None:
    chat = Conversation(reader, PAGE)
    with pytest.raises(TaskError, match="character 6 of the prompt"):
        chat.ask("What \udcff?")
    assert chat.turns == ()
    with pytest.raises(TaskError, match="character 1 of the prompt"):
        Conversation(reader, PAGE, system="\ud800")


def test_a_saved_conversation_does_not_act_on_a_terminal(tmp_path: Path) -> None:
    reader = make_reader()
    dictate(reader, [*"a\x1b[2J\x9b1mb\tc\nd".encode(), END])
    chat = Conversation(reader, PAGE)
    assert chat.ask("\x07What?").text == "a\x1b[2J\x9b1mb\tc\nd"
    for name in ("a.md", "a.txt"):
        text = chat.save(tmp_path / name).read_text(encoding="utf-8")
        assert "a[2J1mb\tc\nd" in text
        assert "\x07" not in text


def test_what_cannot_chat_is_refused_with_the_reason(tiny_nano_folder: Path) -> None:
    with pytest.raises(TaskError, match=r"tiny nano reads single text lines.*vary read"):
        Conversation(Reader.load(tiny_nano_folder, device="cpu"), PAGE)
    with pytest.raises(TaskError, match=r"was not trained to answer questions \(its tasks are ocr, chart\)"):
        Conversation(make_reader(tasks=("ocr", "chart")), PAGE)


def test_impossible_wishes_are_refused(reader: Reader) -> None:
    with pytest.raises(TaskError, match=r"unknown layout 'mindocrr'.*did you mean 'mindocr'"):
        Conversation(reader, PAGE, layout="mindocrr")
    with pytest.raises(InputError, match="max_new_tokens is 0"):
        Conversation(reader, PAGE, max_new_tokens=0)
    with pytest.raises(VaryError, match="num_beams"):
        Conversation(reader, PAGE, sampling=Sampling(num_beams=0))


def test_a_conversation_is_saved_whole_and_replaces_nothing(reader: Reader, tmp_path: Path) -> None:
    chat = Conversation(reader, PAGE, layout="mindocr", sampling=Sampling(0.5, seed=7), max_new_tokens=7)
    turns = [chat.ask("What\nis this?"), chat.ask("漢?")]
    stored = json.loads(chat.save(tmp_path / "a.json").read_text(encoding="utf-8"))
    assert stored["model"]["name"] == "tiny"
    assert stored["settings"]["layout"] == "mindocr"
    assert stored["settings"]["temperature"] == 0.5
    assert (stored["image"], stored["page"]) == ("<array>", 1)
    assert [(turn["question"], turn["text"]) for turn in stored["turns"]] == [
        (t.question, t.text) for t in turns
    ]
    for name in ("a.md", "a.txt"):
        text = chat.save(str(tmp_path / name)).read_text(encoding="utf-8")
        assert all(turn.text.strip("\n") in text for turn in turns)
        assert "漢?" in text
        assert "<array>, page 1, with tiny" in text
        assert "raise max_new_tokens" in text
        assert chat.save(tmp_path / name).name == f"a-2{name[1:]}"
        assert (tmp_path / name).read_text(encoding="utf-8") == text
    with pytest.raises(OutputError, match=r"saved as \.md, \.txt, \.json, not as '\.pdf'"):
        chat.save(tmp_path / "a.pdf")
    with pytest.raises(OutputError, match="cannot be written"):
        chat.save(tmp_path / "nowhere" / "a.md")
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".md", ".md", ".txt", ".txt"]


def test_it_stands_at_the_front_door(tiny_toy_folder: Path) -> None:
    chat = vary.Conversation(vary.Reader.load(tiny_toy_folder, device="cpu"), PAGE, max_new_tokens=3)
    assert chat.ask("What?").tokens == 3
    assert chat.to_dict()["model"]["name"] == "tiny toy"

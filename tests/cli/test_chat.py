"""`vary chat`: piped questions and a person at a terminal, over a tiny checkpoint that writes nonsense."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from vary import conversation
from vary.cli.main import main
from vary.conversation import Conversation
from vary.engine.sampling import Sampling
from vary.inputs import pages
from vary.reader import Reader

PIXELS = np.random.default_rng(0).integers(0, 255, (60, 50, 3), dtype=np.uint8)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "dumb"}


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "a page.png"
    Image.fromarray(PIXELS).save(path)
    return path


@pytest.fixture
def chat(
    page: Path, tiny_toy_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Run `vary chat` in this process with these lines on standard input."""

    def run(
        lines: str | bytes, *options: str | Path, image: str | Path = page, model: Path = tiny_toy_folder
    ) -> Ran:
        data = lines.encode() if isinstance(lines, str) else lines
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))
        arguments = ["chat", image, "--model", model, "--device", "cpu", *options]
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            code = stop.code if isinstance(stop.code, int) else 1
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def reader(tiny_toy_folder: Path) -> Reader:
    return Reader.load(tiny_toy_folder, device="cpu")


def said(reader: Reader, *questions: str, **options: object) -> list[str]:
    """The answers, each ending in a newline."""
    conversation = Conversation(reader, PIXELS, **options)
    return [conversation.ask(question).text.removesuffix("\n") + "\n" for question in questions]


def test_piped_questions_are_answered_on_standard_output(chat: Callable[..., Ran], reader: Reader) -> None:
    ran = chat("What is this?\n\n   \r\n 漢字? \r\n/ not asked\nlast", "--max-new-tokens", "9")
    answers = said(reader, "What is this?", "漢字?", "last", max_new_tokens=9)
    assert ran.out == "\n".join(answers)
    assert "unknown command /;" in ran.err
    assert ran.code == 1, "answers that were cut and an unknown command are failures"


def test_answers_that_are_whole_are_a_success(chat: Callable[..., Ran], reader: Reader) -> None:
    questions = [f"question {number}" for number in range(12)]
    whole = [q for q in questions if Conversation(reader, PIXELS).ask(q).finish_reason == "stop"]
    assert whole, "the fixture's model ends none of these answers"
    assert chat(f"{whole[0]}\nexit\nnever asked\n") == (0, said(reader, whole[0])[0], "")


@pytest.mark.parametrize("leave", ["exit", "quit", "EXIT", "/exit", "/quit", ""])
def test_ways_to_leave(chat: Callable[..., Ran], leave: str) -> None:
    assert chat(leave + "\n" if leave else "") == (0, "", "")


def test_options_reach_the_model(chat: Callable[..., Ran], reader: Reader) -> None:
    options = "--temperature 1.5 --top-k 9 --top-p 0.9 --repetition-penalty 1.2 --seed 3 --layout mindocr"
    ran = chat("What?\n", "--max-new-tokens", "12", *options.split())
    sampling = Sampling(1.5, 9, 0.9, 1.2, 3)
    assert ran.out == said(reader, "What?", max_new_tokens=12, sampling=sampling, layout="mindocr")[0]
    ran = chat("What?\n", "--max-new-tokens", "12", "--num-beams", "3", "--no-repeat-ngram-size", "2")
    sampling = Sampling(num_beams=3, no_repeat_ngram_size=2)
    assert ran.out == said(reader, "What?", max_new_tokens=12, sampling=sampling)[0]


def test_beams_that_the_kernels_would_not_follow_are_refused_before_the_model_is_loaded(
    chat: Callable[..., Ran], native_toy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reader, "load", lambda *_, **__: pytest.fail("it was loaded"))
    ran = chat("What?\n", "--quantize", "int8", "--num-beams", "2", model=native_toy_folder)
    assert (ran.code, ran.out) == (2, "")
    assert "--num-beams 2 is not for weights of --quantize int8 on a CPU" in ran.err


def test_reset_forgets_and_keeps_the_image(chat: Callable[..., Ran], reader: Reader) -> None:
    ran = chat("What?\nMore?\n/reset\nWhat?\n", "--max-new-tokens", "9")
    first, second = said(reader, "What?", "More?", max_new_tokens=9)
    assert ran.out == "\n".join([first, second, first])


def test_another_image_and_a_wrong_one(chat: Callable[..., Ran], reader: Reader, tmp_path: Path) -> None:
    other = tmp_path / "other page.tiff"
    negative = Image.fromarray(255 - PIXELS)
    negative.save(other, save_all=True, append_images=[Image.fromarray(PIXELS)])
    lines = ["What?", f"/image {tmp_path / 'missing.png'}", "More?", f"/image '{other}'", "What?"]
    lines += ["/page 2", "What?", "/page 3", "/page x", ""]
    ran = chat("\n".join(lines), "--max-new-tokens", "9")
    first, second = said(reader, "What?", "More?", max_new_tokens=9)
    changed = Conversation(reader, 255 - PIXELS, max_new_tokens=9).ask("What?").text.removesuffix("\n") + "\n"
    assert ran.out == "\n".join([first, second, changed, first])
    assert f"{tmp_path / 'missing.png'}: there is no such file" in ran.err
    assert f"{other}, page 1; the history is empty" in ran.err
    assert "/page needs the number of a page" in ran.err
    assert ran.code == 1


def test_what_is_odd_about_a_file_is_said(
    chat: Callable[..., Ran], page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (pages, conversation):
        real = module.open_page
        monkeypatch.setattr(
            module, "open_page", lambda *a, real=real, **o: replace(real(*a, **o), notes=("it is odd",))
        )
    ran = chat(f"/page 1\n/image {page}\n")
    assert ran.err.count(f"vary: {page}: it is odd\n") == 3


def test_tasks_may_be_asked_in_another_language(chat: Callable[..., Ran]) -> None:
    ran = chat("/task ocr\n", "--max-new-tokens", "9", "--language", "zh")
    assert "asking: 写出这幅图中所有文字。" in ran.err


def test_a_task_is_asked_in_its_own_words(chat: Callable[..., Ran], reader: Reader) -> None:
    ran = chat("/task ocr\n/task detect cat, dog\n/task dance\n/task\n", "--max-new-tokens", "9")
    prompts = ["Provide the ocr results of this image.", "Detect cat, dog in this image"]
    assert ran.out == "\n".join(said(reader, *prompts, max_new_tokens=9))
    assert all(f"asking: {prompt}" in ran.err for prompt in prompts)
    assert "unknown task 'dance'" in ran.err
    assert "/task needs a name: ocr, markdown" in ran.err


def test_saving(chat: Callable[..., Ran], tmp_path: Path) -> None:
    target = tmp_path / "a talk.json"
    ran = chat(
        f"What?\n/save {target}\n/save {target}\n/save\n/save {tmp_path}/x.doc\n", "--max-new-tokens", "3"
    )
    assert [turn["question"] for turn in json.loads(target.read_text())["turns"]] == ["What?"]
    assert (tmp_path / "a talk-2.json").read_text() == target.read_text()
    assert f"saved to {tmp_path / 'a talk-2.json'}, because a talk.json was there already" in ran.err
    assert "/save needs the name" in ran.err
    assert "not as '.doc'" in ran.err


def test_help_lists_the_commands_and_unknown_ones_are_said(chat: Callable[..., Ran]) -> None:
    ran = chat("/help\n/sav x\n")
    assert ran.out == ""
    assert all(
        f"  {name}" in ran.err for name in ("/image", "/page", "/task", "/reset", "/save", "/help", "exit")
    )
    assert "unknown command /sav; did you mean '/save'?" in ran.err
    assert "examples:" not in ran.err
    assert ran.code == 1


def test_a_full_context_is_said_and_the_next_question_is_heard(
    chat: Callable[..., Ran], reader: Reader
) -> None:
    ran = chat(f"{'long ' * 500}\nWhat?\n", "--max-new-tokens", "5")
    assert ran.out == said(reader, "What?", max_new_tokens=5)[0]
    assert "holds 2048 with the answer" in ran.err
    assert ran.code == 1


def test_what_cannot_be_asked_is_refused_before_anything_is_read(
    chat: Callable[..., Ran], tiny_nano_folder: Path, tmp_path: Path
) -> None:
    ran = chat("What?\n", model=tiny_nano_folder)
    assert (ran.code, ran.out) == (2, "")
    assert "tiny nano reads single text lines and cannot answer questions" in ran.err
    ran = chat("What?\n", "--layout", "mindcor")
    assert (ran.code, ran.out) == (2, "")
    assert "did you mean 'mindocr'?" in ran.err
    ran = chat("What?\n", image=tmp_path / "none.png", model=tmp_path / "no checkpoint either")
    assert (ran.code, ran.out) == (1, "")
    assert "none.png: there is no such file" in ran.err
    ran = chat("What?\n", "--page", "2")
    assert (ran.code, ran.out) == (1, "")
    ran = chat("What?\n", "--top-k", "3")
    assert (ran.code, ran.out) == (2, "")
    assert "--top-k only matter where tokens are drawn; give a --temperature above 0" in ran.err


@pytest.mark.parametrize("wrong", ["--temperature -1", "--top-p 0", "--num-beams 0", "--page 0", "--seed x"])
def test_impossible_numbers_are_wrong_usage(chat: Callable[..., Ran], wrong: str) -> None:
    ran = chat("", *wrong.split())
    assert ran.code == 2
    assert f"argument {wrong.split()[0]}: expected" in ran.err


def test_names_that_no_file_has_do_not_end_the_chat(chat: Callable[..., Ran]) -> None:
    lines = [
        "/image ~no such user/a.png",
        "/save ~no such user/a.md",
        "/image a\0.png",
        "/save a\0.md",
        "What?",
    ]
    ran = chat("\n".join(lines), "--max-new-tokens", "2")
    assert len(ran.out) > 1
    assert ran.err.count("~no such user/a") == 2
    assert ran.err.count("embedded null byte") == 2


def test_bytes_that_are_no_text_do_not_end_the_chat(chat: Callable[..., Ran]) -> None:
    ran = chat(b"\xff\xfe what\nWhat?\n", "--max-new-tokens", "2")
    assert len(ran.out.split("\n\n")) == 2


def test_as_a_process(page: Path, tiny_toy_folder: Path, reader: Reader) -> None:
    """Questions through a pipe; an answer comes out before the next question goes in."""
    command = [
        sys.executable,
        "-m",
        "vary",
        "chat",
        page,
        "--model",
        tiny_toy_folder,
        "--max-new-tokens",
        "9",
    ]
    process = subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    first, second = said(reader, "What?", "漢?", max_new_tokens=9)
    process.stdin.write(b"What?\n")
    process.stdin.flush()
    assert process.stdout.read(len(first.encode())).decode() == first
    rest, err = process.communicate("漢?\n".encode(), timeout=120)
    assert rest.decode() == "\n" + second
    assert process.returncode == 1
    assert err.decode().count("the answer was cut at 9 tokens") == 2


class Terminal:
    """`vary chat` at a terminal of its own."""

    def __init__(self, *arguments: str | Path) -> None:
        self.shown = ""
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execvpe(sys.executable, [sys.executable, "-m", "vary", *map(str, arguments)], ENVIRONMENT)

    def wait_for(self, text: str, times: int = 1, seconds: float = 120) -> None:
        """Read what the terminal shows until it shows this (so often)."""
        end = time.monotonic() + seconds
        while self.shown.count(text) < times:
            ready, _, _ = select.select([self.descriptor], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{text!r} was not shown: {self.shown!r}"
            try:
                self.shown += os.read(self.descriptor, 4096).decode("utf-8", "replace")
            except OSError:  # the other side is closed
                assert self.shown.count(text) >= times, f"{text!r} was not shown: {self.shown!r}"

    def wait_for_prompt(self, seconds: float = 120) -> None:
        """Read until the terminal waits for a line: a key that comes before may be lost."""
        end = time.monotonic() + seconds
        while not self.shown.endswith("> "):
            ready, _, _ = select.select([self.descriptor], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no prompt at the end of {self.shown!r}"
            self.shown += os.read(self.descriptor, 4096).decode("utf-8", "replace")

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def close(self, seconds: float = 60) -> int:
        """The exit code."""
        end = time.monotonic() + seconds
        while (ended := os.waitpid(self.pid, os.WNOHANG)) == (0, 0):
            assert time.monotonic() < end, f"it does not end after {self.shown!r}"
            time.sleep(0.05)
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(ended[1])


@pytest.fixture
def terminal(page: Path, tiny_toy_folder: Path) -> Iterator[Terminal]:
    opened = Terminal("chat", page, "--model", tiny_toy_folder, "--repetition-penalty", "1.05")
    yield opened
    try:
        os.kill(opened.pid, signal.SIGKILL)
        os.waitpid(opened.pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def test_at_a_terminal(terminal: Terminal) -> None:
    """Ctrl-C stops an answer and not the chat; Ctrl-D leaves."""
    terminal.wait_for("a page.png, page 1, with tiny toy; /help lists the commands, exit leaves")
    terminal.wait_for_prompt()
    terminal.type("Tell me everything that you see on this page, and go on for as long as you can.\n")
    terminal.wait_for("as you can.\r\n")
    shown = len(terminal.shown)
    while len(terminal.shown) < shown + 20:  # the answer has begun
        terminal.shown += os.read(terminal.descriptor, 64).decode("utf-8", "replace")
    terminal.type("\x03")
    terminal.wait_for("stopped; neither the question nor what was answered is in the history")
    terminal.wait_for_prompt()
    prompts = terminal.shown.count("> ")
    while terminal.shown.count("> ") == prompts:  # at the prompt it only gives a new one
        terminal.type("\x03")  # an interruption while the prompt is being drawn is heard at the next key
        while select.select([terminal.descriptor], [], [], 1)[0]:
            terminal.shown += os.read(terminal.descriptor, 4096).decode("utf-8", "replace")
    terminal.type("/save /nowhere/x.md\n")
    terminal.wait_for("/nowhere/x.md: cannot be written")
    terminal.wait_for_prompt()
    terminal.type("/reset\n")
    terminal.wait_for("the history is empty, the image is the same")
    terminal.wait_for_prompt()
    terminal.type("\x04")
    assert terminal.close() == 0

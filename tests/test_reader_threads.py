"""One reader in several threads, and in the child of a fork: each reading is what it would be alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from PIL import Image

from checkpoints import chat_processor, native_chat_config
from vary.conversation import Conversation
from vary.model.tokenization import encode_text
from vary.reader import Reader

PAGE = Path(__file__).parent.parent / "examples" / "page.png"
THREADS = 4


def noise(count: int = THREADS) -> list[Any]:
    """Different images, of each of which the tiny model writes something else."""
    return [
        np.random.default_rng(seed).integers(0, 255, (60, 50, 3), dtype=np.uint8) for seed in range(count)
    ]


def strips() -> list[Any]:
    """Strips of a page with other lines on each."""
    with Image.open(PAGE) as page:
        edges = [page.height * number // THREADS for number in range(THREADS + 1)]
        return [page.crop((0, top, page.width, bottom)) for top, bottom in pairwise(edges)]


def at_once(work: Callable[[Any], Any], things: list[Any], times: int) -> list[list[Any]]:
    """What becomes of each thing, so many times over, while the other threads do the same with theirs."""
    barrier = Barrier(len(things))

    def run(thing: Any) -> list[Any]:
        barrier.wait()
        return [work(thing) for _ in range(times)]

    with ThreadPoolExecutor(len(things)) as pool:
        return list(pool.map(run, things))


@pytest.mark.parametrize("quantize", ["int4", "float32", None])
def test_threads_read_with_one_reader_what_each_would_alone(
    native_toy_folder: Path, quantize: str | None
) -> None:
    reader = Reader.load(native_toy_folder, device="cpu", quantize=quantize)

    def text(image: Any) -> str:
        return reader.read(image, max_new_tokens=80, draft="off").text

    expected = [text(image) for image in noise()]
    assert len(set(expected)) == THREADS
    assert at_once(text, noise(), 4) == [[one] * 4 for one in expected]


def test_threads_read_lines_without_pytorch() -> None:
    reader = Reader.load(device="cpu")

    def text(image: Any) -> str:
        return reader.read(image).text

    expected = [text(image) for image in strips()]
    assert len(set(expected)) == THREADS
    assert at_once(text, strips(), 2) == [[one] * 2 for one in expected]


def test_conversations_in_threads(native_toy_folder: Path) -> None:
    reader = Reader.load(native_toy_folder, device="cpu", quantize="int8")

    def answers(image: Any) -> str:
        chat = Conversation(reader, image, max_new_tokens=40)
        return "|".join(chat.ask(question).text for question in ("What is this?", "And that?"))

    expected = [answers(image) for image in noise()]
    assert len(set(expected)) > 1
    assert at_once(answers, noise(), 3) == [[one] * 3 for one in expected]


def test_prompts_and_texts_are_encoded_at_once() -> None:
    """In prompts special tokens count as such, in drafts they are text; the tokenizer is the same."""
    processor = chat_processor(native_chat_config())
    [page] = noise(1)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]
    work: list[Callable[[], Any]] = [
        lambda: processor.build_inputs([page], "Read <img> this.")["input_ids"].tolist(),
        lambda: processor.build_inputs([page, page], "Read this.")["input_ids"].tolist(),
        lambda: [processor.chat_ids(messages, [4]) for _ in range(20)],
        lambda: [encode_text(processor.tokenizer, "a <img> b" * 50) for _ in range(20)],
    ]
    expected = [make() for make in work]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        found = at_once(lambda make: make(), work, 30)
    finally:
        sys.setswitchinterval(before)
    assert found == [[one] * 30 for one in expected]


FORK = """
import os, signal, sys, threading
from vary.reader import Reader

reader = Reader.load(device="cpu")
page = sys.argv[1]
text = reader.read(page).text
if sys.argv[2] == "while it reads":
    threading.Thread(target=lambda: [reader.read(page) for _ in range(3)], daemon=True).start()
for reads in (False, True, True):
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that hangs ends all the same
        if reads:
            assert reader.read(page).text == text
        del reader
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0, reads
assert reader.read(page).text == text
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.parametrize("moment", ["afterwards", "while it reads"])
def test_a_child_ends_or_reads_as_its_parent_does(tmp_path: Path, moment: str) -> None:
    """Its threads are gone, and locks that others held would stay locked."""
    top = tmp_path / "top.png"
    strips()[0].save(top)
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(top), moment]
    environment = os.environ | {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""

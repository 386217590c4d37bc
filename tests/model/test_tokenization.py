"""Tokenizers: Qwen's ids equal the golden cases and tiktoken's, vary-nano's characters are lossless."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from vary.errors import CheckpointError
from vary.model.tokenization import (
    QWEN_PATTERN,
    QWEN_SPECIAL_TOKENS,
    encode_text,
    load_qwen_tokenizer,
    read_tiktoken,
    tokenizer_from_ranks,
    write_tiktoken,
)

BYTES = [bytes([value]) for value in range(256)]
# Any scalar values, and texts in which merges, contractions, digits and runs of blanks happen.
TEXTS = st.text(max_size=40) | st.text(
    st.sampled_from("aetns'SstTLl019 \n\r\t.,_-=é中文的ſ\u0301"), max_size=60
)


@pytest.fixture(scope="module")
def qwen_file(shared_dir: Path) -> Path:
    return shared_dir / "assets" / "qwen.tiktoken"


@pytest.fixture(scope="module")
def qwen(qwen_file: Path) -> Any:
    return load_qwen_tokenizer(qwen_file)


@pytest.fixture(scope="module")
def qwen_tiktoken(qwen_file: Path) -> tiktoken.Encoding:
    ranks = read_tiktoken(qwen_file)
    specials = {token: len(ranks) + index for index, token in enumerate(QWEN_SPECIAL_TOKENS)}
    return tiktoken.Encoding("qwen", pat_str=QWEN_PATTERN, mergeable_ranks=ranks, special_tokens=specials)


@pytest.fixture(scope="module")
def golden(shared_dir: Path) -> dict[str, Any]:
    cases: dict[str, Any] = json.loads(
        (shared_dir / "golden" / "token_cases.json").read_text(encoding="utf-8")
    )
    return cases


@pytest.mark.shared
def test_special_tokens_have_the_ids_of_the_published_checkpoints(qwen: Any, golden: dict[str, Any]) -> None:
    assert list(QWEN_SPECIAL_TOKENS) == golden["special_tokens"]
    assert golden["pattern"] == QWEN_PATTERN
    assert len(qwen) == golden["vocab"] == 151860
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<ref>", "</quad>", "<img>", "</img>", "<imgpad>"]
    ids = [151643, 151644, 151645, 151851, 151856, 151857, 151858, 151859]
    assert qwen.convert_tokens_to_ids(names) == ids
    assert (qwen.pad_token_id, qwen.eos_token_id, qwen.image_token_id) == (151643, 151645, 151859)
    assert qwen.padding_side == "left"


@pytest.mark.shared
def test_golden_cases(qwen: Any, golden: dict[str, Any]) -> None:
    assert golden["cases"]
    for case in golden["cases"]:
        ids = qwen(case["text"])["input_ids"]
        assert ids == case["ids"], case["text"]
        assert qwen.decode(ids) == case["decoded"]


@pytest.mark.shared
@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
def test_qwen_ids_equal_tiktoken(text: str, qwen: Any, qwen_tiktoken: tiktoken.Encoding) -> None:
    assert encode_text(qwen, text) == qwen_tiktoken.encode_ordinary(unicodedata.normalize("NFC", text))


@pytest.mark.shared
@pytest.mark.slow
def test_every_character_is_cut_like_in_tiktoken(qwen: Any, qwen_tiktoken: tiktoken.Encoding) -> None:
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for frame in ("a{}b", "'{}", " {}\n"):
        for character in characters:
            text = unicodedata.normalize("NFC", frame.format(character))
            ids = qwen.backend_tokenizer.encode(text, add_special_tokens=False).ids
            assert ids == qwen_tiktoken.encode_ordinary(text), (frame, hex(ord(character)))


@pytest.mark.shared
def test_text_of_a_page_cannot_inject_special_tokens(qwen: Any) -> None:
    text = "<img><imgpad></img><|im_end|>"
    assert max(encode_text(qwen, text)) < 151643 <= min(qwen(text)["input_ids"])
    assert qwen.decode(encode_text(qwen, text)) == text


@settings(max_examples=150, deadline=None)
@given(
    tokens=st.lists(st.binary(min_size=2, max_size=4), max_size=40, unique=True),
    text=st.text("aeiou中é ", max_size=30),
)
def test_any_rank_file_gives_the_ids_of_tiktoken(tokens: list[bytes], text: str) -> None:
    ranks = {token: rank for rank, token in enumerate([*BYTES, *tokens])}
    check_against_tiktoken(ranks, text)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_dense_merges_give_the_ids_of_tiktoken(data: st.DataObject) -> None:
    """Vocabularies of many overlapping pieces, some of which merging cannot reach."""
    pieces = st.text("ab", min_size=2, max_size=5)
    tokens = data.draw(st.lists(pieces, max_size=20, unique=True))
    ranks = {token: rank for rank, token in enumerate([*BYTES, *(piece.encode() for piece in tokens)])}
    check_against_tiktoken(ranks, data.draw(st.text("ab ", max_size=30)))


def check_against_tiktoken(ranks: dict[bytes, int], text: str) -> None:
    expected = tiktoken.Encoding("any", pat_str=QWEN_PATTERN, mergeable_ranks=ranks, special_tokens={})
    tokenizer = tokenizer_from_ranks(ranks, special_tokens={}, pattern=QWEN_PATTERN, nfc=False)
    assert tokenizer.encode(text).ids == expected.encode_ordinary(text)


def test_a_whole_pretoken_of_the_vocabulary_is_one_token() -> None:
    """`abc` cannot be merged (no piece of it is known) and is one token, alone but not inside a word."""
    ranks = {token: rank for rank, token in enumerate([*BYTES, b"abc"])}
    tokenizer = tokenizer_from_ranks(ranks, special_tokens={}, pattern=QWEN_PATTERN, nfc=False)
    assert tokenizer.encode("abc").ids == [256]
    assert tokenizer.encode("abcd").ids == list(b"abcd")


@pytest.mark.shared
def test_the_saved_tokenizer_needs_only_the_library(
    qwen: Any, golden: dict[str, Any], tmp_path: Path
) -> None:
    qwen.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "vary"}')
    code = (
        "import json, sys; from transformers import AutoTokenizer;"
        "t = AutoTokenizer.from_pretrained(sys.argv[1]);"
        "assert not any(m.startswith('vary') for m in sys.modules);"
        "print(json.dumps([t.padding_side, t.image_token_id, t(sys.argv[2])['input_ids']]))"
    )
    case = golden["cases"][0]
    command = [sys.executable, "-c", code, str(tmp_path), case["text"]]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == ["left", 151859, case["ids"]]
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(case["text"]).ids == case["ids"]


def test_tiktoken_files_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "tiny.tiktoken"
    write_tiktoken(BYTES, path, first_rank=16)
    assert read_tiktoken(path) == {token: rank for rank, token in enumerate(BYTES, start=16)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected distinct tokens"),
        ("IQ== 0\nIg== 0\n", "expected distinct tokens"),
        ("IQ== 0\nno rank here\n", r"line 2: expected a base64 token and its rank, found 'no rank here'"),
        ("IQ== zero\n", "line 1"),
        ("I? 0\n", "line 1"),
    ],
)
def test_a_broken_file_is_named_with_its_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.tiktoken"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=rf"broken\.tiktoken.*{message}"):
        read_tiktoken(path)
    with pytest.raises(CheckpointError, match=r"cannot read the vocabulary .*absent"):
        read_tiktoken(tmp_path / "absent.tiktoken")


def test_incomplete_or_colliding_vocabularies_are_refused() -> None:
    ranks = {token: rank for rank, token in enumerate(BYTES[:255])}
    with pytest.raises(CheckpointError, match="lacks 1 of the 256 single bytes, the first is 255"):
        tokenizer_from_ranks(ranks, special_tokens={}, pattern=QWEN_PATTERN, nfc=False)
    with pytest.raises(CheckpointError, match="collide"):
        tokenizer_from_ranks(
            {**ranks, b"\xff": 255}, special_tokens={"<a>": 255}, pattern=QWEN_PATTERN, nfc=False
        )

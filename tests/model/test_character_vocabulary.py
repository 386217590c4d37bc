"""vary-nano's vocabulary: its order, its file, and text <-> ids without loss."""

from __future__ import annotations

import lzma
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

import vary
from vary.errors import DataError
from vary.model.character_vocabulary import (
    FIRST_RANK,
    LATIN_VOCABULARY_SIZE,
    build_character_vocabulary,
    rebuild_character_vocabulary,
)
from vary.model.presets import CHINESE_ROWS
from vary.model.tokenization import NANO_SPECIAL_TOKENS, encode_text, load_character_tokenizer, read_tiktoken

NANO_FILE = Path(vary.__file__).parent / "assets" / "nano" / "nano.tiktoken"


@pytest.fixture(scope="module")
def nano() -> Any:
    return load_character_tokenizer(NANO_FILE)


@pytest.fixture(scope="module")
def ranks() -> dict[bytes, int]:
    return read_tiktoken(NANO_FILE)


def test_ids_follow_the_plan(nano: Any, ranks: dict[bytes, int]) -> None:
    assert sorted(ranks.values()) == list(range(16, len(nano)))
    first = ["<pad>", "<eos>", "<img>", "</img>", "<imgpad>", "<bos>", "<|reserved_6|>"]
    assert nano.convert_ids_to_tokens(range(7)) == first
    assert [nano.decode([id_]) for id_ in range(16)] == list(NANO_SPECIAL_TOKENS)
    assert (nano.pad_token_id, nano.eos_token_id, nano.bos_token_id, nano.image_token_id) == (0, 1, 5, 4)
    assert encode_text(nano, " A~\n") == [16, 16 + 33, 16 + 94, 16 + 95]
    assert [ranks[bytes([value])] for value in (0x00, 0x09, 0x0A, 0xFF)] == [112, 121, 111, 271]
    assert nano.padding_side == "left"


def test_the_latin_prefix_reads_latin_and_ends_before_han(nano: Any, ranks: dict[bytes, int]) -> None:
    tokens = {rank: token for token, rank in ranks.items()}
    latin = [tokens[rank].decode() for rank in range(272, LATIN_VOCABULARY_SIZE)]
    assert not [character for character in latin if "CJK" in unicodedata.name(character)]
    sample = "“naïve café” – Łódź, Größe, Ærø, señor, € 5 ± 2 °C, α → β ≤ ∞, • x² × ½ … ’"
    ids = encode_text(nano, sample)
    assert len(ids) == len(sample)
    assert max(ids) < LATIN_VOCABULARY_SIZE


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=30) | st.text(st.sampled_from("aé中𠀀<img>/pad\n\t �ﬀ"), max_size=30))
def test_text_and_ids_are_the_same_thing(text: str, nano: Any, ranks: dict[bytes, int]) -> None:
    ids = encode_text(nano, text)
    assert nano.decode(ids) == text
    expected: list[int] = []
    for character in text:
        whole = character.encode()
        expected += [ranks[whole]] if whole in ranks else [ranks[bytes([value])] for value in whole]
    assert ids == expected
    assert min(ids, default=FIRST_RANK) >= FIRST_RANK


def test_the_file_works_in_the_tiktoken_package(nano: Any, ranks: dict[bytes, int]) -> None:
    specials = {token: id_ for id_, token in enumerate(NANO_SPECIAL_TOKENS)}
    other = tiktoken.Encoding("nano", pat_str=r"[\s\S]", mergeable_ranks=ranks, special_tokens=specials)
    text = "Read 一页书 — <img> 😀\r\n"
    assert other.encode_ordinary(text) == encode_text(nano, text)


def test_the_saved_tokenizer_keeps_ids_and_names(nano: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    nano.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "Ein Café, 一杯茶 <eos>"
    assert encode_text(again, text) == encode_text(nano, text)
    assert again.decode(again(text)["input_ids"], skip_special_tokens=True) == "Ein Café, 一杯茶 "
    assert (again.pad_token_id, again.padding_side, again.image_start_token_id) == (0, "left", 2)


def test_frequent_characters_and_all_of_gb2312_have_tokens() -> None:
    tokens = build_character_vocabulary(
        ["乙" * 7 + "甲" * 9 + "ⴰ" * 5 + "ⴱ" * 4 + "𠀀" * 5, "\ufffd\u200b\u0301" * 9]
    )
    at = {token.decode(): index for index, token in enumerate(tokens[256:])}
    assert len(at) == len(tokens) - 256
    assert at["ⴰ"] < at["甲"] < at["乙"] < at["𠀀"] < at["一"] < at["龌"]
    assert {"ⴱ", "\ufffd", "\u200b", "\u0301"}.isdisjoint(at)
    assert tokens[:4] == [b" ", b"!", b'"', b"#"]


def test_common_characters_of_today_come_before_rare_ones(ranks: dict[bytes, int]) -> None:
    common = [
        bytes((row, cell)).decode("gb2312", "ignore")
        for row in range(0xB0, 0xD8)
        for cell in range(0xA1, 0xFF)
    ]
    ids = [ranks[character.encode()] for character in common if character]
    assert len(ids) == 3755  # GB 2312's first level
    assert max(ids) < CHINESE_ROWS
    later = {character: id_ for character, id_ in zip(filter(None, common), ids, strict=True) if id_ >= 5504}
    assert sorted(later.values()) == list(range(5504, 5504 + len(later)))
    assert set("电党纸脸铅") <= later.keys()


def test_corpora_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for name, content in (("broken.txt", b"\xff"), ("broken.txt.xz", b"no xz")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            rebuild_character_vocabulary([tmp_path / name], tmp_path / "out.tiktoken")
    with pytest.raises(DataError, match=r"absent\.txt"):
        rebuild_character_vocabulary([tmp_path / "absent.txt"], tmp_path / "out.tiktoken")


@pytest.mark.shared
def test_the_shipped_file_is_what_the_builder_makes(shared_dir: Path, tmp_path: Path) -> None:
    corpora = [shared_dir / "corpus" / f"{language}.train.txt.xz" for language in ("en", "zh")]
    size = rebuild_character_vocabulary(corpora, tmp_path / "nano.tiktoken")
    assert (tmp_path / "nano.tiktoken").read_bytes() == NANO_FILE.read_bytes()
    assert size == len(read_tiktoken(NANO_FILE))


@pytest.mark.shared
@pytest.mark.parametrize(("language", "most"), [("en", 1.001), ("zh", 1.01)])
def test_unseen_text_is_nearly_one_token_a_character(
    language: str, most: float, shared_dir: Path, nano: Any
) -> None:
    with lzma.open(shared_dir / "corpus" / f"{language}.heldout.txt.xz", "rt", encoding="utf-8") as file:
        text = file.read()
    assert len(encode_text(nano, text)) / len(text) < most

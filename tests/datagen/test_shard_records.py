"""What a shard holds: samples come back as they were, hostile files are refused before they cost anything."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vary.datagen.sample import Box, Sample
from vary.datagen.shards import read_keyed, read_shard
from vary.datagen.shards.records import decode_sample, encode_sample
from vary.errors import DataError

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-(2**53), 2**53)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
images = st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([None, 3])).flatmap(
    lambda s: arrays(np.uint8, s[:2] if s[2] is None else s)
)
samples = st.builds(
    Sample,
    image=images,
    task=texts,
    prompt=texts,
    answer=texts,
    source=texts,
    licence=texts,
    language=texts,
    boxes=st.lists(st.builds(Box, texts, numbers, numbers, numbers, numbers, texts), max_size=3).map(tuple),
    later=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    system=st.none() | texts,
    details=st.dictionaries(texts, values, max_size=4),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(samples)
def test_every_sample_comes_back(sample: Sample) -> None:
    members = dict(encode_sample(sample))
    back = decode_sample(members["json"], members.get("png"))
    for name in ("task", "prompt", "answer", "source", "licence", "language", "boxes", "later", "system"):
        assert getattr(back, name) == getattr(sample, name), name
    assert dict(back.details) == sample.details
    if sample.image is None:
        assert back.image is None
    else:
        assert back.image.dtype == np.uint8
        assert np.array_equal(back.image, sample.image)


def plain(**change: Any) -> Sample:
    return Sample(
        **{**dict.fromkeys(["task", "prompt", "answer", "source", "licence"], "x"), "image": None} | change
    )


@pytest.mark.parametrize(
    "change",
    [
        {"image": np.zeros((4, 4), np.float32)},
        {"image": np.zeros((4, 4, 4), np.uint8)},
        {"image": np.zeros((0, 4), np.uint8)},
        {"details": {"array": np.arange(3)}},
        {"details": {"number": float("nan")}},
        {"details": {1: "x"}},
        {"details": {"inner": [{2: "x"}]}},
        {"answer": "half \ud800"},
        {"boxes": (Box("x", 0, 0, float("inf"), 1),)},
    ],
)
def test_what_no_engine_may_give_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"expected|no JSON"):
        encode_sample(plain(**change))


RECORD = json.loads(dict(encode_sample(plain(boxes=(Box("b", 1, 2, 3, 4),))))["json"])


def shard(path: Path, members: list[tuple[tarfile.TarInfo | str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for info, data in members:
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            info.size = info.size or len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def png(width: int = 4, height: int = 4, head: tuple[int, int] | None = None) -> bytes:
    data = bytes(cv2.imencode(".png", np.zeros((height, width), np.uint8))[1])
    if head is None:
        return data
    # The same data under a head that promises another size.
    chunk = b"IHDR" + struct.pack(">II", *head) + data[24:29]
    return data[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


def other(kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo("k.json")
    info.type, info.linkname = kind, target
    return info


GOOD = json.dumps(RECORD).encode()
SIXTEEN = bytes(cv2.imencode(".png", np.zeros((4, 4), np.uint16))[1])
ALPHA = bytes(cv2.imencode(".png", np.zeros((4, 4, 4), np.uint8))[1])


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([(other(tarfile.SYMTYPE), b"")], "no plain file"),
        ([(other(tarfile.LNKTYPE, "k.json"), b"")], "no plain file"),
        ([(other(tarfile.CHRTYPE), b"")], "no plain file"),
        ([(other(tarfile.DIRTYPE), b"")], "no plain file"),
        ([(other(tarfile.FIFOTYPE), b"")], "no plain file"),
        ([("../k.json", GOOD)], "a name that no sample has"),
        ([("/k.json", GOOD)], "a name that no sample has"),
        ([("a/../../k.json", GOOD)], "a name that no sample has"),
        ([("a\\k.json", GOOD)], "a name that no sample has"),
        ([("k\n.json", GOOD)], "a name that no sample has"),
        ([(".json", GOOD)], "a name that no sample has"),
        ([("k.py", b"import os")], "none of png, jpg, json"),
        ([("k.png", png())], "expected one .json"),
        ([("k.png", png()), ("k.jpg", png()), ("k.json", GOOD)], "expected one .json"),
        ([("k.json", GOOD), ("k.json", GOOD)], "comes twice"),
        ([("k.json", b"{")], "sample 'k' cannot be used: its record is no JSON"),
        ([("k.json", b"[" * 200_000)], "no JSON"),
        ([("k.json", b"\xff\xfe\x00")], "no JSON"),
        ([("k.json", b"[]")], "expected an object"),
        ([("k.json", json.dumps({**RECORD, "answer": 3}).encode())], "'answer' is int"),
        ([("k.json", json.dumps({**RECORD, "boxes": [[1, 2, 3, 4]]}).encode())], "boxes"),
        ([("k.json", GOOD.replace(b"[1, 2, 3, 4]", b"[1, 2, 3, 1e999]"))], "boxes"),
        ([("k.json", GOOD.replace(b"[1, 2, 3, 4]", b"[1, 2, 3, true]"))], "boxes"),
        ([("k.json", json.dumps({**RECORD, "later": [["a"]]}).encode())], "later"),
        ([("k.json", json.dumps({**RECORD, "system": 3}).encode())], "system"),
        ([("k.json", json.dumps({**RECORD, "details": []}).encode())], "details"),
        ([("k.png", b"no png"), ("k.json", GOOD)], "picture is broken"),
        ([("k.png", png()[:40]), ("k.json", GOOD)], "picture is broken"),
        ([("k.png", png(head=(60_000, 60_000))), ("k.json", GOOD)], "60000 x 60000 pixels|picture is broken"),
        ([("k.png", png(head=(11_000, 10_000))), ("k.json", GOOD)], "11000 x 10000 pixels"),
        ([("k.png", SIXTEEN), ("k.json", GOOD)], "8 bits"),
        ([("k.png", ALPHA), ("k.json", GOOD)], "8 bits"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, members: list[Any], message: str) -> None:
    path = shard(tmp_path / "odd.tar", members)
    with pytest.raises(DataError, match=message) as caught:
        list(read_shard(path))
    assert "odd.tar" in str(caught.value)


def test_a_member_that_claims_to_be_huge(tmp_path: Path) -> None:
    """A head of terabytes, with nothing behind it."""
    info = tarfile.TarInfo("k.json")
    info.size = 2**42
    path = tmp_path / "odd.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024)
    with pytest.raises(DataError, match=f"has {2**42} bytes"):
        list(read_shard(path))


def test_a_sparse_member(tmp_path: Path) -> None:
    """A file of holes takes no room in the archive and as much as it likes in memory."""
    info = tarfile.TarInfo("k.json")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    head[483:495] = b"00010000000\0"  # the real size
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    path = tmp_path / "odd.tar"
    path.write_bytes(bytes(head) + b"\0" * 1024)
    with pytest.raises(DataError, match=r"no plain file|not a readable shard"):
        list(read_shard(path))


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_compressed_archive(tmp_path: Path, mode: str) -> None:
    with tarfile.open(tmp_path / "odd.tar", mode) as tar:
        info = tarfile.TarInfo("k.json")
        info.size = len(GOOD)
        tar.addfile(info, io.BytesIO(GOOD))
    with pytest.raises(DataError, match="not a readable shard"):
        list(read_shard(tmp_path / "odd.tar"))


@settings(max_examples=120, deadline=None)
@given(place=st.integers(0, 4000), value=st.integers(0, 255), cut=st.integers(0, 4000))
def test_damage_is_an_error_of_ours_or_none(
    place: int, value: int, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever byte is changed and wherever the file ends: samples, or an error that names the file."""
    path = tmp_path_factory.mktemp("damaged") / "odd.tar"
    shard(path, [("a.png", png()), ("a.json", GOOD), ("b.json", GOOD)])
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(data[: len(data) - cut] if cut % 2 else data)
    found, told = [], "odd.tar"
    try:
        found = list(read_keyed(path))
    except DataError as error:
        told = str(error)
    assert "odd.tar" in told
    assert len(found) <= 2


def test_members_of_a_sample_in_either_order(tmp_path: Path) -> None:
    """Other writers sort by name: .jpg, .json, .png."""
    path = shard(tmp_path / "theirs.tar", [("a.json", GOOD), ("a.png", png()), ("dir/b.json", GOOD)])
    assert [(key, sample.image is None) for key, sample in read_keyed(path)] == [
        ("a", False),
        ("dir/b", True),
    ]

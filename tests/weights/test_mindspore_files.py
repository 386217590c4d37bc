"""MindSpore's files: ours against the real package, in both directions, bit for bit; and what is refused."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from real_mindspore import run_mindspore
from vary.errors import CheckpointError
from vary.weights.mindspore import files
from vary.weights.mindspore import format as layout
from vary.weights.mindspore.files import MindSporeFile, write_mindspore
from vary.weights.mindspore.format import DTYPES, MAX_NAME, TYPES
from vary.weights.mindspore.wire import varint

# What both scripts below print of a tensor: MindSpore's type, shape, digest of its bytes.
DESCRIBE = """
import hashlib, json, sys
import mindspore, numpy
from mindspore import Tensor
from mindspore.train import serialization

def describe(value):
    if isinstance(value, str):
        return value
    return [str(value.dtype), list(value.shape), hashlib.sha256(value.get_bytes()).hexdigest()]
"""

# Files of the real package: every type it loads, odd names, texts, small slices, checksum, encryption.
SAVE = (
    DESCRIBE
    + """
from mindspore.common import dtype
folder = sys.argv[1]
random = numpy.random.default_rng(0)
names = ["Float16", "BFloat16", "Float32", "Float64", "Bool", "Int8", "Int16", "Int32", "Int64"]
names += ["UInt8", "UInt16", "UInt32", "UInt64"]
tensors = {}
for number, name in enumerate(names):
    values = random.normal(scale=50, size=(number + 1, 7)).astype(numpy.float32)
    kind = getattr(dtype, "bool_" if name == "Bool" else name.lower())
    tensors[f"{name}.权重 ü"] = Tensor(values).astype(kind)
tensors["wide"] = Tensor(random.normal(size=(3, 1000)).astype(numpy.float16))
tensors["scalar"] = Tensor(numpy.float32(0.1))
items = lambda: [{"name": name, "data": value} for name, value in tensors.items()]
more = {"epoch": 3, "loss": 0.5, "done": True, "note": "naïve 字 𝄞", "empty": ""}
mindspore.save_checkpoint(items(), f"{folder}/plain.ckpt", append_dict=more)
mindspore.save_checkpoint(items(), f"{folder}/checksum.ckpt", crc_check=True)
for mode in ("AES-GCM", "AES-CBC", "SM4-CBC"):
    mindspore.save_checkpoint(items(), f"{folder}/{mode}.ckpt", enc_key=b"0123456789abcdef", enc_mode=mode)
serialization.SLICE_SIZE = 1  # KiB
mindspore.save_checkpoint(items(), f"{folder}/slices.ckpt")
# Saved in the background, slices are whole rows; bfloat16 goes through numpy then, which may lack it.
rows = [item for item in items() if not item["name"].startswith("BFloat16")]
mindspore.save_checkpoint(rows, f"{folder}/rows.ckpt", async_save="process")
serialization._wait_async_process_save_ckpt()
described = {name: describe(value) for name, value in tensors.items()}
described["epoch"] = describe(Tensor(3))
described["loss"] = describe(Tensor(0.5))
described["done"] = describe(Tensor(True))
print(json.dumps(described))
"""
)

LOAD = (
    DESCRIBE
    + """
loaded = {}
for path in sys.argv[1:]:
    read = mindspore.load_checkpoint(path, crc_check=path.endswith("checksum.ckpt"))
    loaded[path] = {name: describe(value) for name, value in read.items()}
print(json.dumps(loaded))
"""
)


def describe(tensor: Tensor) -> list[Any]:
    plain = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)  # without strides
    content = plain.flatten().view(torch.uint8).numpy().tobytes()
    return [TYPES[tensor.dtype], list(tensor.shape), sha256(content).hexdigest()]


def contents(path: Path) -> dict[str, list[Any]]:
    file = MindSporeFile(path)
    return {name: describe(file.read(name)) for name in file.entries}


def some_tensors() -> dict[str, Tensor]:
    """One of every type, with values that only their own type keeps; scalars, empties, odd strides."""
    torch.manual_seed(0)
    found = {
        f"层.{name}": (torch.randn(3, 5, 2) * 50).to(dtype)
        if dtype.is_floating_point
        else torch.randint(0, 2 if dtype == torch.bool else 100, (3, 5, 2)).to(dtype)
        for name, dtype in DTYPES.items()
    }
    found["nan"] = torch.tensor([0x7FC1, 0xFF81 - 2**16, 0x7F80, -(2**15)], dtype=torch.int16).view(
        torch.bfloat16
    )
    found["long"] = torch.randn(4000).half()
    found["scalar"] = torch.tensor(2.5)
    found["no rows"] = torch.empty(0, 4)
    found["transposed"] = torch.randn(6, 4).T
    found["every second"] = torch.randn(20)[::2]
    found["one with a stride"] = torch.randn(20)[::2][3:4]
    found["negated view"] = torch.view_as_complex(torch.randn(4, 2)).conj().imag
    found["parameter"] = torch.nn.Parameter(torch.randn(3))
    return found


def value(name: bytes, dims: list[int], kind: bytes, content: bytes, *, stated: int | None = None) -> bytes:
    """One entry, made by hand; `stated` is a false length of its content."""
    tensor = b"".join(b"\x08" + varint(size) for size in dims) + b"\x12" + varint(len(kind)) + kind
    tensor += b"\x1a" + varint(len(content) if stated is None else stated) + content
    inside = b"\x0a" + varint(len(name)) + name + b"\x12" + varint(len(tensor)) + tensor
    return b"\x0a" + varint(len(inside)) + inside


# --- against the real package


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder of files that the real package saved, and what is in them."""
    folder = tmp_path_factory.mktemp("saved by mindspore")
    return folder, json.loads(run_mindspore(SAVE, folder).splitlines()[-1])


def test_their_files_are_read(theirs: tuple[Path, dict[str, Any]]) -> None:
    folder, described = theirs
    assert contents(folder / "plain.ckpt") == described
    assert MindSporeFile(folder / "plain.ckpt").texts == {"note": "naïve 字 𝄞", "empty": ""}
    assert {kind for kind, _, _ in described.values()} == set(DTYPES)


@pytest.mark.parametrize("name", ["slices", "rows", "checksum"])
def test_their_slices_and_checksums_are_read(theirs: tuple[Path, dict[str, Any]], name: str) -> None:
    folder, described = theirs
    file = MindSporeFile(folder / f"{name}.ckpt")
    left_out = {"epoch", "loss", "done"} | ({"BFloat16.权重 ü"} if name == "rows" else set())
    assert contents(file.path) == {key: found for key, found in described.items() if key not in left_out}
    sizes = {"slices": [1024] * 5 + [880], "rows": [2000] * 3 + [0] * 3, "checksum": [6000]}
    assert [stop - start for start, stop in file.entries["wide"].parts] == sizes[name]
    assert file.verify() is (name == "checksum")


@pytest.mark.parametrize("mode", ["AES-GCM", "AES-CBC", "SM4-CBC"])
def test_their_encrypted_files_are_refused(theirs: tuple[Path, dict[str, Any]], mode: str) -> None:
    with pytest.raises(CheckpointError, match=rf"{mode}.ckpt is no .* but an encrypted .*dec_mode='{mode}'"):
        MindSporeFile(theirs[0] / f"{mode}.ckpt")


def test_they_read_our_files(tmp_path: Path) -> None:
    tensors = some_tensors()
    plain, checked, sliced = (tmp_path / f"{name}.ckpt" for name in ("plain", "checksum", "sliced"))
    write_mindspore(plain, tensors.items())
    write_mindspore(checked, tensors.items(), checksum=True)
    with patch.object(files, "SLICE", 1000):
        write_mindspore(sliced, tensors.items())
    assert len(MindSporeFile(sliced).entries["long"].parts) == 8
    described = {name: describe(tensor.detach().resolve_neg()) for name, tensor in tensors.items()}
    loaded = json.loads(run_mindspore(LOAD, plain, checked, sliced).splitlines()[-1])
    assert loaded == dict.fromkeys(map(str, (plain, checked, sliced)), described)
    assert contents(sliced) == described


def test_our_files_are_theirs_byte_for_byte(theirs: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    for name, size in [("checksum", 2**29), ("slices", 1024)]:
        file = MindSporeFile(theirs[0] / f"{name}.ckpt")
        with patch.object(files, "SLICE", size):
            write_mindspore(
                tmp_path / f"{name}.ckpt",
                ((name, file.read(name)) for name in file.entries),
                checksum=file.checksum is not None,
            )
        assert (tmp_path / f"{name}.ckpt").read_bytes() == file.path.read_bytes()


def test_the_longest_name_that_they_load(tmp_path: Path) -> None:
    longest = tmp_path / "name.ckpt"
    write_mindspore(longest, [("字" * MAX_NAME, torch.zeros(1))])
    found = json.loads(run_mindspore(LOAD, longest).splitlines()[-1])
    assert list(found[str(longest)]) == ["字" * MAX_NAME]


SAVE_LARGE = """
import sys, mindspore, numpy
from mindspore import Tensor
rows = numpy.arange(70_000, dtype=numpy.float16)[:, None] + numpy.arange(4096, dtype=numpy.float16)
mindspore.save_checkpoint([{"name": "wte", "data": Tensor(rows)}], sys.argv[1])
"""


@pytest.mark.slow
def test_a_parameter_of_more_than_their_slice_size(tmp_path: Path) -> None:
    """573 MB; Vary-toy's embeddings have 622 MB.  Takes 3 GB of memory in the other process."""
    saved, ours = tmp_path / "theirs.ckpt", tmp_path / "ours.ckpt"
    run_mindspore(SAVE_LARGE, saved)
    file = MindSporeFile(saved)
    assert [stop - start for start, stop in file.entries["wte"].parts] == [2**29, 70_000 * 4096 * 2 - 2**29]
    table = file.read("wte")
    expected = torch.arange(70_000).half()[-5:, None] + torch.arange(4096).half()
    assert torch.equal(table[-5:], expected)
    write_mindspore(ours, [("wte", table)])
    with saved.open("rb") as first, ours.open("rb") as second:
        while chunk := first.read(2**24):
            assert second.read(2**24) == chunk
        assert not second.read()
    loaded = json.loads(run_mindspore(LOAD, ours).splitlines()[-1])
    assert loaded[str(ours)] == {"wte": describe(table)}


# --- by hand


def test_the_example_of_the_documents(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "mindspore.md"
    code, printed = re.findall(r"^```(?:python|text)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)[:2]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout == printed


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
        st.tuples(
            st.sampled_from(sorted(DTYPES)),
            st.lists(st.integers(0, 5), max_size=4).filter(lambda s: s != [0]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 50),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_what_is_written_is_read(
    tmp_path: Path, plan: dict[str, tuple[str, list[int]]], size: int, checksum: bool, random: Any
) -> None:
    tensors = {}
    for name, (kind, shape) in plan.items():
        raw = torch.frombuffer(bytearray(random.randbytes(DTYPES[kind].itemsize * 5**4)), dtype=torch.uint8)
        values = (raw & 1) if kind == "Bool" else raw
        tensors[name] = values.view(DTYPES[kind])[: torch.Size(shape).numel()].reshape(shape)
    path = tmp_path / "a.ckpt"
    path.unlink(missing_ok=True)
    with patch.object(files, "SLICE", size):
        write_mindspore(path, tensors.items(), checksum=checksum)
    assert MindSporeFile(path).verify() is checksum
    assert contents(path) == {name: describe(tensor) for name, tensor in tensors.items()}
    assert list(MindSporeFile(path).entries) == list(tensors)


def test_an_old_scalar_has_a_single_zero_as_dims(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(value(b"step", [0], b"Int32", b"\x07\0\0\0") + value(b"none", [0], b"Int32", b""))
    file = MindSporeFile(path)
    assert file.read("step").tolist() == 7
    assert file.read("none").shape == (0,)


def test_truth_is_any_byte_but_zero(tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(value(b"mask", [4], b"Bool", b"\0\x01\x02\xff"))
    mask = MindSporeFile(tmp_path / "a.ckpt").read("mask")
    assert mask.view(torch.uint8).tolist() == [0, 1, 1, 1]


UNKNOWN = [
    b"\x20\x05",
    b"\x21" + b"8" * 8,
    b"\x25four",
    b"\x22\x03abc",
    b"\x23\x08\x01\x2b\x2c\x24",
    b"\x0d1234",
]


@given(st.lists(st.sampled_from(UNKNOWN), max_size=5), st.booleans(), st.booleans())
def test_fields_as_protobuf_allows_them(
    tmp_path_factory: pytest.TempPathFactory, unknown: list[bytes], packed: bool, split: bool
) -> None:
    """Unknown fields anywhere, dims packed, any order, a tensor in two pieces, a name given again."""
    dims = b"\x0a\x02\x02\x03" if packed else b"\x08\x02\x08\x03"
    noise = b"".join(unknown)
    content = b"\x1a\x18" + bytes(range(24))
    pieces = [noise + content + noise, noise + dims + b"\x12\x07Float32"]
    tensors = pieces if split else [b"".join(pieces)]
    inside = b"".join(b"\x12" + varint(len(piece)) + piece + noise for piece in tensors)
    inside = b"\x0a\x01b\x1a\x00" + noise + inside + b"\x0a\x01a"  # before the tensor, a map that it replaces
    path = tmp_path_factory.getbasetemp() / "fields.ckpt"
    path.write_bytes(noise + b"\x0a" + varint(len(inside)) + inside + noise)
    file = MindSporeFile(path)
    assert file.read("a").view(torch.uint8).flatten().tolist() == list(range(24))
    assert file.entries["a"].shape == (2, 3)


OK = value(b"ok", [2], b"Float16", b"1234")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; fetch it again"),
        (b"<!doctype html><html>404</html>", "is no MindSpore checkpoint but a web page"),
        (b"PK\x03\x04" + b"\0" * 99, "is no MindSpore checkpoint but a zip archive, as PyTorch writes it"),
        (b"\x80\x02}q\x00.", "but a pickle, as PyTorch writes it; give it the ending .pth"),
        (b"\x1f\x8b\x08" + b"\0" * 99, "but compressed by gzip; unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "but a Git LFS pointer"),
        (b'\x02\0\0\0\0\0\0\0{"a":1}', "but safetensors; give it the ending .safetensors"),
        (b"crc_num" + b"\0" * 10, "is no whole MindSpore checkpoint: it holds no tensor; fetch it again"),
        (OK[:-1], "field 1 at byte 0 has 23 bytes, but only 22 are left; fetch it again"),
        (OK + value(b"a", [2, 3], b"Float16", b"1234"), "'a' is 2x3 of Float16, which takes 12 bytes, but 4"),
        (OK + value(b"a", [], b"Float16", b"1234"), "'a' is a scalar of Float16, which takes 2 bytes, but 4"),
        (OK + value(b"a", [0], b"Float16", b"1234"), "'a' is 0 of Float16, which takes 0 bytes, but 4"),
        (OK + value(b"a", [2**64 - 1], b"Int8", b"1"), f"'a' is {2**64 - 1}, which no file can hold"),
        (OK + value(b"a", [2**62, 0], b"Int8", b""), "which no file can hold"),
        (OK + value(b"a", [1] * 65, b"Int8", b"1"), "'a': it has more than 64 dims"),
        (OK + value(b"a", [1], b"Complex64", b"12345678"), "'a' is of type 'Complex64', which is not read"),
        (OK + value(b"a", [1], b"Int8", b"1", stated=2**40), f"'a': field 3 at byte .* has {2**40} bytes"),
        (OK + value(b"\xff", [1], b"Int8", b"1"), "the name at byte .* is no UTF-8 text"),
        (OK + value(b"a" * 5000, [1], b"Int8", b"1"), "has 5000 bytes, more than 4096"),
        (OK + value(b"a", [0], b"str", b"\xff" * 4), "'a' is no UTF-32 text"),
        (OK + value(b"a", [0], b"str", b"a\0\0"), "'a' is no UTF-32 text"),
        (OK + value(b"a", [0], b"str", b"\0" * (2**20 + 4)), "'a' is a text of more than 1048576 bytes"),
        (value(b"a", [0], b"str", b"a\0\0\0"), "it holds no tensor"),
        (OK + value(b"a", [1], b"Int8", b"1") + OK, "'ok' stands in it twice"),
        (OK + value(b"ok", [4], b"Float16", b"1234"), "the slices of 'ok' differ in type or dims"),
        (OK + b"\x0a\x00", "the entry at byte .* has no name"),
        (OK + b"\x0a\x03\x0a\x01a", "'a': it has no tensor with a type and a content"),
        (OK + b"\x0a\x07\x0a\x01a\x12\x02\x1a\x00", "'a': it has no tensor with a type and a content"),
        (OK + b"\x0a\x05\x0a\x01a\x1a\x00", "'a' is a MapParameter, a hash table, which is not read"),
        (OK + b"\x0a\x05\x0a\x03\x1b[1", r"'.x1b\[1': it has no tensor"),
    ],
)
def test_broken_and_foreign_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"a.ckpt .*{message}") as caught:
        MindSporeFile(path)
    assert "\x1b" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder; expected a MindSpore checkpoint file"):
        MindSporeFile(tmp_path)
    with pytest.raises(CheckpointError, match=r"a.ckpt is not there; expected"):
        MindSporeFile(tmp_path / "a.ckpt")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small file, its parameters in slices."""
    path = tmp_path_factory.mktemp("sound") / "a.ckpt"
    with patch.object(files, "SLICE", 16):
        write_mindspore(path, [("a.weight", torch.randn(3, 5)), ("a.bias", torch.randn(5).bfloat16())])
    return path.read_bytes() + value(b"note", [0], b"str", "字".encode("utf-32-le"))


def read_all(path: Path) -> None:
    """Everything that may be refused: the directory, then the tensors, all of whose bytes lie in the file."""
    file = MindSporeFile(path)
    for name, entry in file.entries.items():
        assert all(0 <= start <= stop <= path.stat().st_size for start, stop in entry.parts)
        tensor = file.read(name)
        assert tensor.shape == entry.shape
        assert tensor.nbytes == sum(stop - start for start, stop in entry.parts)
    file.verify()


def refused_or_read(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        read_all(path)
    except CheckpointError as refused:
        if str(path) not in str(refused):
            raise AssertionError("the error names no file") from refused


@given(st.binary(max_size=200), st.booleans())
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes, framed: bool) -> None:
    framed_content = b"\x0a" + varint(len(content)) + content if framed else content
    refused_or_read(tmp_path_factory.getbasetemp() / "random.ckpt", framed_content)


def test_every_truncation(tmp_path: Path, sound: bytes) -> None:
    """Between two parameters nothing in the file tells that more was to come; anywhere else it is refused."""
    path = tmp_path / "a.ckpt"
    whole = []
    for stop in range(len(sound)):
        path.write_bytes(sound[:stop])
        try:
            read_all(path)
        except CheckpointError:
            continue
        whole.append(list(MindSporeFile(path).entries))
    assert whole == [["a.weight"], ["a.weight", "a.bias"]]


@settings(max_examples=500)
@given(
    st.data(),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_damaged_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    sound: bytes,
    data: st.DataObject,
    damage: list[tuple[float, int]],
) -> None:
    content = bytearray(sound)
    for place, byte in damage:
        content[int(place * len(content))] = byte
    if data.draw(st.booleans()):
        content += layout.CRC_MARK + data.draw(st.binary(min_size=10, max_size=10))
    refused_or_read(tmp_path_factory.getbasetemp() / "damaged.ckpt", bytes(content))


@pytest.mark.parametrize("length", [2**20, 2**31, 2**32, 2**40, 2**63 - 1, 2**64 - 1])
def test_nothing_is_allocated_by_a_length(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.ckpt"
    bad_name = b"\x0a" + varint(length) + b"a"
    bad_kind = b"\x0a\x01a\x12\x0c\x12" + varint(length)
    files = [
        b"\x0a" + varint(length) + b"\x0a\x01a",
        b"\x0a" + varint(len(bad_name)) + bad_name,
        b"\x0a" + varint(len(bad_kind)) + bad_kind,
        value(b"a", [length], b"Int8", b"1"),
        value(b"a", [], b"Int8", b"1", stated=length),
    ]
    tracemalloc.start()
    try:
        for content in files:
            path.write_bytes(content)
            with pytest.raises(CheckpointError), patch.object(torch, "empty", side_effect=AssertionError):
                MindSporeFile(path)
        assert tracemalloc.get_traced_memory()[1] < 2**19
    finally:
        tracemalloc.stop()


def test_a_wrong_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    write_mindspore(path, [("x", torch.zeros(5000))], checksum=True)
    stored = path.read_bytes()
    assert struct.unpack(">7s6xI", stored[-17:]) == (b"crc_num", zlib.crc32(stored[:-17]))
    path.write_bytes(stored[:9999] + b"\x01" + stored[10000:])
    with pytest.raises(
        CheckpointError, match=r"a.ckpt is damaged: it states the CRC-32 .*, but has .*; fetch"
    ):
        MindSporeFile(path).verify()


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    write_mindspore(path, [("x", torch.zeros(5000))], checksum=True)
    file = MindSporeFile(path)
    with pytest.raises(CheckpointError, match="has no tensor 'y' among its 1"):
        file.read("y")
    os.truncate(path, 9999)
    with pytest.raises(CheckpointError, match="has changed since it was opened; open it again"):
        file.read("x")
    with pytest.raises(CheckpointError, match="has changed since it was opened; open it again"):
        file.verify()
    path.unlink()
    with pytest.raises(CheckpointError, match=r"cannot be read \(No such file"):
        file.read("x")


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_one_tensor_is_in_memory_at_a_time(tmp_path: Path) -> None:
    size = 2**25
    path = tmp_path / "a.ckpt"
    before = resident()
    highest = 0

    def tensors() -> Iterator[tuple[str, Tensor]]:
        nonlocal highest
        for number in range(10):
            yield f"x.{number}", torch.full((size // 4,), float(number))
            highest = max(highest, resident() - before)

    write_mindspore(path, tensors())
    assert highest < 4 * size
    file = MindSporeFile(path)
    assert resident() - before < size
    for number in range(10):
        assert file.read(f"x.{number}")[-1] == number
        assert resident() - before < 3 * size


# --- writing what cannot be written


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([], "there are no tensors to write"),
        ([("x", torch.zeros(1)), ("x", torch.zeros(1))], "'x' is given twice"),
        ([("", torch.zeros(1))], "the name '' has 0 characters, not 1 to 1024"),
        ([("x" * 1025, torch.zeros(1))], "the name 'x+...' has 1025 characters"),
        ([("\ud800", torch.zeros(1))], "cannot be written as UTF-8"),
        ([("x", torch.zeros(1, dtype=torch.complex64))], "'x' is torch.complex64, but MindSpore loads only"),
        ([("x", torch.zeros(1, device="meta"))], "'x' is on the meta device, without values"),
        ([("x", torch.eye(2).to_sparse())], "'x' is a torch.sparse_coo tensor"),
        ([("x", torch.zeros(0))], "'x' is empty, which MindSpore takes for a scalar"),
    ],
)
def test_what_mindspore_could_not_load_is_not_written(
    tmp_path: Path, tensors: list[tuple[str, Tensor]], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        write_mindspore(tmp_path / "a.ckpt", [("first", torch.zeros(9)), *tensors] if tensors else [])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    taken = tmp_path / "a.ckpt"
    taken.write_text("mine")
    tensors = [("x", torch.zeros(1))]
    with pytest.raises(CheckpointError, match=r"a.ckpt exists already"):
        write_mindspore(taken, tensors)
    with pytest.raises(CheckpointError, match=r"b.bin must end in .ckpt; MindSpore loads no other file"):
        write_mindspore(tmp_path / "b.bin", tensors)
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_mindspore(taken / "inside.ckpt", tensors)
    (tmp_path / "folder.ckpt").mkdir()
    with pytest.raises(CheckpointError):
        write_mindspore(tmp_path / "folder.ckpt", tensors)
    late = tmp_path / "late.ckpt"

    def appears() -> Iterator[tuple[str, Tensor]]:
        yield from tensors
        late.write_text("mine too")

    with pytest.raises(CheckpointError, match=r"late.ckpt exists already"):
        write_mindspore(late, appears())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt", "folder.ckpt", "late.ckpt"]
    assert (taken.read_text(), late.read_text()) == ("mine", "mine too")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
def test_an_error_of_the_source_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def failing() -> Iterator[tuple[str, Tensor]]:
        yield "x", torch.zeros(999)
        assert [path.name.startswith("a.ckpt.part-") for path in tmp_path.iterdir()] == [True]
        raise error("of the source")

    with pytest.raises(error, match="of the source"):
        write_mindspore(tmp_path / "a.ckpt", failing())
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys, torch
from vary.errors import CheckpointError
from vary.weights.mindspore.files import write_mindspore
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_mindspore(sys.argv[1], ((str(n), torch.zeros(700)) for n in range(9)))
except CheckpointError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "a.ckpt"], capture_output=True, text=True, check=True
    )
    assert "a.ckpt cannot be written (File too large); nothing was left there" in ran.stdout
    assert list(tmp_path.iterdir()) == []

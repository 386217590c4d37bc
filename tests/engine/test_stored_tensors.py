"""Files of tensors that are made once: whole or not there, room before the work, and held to a checksum."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vary.engine.stored_tensors import check_sum, map_tensors, remove_leftovers, write_tensors

TENSORS = {
    "values": torch.arange(10_000, dtype=torch.int32).to(torch.uint8),
    "scales": torch.arange(12).half().view(3, 4),
    "norm": torch.arange(5.0),
}
PLANNED = {name: torch.empty_like(tensor, device="meta") for name, tensor in TENSORS.items()}


def written(file: Path, **options: int) -> Path:
    write_tensors(file, PLANNED, TENSORS.items(), {"format": "a test"}, **options)
    return file


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    file = written(tmp_path / "new" / "folder" / "file")
    metadata, tensors = map_tensors(file)
    assert metadata["format"] == "a test"
    check_sum(metadata, tensors)
    for found in (tensors, load_file(file)):
        assert found.keys() == TENSORS.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())
    assert tensors["values"].data_ptr() % 64 == 0
    assert [path.name for path in file.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_permissions_are_those_asked_for(mode: int, tmp_path: Path) -> None:
    assert written(tmp_path / "file", mode=mode).stat().st_mode & 0o777 == mode


def test_lost_blocks_and_other_names_are_found(tmp_path: Path) -> None:
    file = written(tmp_path / "file")
    raw = file.read_bytes()
    start = raw.index(bytes(range(200)))
    file.write_bytes(raw[:start] + bytes(100) + raw[start + 100 :])
    metadata, tensors = map_tensors(file)
    with pytest.raises(ValueError, match="it is damaged"):
        check_sum(metadata, tensors)
    file.write_bytes(raw.replace(b'"norm"', b'"morn"'))
    with pytest.raises(ValueError, match="it is damaged"):
        check_sum(*map_tensors(file))
    with pytest.raises(ValueError, match="it is damaged"):
        check_sum({}, TENSORS)  # a file from before there were checksums


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="no room can be reserved there")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_says_so_before_the_work_and_nothing_is_left(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, start: int, size: int) -> None:
        assert size > sum(tensor.nbytes for tensor in TENSORS.values())
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match=os.strerror(number)):
        write_tensors(tmp_path / "new" / "file", PLANNED, iter([]), {}, begun=pytest.fail)
    assert list(tmp_path.iterdir()) == []


def test_where_room_cannot_be_reserved_the_file_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(descriptor: int, start: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "posix_fallocate", unknown, raising=False)
    check_sum(*map_tensors(written(tmp_path / "file")))


def test_of_a_failed_file_nothing_is_left_and_the_old_one_stays(tmp_path: Path) -> None:
    def fails() -> Iterator[tuple[str, Tensor]]:
        yield "values", TENSORS["values"]
        raise OSError("no space left")

    file = written(tmp_path / "file")
    before = file.read_bytes()
    with pytest.raises(OSError, match="no space left"):
        write_tensors(file, PLANNED, fails(), {})
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_only_what_nobody_writes_any_more_is_removed(tmp_path: Path) -> None:
    file, other = tmp_path / "file", tmp_path / "file.b.123.partial.kept"
    dead = [tmp_path / "file.a1b2c3.partial", tmp_path / "file.4711.partial"]
    for path in (*dead, other):
        path.write_bytes(b"half a file")

    def watched() -> Iterator[tuple[str, Tensor]]:
        for one in TENSORS.items():
            remove_leftovers(file)
            assert [path.name for path in tmp_path.glob("file.*.partial")] != []
            yield one

    write_tensors(file, PLANNED, watched(), {})
    assert sorted(tmp_path.iterdir()) == [file, other]


def test_a_new_file_that_is_removed_before_it_is_locked_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vary.engine import stored_tensors

    lock, calls = stored_tensors._lock, []

    def late(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            [path] = tmp_path.glob("*.partial")
            path.unlink()
        elif len(calls) == 2:
            raise BlockingIOError
        lock(descriptor)

    monkeypatch.setattr(stored_tensors, "_lock", late)
    check_sum(*map_tensors(written(tmp_path / "file")))
    assert len(calls) == 3

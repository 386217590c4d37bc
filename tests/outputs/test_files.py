"""Files that appear complete or not at all, and never replace another."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from vary.errors import OutputError
from vary.outputs.files import write_new_file


def test_a_new_file_has_its_name_and_the_usual_rights(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        written = write_new_file(tmp_path / "a.txt", "字\n")
    finally:
        os.umask(mask)
    assert written == tmp_path / "a.txt"
    assert written.read_bytes() == "字\n".encode()
    assert stat.S_IMODE(written.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [written]


def test_a_taken_name_gets_the_next_free_number(tmp_path: Path) -> None:
    names = [write_new_file(tmp_path / "a.txt", str(number)).name for number in range(3)]
    assert names == ["a.txt", "a-2.txt", "a-3.txt"]
    assert [(tmp_path / name).read_text() for name in names] == ["0", "1", "2"]


def test_a_link_to_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to(tmp_path / "elsewhere.txt")
    assert write_new_file(tmp_path / "a.txt", "x").name == "a-2.txt"
    assert not (tmp_path / "elsewhere.txt").exists()


def test_writers_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=write_new_file, args=(tmp_path / "a.txt", str(number)))
        for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(path.read_text()) for path in tmp_path.iterdir()) == list(range(16))


def test_a_name_that_no_file_has(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be written \(embedded null byte\)"):
        write_new_file(tmp_path / "a\0.txt", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"a\.txt: cannot be written \(No space left on device\)"):
        write_new_file(tmp_path / "a.txt", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_rename_gives_the_name_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match="Input/output error"):
        write_new_file(tmp_path / "a.txt", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_text_with_lone_surrogates_is_still_written(tmp_path: Path) -> None:
    assert write_new_file(tmp_path / "a.txt", "a\ud800b").read_text(encoding="utf-8") == "a\\ud800b"

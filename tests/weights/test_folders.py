"""New folders: whole or not there, and never in place of something else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from vary.errors import CheckpointError
from vary.weights.folders import copy_file, new_folder


def test_the_current_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for target in (Path("."), tmp_path, Path("../") / tmp_path.name):
        with (
            pytest.raises(CheckpointError, match="is the current folder, which cannot be replaced"),
            new_folder(target),
        ):
            pytest.fail("it must not begin")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own there")
def test_a_link_to_an_empty_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    with new_folder(tmp_path / "link") as folder:
        (folder / "x").write_text("x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "x").read_text() == "x"
    assert {path.name for path in tmp_path.iterdir()} == {"disk", "link"}


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    for target in (tmp_path / "\udcff", tmp_path / "\udcff" / "inside"):
        with pytest.raises(CheckpointError, match="is no UTF-8 text"), new_folder(target):
            pytest.fail("it must not begin")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("no space")])
def test_whatever_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path, error: Exception) -> None:
    def write() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("x")
            raise error

    match = r"out cannot be written \((?i:no space).*nothing was left there"
    with pytest.raises(CheckpointError, match=match) as caught:
        write()
    assert caught.value.__cause__ is error
    assert list(tmp_path.iterdir()) == []


def test_copies_say_which_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "a"
    (tmp_path / "folder").mkdir()
    for name in ("nowhere", "folder"):
        with pytest.raises(CheckpointError, match=f"{name} cannot be copied"):
            copy_file(tmp_path / name, tmp_path / "c")
    with pytest.raises(OSError, match="nowhere"):
        copy_file(tmp_path / "a", tmp_path / "nowhere" / "c")

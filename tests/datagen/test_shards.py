"""Shards: what is written is read back, whole or not at all, the same for any number of workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vary.datagen.lines.engine import LineEngine
from vary.datagen.lines.planning import LineEngineConfig
from vary.datagen.shards import MANIFEST, read_manifest, read_shard, read_shards, write_shards
from vary.errors import DataError


def shard_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


def test_round_trip(engine: LineEngine, tmp_path: Path) -> None:
    reported: list[int] = []
    manifest = write_shards(engine, tmp_path, lines=70, lines_per_shard=30, progress=reported.append)
    assert manifest == read_manifest(tmp_path)
    assert reported == [30, 60, 70]
    items = list(read_shards(tmp_path))
    assert [shard["samples"] for shard in manifest["shards"]] == [30, 30, 10]
    counts = manifest["counts"]
    assert counts["samples"] == len(items) == 70
    assert counts["characters"] == sum(len(item.answer) for item in items)
    assert sum(counts["families"].values()) == 70
    assert set(counts["families"]) <= set(manifest["fonts"])
    assert counts["painted_lines"] >= 70
    assert len({item.key for item in items}) == 70
    page = engine.page(0)
    for item, sample in zip(items, page[:30], strict=False):
        assert np.array_equal(item.image, sample.image)
        record = item.record
        assert (record["answer"], record["font"], record["source"]) == (
            sample.text,
            sample.font,
            sample.source,
        )
        assert (record["task"], record["prompt"]) == ("ocr", "")
        assert record["boxes"] == [list(sample.box)]
        assert record["licence"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        MANIFEST,
        *(f"shard-00000{n}.tar" for n in range(3)),
    ]


def test_manifest_says_what_it_was_made_from(engine: LineEngine, tmp_path: Path, corpus_file: Path) -> None:
    import hashlib

    manifest = write_shards(engine, tmp_path, lines=5)
    assert manifest["seed"] == 11
    assert manifest["split"] == "train"
    digest = hashlib.sha256(corpus_file.read_bytes()).hexdigest()
    assert manifest["corpus"] == [{"file": "small.txt", "sha256": digest}]
    assert manifest["versions"]["pillow"]
    assert (
        hashlib.sha256((tmp_path / "shard-000000.tar").read_bytes()).hexdigest()
        == (manifest["shards"][0]["sha256"])
    )
    assert str(tmp_path) not in json.dumps(manifest)


def test_members_are_pairs_in_webdataset_order(engine: LineEngine, tmp_path: Path) -> None:
    write_shards(engine, tmp_path, lines=4)
    with tarfile.open(tmp_path / "shard-000000.tar") as tar:
        names = tar.getnames()
    assert names == [f"000000-{n:06d}.{suffix}" for n in range(4) for suffix in ("png", "json")]


def test_workers_change_nothing(engine: LineEngine, tmp_path: Path) -> None:
    write_shards(engine, tmp_path / "one", lines=60, lines_per_shard=20, workers=1)
    write_shards(engine, tmp_path / "three", lines=60, lines_per_shard=20, workers=3)
    assert shard_bytes(tmp_path / "one") == shard_bytes(tmp_path / "three")
    assert read_manifest(tmp_path / "one") == read_manifest(tmp_path / "three")


def test_a_failure_leaves_no_half_shard_and_the_next_run_goes_on(
    engine: LineEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "broken"
    write_shards(engine, whole, lines=60, lines_per_shard=20)
    page_samples, calls = engine.page_samples, []

    def failing(index: int) -> object:
        calls.append(index)
        if index >= 1_000_001:
            raise KeyboardInterrupt
        return page_samples(index)

    monkeypatch.setattr(engine, "page_samples", failing)
    with pytest.raises(KeyboardInterrupt):
        write_shards(engine, folder, lines=60, lines_per_shard=20)
    assert list(shard_bytes(folder)) == ["shard-000000.tar"]
    assert not list(folder.glob(".*"))
    with pytest.raises(DataError, match="not finished"):
        list(read_shards(folder))
    monkeypatch.setattr(engine, "page_samples", lambda index: calls.append(index) or page_samples(index))
    calls.clear()
    write_shards(engine, folder, lines=60, lines_per_shard=20)
    assert min(calls) == 1_000_000, "the finished shard was painted again"
    assert shard_bytes(folder) == shard_bytes(whole)
    assert read_manifest(folder) == read_manifest(whole)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_half_way(corpus_file: Path, font_folder: Path, tmp_path: Path) -> None:
    folder, lines = tmp_path / "killed", 400

    def command(out: Path) -> list[str]:
        code = (
            "from vary.datagen import LineEngine, LineEngineConfig, write_shards\n"
            f"files, folders = ({str(corpus_file)!r},), ({str(font_folder)!r},)\n"
            "config = LineEngineConfig(corpus=files, font_folders=folders)\n"
            f"write_shards(LineEngine(config), {str(out)!r}, lines={lines}, lines_per_shard=50)\n"
        )
        return [sys.executable, "-c", code]

    process = subprocess.Popen(command(folder))
    deadline = time.monotonic() + 120
    while not (folder / "shard-000001.tar").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = shard_bytes(folder)
    assert 2 <= len(finished) < lines // 50, "the process was not killed half-way"
    for name in finished:
        assert len(list(read_shard(folder / name))) == 50
    subprocess.run(command(folder), check=True)
    subprocess.run(command(tmp_path / "straight"), check=True)
    assert shard_bytes(folder) == shard_bytes(tmp_path / "straight")
    assert len(list(read_shards(folder))) == lines
    assert not [entry for entry in os.listdir(folder) if entry.startswith(".")]


def test_a_finished_data_set_is_left_alone(
    engine: LineEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_shards(engine, tmp_path, lines=5)
    monkeypatch.setattr(engine, "page_samples", lambda index: pytest.fail("painted again"))
    assert write_shards(engine, tmp_path, lines=5) == manifest


def test_another_data_set_is_not_mixed_in(
    engine: LineEngine, config: LineEngineConfig, tmp_path: Path
) -> None:
    write_shards(engine, tmp_path, lines=5)
    with pytest.raises(DataError, match="other seed, config"):
        write_shards(engine.with_config(replace(config, seed=1)), tmp_path, lines=5)
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(DataError, match="choose an empty folder"):
        write_shards(engine, tmp_path, lines=5)


def test_an_engine_without_a_usable_line_stops(
    engine: LineEngine, config: LineEngineConfig, tmp_path: Path
) -> None:
    nothing = engine.with_config(
        replace(config, min_chars=50, max_chars=60, columns=(3, 4), lines_per_page=(1, 1))
    )
    with pytest.raises(DataError, match="fewer than min_chars"):
        write_shards(nothing, tmp_path, lines=50)
    assert not list(tmp_path.glob("*.tar"))


def test_broken_shards_are_named(engine: LineEngine, tmp_path: Path) -> None:
    write_shards(engine, tmp_path, lines=5)
    path = tmp_path / "shard-000000.tar"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    with pytest.raises(DataError, match=r"shard-000000\.tar"):
        list(read_shards(tmp_path))
    path.unlink()
    with pytest.raises(DataError, match=r"shard-000000\.tar"):
        list(read_shards(tmp_path))
    with pytest.raises(DataError, match="no readable manifest"):
        list(read_shards(tmp_path / "nowhere"))


def test_an_unpaired_member_is_named(tmp_path: Path) -> None:
    path = tmp_path / "odd.tar"
    note = tmp_path / "a.json"
    note.write_text("{}")
    with tarfile.open(path, "w") as tar:
        tar.add(note, "a.json")
    with pytest.raises(DataError, match=r"a\.json"):
        list(read_shard(path))

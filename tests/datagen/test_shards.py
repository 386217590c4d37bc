"""Shards: what is written is read back, whole or not at all, the same for any number of workers."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake_engines import FakeEngine
from vary.datagen.lines.engine import LineEngine
from vary.datagen.lines.planning import LineEngineConfig
from vary.datagen.sample import Draw, Sample
from vary.datagen.shards import (
    MANIFEST,
    ShardIndex,
    describe_engine,
    read_keyed,
    read_manifest,
    read_shards,
    write_shards,
)
from vary.datagen.shards.locking import LOCK
from vary.errors import DataError, OutputError

TESTS = Path(__file__).parent.parent


def shard_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


def same(one: Sample, other: Sample) -> bool:
    """Equal in everything, images pixel for pixel."""
    if (one.image is None) != (other.image is None):
        return False
    if one.image is not None and not np.array_equal(one.image, other.image):
        return False
    return replace(one, image=None) == replace(other, image=None)


def expected(engine: FakeEngine, indices: range) -> list[Sample]:
    return [s for index in indices if index not in engine.broken for s in engine.draw(index).samples]


def test_an_endless_engine(tmp_path: Path) -> None:
    engine, reported = FakeEngine(), []
    manifest = write_shards(engine, tmp_path, samples=70, samples_per_shard=30, progress=reported.append)
    assert manifest == read_manifest(tmp_path)
    assert reported[-1] == 70
    assert reported == sorted(reported)
    samples = list(read_shards(tmp_path))
    wanted = [
        *expected(engine, range(20))[:30],
        *expected(engine, range(1_000_000, 1_000_020))[:30],
        *expected(engine, range(2_000_000, 2_000_010))[:10],
    ]
    assert len(samples) == 70
    assert all(map(same, samples, wanted))
    assert [shard["samples"] for shard in manifest["shards"]] == [30, 30, 10]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        MANIFEST,
        *(f"shard-00000{n}.tar" for n in range(3)),
    ]


def test_the_manifest_counts(tmp_path: Path) -> None:
    manifest = write_shards(FakeEngine(length=9), tmp_path, samples_per_shard=6)
    samples = list(read_shards(tmp_path))
    counts = manifest["counts"]
    assert counts["samples"] == len(samples) == 18
    assert counts["indices"] == counts["visits"] == 9
    assert counts["colours"] == {"0": 5, "1": 4}
    assert counts["boxes"] == sum(len(s.boxes) for s in samples)
    assert counts["characters"] == sum(len(s.answer) + sum(len(a) for _, a in s.later) for s in samples)
    assert counts["tasks"] == {"chat": 3, "ocr": 15}
    assert sum(counts["languages"].values()) == 18
    assert counts["licences"] == {"CC0-1.0": 18}
    assert manifest["dropped"] == {"odd": 4}
    assert manifest["versions"]["pillow"]
    assert (manifest["engine"], manifest["seed"], manifest["split"]) == ("fake", 0, "train")
    for shard in manifest["shards"]:
        data = (tmp_path / shard["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == shard["sha256"]
    assert sum(shard["samples"] for shard in manifest["shards"]) == 18


def test_a_finite_engine_gives_every_index_once(tmp_path: Path) -> None:
    engine = FakeEngine(length=23)
    for workers in (1, 2):
        write_shards(engine, tmp_path / str(workers), samples_per_shard=10, workers=workers)
        samples = list(read_shards(tmp_path / str(workers)))
        assert len(samples) == len(expected(engine, range(23)))
        assert all(map(same, samples, expected(engine, range(23))))
    assert shard_bytes(tmp_path / "1") == shard_bytes(tmp_path / "2")
    assert read_manifest(tmp_path / "1") == read_manifest(tmp_path / "2")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("limit", [1, 10, 17, 40, 400])
def test_the_first_samples_of_a_finite_engine(tmp_path: Path, limit: int, workers: int) -> None:
    engine = FakeEngine(length=23)
    manifest = write_shards(engine, tmp_path, samples=limit, samples_per_shard=10, workers=workers)
    samples, wanted = list(read_shards(tmp_path)), expected(engine, range(23))[:limit]
    assert len(samples) == len(wanted)
    assert all(map(same, samples, wanted))
    assert manifest["counts"]["samples"] == len(wanted)
    stored = {shard["file"] for shard in manifest["shards"]}
    assert {path.name for path in tmp_path.iterdir()} == stored | {MANIFEST}


def test_an_index_of_many_samples_is_split(tmp_path: Path) -> None:
    """Documents have many pages: no file has more samples than was asked for."""
    manifest = write_shards(FakeEngine(length=12, samples_per_index=1), tmp_path, samples_per_shard=5)
    assert max(shard["samples"] for shard in manifest["shards"]) == 5
    assert "shard-000000-001.tar" in [shard["file"] for shard in manifest["shards"]]
    samples = list(read_shards(tmp_path))
    assert all(map(same, samples, expected(FakeEngine(), range(12))))
    keys = [key for path in sorted(tmp_path.glob("*.tar")) for key, _ in read_keyed(path)]
    assert len(set(keys)) == len(keys) == 24


def test_broken_documents_are_named_and_passed_over(tmp_path: Path) -> None:
    engine = FakeEngine(length=20, broken=(0, 7, 19))
    manifest = write_shards(engine, tmp_path, samples_per_shard=8)
    assert [entry["index"] for entry in manifest["broken"]] == [0, 7, 19]
    assert manifest["broken"][1] == {
        "index": 7,
        "source": "file-7.bin",
        "reason": "file-7.bin: it is broken, expected a whole one",
    }
    assert all(map(same, read_shards(tmp_path), expected(engine, range(20))))
    assert manifest["counts"]["indices"] == 20


@pytest.mark.parametrize("workers", [1, 2])
def test_too_many_broken_documents_stop_the_run(tmp_path: Path, workers: int) -> None:
    engine = FakeEngine(length=20, broken=(1, 7, 15, 19))
    with pytest.raises(DataError, match=r"more than 3 broken.*file-1\.bin: .*expected a whole"):
        write_shards(engine, tmp_path, samples_per_shard=8, workers=workers)
    write_shards(FakeEngine(length=40, broken=(1, 7, 15, 19)), tmp_path / "ten", samples_per_shard=8)
    with pytest.raises(DataError, match=r"gave no sample: .*3 broken .*file-0\.bin"):
        write_shards(FakeEngine(length=3, broken=(0, 1, 2)), tmp_path / "all")


def test_an_endless_engine_stops_at_the_first_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^file-2\.bin"):
        write_shards(FakeEngine(broken=(2,)), tmp_path, samples=20)
    assert not list(tmp_path.glob("*.tar"))
    with pytest.raises(DataError, match="no end"):
        write_shards(FakeEngine(), tmp_path / "other")


def test_an_engine_that_gives_nothing_stops(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"200 indices gave 0 samples.*too small"):
        write_shards(FakeEngine(fruitless=True), tmp_path, samples=20)
    with pytest.raises(DataError, match=r"gave no sample.*too small"):
        write_shards(FakeEngine(fruitless=True, length=30), tmp_path / "finite")
    assert not list(tmp_path.rglob("*.tar"))


def test_photographs_may_be_jpeg(tmp_path: Path) -> None:
    write_shards(FakeEngine(length=4, jpeg_quality=95), tmp_path)
    with tarfile.open(tmp_path / "shard-000000.tar") as tar:
        suffixes = {name.rpartition(".")[2] for name in tar.getnames()}
    assert suffixes == {"jpg", "json"}
    for sample, original in zip(read_shards(tmp_path), expected(FakeEngine(), range(4)), strict=True):
        if original.image is not None:
            assert sample.image.shape == original.image.shape
        if original.image is not None and original.image.ndim == 2:
            assert np.abs(sample.image.astype(int) - original.image).mean() < 10


def test_red_stays_red(tmp_path: Path) -> None:
    class Red(FakeEngine):
        def _sample(self, index: int, part: int) -> Sample:
            image = np.zeros((16, 16, 3), np.uint8)
            image[:, :, 0] = 200
            return replace(super()._sample(index, part), image=image)

    for quality in (None, 90):
        write_shards(Red(length=1, jpeg_quality=quality), tmp_path / str(quality))
        (sample,) = read_shards(tmp_path / str(quality))
        assert np.abs(sample.image[4, 4].astype(int) - [200, 0, 0]).max() < 5


def test_members_are_in_webdataset_order(tmp_path: Path) -> None:
    write_shards(FakeEngine(length=3), tmp_path)
    with tarfile.open(tmp_path / "shard-000000.tar") as tar:
        names = tar.getnames()
    keys = [f"000000-{n:06d}" for n in range(6)]
    wanted = [f"{key}.{suffix}" for key in keys for suffix in ("png", "json")]
    wanted.remove("000000-000005.png")  # a text
    assert names == wanted
    with tarfile.open(tmp_path / "shard-000000.tar") as tar:
        record = json.load(tar.extractfile("000000-000002.json"))
    assert list(record) == [
        *("task", "prompt", "answer", "source", "licence", "language"),
        *("boxes", "later", "system", "details"),
    ]
    assert record["boxes"] == [{"label": "word", "box": [1, 2.5, 3, 4], "level": "word"}]


def test_the_line_engine(engine: LineEngine, tmp_path: Path, corpus_file: Path) -> None:
    manifest = write_shards(engine, tmp_path / "one", samples=60, samples_per_shard=20)
    write_shards(engine, tmp_path / "three", samples=60, samples_per_shard=20, workers=3)
    assert shard_bytes(tmp_path / "one") == shard_bytes(tmp_path / "three")
    assert read_manifest(tmp_path / "one") == read_manifest(tmp_path / "three")
    for sample, line in zip(read_shards(tmp_path / "one"), engine.page(0)[:20], strict=False):
        assert np.array_equal(sample.image, line.image)
        assert (sample.answer, sample.source, sample.licence) == (line.text, line.source, line.licence)
        assert (sample.task, sample.prompt, sample.language) == ("ocr", "", "en")
        assert sample.details["font"] == line.font
        assert sample.details["page_box"] == list(line.box)
    digest = hashlib.sha256(corpus_file.read_bytes()).hexdigest()
    assert manifest["files"] == [{"file": "small.txt", "sha256": digest}]
    assert set(manifest["counts"]["families"]) <= set(manifest["fonts"])
    assert manifest["counts"]["painted_lines"] >= 60
    assert manifest["versions"]["fonttools"]
    assert str(corpus_file.parent) not in json.dumps(manifest)
    assert describe_engine(engine)["engine"] == "lines"


def test_a_failure_leaves_no_half_shard_and_the_next_run_goes_on(tmp_path: Path) -> None:
    whole, folder, calls = tmp_path / "whole", tmp_path / "broken", []
    write_shards(FakeEngine(), whole, samples=60, samples_per_shard=20)

    class Watched(FakeEngine):
        limit = 10**9

        def draw(self, index: int) -> object:
            calls.append(index)
            if index >= self.limit:
                raise KeyboardInterrupt
            return super().draw(index)

    engine = Watched()
    engine.limit = 1_000_003
    with pytest.raises(KeyboardInterrupt):
        write_shards(engine, folder, samples=60, samples_per_shard=20)
    assert list(shard_bytes(folder)) == ["shard-000000.tar"]
    assert not list(folder.glob(".*"))
    with pytest.raises(DataError, match="not finished"):
        list(read_shards(folder))
    engine.limit = 10**9
    calls.clear()
    write_shards(engine, folder, samples=60, samples_per_shard=20)
    assert min(calls) == 1_000_000, "the finished shard was made again"
    assert shard_bytes(folder) == shard_bytes(whole)
    assert read_manifest(folder) == read_manifest(whole)
    calls.clear()
    write_shards(engine, folder, samples=60, samples_per_shard=20)
    assert calls == [], "a finished data set was made again"


def command(out: Path, workers: int, **options: object) -> list[str]:
    """A run of the fake engine as a process of its own."""
    code = (
        "from fake_engines import FakeEngine\n"
        "from vary.datagen.shards import write_shards\n"
        "if __name__ == '__main__':\n"
        f"    engine = FakeEngine(seconds=0.01, **{options!r})\n"
        f"    write_shards(engine, {str(out)!r}, samples=300, samples_per_shard=40, workers={workers})\n"
    )
    script = out.with_suffix(".py")
    script.write_text(code, encoding="utf-8")
    return [sys.executable, str(script)]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize(("workers", "length"), [(1, None), (2, 150)])
def test_killed_half_way(tmp_path: Path, workers: int, length: int | None) -> None:
    folder = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    process = subprocess.Popen(command(folder, workers, length=length), env=environment)
    deadline = time.monotonic() + 120
    while len(shard_bytes(folder)) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = shard_bytes(folder)
    assert 2 <= len(finished) < 7, "the process was not killed half-way"
    with pytest.raises(DataError, match="not finished"):
        list(read_shards(folder))
    for out in (folder, tmp_path / "straight"):
        subprocess.run(command(out, workers, length=length), check=True, env=environment)
    whole = shard_bytes(tmp_path / "straight")
    assert shard_bytes(folder) == whole
    assert finished.items() <= whole.items(), "half a shard has its final name"
    assert read_manifest(folder) == read_manifest(tmp_path / "straight")
    assert not [entry for entry in os.listdir(folder) if entry.startswith(".")]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_when_the_first_process_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "VARY_TEST_MARK": tmp_path.name + "-mark"}
    process = subprocess.Popen(command(tmp_path / "data", 2, length=None), env=environment)

    def alive() -> int:
        count = 0
        for entry in Path("/proc").iterdir():
            try:
                count += entry.name.isdigit() and environment["VARY_TEST_MARK"].encode() in (
                    (entry / "environ").read_bytes() if (entry / "cmdline").read_bytes() else b""
                )
            except OSError:
                continue
        return count

    deadline = time.monotonic() + 120
    while not shard_bytes(tmp_path / "data") and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    assert alive() >= 3, "there were no workers: the test shows nothing"
    process.send_signal(signal.SIGKILL)
    process.wait()
    while alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive() == 0


def test_a_full_disk_is_told_and_nothing_half_is_left(tmp_path: Path) -> None:
    """No file of that process may be larger than a shard needs: as a full disk, in the middle of a shard."""
    resource = pytest.importorskip("resource", reason="needs limits of the system")
    out = tmp_path / "data"
    arguments = command(out, 1, length=None)
    failed = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert failed.returncode == 1
    assert "OutputError" in failed.stderr
    assert "cannot be written" in failed.stderr
    assert "same command again" in failed.stderr
    assert sorted(os.listdir(out)) == [MANIFEST]
    subprocess.run(arguments, check=True, env={**os.environ, "PYTHONPATH": str(TESTS)})
    assert len(list(read_shards(out))) == 300


def test_a_second_run_does_not_touch_the_first_ones_folder(tmp_path: Path) -> None:
    refused, seen = [], set()

    class Twice(FakeEngine):
        """Starts a second run in its own folder, in the middle of a shard."""

        def draw(self, index: int) -> Draw:
            if index == 5:
                seen.update(path.suffix for path in tmp_path.iterdir())
                with pytest.raises(
                    DataError, match=r"another process writes a data set.*wait for its end"
                ) as told:
                    write_shards(FakeEngine(length=9), tmp_path)
                refused.append(told.value)
            return super().draw(index)

    write_shards(Twice(length=9), tmp_path)
    assert len(refused) == 1
    assert ".partial" in seen, "there was nothing that the second run could have removed"
    assert all(map(same, read_shards(tmp_path), expected(FakeEngine(), range(9))))
    assert sorted(os.listdir(tmp_path)) == [MANIFEST, "shard-000000.tar"]


def test_a_lock_that_a_killed_run_left_bars_nobody(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    write_shards(FakeEngine(length=3), tmp_path)
    assert sorted(os.listdir(tmp_path)) == [MANIFEST, "shard-000000.tar"]


def test_without_locks_it_goes_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vary.datagen.shards.locking._LOCKS", False)
    write_shards(FakeEngine(length=3), tmp_path / "none")
    monkeypatch.undo()
    fcntl = pytest.importorskip("fcntl", reason="a system without locks")

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write_shards(FakeEngine(length=3), tmp_path / "refused")
    assert shard_bytes(tmp_path / "none") == shard_bytes(tmp_path / "refused") != {}
    assert sorted(os.listdir(tmp_path / "refused")) == [MANIFEST, "shard-000000.tar"]


def test_a_finished_data_set_needs_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lie in a folder that can only be read."""
    manifest = write_shards(FakeEngine(length=3), tmp_path)
    monkeypatch.setattr("vary.datagen.shards.writing.only_writer", None)
    assert write_shards(FakeEngine(length=3), tmp_path) == manifest


def test_what_late_workers_leave_is_removed(tmp_path: Path) -> None:
    """A worker ends its shard when enough is reached; its note never comes back to the first process."""

    class Late(FakeEngine):
        def draw(self, index: int) -> Draw:
            for name in ("shard-000007.json", "shard-000007.tar", "shard-000008-001.tar", "shard-notes.txt"):
                (tmp_path / name).write_text("{}", encoding="utf-8")
            return super().draw(index)

    manifest = write_shards(Late(length=40), tmp_path, samples=4, samples_per_shard=2)
    stored = {shard["file"] for shard in manifest["shards"]}
    assert set(os.listdir(tmp_path)) == {MANIFEST, "shard-notes.txt"} | stored
    assert all(map(same, read_shards(tmp_path), expected(FakeEngine(), range(40))[:4]))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file"):
        write_shards(FakeEngine(length=2), tmp_path / "file")


def test_another_data_set_is_not_mixed_in(tmp_path: Path) -> None:
    write_shards(FakeEngine(length=3), tmp_path)
    with pytest.raises(DataError, match=r"other seed \(seed: 0, now 5\)"):
        write_shards(FakeEngine(length=3, seed=5), tmp_path)
    with pytest.raises(DataError, match="samples_per_shard"):
        write_shards(FakeEngine(length=3), tmp_path, samples_per_shard=7)
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(DataError, match="choose an empty folder"):
        write_shards(FakeEngine(length=3), tmp_path)


def test_the_curriculum_of_lines_without_a_usable_line_stops(
    engine: LineEngine, config: LineEngineConfig, tmp_path: Path
) -> None:
    nothing = engine.with_config(
        replace(config, min_chars=50, max_chars=60, columns=(3, 4), lines_per_page=(1, 1))
    )
    with pytest.raises(DataError, match="fewer than min_chars"):
        write_shards(nothing, tmp_path, samples=50)
    assert not list(tmp_path.glob("*.tar"))


def test_an_index_reads_in_any_order(tmp_path: Path) -> None:
    write_shards(FakeEngine(length=11), tmp_path, samples_per_shard=6)
    index = pickle.loads(pickle.dumps(ShardIndex(tmp_path)))
    samples = list(read_shards(tmp_path))
    assert len(index) == len(samples)
    assert len({index.key(n) for n in range(len(index))}) == len(index)
    for number in (5, 0, len(index) - 1, 3):
        assert same(index.sample(number), samples[number])
        assert index.record(number)["answer"] == samples[number].answer
    assert index.manifest == read_manifest(tmp_path)
    (path, *_) = sorted(tmp_path.glob("*.tar"))
    path.write_bytes(path.read_bytes()[:512])
    with pytest.raises(DataError, match="cut off"):
        index.sample(1)


def test_an_unfinished_or_broken_data_set_is_named(tmp_path: Path) -> None:
    write_shards(FakeEngine(length=9), tmp_path, samples_per_shard=4)
    path = tmp_path / "shard-000000.tar"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    with pytest.raises(DataError, match=r"shard-000000\.tar"):
        list(read_shards(tmp_path))
    path.unlink()
    for reading in (lambda: list(read_shards(tmp_path)), lambda: ShardIndex(tmp_path)):
        with pytest.raises(DataError, match=r"shard-000000\.tar"):
            reading()
    with pytest.raises(DataError, match="no readable manifest"):
        read_manifest(tmp_path / "nowhere")
    manifest = json.loads((tmp_path / MANIFEST).read_text("utf-8"))
    for wrong in ("../other.tar", "/etc/passwd", 7, None):
        shards = [{"file": wrong}]
        (tmp_path / MANIFEST).write_text(json.dumps({**manifest, "shards": shards}), "utf-8")
        with pytest.raises(DataError, match="expected a file of its folder"):
            list(read_shards(tmp_path))
    for text in ("[]", "{", '{"schema": "other"}', "[" * 100_000):
        (tmp_path / MANIFEST).write_text(text, "utf-8")
        with pytest.raises(DataError, match=MANIFEST):
            read_manifest(tmp_path)


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    for name, value in itertools.product(("samples", "samples_per_shard", "workers"), (0, -3)):
        with pytest.raises(DataError, match=f"{name}={value}"):
            write_shards(FakeEngine(length=3), tmp_path, **{name: value})

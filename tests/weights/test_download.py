"""One file over HTTP: resumed, checked, refused, and never half under its own name."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_hub import FakeHub, Repository, commit_of
from vary.errors import DownloadError
from vary.weights.fetching import download as transport
from vary.weights.fetching.download import Request, StatusError, Unreachable, download
from vary.weights.hashing import git_id, hash_file

DATA = bytes(range(256)) * 4000  # a good megabyte: several reads
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(transport.time, "sleep", lambda _: None)
    with FakeHub() as server:
        server.direct["x.ckpt"] = DATA
        yield server


def request(hub: FakeHub, **facts: object) -> Request:
    return Request(f"{hub.address}/files/x.ckpt", **facts)


def ranges(hub: FakeHub) -> list[str | None]:
    return [headers.get("range") for headers in hub.asked("x.ckpt")]


def test_a_file_arrives(hub: FakeHub, tmp_path: Path) -> None:
    target = tmp_path / "x.ckpt"
    seen: list[int] = []
    assert download(request(hub), target, progress=seen.append) == SHA256
    assert target.read_bytes() == DATA
    assert sum(seen) == len(DATA)
    assert [path.name for path in tmp_path.iterdir()] == ["x.ckpt"]


@pytest.mark.parametrize("known", [True, False])
def test_a_connection_that_breaks_off_is_taken_up_again(hub: FakeHub, tmp_path: Path, known: bool) -> None:
    hub.cut["x.ckpt"] = [300_000, 100_000, 0, 5]
    facts = {"sha256": SHA256, "size": len(DATA)} if known else {}
    assert download(request(hub, **facts), tmp_path / "x.ckpt") == SHA256
    starts = [None, "bytes=300000-", "bytes=400000-", "bytes=400000-", "bytes=400005-"]
    assert ranges(hub) == starts
    conditions = [headers.get("if-range") for headers in hub.asked("x.ckpt")]
    assert conditions == ([None] * 5 if known else [None, *[f'"{SHA256}"'] * 4])


def test_a_later_call_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut["x.ckpt"] = [700_000, 0, 0, 0, 0, 0, 0]
    target = tmp_path / "x.ckpt"
    with pytest.raises(Unreachable, match="broke off after 700,000 bytes"):
        download(request(hub), target)
    assert not target.exists()
    assert (tmp_path / "x.ckpt.part").read_bytes() == DATA[:700_000]
    hub.cut.clear()
    hub.log.clear()
    seen: list[int] = []
    assert download(request(hub), target, progress=seen.append) == SHA256
    assert ranges(hub) == ["bytes=700000-"]
    assert sum(seen) == len(DATA)


def test_a_file_that_changed_meanwhile_begins_anew(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut["x.ckpt"] = [700_000, 0, 0, 0, 0, 0]
    target = tmp_path / "x.ckpt"
    with pytest.raises(Unreachable):
        download(request(hub), target)
    other = hub.direct["x.ckpt"] = DATA[::-1]
    hub.cut.clear()
    assert download(request(hub), target) == hashlib.sha256(other).hexdigest()
    assert target.read_bytes() == other


def test_a_server_without_ranges_sends_it_all_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.no_ranges = True
    hub.cut["x.ckpt"] = [300_000]
    seen: list[int] = []
    assert download(request(hub), tmp_path / "x.ckpt", progress=seen.append) == SHA256
    assert sum(seen) == len(DATA)
    assert min(seen) == -300_000


def test_a_part_that_is_longer_than_the_file_is_thrown_away(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "x.ckpt.part").write_bytes(b"?" * (len(DATA) + 1))
    assert download(request(hub, sha256=SHA256), tmp_path / "x.ckpt") == SHA256  # the server says 416
    (tmp_path / "x.ckpt.part").write_bytes(b"?" * (len(DATA) + 1))
    assert download(request(hub, size=len(DATA)), tmp_path / "x.ckpt") == SHA256


def test_a_part_of_which_nothing_is_known_is_not_gone_on_with(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "x.ckpt.part").write_bytes(b"from somewhere else")
    assert download(request(hub), tmp_path / "x.ckpt") == SHA256
    assert ranges(hub) == [None]


@pytest.mark.parametrize("kind", ["sha256", "git"])
def test_wrong_bytes_are_thrown_away(hub: FakeHub, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "x.ckpt"
    right = tmp_path / "right"
    right.write_bytes(DATA)
    facts = {"sha256": SHA256} if kind == "sha256" else {"git": git_id(right)}
    hub.corrupt.add("x.ckpt")
    with pytest.raises(DownloadError, match=r"arrived with the .*, expected .*thrown away"):
        download(request(hub, **facts), target)
    assert [path.name for path in tmp_path.iterdir()] == ["right"]
    hub.corrupt.clear()
    assert download(request(hub, **facts), target) == SHA256


def test_hashes_are_what_others_compute() -> None:
    path = Path(__file__)
    command = ["git", "hash-object", "--no-filters", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert git_id(path) == ran.stdout.strip()
    assert hash_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_another_size_than_announced_is_refused_before_it_is_taken(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="the file there has 1,024,000 bytes, expected 7"):
        download(request(hub, size=7), tmp_path / "x.ckpt")
    assert not (tmp_path / "x.ckpt").exists()


def test_passing_trouble_is_waited_out_and_other_is_not(hub: FakeHub, tmp_path: Path) -> None:
    hub.failing["x.ckpt"] = [503, 429]
    assert download(request(hub), tmp_path / "x.ckpt") == SHA256
    hub.failing["x.ckpt"] = [403]
    with pytest.raises(StatusError, match="the server answers 403 Forbidden"):
        download(request(hub), tmp_path / "x.ckpt")
    hub.failing["x.ckpt"] = [500] * 9
    with pytest.raises(StatusError, match="500"):
        download(request(hub), tmp_path / "x.ckpt")


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "x.ckpt"])
def test_only_http(address: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="begins with https"):
        download(Request(address), tmp_path / "x")


def test_no_server(hub: FakeHub, tmp_path: Path) -> None:
    hub.stop()
    with pytest.raises(Unreachable, match=r"x\.ckpt: cannot be reached"):
        download(request(hub), tmp_path / "x.ckpt")


def test_a_full_disk_is_named(hub: FakeHub) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no device that is always full")
    part = transport._Part(Path("/dev/nothing"), request(hub), lambda _: None)
    with (
        full.open("ab", buffering=0) as stream,
        pytest.raises(DownloadError, match="No space left"),
    ):
        part.append(stream, b"x" * 10)


def test_certificates_are_found_where_python_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = transport.ssl.get_default_verify_paths()._replace(cafile=None, capath=None)
    monkeypatch.setattr(transport.ssl, "get_default_verify_paths", lambda: nothing)
    monkeypatch.setattr(transport.sys, "platform", "darwin")
    assert len(transport._trust().get_ca_certs()) > 10


def test_an_endless_answer_is_cut_short(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LARGEST_ANSWER", 1000)
    with pytest.raises(DownloadError, match="more than 1,000 bytes"):
        transport.read_answer(f"{hub.address}/files/x.ckpt")


def test_a_token_stays_with_its_server(hub: FakeHub, tmp_path: Path) -> None:
    """The hub sends on to another host, which must not see it."""
    hub.repositories["a/b"] = Repository({"x.bin": DATA})
    address = f"{hub.address}/a/b/resolve/{commit_of(1)}/x.bin"
    download(Request(address, token="secret"), tmp_path / "x.bin")
    (first,), (second,) = hub.asked("/resolve/"), hub.asked("/cdn/")
    assert first["authorization"] == "Bearer secret"
    assert "authorization" not in second
    assert "secret" not in repr(Request(address, token="secret"))


def test_a_revision_that_is_not_the_asked_one_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    """The header may stand on the redirect alone."""
    hub.repositories["a/b"] = Repository({"x.bin": DATA, "small": b"s"})
    hub.served_commit = commit_of(9)
    for name in ("x.bin", "small"):
        asked = Request(f"{hub.address}/a/b/resolve/{commit_of(1)}/{name}", commit=commit_of(1))
        with pytest.raises(DownloadError, match=f"serves revision {commit_of(9)}, but {commit_of(1)}"):
            download(asked, tmp_path / name)
    assert list(tmp_path.iterdir()) == []

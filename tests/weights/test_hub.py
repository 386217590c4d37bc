"""Fetching by name: what is taken, what is recorded, what is refused ever after."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from fake_hub import FakeHub, Repository, commit_of
from vary.errors import CheckpointError, DownloadError
from vary.weights.fetching import download as transport
from vary.weights.fetching import hub as fetching
from vary.weights.fetching import registry, store
from vary.weights.fetching.hub import Plan, execute, fetch, prepare
from vary.weights.fetching.registry import Entry, Part

NAME = "someone/vary-small"
WEIGHTS = bytes(range(256)) * 2000
FILES = {
    "README.md": b"a model",
    "LICENSE": b"do what you like",
    "config.json": b"{}",
    "pytorch_model.bin": WEIGHTS,
    "qwen.tiktoken": b"IQ== 0\n",
    "tokenizer_config.json": b"{}",
    "modeling.py": b"raise SystemExit",
    "tokenization_qwen.py": b"raise SystemExit",
    "training_args.bin": b"a pickle" * 500,
    "trainer_state.json": b"{}",
    ".gitattributes": b"*",
    "sub/model.safetensors": b"of something else",
}
TAKEN = {"README.md", "LICENSE", "config.json", "pytorch_model.bin", "qwen.tiktoken", "tokenizer_config.json"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VARY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(transport.time, "sleep", lambda _: None)
    return tmp_path / "home"


@pytest.fixture
def server(home: Path) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.repositories[NAME] = Repository(FILES, licence="apache-2.0")
        yield hub


Fetch = Callable[..., Path]


@pytest.fixture
def get(server: FakeHub) -> Fetch:
    return lambda name=NAME, **options: fetch(name, endpoint=server.address, **options)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def record(home: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((home / "weights.json").read_text(encoding="utf-8"))
    return content


def plan(server: FakeHub, name: str = NAME, **options: Any) -> Plan:
    return prepare(name, endpoint=server.address, **options)


def test_what_is_needed_is_fetched_and_nothing_else(get: Fetch, home: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    folder = get(progress=lambda done, total: seen.append((done, total)))
    assert folder == home / "weights" / "someone--vary-small" == store.find(NAME)
    assert names(folder) == TAKEN
    assert all((folder / name).read_bytes() == FILES[name] for name in TAKEN)
    size = sum(len(FILES[name]) for name in TAKEN)
    assert seen[-1] == (size, size)
    assert {path.name for path in (home / "weights").iterdir()} == {folder.name, f".{folder.name}.lock"}


def test_the_first_fetch_is_recorded(get: Fetch, home: Path, server: FakeHub) -> None:
    get()
    source = record(home)["sources"][NAME]
    assert source["asked"] == {"main": commit_of(1)}
    held = source["revisions"][commit_of(1)]
    assert held["licence"] == "apache-2.0"
    assert held["server"] == server.address
    assert held["files"]["pytorch_model.bin"] == {
        "size": len(WEIGHTS),
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
    }
    assert set(held["files"]) == TAKEN
    assert record(home)["checkpoints"][NAME][0]["revision"] == commit_of(1)


def test_the_plan_says_what_will_be_done(server: FakeHub, home: Path) -> None:
    found = plan(server)
    assert found.offers[0].licence == "apache-2.0"
    assert found.offers[0].revision == commit_of(1)
    assert found.bytes_missing == sum(len(FILES[name]) for name in TAKEN)
    assert found.folder == home / "weights" / "someone--vary-small"
    assert server.asked("/resolve/") == []
    assert not home.exists()


def test_safetensors_are_preferred(get: Fetch, server: FakeHub) -> None:
    server.repositories[NAME].push(
        {
            "model-00001-of-00002.safetensors": b"1" * 2000,
            "model-00002-of-00002.safetensors": b"2" * 2000,
            "model.safetensors.index.json": b"{}",
            "additional_chat_templates/mindocr.jinja": b"{{ 1 }}",
        }
    )
    assert names(get()) == TAKEN - {"pytorch_model.bin"} | {
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "additional_chat_templates/mindocr.jinja",
    }


def test_a_fetched_checkpoint_is_not_fetched_again(get: Fetch, server: FakeHub) -> None:
    folder = get()
    server.stop()
    assert get() == folder  # nobody is asked


def test_a_kill_leaves_nothing_that_looks_complete(get: Fetch, server: FakeHub, home: Path) -> None:
    server.cut["pytorch_model.bin"] = [100_000, 0, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"broke off.*\n.*kept: the same command goes on"):
        get()
    assert store.find(NAME) is None
    assert not (home / "weights.json").exists()
    server.cut.clear()
    server.log.clear()
    assert names(get()) == TAKEN
    assert [headers.get("range") for headers in server.asked("/cdn/")] == ["bytes=100000-"]
    assert server.asked("README.md") == []  # it had arrived


def test_what_arrived_of_another_revision_is_not_mixed_in(get: Fetch, server: FakeHub) -> None:
    server.cut["pytorch_model.bin"] = [100_000, 0, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        get()
    server.cut.clear()
    server.repositories[NAME].push({"pytorch_model.bin": WEIGHTS[::-1]})
    server.log.clear()
    assert (get() / "pytorch_model.bin").read_bytes() == WEIGHTS[::-1]
    assert [headers.get("range") for headers in server.asked("/cdn/")] == [None]


def test_a_later_fetch_stays_with_the_recorded_revision(get: Fetch, server: FakeHub) -> None:
    folder = get()
    shutil.rmtree(folder)
    server.repositories[NAME].push({"pytorch_model.bin": WEIGHTS[::-1]})
    assert (get() / "pytorch_model.bin").read_bytes() == WEIGHTS
    assert plan(server).is_done


def test_update_takes_the_new_revision(get: Fetch, server: FakeHub, home: Path) -> None:
    get()
    new = server.repositories[NAME].push({"pytorch_model.bin": WEIGHTS[::-1]})
    server.log.clear()
    folder = get(update=True)
    assert (folder / "pytorch_model.bin").read_bytes() == WEIGHTS[::-1]
    assert server.asked("README.md") == []  # unchanged files are not downloaded again
    assert names(folder) == TAKEN
    assert set(record(home)["sources"][NAME]["revisions"]) == {commit_of(1), new}
    shutil.rmtree(folder)
    assert (get() / "pytorch_model.bin").read_bytes() == WEIGHTS[::-1]


def test_another_revision_is_taken_when_asked_for(get: Fetch, server: FakeHub) -> None:
    get()
    server.repositories[NAME].push({"pytorch_model.bin": WEIGHTS[::-1]})
    server.repositories[NAME].branches["v2"] = commit_of(2)
    folder = get(revision="v2")
    assert (folder / "pytorch_model.bin").read_bytes() == WEIGHTS[::-1]
    # What was chosen stays chosen, and a tag that moves is not followed.
    shutil.rmtree(folder)
    server.repositories[NAME].branches["v2"] = commit_of(1)
    assert (get() / "pytorch_model.bin").read_bytes() == WEIGHTS[::-1]
    assert (get(revision="v2") / "pytorch_model.bin").read_bytes() == WEIGHTS[::-1]
    assert (get(revision=commit_of(1)) / "pytorch_model.bin").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["pytorch_model.bin", "config.json"])
def test_other_bytes_under_the_recorded_revision_are_refused(
    get: Fetch, server: FakeHub, home: Path, name: str
) -> None:
    before = get()
    kept = record(home)
    shutil.rmtree(before)
    files = server.repositories[NAME].commits[commit_of(1)]
    files[name] = FILES[name][::-1]
    match = "A revision cannot change" if name == "pytorch_model.bin" else "arrived with the SHA-256"
    for options in ({}, {"update": True}, {"revision": "main"}, {"revision": commit_of(1)}):
        with pytest.raises(DownloadError, match=match):
            get(**options)
    assert store.find(NAME) is None
    assert record(home) == kept


def test_a_changed_size_is_refused_before_the_download(get: Fetch, server: FakeHub) -> None:
    shutil.rmtree(get())
    server.repositories[NAME].commits[commit_of(1)]["config.json"] = b"{ }"
    server.log.clear()
    with pytest.raises(DownloadError, match=r"has 3 bytes .* at the first fetch it had 2 bytes"):
        get()
    assert server.asked("/resolve/") == []


def test_a_server_that_gives_another_commit_is_refused(get: Fetch, server: FakeHub) -> None:
    shutil.rmtree(get())
    repository = server.repositories[NAME]
    repository.commits[commit_of(5)] = dict(FILES)
    repository.branches[commit_of(1)] = commit_of(5)
    with pytest.raises(DownloadError, match=f"asked for revision {commit_of(1)}.* gives {commit_of(5)}"):
        get()


def test_bytes_that_are_wrong_on_the_way_are_refused(get: Fetch, server: FakeHub) -> None:
    server.corrupt.add("pytorch_model.bin")
    with pytest.raises(DownloadError, match="arrived with the SHA-256"):
        get()
    server.corrupt = {"tokenizer_config.json"}
    with pytest.raises(DownloadError, match="arrived with the git id"):
        get()
    assert store.find(NAME) is None
    server.corrupt.clear()
    assert names(get()) == TAKEN


def test_damaged_files_are_repaired_alone(get: Fetch, server: FakeHub) -> None:
    folder = get()
    (folder / "pytorch_model.bin").write_bytes(WEIGHTS[:-1] + b"?")
    (folder / "notes.txt").write_text("mine")
    (folder / "config.json").unlink()
    server.log.clear()
    assert names(get()) == TAKEN | {"notes.txt"}
    assert (folder / "pytorch_model.bin").read_bytes() == WEIGHTS
    assert {path.rpartition("/")[2] for _, path, _ in server.log if "/resolve/" in path} == {
        "pytorch_model.bin",
        "config.json",
    }


def test_files_copied_by_hand_are_taken_over(get: Fetch, server: FakeHub, home: Path) -> None:
    folder = store.checkpoint_folder(NAME)
    folder.mkdir(parents=True)
    (folder / "pytorch_model.bin").write_bytes(WEIGHTS)
    assert store.find(NAME) == folder
    assert names(get()) == TAKEN
    assert server.asked("pytorch_model.bin") == []
    assert set(record(home)["sources"][NAME]["revisions"][commit_of(1)]["files"]) == TAKEN


def test_a_mirror_is_held_to_what_the_hub_gave(get: Fetch, server: FakeHub) -> None:
    shutil.rmtree(get())
    with FakeHub() as mirror:
        mirror.repositories[NAME] = Repository({**FILES, "pytorch_model.bin": WEIGHTS[::-1]})
        with pytest.raises(DownloadError, match="do not trust this source"):
            fetch(NAME, endpoint=mirror.address)
        mirror.repositories[NAME] = Repository(FILES)
        assert names(fetch(NAME, endpoint=mirror.address)) == TAKEN


def test_gated_unknown_and_without_the_revision(get: Fetch, server: FakeHub) -> None:
    with pytest.raises(DownloadError, match=r"no public repository someone/else at .*HF_TOKEN"):
        get("someone/else")
    with pytest.raises(DownloadError, match=r"has no revision v9.*--revision.*--update"):
        get(revision="v9")
    server.repositories[NAME].gated = True
    with pytest.raises(DownloadError, match=r"is gated: accept its terms at .*hf auth login"):
        get()


def test_a_token_opens_a_gated_repository(
    get: Fetch, server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.repositories[NAME].gated = True
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert names(get()) == TAKEN
    assert {headers["authorization"] for headers in server.asked("/resolve/")} == {"Bearer hf_secret"}
    assert not any("authorization" in headers for headers in server.asked("/cdn/"))


def test_a_repository_without_weights(get: Fetch, server: FakeHub) -> None:
    server.repositories[NAME] = Repository(
        {"config.json": b"{}", "model.gguf": b"x", "training_args.bin": b"x"}
    )
    with pytest.raises(
        DownloadError, match=r"has no weights that vary knows.*it has config.json, model.gguf"
    ):
        get()


@pytest.mark.parametrize(
    ("card", "shown"),
    [
        ({}, ""),
        ({"license": "mit"}, "mit"),
        ({"license": ["mit", "cc0-1.0"]}, "mit, cc0-1.0"),
        (
            {"license": "other", "license_name": "qwen", "license_link": "https://x/LICENSE"},
            "other (qwen, https://x/LICENSE)",
        ),
    ],
)
def test_the_licence_as_the_source_states_it(server: FakeHub, card: dict[str, Any], shown: str) -> None:
    server.repositories[NAME].card = card
    assert plan(server).offers[0].licence == shown


def test_without_a_network_the_message_says_what_to_do(server: FakeHub, home: Path) -> None:
    server.stop()
    with pytest.raises(DownloadError) as caught:
        fetch("vary-toy", endpoint=server.address)
    message = str(caught.value)
    assert f"{server.address}/api/models/HaoranWei/Vary-toy/revision/main?blobs=true: cannot be" in message
    assert f"copy these files to {home / 'weights' / 'vary-toy'} by hand" in message
    assert (
        "huggingface.co/HaoranWei/Vary-toy/tree/main: config.json, generation_config.json, pytorch" in message
    )
    assert "vary weights verify vary-toy" in message
    assert "HF_ENDPOINT" in message


def test_offline_by_the_users_will(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        fetch(NAME, endpoint=server.address)
    assert server.log == []


def test_too_small_a_disk(get: Fetch, monkeypatch: pytest.MonkeyPatch, server: FakeHub) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(CheckpointError, match=r"the disk has 0\.0 GB free"):
        get()
    assert server.asked("/resolve/") == []


def test_two_at_a_time_are_refused(get: Fetch, server: FakeHub, home: Path) -> None:
    lock = home / "weights" / ".someone--vary-small.lock"
    with store.locked(lock, "x"), pytest.raises(DownloadError, match=f"another vary is fetching {NAME}"):
        get()
    assert names(get()) == TAKEN


def test_answers_that_are_not_the_hubs(get: Fetch, server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer, match in ((b"<html>", "expected the hub's JSON"), (b"[]", "names no revision")):
        monkeypatch.setattr(transport, "read_answer", lambda *_, answer=answer: answer)
        with pytest.raises(DownloadError, match=match):
            get()


# Direct addresses, alone and with files of a repository beside them, as MindOCR's checkpoint has them.


@pytest.fixture
def direct(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> str:
    server.direct["vary_toy.ckpt"] = WEIGHTS
    parts = (
        Part(address=f"{server.address}/files/vary_toy.ckpt"),
        Part(repository=NAME, files=("qwen.tiktoken",), exact=True),
    )
    entry = Entry("direct", "a file and a tokenizer", parts)
    monkeypatch.setattr(registry, "entries", lambda: MappingProxyType({"direct": entry}))
    return "direct"


def test_a_direct_address_with_a_tokenizer_of_the_hub(get: Fetch, home: Path, direct: str) -> None:
    folder = get(direct)
    assert names(folder) == {"vary_toy.ckpt", "qwen.tiktoken"}
    assert store.find(direct) == folder
    address, repository = record(home)["checkpoints"][direct]
    assert (address["revision"], repository["revision"]) == ("", commit_of(1))
    assert get(direct) == folder


def test_a_direct_file_that_changed_is_refused(get: Fetch, server: FakeHub, direct: str) -> None:
    shutil.rmtree(get(direct))
    server.direct["vary_toy.ckpt"] = WEIGHTS[:-1]
    with pytest.raises(DownloadError, match=r"511,999 bytes now, .* 512,000; --update"):
        get(direct)
    server.direct["vary_toy.ckpt"] = WEIGHTS[::-1]
    with pytest.raises(DownloadError, match="arrived with the SHA-256"):
        get(direct)
    assert (get(direct, update=True) / "vary_toy.ckpt").read_bytes() == WEIGHTS[::-1]
    shutil.rmtree(store.checkpoint_folder(direct))
    assert (get(direct) / "vary_toy.ckpt").read_bytes() == WEIGHTS[::-1]


def test_a_direct_file_goes_on_and_is_not_fetched_twice(get: Fetch, server: FakeHub, direct: str) -> None:
    server.cut["vary_toy.ckpt"] = [200_000, 0, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        get(direct)
    server.cut.clear()
    server.failing["qwen.tiktoken"] = [418]
    with pytest.raises(DownloadError, match="418"):
        get(direct)
    server.log.clear()
    assert names(get(direct)) == {"vary_toy.ckpt", "qwen.tiktoken"}
    assert server.asked("vary_toy.ckpt") == []  # it was finished by the call before


def test_a_server_that_tells_no_size(get: Fetch, server: FakeHub, direct: str) -> None:
    server.no_head = True
    assert plan(server, direct).bytes_missing is None
    assert names(get(direct)) == {"vary_toy.ckpt", "qwen.tiktoken"}


def test_a_direct_address_has_no_revisions(get: Fetch, direct: str) -> None:
    with pytest.raises(DownloadError, match="which has no revisions"):
        get(direct, revision="main")


# The list of known checkpoints.


def test_every_entry_says_where_its_facts_come_from() -> None:
    for entry in registry.entries().values():
        facts = {"licence", "notice", "size", "parameters"} & {
            name for name in ("licence", "notice", "size", "parameters") if getattr(entry, name)
        }
        for part in entry.parts:
            assert bool(part.repository) != bool(part.address)
            facts |= {
                name for name in ("repository", "address", "folder", "files", "sha256") if getattr(part, name)
            }
            assert all(len(digest) == 64 for digest in part.sha256.values())
        assert facts == set(entry.facts), entry.name
        assert all("https://" in source for source in entry.facts.values())


def test_names_in_any_case_and_near_misses() -> None:
    assert registry.find_entry("GOT-OCR2.0").name == "got-ocr2.0"
    assert registry.find_entry("a/b").parts == (Part(repository="a/b"),)
    with pytest.raises(CheckpointError, match=r"'vary-toi'; did you mean 'vary-toy'\?; known are vary-toy, "):
        registry.find_entry("vary-toi")
    for wrong in ("../x", "a/b/c", "a/..", "", "https://x/y.ckpt"):
        with pytest.raises(CheckpointError, match="owner/name"):
            registry.find_entry(wrong)


def test_a_public_checksum_is_checked_at_the_first_fetch(
    get: Fetch, server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Part(repository=NAME, sha256={"pytorch_model.bin": "0" * 64})
    monkeypatch.setattr(fetching, "find_entry", lambda _: Entry("known", "known", (wrong,)))
    with pytest.raises(DownloadError, match=r"0 is the one that is publicly known .*--update"):
        get("known")
    assert server.asked("/resolve/") == []
    assert names(get("known", update=True)) == TAKEN


def test_a_folder_of_a_repository(get: Fetch, server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.repositories[NAME] = Repository({"README.md": b"top", **{f"in/{k}": v for k, v in FILES.items()}})
    part = Part(repository=NAME, folder="in")
    monkeypatch.setattr(fetching, "find_entry", lambda _: Entry("within", "within", (part,)))
    folder = get("within")
    assert names(folder) == TAKEN
    assert (folder / "README.md").read_bytes() == FILES["README.md"]


# The record.


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": 1, "sources": {"a": {}}}', '{"format": 1, "sources": 3}']
)
def test_a_broken_record_is_an_error(get: Fetch, home: Path, content: str) -> None:
    home.mkdir()
    (home / "weights.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"weights.json is no record"):
        get()


def test_a_record_of_the_future(home: Path) -> None:
    home.mkdir()
    (home / "weights.json").write_text('{"format": 2}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="has format 2, expected 1; update vary"):
        store.read_record()


def test_where_weights_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VARY_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(store.sys, "platform", "linux")
    assert store.home() == tmp_path / "data" / "vary"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_DATA_HOME", ignored)
        assert store.home() == tmp_path / ".local" / "share" / "vary"
    monkeypatch.setattr(store.sys, "platform", "darwin")
    assert store.home() == tmp_path / "Library" / "Application Support" / "vary"
    monkeypatch.setattr(store.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert store.home() == tmp_path / "Local" / "vary"
    monkeypatch.setenv("VARY_HOME", "~/elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.home() == tmp_path / "elsewhere"


@pytest.mark.parametrize("name", ["", ".", "..", "a/../b", "/tmp", ".hidden", "C:\\x", "nothing"])
def test_nothing_is_found_elsewhere(home: Path, name: str) -> None:
    (home / "weights" / ".hidden").mkdir(parents=True)
    (home / "weights" / ".hidden" / "model.safetensors").touch()
    assert store.find(name) is None


def test_execute_of_nothing(get: Fetch, server: FakeHub) -> None:
    folder = get()
    server.log.clear()
    assert execute(plan(server)) == folder
    assert server.log == []


def test_a_crash_after_the_download_costs_no_second_one(
    get: Fetch, server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching._Work, "put_in_place", crash)
        with pytest.raises(KeyboardInterrupt):
            get()
    assert store.find(NAME) is None
    server.log.clear()
    assert names(get()) == TAKEN
    assert server.asked("/resolve/") == []


@pytest.mark.parametrize("kind", ["pages", "lines", "theirs"])
def test_what_is_fetched_can_be_loaded_and_verified(
    get: Fetch, server: FakeHub, tmp_path: Path, tiny_nano_folder: Path, kind: str
) -> None:
    """A checkpoint of ours goes through the hub and comes back whole, by its name; so does one of theirs."""
    from checkpoints import chat_config, chat_model, chat_processor
    from vary.reader import Reader
    from vary.weights.conversion import convert
    from vary.weights.verification import verify

    folder = tiny_nano_folder
    if kind != "lines":
        folder, config = tmp_path / "ours", chat_config()
        chat_model(config).save_pretrained(folder)
        chat_processor(config).save_pretrained(folder)
    if kind == "theirs":
        convert(folder, tmp_path / "theirs", to="authors")
        folder = tmp_path / "theirs"
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    server.repositories["me/mine"] = Repository({**files, "modeling.py": b"raise SystemExit"})
    fetched = get("me/mine")
    assert names(fetched) == set(files)
    server.stop()
    report = verify(fetched, query=lambda config: "" if config.window == "lines" else "Read.", record=True)
    assert report.ok
    assert [str(found.status) for found in report.checks] == ["ok", "ok", "recorded"]
    assert report.checks[1].details == (f"{len(names(fetched)) - 1} files are those of the first fetch",)
    assert Reader.load("me/mine", device="cpu").name == fetched.name

"""`vary weights fetch` and `list` as commands of their own, against a server on this machine."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fake_hub import FakeHub, Repository, commit_of
from vary.cli import console
from vary.cli.main import main

NAME = "someone/vary-small"
WEIGHTS = bytes(range(256)) * 2000
FILES = {"README.md": b"card", "config.json": b"{}", "model.safetensors": WEIGHTS, "x.py": b"code"}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as server:
        server.repositories[NAME] = Repository(FILES, licence="mit")
        yield server


@pytest.fixture
def environment(hub: FakeHub, tmp_path: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "VARY_"))}
    return {
        **kept,
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "hf"),
        "VARY_HOME": str(tmp_path / "home"),
        "NO_PROXY": "*",
    }


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "vary", "weights", *map(str, arguments)]


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    return call


def on_terminal(environment: dict[str, str], answer: str, *arguments: str) -> tuple[int, str, str]:
    """Run with a terminal for standard input and standard error: exit code, standard output, terminal."""
    pty, fcntl, termios = map(pytest.importorskip, ("pty", "fcntl", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        command(*arguments), env=environment, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, text=True
    )
    os.close(theirs)
    shown = b""
    answered = False
    while True:
        if select.select([ours], [], [], 60)[0]:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux: the other side is closed
                break
            if not piece:
                break
            shown += piece
        if not answered and b"[y/N]" in shown:
            os.write(ours, answer.encode())
            answered = True
    assert process.stdout is not None
    with process.stdout as stdout:
        out = stdout.read()
    os.close(ours)
    return process.wait(60), out, shown.decode()


def test_a_script_fetches_with_yes(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    ran = run("fetch", NAME, "--yes")
    folder = tmp_path / "home" / "weights" / "someone--vary-small"
    assert (ran.returncode, ran.stdout) == (0, f"{folder}\n")
    assert ran.stderr.splitlines() == [
        f"vary: {NAME}: a repository of the hub, by its own name",
        f"  source    {NAME} at {hub.address}",
        f"  revision  {commit_of(1)}",
        "  licence   mit",
        "  files     README.md, config.json, model.safetensors (512 kB)",
        f"  target    {folder}",
    ]
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    again = run("fetch", NAME)
    assert (again.returncode, again.stdout) == (0, f"{folder}\n")
    assert again.stderr == f"vary: {NAME} is here, and as it was at its first fetch\n"


def test_a_script_without_yes_is_told_the_licence_and_gets_nothing(run: Run, tmp_path: Path) -> None:
    ran = run("fetch", NAME)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "  licence   mit\n" in ran.stderr
    assert ran.stderr.endswith("vary: nobody can be asked here; read the licence above and give --yes\n")
    assert not (tmp_path / "home").exists()


def test_on_a_terminal_the_user_is_asked(environment: dict[str, str], hub: FakeHub, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "weights" / "someone--vary-small"
    code, out, shown = on_terminal(environment, "n\n", "fetch", NAME)
    assert (code, out) == (1, "")
    assert "licence   mit" in shown
    assert "nothing was downloaded" in shown
    assert not folder.exists()
    code, out, shown = on_terminal(environment, "y\n", "fetch", NAME)
    assert (code, out) == (0, f"{folder}\n")
    assert "100%" in shown  # a bar, on a terminal
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_killed_download_goes_on(
    environment: dict[str, str], run: Run, hub: FakeHub, tmp_path: Path
) -> None:
    hub.held["model.safetensors"] = 300_000
    process = subprocess.Popen(command("fetch", NAME, "--yes"), env=environment, stderr=subprocess.DEVNULL)
    assert hub.reached.wait(60)
    part = tmp_path / "home" / "weights" / ".someone--vary-small.partial" / "model.safetensors.part"
    while not part.exists() or part.stat().st_size < 300_000:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    hub.release.set()
    assert not (tmp_path / "home" / "weights" / "someone--vary-small").exists()
    assert not (tmp_path / "home" / "weights.json").exists()
    hub.log.clear()
    ran = run("fetch", NAME, "--yes")
    assert ran.returncode == 0, ran.stderr
    assert [headers.get("range") for headers in hub.asked("/cdn/")] == ["bytes=300000-"]
    folder = Path(ran.stdout.strip())
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_broken_connection_is_taken_up_again(run: Run, hub: FakeHub) -> None:
    hub.cut["model.safetensors"] = [200_000]
    assert run("fetch", NAME, "--yes").returncode == 0
    assert [headers.get("range") for headers in hub.asked("/cdn/")] == [None, "bytes=200000-"]


def test_other_bytes_than_at_the_first_fetch_are_an_error(run: Run, hub: FakeHub) -> None:
    folder = Path(run("fetch", NAME, "--yes").stdout.strip())
    (folder / "model.safetensors").unlink()
    hub.repositories[NAME].commits[commit_of(1)]["model.safetensors"] = WEIGHTS[::-1]
    ran = run("fetch", NAME, "--yes")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "A revision cannot change: do not trust this source" in ran.stderr
    assert not (folder / "model.safetensors").exists()


def test_without_a_server(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    hub.stop()
    ran = run("fetch", "vary-toy", "--yes")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "cannot be reached" in ran.stderr
    assert f"copy these files to {tmp_path / 'home' / 'weights' / 'vary-toy'} by hand" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_unknown_names_and_the_shipped_one(run: Run) -> None:
    ran = run("fetch", "vary-tyo")
    assert ran.returncode == 2
    assert "did you mean 'vary-toy'?" in ran.stderr
    assert (
        run("fetch", "vary-nano").stderr
        == "vary: vary-nano comes with the package; there is nothing to fetch\n"
    )


def test_the_list(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "PARAMETERS", "SIZE", "LICENCE", "STATE", "SOURCE"]
    assert [line.split()[0] for line in lines[1:6]] == [
        "vary-nano",
        "vary-toy",
        "vary-toy-mindocr",
        "vary-tiny",
        "got-ocr2.0",
    ]
    assert lines[2].split("  ")[-1] == "HaoranWei/Vary-toy"
    assert "not stated" in lines[2]
    assert any("research use only" in line for line in lines)
    assert lines[-1] == f"Fetched weights lie in {tmp_path / 'home' / 'weights'}."


def test_the_list_says_what_was_fetched(run: Run) -> None:
    folder = Path(run("fetch", NAME, "--yes").stdout.strip())
    row = run("list").stdout.splitlines()[6]
    assert row.split("  ")[0] == NAME
    assert f"fetched ({commit_of(1)[:7]})" in row
    assert " mit " in row
    facts = json.loads(run("list", "--json").stdout)
    found = {item["name"]: item for item in facts["checkpoints"]}[NAME]
    assert found["state"] == "fetched"
    assert found["folder"] == str(folder)
    assert found["fetched"][0]["revision"] == commit_of(1)
    (folder / "model.safetensors").unlink()
    assert "fetched before, deleted" in run("list").stdout


def test_every_fact_in_the_list_has_its_source(run: Run) -> None:
    for item in json.loads(run("list", "--json").stdout)["checkpoints"][1:]:
        assert item["facts"]
        assert all("https://" in source for source in item["facts"].values())


def test_only_fetch_lifts_what_other_commands_forbid(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(console, "_set_here", set())
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("VARY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    console.quiet_libraries()
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert main(["weights", "fetch", NAME, "--yes"]) == 0
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # the user's own will
    console.quiet_libraries()
    assert main(["weights", "fetch", NAME, "--yes", "--update"]) == 1
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err


def test_files_copied_by_hand_need_no_answer(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "weights" / "someone--vary-small"
    folder.mkdir(parents=True)
    for name in ("README.md", "config.json", "model.safetensors"):
        (folder / name).write_bytes(FILES[name])
    ran = run("fetch", NAME)
    assert (ran.returncode, ran.stdout) == (0, f"{folder}\n")
    assert "all files are here already" in ran.stderr
    assert f"fetched ({commit_of(1)[:7]})" in run("list").stdout


def test_a_name_that_the_list_has_lost(run: Run, tmp_path: Path) -> None:
    parts = [{"source": "https://example.org/x.ckpt", "revision": "", "files": ["x.ckpt"]}]
    content = {"format": 1, "sources": {}, "checkpoints": {"former": parts}}
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "weights.json").write_text(json.dumps(content), encoding="utf-8")
    ran = run("list", "--json")
    assert ran.returncode == 0, ran.stderr
    row = json.loads(ran.stdout)["checkpoints"][-1]
    assert (row["name"], row["state"]) == ("former", "not fetched")

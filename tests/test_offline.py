"""Nothing but `vary weights fetch` touches the network: the whole pipeline runs with sockets blocked.

The blocked process also notes every attempt, since a library may try, fail and go on in silence.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from factories import random_model
from text_models import text_folder

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "vary"

BLOCKED = """
import json, socket, sys

attempts = []

def refuse(name):
    def call(*arguments, **_):
        attempts.append(f"{name}{arguments!r}")
        raise OSError(f"the network is blocked: {name}")
    return call

class Blocked(socket.socket):
    connect = connect_ex = bind = sendto = None

for name in ("connect", "connect_ex", "bind", "sendto"):
    setattr(Blocked, name, refuse(name))
socket.socket = Blocked
for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "create_connection", "getfqdn"):
    setattr(socket, name, refuse(name))

codes = []
try:
    CODE
finally:
    print(json.dumps({"attempts": attempts, "codes": codes}), file=sys.__stderr__)
"""


def blocked(code: str, *arguments: str | Path, home: Path, stdin: str | None = None) -> dict[str, Any]:
    """Run Python code without a network: what it tried, what came of it, what it wrote.

    Nothing in the environment tells the libraries that they are offline.
    """
    script = BLOCKED.replace("CODE", code.replace("\n", "\n    "))
    hidden = ("HF_", "TRANSFORMERS_", "VARY_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    environment |= {"HF_HOME": str(home / "hf"), "VARY_HOME": str(home / "vary")}
    ran = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=environment,
        input=stdin or "",
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    try:
        report: dict[str, Any] = json.loads(ran.stderr.splitlines()[-1])
    except (IndexError, ValueError):
        pytest.fail(ran.stderr)
    return report | {"out": ran.stdout, "err": ran.stderr}


COMMANDS = """\
from vary.cli.main import main
for argv in json.loads(sys.argv[1]):
    codes.append(main(argv))"""


def run_commands(*commands: list[str], home: Path, stdin: str | None = None) -> dict[str, Any]:
    """Run command lines one after the other in one blocked process."""
    return blocked(COMMANDS, json.dumps(commands), home=home, stdin=stdin)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Vary-toy of our format: both branches, chat and every task."""
    from checkpoints import chat_config, chat_processor

    folder = tmp_path_factory.mktemp("offline") / "toy"
    config = chat_config()
    random_model(config).save_pretrained(folder)
    chat_processor(config).save_pretrained(folder)
    return folder


def test_the_block_holds(tmp_path: Path) -> None:
    """Fetching must fail here, or the tests below show nothing."""
    ran = run_commands(["weights", "fetch", "vary-toy", "--yes"], home=tmp_path)
    assert ran["codes"] == [1]
    assert any(attempt.startswith(("getaddrinfo", "create_connection")) for attempt in ran["attempts"])
    assert "cannot be reached (the network is blocked" in ran["err"]
    assert "by hand" in ran["err"]


def test_vary_nano(tmp_path: Path) -> None:
    page = str(ROOT / "examples" / "page.png")
    ran = run_commands(
        ["info"],
        ["read", page],
        ["read", page, "-o", str(tmp_path / "page.json")],
        ["weights", "list"],
        ["weights", "verify", "vary-nano"],
        home=tmp_path,
    )
    assert ran["attempts"] == []
    assert ran["codes"] == [0] * 5
    assert (tmp_path / "page.json").is_file()
    assert (ROOT / "examples" / "page.txt").read_text(encoding="utf-8").split()[0] in ran["out"]


# Commands over a whole-page checkpoint: {toy} is its folder, {page} an image, {out} a new folder; with the
# exit codes that may be (four tokens are no whole answer, which some commands call a failure).  A new command
# that loads weights or reads pages belongs here.
DONE, CUT = {0}, {0, 1}
TOY_COMMANDS: tuple[tuple[set[int], list[str]], ...] = (
    (CUT, ["read", "{page}", "--model", "{toy}", "--max-new-tokens", "4"]),
    (CUT, ["chat", "{page}", "--model", "{toy}", "--max-new-tokens", "4"]),
    (CUT, ["predict", "--image_dir", "{page}", "--config_path", "{out}/settings.yaml", "--model", "{toy}"]),
    (DONE, ["weights", "verify", "{toy}", "--record"]),
    (DONE, ["weights", "convert", "{toy}", "{out}/authors", "--to", "authors"]),
    (DONE, ["weights", "convert", "{out}/authors", "{out}/again"]),
    (DONE, ["vocabulary", "extract", "{toy}", "{out}/vocabulary"]),
    (DONE, ["vocabulary", "graft", "--vocabulary", "{out}/vocabulary", "--text", "{text}", "{out}/grafted"]),
)
QUESTIONS = "What is this?\nexit\n"
"""On standard input, for `vary chat`."""


def test_commands_with_a_checkpoint(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("model:\n  max_new_tokens: 4\n", encoding="utf-8")
    places = {"toy": str(toy), "page": str(ROOT / "examples" / "page.png"), "out": str(tmp_path)}
    places["text"] = str(text_folder(tmp_path / "text", "qwen2"))
    commands = [[word.format(**places) for word in argv] for _, argv in TOY_COMMANDS]
    ran = run_commands(*commands, home=tmp_path, stdin=QUESTIONS)
    assert ran["attempts"] == []
    assert len(ran["codes"]) == len(TOY_COMMANDS), ran["err"]
    assert all(code in codes for code, (codes, _) in zip(ran["codes"], TOY_COMMANDS, strict=True)), ran["err"]


def test_the_library_without_the_command_line(toy: Path, tmp_path: Path) -> None:
    """The command line sets HF_HUB_OFFLINE; the library must not need that."""
    code = (
        "import os, vary\n"
        "assert 'HF_HUB_OFFLINE' not in os.environ\n"
        "reader = vary.Reader.load(sys.argv[1], device='cpu')\n"
        "document = reader.read(sys.argv[2], max_new_tokens=4)\n"
        "codes.append(len(document.pages))\n"
        "from vary.weights.grafts import graft_checkpoint\n"
        "graft_checkpoint(sys.argv[1], sys.argv[3], sys.argv[4])\n"
        "from vary.weights.fetching.store import find, read_record\n"
        "codes.append(find('vary-toy') is None and read_record().names() == ())"
    )
    text = text_folder(tmp_path / "text", "qwen2")
    ran = blocked(code, toy, ROOT / "examples" / "page.png", text, tmp_path / "grafted", home=tmp_path)
    assert ran["attempts"] == []
    assert ran["codes"] == [1, True]


NETWORK = {
    "urllib.request",
    "urllib3",
    "http.client",
    "socket",
    "requests",
    "httpx",
    "httpx2",
    "aiohttp",
    "ftplib",
}
# The second asks whether a Ray cluster answers at the address that the user gave.
CONNECTING = {"weights/fetching/download.py", "datagen/ray_runner.py"}
CALLS = {"snapshot_download", "hf_hub_download", "push_to_hub", "HfApi", "urlopen", "urlretrieve"}


def _network(path: Path) -> set[str]:
    """What a module imports or names that can open a connection."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(alias.name for alias in node.names)}
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    return names & (NETWORK | CALLS)


def test_only_these_modules_can_open_a_connection() -> None:
    found = {path.relative_to(PACKAGE).as_posix(): _network(path) for path in PACKAGE.rglob("*.py")}
    assert {module for module, names in found.items() if names} == CONNECTING


def test_only_fetching_uses_that_module() -> None:
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "weights.fetching.download import" in (text := path.read_text(encoding="utf-8"))
        or "import download" in text
    }
    assert users == {"weights/fetching/hub.py", "weights/fetching/offers.py"}

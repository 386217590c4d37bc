"""Who may import whom, and what no module of vary may do, read off the source with ast."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "vary"
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}

# Room -> what it may import of vary besides itself.  A name covers the module and everything below it.
READING = {"errors", "inputs", "model", "engine", "outputs"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "assets": set(),
    "inputs": {"errors"},
    "outputs": {"errors"},
    "model": {"errors"},
    "engine": {"errors", "model"},
    "assembly": {"errors", "inputs", "engine", "outputs"},
    "quantized": {"errors", "model", "engine", "weights"},
    "weight_only": {"errors", "model", "engine", "quantized", "weights"},
    "unrounded": {"errors", "model", "engine", "quantized", "weight_only", "weights"},
    "memory": {"errors", "model", "engine", "quantized", "unrounded", "weight_only", "weights"},
    "page_drafts": {"errors", "assets", "inputs", "engine"},
    "backends": {"errors", "inputs", "model", "engine", "memory", "unrounded", "weight_only", "weights"},
    "page_stream": {"inputs", "engine", "outputs", "backends", "page_drafts"},
    "page_work": READING | {"assembly", "backends", "page_drafts", "page_stream"},
    "document_stream": {"errors", "inputs", "outputs", "page_stream", "page_work"},
    "reader": READING | {"assets", "backends", "document_stream", "page_drafts", "page_work"},
    "conversation": READING | {"assets", "assembly", "reader"},
    "configs": set(),
    "mindocr": READING | {"assets", "assembly", "quantized", "reader", "conversation", "weights"},
    "datagen": {"errors", "inputs"},
    "weights": {"errors", "model"},
    "training": {"errors", "model", "datagen", "inputs.tasks"},
    "evaluation": {"errors", "reader", "conversation", "inputs", "outputs"},
    "serving": {"errors", "reader", "conversation", "inputs", "outputs"},
    "bench": {"errors", "reader", "conversation", "inputs", "model", "outputs", "engine", "assets"},
}
# Single modules that may import more than their room.
ALLOWED_MODULES = {"model/processing.py": {"inputs.tasks"}, "training/confidence.py": {"engine"}}
# The front door and the command line may import everything; nobody imports them.
FREE = {"", "cli", "__main__"}
FRONT = {"cli", "__main__"}


def _room(module: str) -> str:
    """ "inputs/pages.py" -> "inputs", "reader.py" -> "reader", "__init__.py" -> ""."""
    first = module.split("/")[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def _imports(path: Path, module: str) -> Iterator[str]:
    """Every module of vary that a file imports anywhere, without the leading "vary."."""
    package = ["vary", *module.split("/")[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("vary."):
                yield name.removeprefix("vary.")


def _covered(target: str, allowed: set[str]) -> bool:
    return any(target == name or target.startswith(f"{name}.") for name in allowed)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    room = _room(module)
    if room in FREE:
        return
    assert room in ALLOWED, f"{module}: room {room!r} has no rule here; add one that the architecture gives"
    allowed = ALLOWED[room] | {room} | ALLOWED_MODULES.get(module, set())
    # The version is a fact of the whole package, not a room.
    allowed |= {"__version__"}
    wrong = [name for name in _imports(MODULES[module], module) if not _covered(name, allowed)]
    assert not wrong, f"{module} imports {wrong}, but {room} may import only {sorted(allowed)}"


@pytest.mark.parametrize("module", MODULES)
def test_nobody_imports_the_command_line(module: str) -> None:
    if _room(module) in FRONT:
        return
    assert not [name for name in _imports(MODULES[module], module) if name.split(".")[0] in FRONT]


def test_the_import_reader_sees_what_it_should(tmp_path: Path) -> None:
    source = tmp_path / "x.py"
    source.write_text(
        "import vary.cli.main\nfrom vary import errors\nfrom ..model import presets\n"
        "def f():\n    from . import pages\n    import os\n",
        encoding="utf-8",
    )
    found = set(_imports(source, "inputs/x.py"))
    assert found == {"cli.main", "errors", "model.presets", "inputs.pages"}


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_evaluated_or_unpickled(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for call in _calls(tree):
        assert not (isinstance(call.func, ast.Name) and call.func.id in {"eval", "exec", "compile"}), (
            call.lineno
        )
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if ast.unparse(call.func) == "torch.load":
            assert options.get("weights_only") == "True", f"{module}:{call.lineno}: torch.load unpickles"
        assert options.get("allow_pickle", "False") == "False", f"{module}:{call.lineno}"
        assert options.get("trust_remote_code", "False") == "False", f"{module}:{call.lineno}"
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        source = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        roots = {name.split(".")[0] for name in names + source}
        assert not roots & {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve"}, f"{module}: {roots}"


@pytest.mark.parametrize("module", MODULES)
def test_only_the_command_line_prints(module: str) -> None:
    if _room(module) in FRONT:
        return
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    printed = [
        call.lineno for call in _calls(tree) if isinstance(call.func, ast.Name) and call.func.id == "print"
    ]
    assert not printed, f"{module}: print() in lines {printed}; the library returns, the command line prints"


# datagen/fonts.py names the folders in which systems keep their fonts.
ABSOLUTE = re.compile(r"^(/(home|root|work|tmp|usr|opt|mnt|data|var|Users)(/|$)|[A-Za-z]:[\\/]\w)")


@pytest.mark.parametrize("module", MODULES)
def test_no_absolute_path_in_the_source(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    texts = [
        node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    found = [
        (node.lineno, node.value)
        for node in texts
        if ABSOLUTE.match(node.value) and not (module == "datagen/fonts.py" and "fonts" in node.value.lower())
    ]
    assert not found, f"{module}: {found}"


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in MODULES.values()}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []

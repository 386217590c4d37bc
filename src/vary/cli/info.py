"""`vary info`: versions, devices and the default checkpoint."""

from __future__ import annotations

import argparse
import json
import math
import platform
import struct
from importlib import metadata
from pathlib import Path
from typing import Any

from vary import __version__
from vary.assets import default_checkpoint
from vary.cli import console
from vary.errors import CheckpointError

__all__ = ["add_parser", "run"]

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "pypdfium2",
    "accelerate",
    "rapidfuzz",
)

EPILOG = """\
examples:
  vary info
  vary info --json
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = console.add_command(
        subparsers,
        "info",
        help="print versions, devices and the default checkpoint",
        description="Prints the versions of vary and its packages, the devices and the default checkpoint.",
        epilog=EPILOG,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    """Print what this installation consists of."""
    console.quiet_libraries()
    facts = {
        "vary": __version__,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": _devices(),
        "default_checkpoint": _checkpoint(default_checkpoint()),
    }
    print(json.dumps(facts, ensure_ascii=False, indent=2) if args.json else _text(facts))
    return console.EXIT_OK


def _version(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    """Every kind of device with the names of those that are there, and what "auto" means here."""
    from vary.engine.devices import device_statuses, resolve_device

    found = {status.kind: list(status.names) for status in device_statuses()}
    return {"auto": str(resolve_device("auto")), "available": found}


def _checkpoint(folder: Path) -> dict[str, Any]:
    """Where the checkpoint is, how many parameters its files hold, and what it was trained for."""
    facts: dict[str, Any] = {"path": str(folder), "complete": False}
    weights = sorted(folder.glob("*.safetensors"))
    if not weights or not (folder / "config.json").is_file():
        return facts
    from vary.model.configuration import VaryConfig

    config = VaryConfig.from_pretrained(folder)
    return {
        **facts,
        "complete": True,
        "parameters": sum(stored_parameters(file) for file in weights),
        "bytes": sum(file.stat().st_size for file in weights),
        "window": config.window,
        "tasks": list(config.tasks),
        "languages": list(config.languages),
    }


NOT_PARAMETERS = ("__metadata__", "running_mean", "running_var", "num_batches_tracked")
"""How names in a weights file end that are no parameters: its notes, batch normalisation's statistics."""


def stored_parameters(file: Path) -> int:
    """The parameters in a safetensors file, by its header alone (8 bytes of length, then JSON)."""
    with file.open("rb") as stream:
        try:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
            return sum(
                math.prod(entry["shape"])
                for name, entry in header.items()
                if not name.endswith(NOT_PARAMETERS)
            )
        except (struct.error, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            raise CheckpointError(f"{file}: is no safetensors file; install the package again") from error


def _text(facts: dict[str, Any]) -> str:
    """The facts as lines for people."""
    lines = [f"vary {facts['vary']}", f"python {facts['python']} on {facts['machine']}", "", "packages"]
    lines += [f"  {name:24s} {version or 'not installed'}" for name, version in facts["packages"].items()]
    lines += ["", f"devices (auto is {facts['devices']['auto']})"]
    for kind, names in facts["devices"]["available"].items():
        lines.append(f"  {kind:24s} {', '.join(names) if names else 'not available'}")
    checkpoint = facts["default_checkpoint"]
    lines += ["", "default checkpoint", f"  {'path':24s} {checkpoint['path']}"]
    if not checkpoint["complete"]:
        lines.append("  this installation ships no weights; name a checkpoint with --model")
        return "\n".join(lines)
    lines += [
        f"  {'parameters':24s} {checkpoint['parameters']:,} ({checkpoint['bytes'] / 1e6:.1f} MB)",
        f"  {'reads':24s} {checkpoint['window']}",
        f"  {'tasks':24s} {', '.join(checkpoint['tasks'])}",
        f"  {'languages':24s} {', '.join(checkpoint['languages'])}",
    ]
    return "\n".join(lines)

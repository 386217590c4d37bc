"""What every engine's command shares: its options, its configuration, and writing a data set.

An option is called like the field of the engine's configuration that it sets (`dest` where it is not), so the
configuration is made of what was parsed; what is None was not given and leaves the field its default.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vary.cli import console

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from vary.datagen.sample import Engine

    Config = TypeVar("Config", bound=DataclassInstance)

__all__ = [
    "add_clean_share",
    "add_corpus_options",
    "add_font_options",
    "add_languages",
    "add_licence",
    "add_rare_options",
    "add_share",
    "add_shared_options",
    "configured",
    "listed",
    "write",
]


def add_shared_options(
    parser: argparse.ArgumentParser, *, endless: bool = True, samples_per_shard: int = 1000
) -> None:
    """--out, --samples, --samples-per-shard, --seed, --split-name, --workers, --ray.

    `endless` engines need --samples; the others give all they have without it.
    """
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the data set")
    add(
        "--samples",
        type=console.positive_int,
        required=endless,
        metavar="N",
        help="how many samples to write" + ("" if endless else " at most (default: all there are)"),
    )
    add(
        "--samples-per-shard",
        type=console.positive_int,
        default=samples_per_shard,
        metavar="N",
        help=f"default: {samples_per_shard}",
    )
    add("--seed", type=console.whole_number, default=0, metavar="S", help="default: 0")
    add(
        "--split-name",
        dest="split",
        default="train",
        metavar="NAME",
        help="recorded in the manifest; splits differ at the same seed (default: train)",
    )
    add(
        "--workers",
        type=console.positive_int,
        metavar="W",
        help="processes (default: 1, and with --ray as many as it has cores)",
    )
    add(
        "--ray",
        metavar="ADDRESS",
        help="work on this Ray cluster (HOST:PORT, auto), or on one started here (local)",
    )


def add_share(parser: argparse.ArgumentParser, name: str, default: float, what: str) -> None:
    """--NAME-share, a number from 0 to 1."""
    parser.add_argument(
        f"--{name}-share",
        type=_probability,
        default=default,
        metavar="P",
        help=f"share of {what}, 0 to 1 (default: {default:g})",
    )


def add_rare_options(parser: argparse.ArgumentParser) -> None:
    """--rare-share and --characters, of what paints lines from a corpus."""
    add_share(parser, "rare", 0.0, "paragraphs that are chosen for a rare character")
    parser.add_argument(
        "--characters",
        type=_characters_of,
        metavar="FILE",
        help="a text file: most of the paragraphs of --rare-share are written with its characters, which the "
        "corpus has too seldom or not at all",
    )


def add_clean_share(parser: argparse.ArgumentParser, default: float) -> None:
    """--clean-share, of engines whose images are degraded."""
    add_share(parser, "clean", default, "pages without any degradation")


def add_languages(parser: argparse.ArgumentParser, default: str, known: str = "en, zh") -> None:
    """--languages."""
    parser.add_argument(
        "--languages",
        type=listed,
        default=default,
        metavar="A,B",
        help=f"some of {known} (default: {default})",
    )


def add_corpus_options(parser: argparse.ArgumentParser) -> None:
    """--corpus and --licence, of engines that set a text."""
    parser.add_argument(
        "--corpus",
        nargs="+",
        required=True,
        metavar="FILE",
        help="text files, UTF-8, one paragraph a line (.txt or .txt.xz)",
    )
    add_licence(parser)


def add_licence(parser: argparse.ArgumentParser, what: str = "corpus") -> None:
    """--licence, of engines that are given texts."""
    parser.add_argument("--licence", default=f"see the {what}", metavar="TEXT", help=f"licence of the {what}")


def add_font_options(parser: argparse.ArgumentParser, what: str = "fonts") -> None:
    """--exclude-fonts and --font-dir, of engines that choose among installed fonts."""
    parser.add_argument(
        "--exclude-fonts",
        type=listed,
        metavar="A,B",
        help="font families to leave out, * for anything, besides those that evaluation pages are set in",
    )
    parser.add_argument(
        "--font-dir",
        dest="font_folders",
        action="append",
        metavar="DIR",
        help=f"take {what} from this folder instead of the system's; may be repeated",
    )


def _probability(text: str) -> float:
    """A share of a command line, 0 to 1."""
    value = console.number(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text!r}")
    return value


def _characters_of(path: str) -> str:
    """The visible characters of a text file, each once, in their order."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{path}: not a readable UTF-8 text file, {error}") from error
    characters = "".join(dict.fromkeys(c for c in text if c.isprintable() and not c.isspace()))
    if not characters:
        raise argparse.ArgumentTypeError(f"{path}: has no visible character")
    return characters


def listed(text: str) -> tuple[str, ...]:
    """The parts of `A,B`, without empty ones."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def configured(config: type[Config], args: argparse.Namespace) -> Config:
    """The configuration that the options say.  Raises `DataError` as it does."""
    given = {field.name: getattr(args, field.name, None) for field in fields(config)}
    return config(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
            if value is not None
        }
    )


def write(engine: Engine, args: argparse.Namespace, *, label: str, unit: str = "sample") -> int:
    """Write the engine's data set as the shared options say; returns the exit code."""
    from vary.datagen.shards import write_shards

    with console.terminated_as_interrupt(), console.progress_bar(label, unit) as advance:
        manifest = write_shards(
            engine,
            args.out,
            samples=args.samples,
            samples_per_shard=args.samples_per_shard,
            workers=args.workers,
            ray=args.ray,
            progress=None if advance is None else lambda done: advance(done, args.samples),
        )
    samples, shards = manifest["counts"]["samples"], len(manifest["shards"])
    parts = [f"{samples} sample{'s' * (samples != 1)} in {shards} shard{'s' * (shards != 1)}"]
    if manifest["dropped"]:
        reasons = ", ".join(f"{reason} {count}" for reason, count in manifest["dropped"].items())
        parts.append(f"left out: {reasons}")
    parts += [f"broken: {entry['source']}, {entry['reason']}" for entry in manifest["broken"]]
    for part in parts:
        print(f"{args.out}: {console.without_controls(part)}", file=sys.stderr)
    return console.EXIT_OK

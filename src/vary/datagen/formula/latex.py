"""Running LaTeX: one document to a PDF and the places of everything in it.

The sheet's macros put each block into a box of its own, so that pages break between blocks only, and write
for each block, table, cell and formula on which page it was shipped and where.  LaTeX runs in a temporary
folder, without a shell, with bounded time, and may write in that folder only.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vary.datagen.programs import running_program
from vary.errors import DataError, MissingDependencyError

__all__ = ["MACROS", "Place", "Typeset", "run_latex", "run_program"]

_POINTS_PER_SP = 1 / 65536
_MAX_PDF_BYTES = 64 * 2**20

MACROS = r"""
\makeatletter
\newwrite\VaryMarks
\AtBeginDocument{\immediate\openout\VaryMarks=marks.txt }
\newbox\VaryBlockBox \newbox\VaryItem
\newif\ifVaryWide
\newif\ifVaryKeep
\newdimen\VaryGap \newdimen\VaryIndent
% kind, number, box: where the box is shipped, and its size
\def\VaryMark#1#2#3{\pdfsavepos
  \begingroup\edef\x{\endgroup\write\VaryMarks{#1 #2 \noexpand\number\noexpand\c@page\space
    \noexpand\number\noexpand\pdflastxpos\space \noexpand\number\noexpand\pdflastypos\space
    \number\wd#3\space \number\ht#3\space \number\dp#3}}\x}
% a block in one piece; too large ones are left out, and said to be
\newenvironment{varyblock}[1]{\global\VaryWidefalse\global\VaryKeepfalse\typeout{VARY #1}\def\VaryNumber{#1}%
  \setbox\VaryBlockBox\hbox\bgroup\begin{minipage}[b]{\columnwidth}\parindent\VaryIndent\parskip\z@
  \abovedisplayskip 6pt plus 2pt\belowdisplayskip\abovedisplayskip\ignorespaces}%
 {\par\end{minipage}\egroup
  \ifdim\dimexpr\ht\VaryBlockBox+\dp\VaryBlockBox\relax>0.9\textheight\global\VaryWidetrue\fi
  \ifVaryWide\immediate\write\VaryMarks{left \VaryNumber}\else
  \par\nointerlineskip\vskip\VaryGap plus 2pt
  \hbox{\VaryMark{block}{\VaryNumber}{\VaryBlockBox}\box\VaryBlockBox}%
  \ifVaryKeep\nobreak\fi\fi}
\def\VaryFormula#1#2{\leavevmode\begingroup\setbox\VaryItem\hbox{$#2$}%
  \ifdim\wd\VaryItem>0.8\linewidth\global\VaryWidetrue\fi
  \VaryMark{formula}{#1}{\VaryItem}\box\VaryItem\endgroup}
% number, tag or nothing, formula
\def\VaryDisplay#1#2#3{\setbox\VaryItem\hbox{$\displaystyle #3$}%
  \ifdim\dimexpr\wd\VaryItem\if!#2!\else+6em\fi\relax>\linewidth\global\VaryWidetrue\fi
  \if!#2!\[\VaryMark{formula}{#1}{\VaryItem}\copy\VaryItem\]\else
  \[\VaryMark{formula}{#1}{\VaryItem}\copy\VaryItem\tag{#2}\]\fi}
\long\def\VaryTable#1#2{{\setbox\VaryItem\hbox{#2}\ifdim\wd\VaryItem>\linewidth\global\VaryWidetrue\fi
  \centering\leavevmode\VaryMark{table}{#1}{\VaryItem}\box\VaryItem\par}}
\long\def\VaryCell#1#2{\leavevmode\begingroup\setbox\VaryItem\hbox{#2}%
  \VaryMark{cell}{#1}{\VaryItem}\box\VaryItem\endgroup}
\long\def\VaryLines#1#2{\leavevmode\begingroup
  \setbox\VaryItem\vtop{\hsize\linewidth\raggedright\noindent\strut #2\strut}%
  \VaryMark{cell}{#1}{\VaryItem}\box\VaryItem\endgroup}
% a cell over several rows, in the middle of them: \multirow without its package
\newdimen\VaryRow
\long\def\VaryRows#1#2#3{\VaryRow=\dimexpr\ht\@arstrutbox+\dp\@arstrutbox\relax
  \smash{\raisebox{-\dimexpr\VaryRow*#1/2-\VaryRow/2\relax}{#3}}}
\makeatother
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was shipped: `page` from 0, edges in TeX points from the page's upper left corner."""

    page: int
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Typeset:
    """What came of a document.

    `places` by (kind, number); `faults` by block number: why it is not what its source says; `error` is
    LaTeX's message where it refused the document, and then there is no PDF.
    """

    pdf: bytes = field(repr=False)
    places: dict[tuple[str, int], Place] = field(repr=False)
    left_out: frozenset[int]
    faults: dict[int, str]
    error: str | None = None


def run_latex(
    program: str,
    source: str,
    *,
    height: float,
    first_page: int,
    files: Sequence[tuple[str, str]] = (),
    start: Path | None = None,
    time_limit: float = 120.0,
) -> Typeset:
    """Typeset `source`; pages are `height` TeX points high and counted from `first_page`.

    `files` are linked beside it, (name, target); `start` is the format file to start from, None the
    program's own.

    Raises:
        MissingDependencyError: if the program is not installed.
        DataError: if LaTeX takes longer than `time_limit` seconds or is killed.
    """
    with tempfile.TemporaryDirectory(prefix="vary-formula-") as name:
        folder = Path(name)
        (folder / "sheet.tex").write_text(source, encoding="utf-8")
        for link, target in files:
            (folder / link).symlink_to(Path(target).resolve())
        command = [program]
        if start is not None:
            (folder / "start.fmt").symlink_to(start)
            command.append("-fmt=start")
        if program == "xelatex":
            # The PDF is read once and thrown away, so it is not compressed.
            command.append("-output-driver=xdvipdfmx -z 0 -q -E")
        error = run_program(command, folder, time_limit)
        if error is not None:
            return Typeset(b"", {}, frozenset(), {}, error)
        log = _read(folder / "sheet.log").decode("utf-8", errors="replace")
        marks = _read(folder / "marks.txt").decode("ascii", errors="replace")
        places, left_out = _places(marks, height, first_page)
        return Typeset(_read(folder / "sheet.pdf"), places, left_out, _faults(log))


def run_program(command: Sequence[str], folder: Path, time_limit: float) -> str | None:
    """Run a LaTeX program on `sheet.tex` in `folder`; its message where it refuses it, else None.

    `command` is the program and what stands before the file's name.

    Raises:
        MissingDependencyError: if the program is not installed.
        DataError: if it takes longer than `time_limit` seconds or is killed.
    """
    program, *more = command
    options = ["-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error"]
    kept = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "TEXMFHOME", "TEXMFLOCAL", "FONTCONFIG_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ} | {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "TEXMFOUTPUT": str(folder),
        "TEXMFVAR": str(folder / "var"),
        "openout_any": "p",
        "openin_any": "p",
        "shell_escape": "f",
        "MKTEXPK": "0",
        "MKTEXTFM": "0",
        "SOURCE_DATE_EPOCH": "0",
        "FORCE_SOURCE_DATE": "1",
        "max_print_line": "10000",
        "LC_ALL": "C.UTF-8",
    }
    try:
        with running_program(
            [program, *options, *more, "sheet.tex"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            code = process.wait(time_limit)
    except FileNotFoundError as error:
        from vary.datagen.formula.typefaces import DEBIAN_PACKAGES

        raise MissingDependencyError(
            f"{program} is not installed: apt-get install --no-install-recommends {' '.join(DEBIAN_PACKAGES)}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"{program} did not finish a sheet within {time_limit:g} s: the machine is too busy, or its "
            "font caches are cold; run it again, with fewer workers or a longer time_limit"
        ) from error
    if code < 0:
        raise DataError(f"{program} was ended by signal {-code}; is there enough memory for so many workers?")
    if code == 0:
        return None
    return _error(_read(folder / "sheet.log").decode("utf-8", errors="replace"))


def _read(path: Path) -> bytes:
    """The bytes of a file that LaTeX wrote; nothing where it did not."""
    if not path.is_file() or path.is_symlink():
        return b""
    if path.stat().st_size > _MAX_PDF_BYTES:
        raise DataError(f"LaTeX wrote {path.stat().st_size} bytes to {path.name}: expected a few pages")
    return path.read_bytes()


def _error(log: str) -> str:
    """The first line of LaTeX's complaint and the source line that it quotes."""
    found = re.search(r"^! (.*)$(?:\n(?!l\.\d).*){0,12}(?:\n(l\.\d+ .*)$)?", log, re.MULTILINE)
    return " ".join(part.strip() for part in found.groups() if part) if found else "no message in its log"


def _places(
    marks: str, height: float, first_page: int
) -> tuple[dict[tuple[str, int], Place], frozenset[int]]:
    places: dict[tuple[str, int], Place] = {}
    left_out = set()
    for line in marks.splitlines():
        kind, number, *values = line.split()
        if kind == "left":
            left_out.add(int(number))
            continue
        page, *sizes = map(int, values)
        x, y, width, above, below = (size * _POINTS_PER_SP for size in sizes)
        top, bottom = height - y - above, height - y + below
        places[kind, int(number)] = Place(page - first_page, x, top, x + width, bottom)
    return places, frozenset(left_out)


_OVERFULL = re.compile(r"^Overfull \\hbox \((\d+(?:\.\d+)?)pt too wide\)")
_ALLOWED_OVERFULL = 6.0


def _faults(log: str) -> dict[int, str]:
    """Blocks in which a line reaches beyond its margin or a font lacks a character, from LaTeX's log."""
    faults: dict[int, str] = {}
    block = 0
    for line in log.splitlines():
        if line.startswith("VARY "):
            block = int(line.split()[1])
        elif "Missing character" in line:
            faults[block] = "a character that the font lacks"
        else:
            found = _OVERFULL.match(line)
            if found and float(found[1]) > _ALLOWED_OVERFULL:
                faults.setdefault(block, "a line beyond the margin")
    return faults

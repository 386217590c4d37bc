r"""Precompiled formats: what the preambles of all sheets have in common, read by LaTeX once.

XeLaTeX would spend two thirds of a sheet's time on loading its packages and on setting unicode-math's codes
of some thousand characters.  So each program does this once and dumps its memory, and the sheets start from
there.  XeTeX dumps no OpenType font, hence what a sheet's fonts and size of type decide comes with the sheet.
"""

from __future__ import annotations

import gzip
import tempfile
from functools import lru_cache
from pathlib import Path

from vary.datagen.formula.latex import run_program
from vary.errors import DataError

__all__ = ["FORMATS", "common_preamble", "format_file"]

_PDFLATEX = r"""
\pdfcompresslevel=0 \pdfobjcompresslevel=0
\RequirePackage{amsmath,amsthm,amssymb}
\RequirePackage{array,textcomp}
\renewcommand{\rmdefault}{ptm}
\RequirePackage[T1]{fontenc}
"""
_XELATEX = r"""
% fonts that can be dumped, for what asks for the current font before a sheet has set its own
\DeclareFontFamily{TU}{lmr}{}
\DeclareFontShape{TU}{lmr}{m}{n}{<->cmr10}{}
\DeclareFontShape{TU}{lmr}{bx}{n}{<->cmr10}{}
\RequirePackage{amsmath,amsthm}
\RequirePackage{array}
\RequirePackage{fontspec}
\RequirePackage{unicode-math}
\unimathsetup{mathrm=sym,mathbf=sym}
% What \setmathfont does without regard to the font, done now and not again; with a unicode-math whose parts
% have other names \setmathfont does it for each sheet.
\ExplSyntaxOn
\bool_set_true:N \l_tmpa_bool
\clist_map_inline:nn
  {
    init:n, input_math_symbol_table:, onceoff_setup:, remap_symbols:, setup_mathactives:, setup_delcodes:,
    setup_alphabets:, define_math_chars:, glyph_if_exist:NnT, glyph_if_exist:NnTF
  }
  { \cs_if_exist:cF { __um_#1 } { \bool_set_false:N \l_tmpa_bool } }
\bool_if:NT \l_tmpa_bool
  {
    \__um_init:n { }
    \DeclareSymbolFont { operators } { OT1 } { cmr } { m } { n }
    % every alphabet is taken to be there: a character that is not drops its page
    \cs_set_eq:NN \vary_kept:NnT \__um_glyph_if_exist:NnT
    \cs_set_eq:NN \vary_kept:NnTF \__um_glyph_if_exist:NnTF
    \cs_set:Npn \__um_glyph_if_exist:NnT #1#2#3 {#3}
    \cs_set:Npn \__um_glyph_if_exist:NnTF #1#2#3#4 {#3}
    \__um_input_math_symbol_table:
    \__um_onceoff_setup:
    \__um_remap_symbols:
    \__um_setup_mathactives:
    \__um_setup_delcodes:
    \__um_setup_alphabets:
    \__um_define_math_chars:
    \cs_set_eq:NN \__um_glyph_if_exist:NnT \vary_kept:NnT
    \cs_set_eq:NN \__um_glyph_if_exist:NnTF \vary_kept:NnTF
    \cs_set_eq:NN \__um_input_math_symbol_table: \prg_do_nothing:
    \cs_set_eq:NN \__um_define_math_chars: \prg_do_nothing:
    \cs_set_eq:NN \__um_setup_alphabets: \prg_do_nothing:
  }
\ExplSyntaxOff
"""

_PREAMBLES = {
    "pdflatex": ("pdflatex", _PDFLATEX),
    "xelatex": ("xelatex", _XELATEX),
    "xelatex-chinese": ("xelatex", _XELATEX + "\\RequirePackage{xeCJK}\n"),
}
FORMATS = tuple(_PREAMBLES)
"""The formats by name."""
_SECONDS = 300.0


def common_preamble(name: str) -> str:
    """What stands before `\\documentclass` in sheets of format `name`, and is dumped."""
    return _PREAMBLES[name][1]


@lru_cache(maxsize=len(FORMATS))
def format_file(name: str) -> Path:
    """The file of format `name`; made, in about a second, by the first call of a process, and gone with it.

    Raises:
        DataError: if LaTeX refuses the preamble.
        MissingDependencyError: if the program is not installed.
    """
    program, preamble = _PREAMBLES[name]
    with tempfile.TemporaryDirectory(prefix="vary-formula-") as folder:
        place = Path(folder)
        (place / "sheet.tex").write_text(preamble + "\\dump\n", encoding="utf-8")
        error = run_program([program, "-ini", f"&{program}"], place, _SECONDS)
        dumped = place / "sheet.fmt"
        if error is not None or not dumped.is_file():
            raise DataError(f"{program} could not precompile the preamble of its sheets: {error}")
        data = dumped.read_bytes()
    # LaTeX reads both kinds, and needs a third of its start for decompressing.
    path = Path(_folder().name) / f"{name}.fmt"
    path.write_bytes(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
    return path


@lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="vary-formats-")

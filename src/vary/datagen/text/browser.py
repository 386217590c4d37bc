"""Documents printed to PDF by Chromium without a window, a network or a shell."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from xml.sax.saxutils import escape

from vary.datagen.fonts import FontFace
from vary.datagen.programs import running_program
from vary.datagen.text.thin_fonts import thin_font
from vary.errors import DataError, MissingDependencyError

__all__ = ["PageFont", "browser_version", "find_browser", "print_html"]

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_LARGE_FONT = 3 * 2**20
_SECONDS = 180
_TRIES = 2

_OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-pdf-header-footer",
    # No name resolves, and what needs none goes to a port that nothing listens on.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=127.0.0.1:9",
)


def find_browser() -> str:
    """The path of Chromium; raises `MissingDependencyError` where there is none."""
    for name in _PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    raise MissingDependencyError(
        "a share of the pages is printed by Chromium, which is not installed: apt-get install chromium "
        "(or set browser_share to 0, --browser-share 0)"
    )


def browser_version() -> str:
    """What Chromium calls itself."""
    try:
        ran = subprocess.run(
            [find_browser(), "--version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return ran.stdout.strip() or "unknown"


@dataclass(frozen=True, slots=True)
class PageFont:
    """A face under the name by which the style sheet asks for it.

    `characters` are all that may be asked of it, None for any: a large font is cut to them.
    """

    family: str
    face: FontFace
    bold: bool = False
    italic: bool = False
    characters: str | None = None


def print_html(source: str, fonts: Sequence[PageFont]) -> bytes:
    """The PDF file of an HTML document; no fonts can be used but those that are given.

    Raises:
        DataError: if Chromium does not print it, twice.
        MissingDependencyError: where there is no Chromium.
    """
    program = find_browser()
    problem = ""
    for _ in range(_TRIES):
        with tempfile.TemporaryDirectory(prefix="vary-pages-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            settings = _font_settings(folder, fonts)
            pdf, problem = _print_once(program, source, settings, folder)
            if pdf is not None:
                return pdf
    raise DataError(f"{program} printed no PDF file: {problem}")


def _print_once(program: str, source: str, settings: Path, folder: Path) -> tuple[bytes | None, str]:
    page, output = folder / "page.html", folder / "page.pdf"
    page.write_text(source, encoding="utf-8")
    command = [program, *_OPTIONS, f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={output}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")  # Chromium refuses to build its sandbox as root
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "FONTCONFIG_FILE": str(settings),
    }
    try:
        with running_program(
            [*command, page.as_uri()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
        ) as process:
            _, errors = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return None, f"no answer within {_SECONDS} s"
    if output.is_file() and output.stat().st_size:
        return output.read_bytes(), ""
    told = errors.decode("utf-8", "replace").strip().splitlines()
    return None, told[-1] if told else f"exit code {process.returncode}"


def _font_settings(folder: Path, fonts: Sequence[PageFont]) -> Path:
    """Settings by which the system has the given fonts, under the given names, and one that shows nothing.

    A letter that a page's own fonts lack is set in the latter, and is found out by having no ink; any other
    font would show a box, which the text layer takes for the letter.
    """
    place = folder / "fonts"
    place.mkdir()
    (place / "nothing.ttf").write_bytes(_font_of_nothing())
    rules = []
    for number, font in enumerate(fonts):
        file = Path(font.face.path)
        link = place / f"{number:04d}{file.suffix}"
        large = font.characters is not None and file.stat().st_size > _LARGE_FONT
        thin = thin_font(font.face.path, font.face.index, font.characters or "") if large else None
        if thin is not None:
            link.write_bytes(thin)
        else:
            try:
                link.symlink_to(file.absolute())
            except OSError:  # a system without links
                shutil.copyfile(file, link)
        rules.append(
            '<match target="scan">'
            f'<test name="file"><string>{escape(str(link))}</string></test>'
            f'<test name="index"><int>{font.face.index if thin is None else 0}</int></test>'
            f'<edit name="family" mode="assign"><string>{escape(font.family)}</string></edit>'
            f'<edit name="weight" mode="assign"><int>{200 if font.bold else 80}</int></edit>'
            f'<edit name="slant" mode="assign"><int>{100 if font.italic else 0}</int></edit>'
            '<edit name="width" mode="assign"><int>100</int></edit></match>'
        )
    settings = folder / "fonts.conf"
    settings.write_text(
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>'
        f"<dir>{escape(str(place))}</dir><cachedir>{escape(str(folder / 'cache'))}</cachedir>{''.join(rules)}"
        "</fontconfig>",
        encoding="utf-8",
    )
    return settings


@lru_cache(maxsize=1)
def _font_of_nothing() -> bytes:
    """A TrueType font that has every character, and whose glyphs are empty."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.ttLib.tables._c_m_a_p import CmapSubtable
    from fontTools.ttLib.tables._g_l_y_f import Glyph

    builder = FontBuilder(1000, isTTF=True)
    names = [".notdef", "empty"]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({0x20: "empty"})
    every = CmapSubtable.newSubtable(13)  # many characters to one glyph
    every.platformID, every.platEncID, every.language = 3, 10, 0
    every.cmap = dict.fromkeys((*range(0x20, 0xD800), *range(0xE000, 0x32000)), "empty")
    builder.font["cmap"].tables.append(every)
    builder.setupGlyf({name: Glyph() for name in names})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Vary Nothing", "styleName": "Regular", "psName": "VaryNothing"})
    builder.setupOS2(sTypoAscender=800, sTypoDescender=-200, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.updateHead(created=0, modified=0)
    data = io.BytesIO()
    builder.save(data)
    return data.getvalue()

"""Tesseract, a program: from an image's path to text, process start included."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from vary.errors import MissingDependencyError, VaryError

__all__ = ["INSTALL", "Tesseract"]

INSTALL = "apt-get install tesseract-ocr tesseract-ocr-eng tesseract-ocr-chi-sim"
LANGUAGES = {"en": "eng", "zh": "chi_sim"}
SECONDS = 600


class Tesseract:
    """The program on the PATH with its own default settings."""

    name = "tesseract"

    def missing(self) -> str:
        return "" if shutil.which(self.name) else INSTALL

    def version(self) -> str:
        """Its first words about itself, such as "tesseract 5.3.0"."""
        done = subprocess.run([self._program(), "--version"], capture_output=True, text=True, check=False)
        lines = (done.stdout or done.stderr).splitlines()
        return lines[0].strip() if lines else "unknown"

    def read(self, page: str, language: str, threads: int) -> tuple[float, str]:
        """Seconds from process start to its end, and the text.

        Raises:
            MissingDependencyError: if the program is not there.
            VaryError: if it fails, as without the data of the language.
        """
        command = [self._program(), page, "stdout", "-l", LANGUAGES[language]]
        started = time.perf_counter()
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                encoding="utf-8",
                check=False,
                timeout=SECONDS,
                env={**os.environ, "OMP_THREAD_LIMIT": str(threads)},
            )
        except subprocess.TimeoutExpired as error:
            raise VaryError(f"tesseract did not finish {page} in {SECONDS} s") from error
        seconds = time.perf_counter() - started
        if done.returncode:
            raise VaryError(f"tesseract failed on {page}: {done.stderr.strip()[-300:]}; {INSTALL}")
        return seconds, done.stdout

    def _program(self) -> str:
        found = shutil.which(self.name)
        if found is None:
            raise MissingDependencyError(f"the program tesseract is not installed: {INSTALL}")
        return found

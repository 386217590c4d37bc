"""One node process that renders many ECharts options: JSON lines in, SVG out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import IO, Any

from vary.errors import DataError, MissingDependencyError

__all__ = ["ECHARTS_INSTALL", "EchartsProcess", "echarts_version", "find_node_modules"]

ECHARTS_INSTALL = "npm install --prefix DIR echarts@6"
NODE_MODULES = "VARY_NODE_MODULES"
"""The environment variable that names a folder of node packages."""
_SECONDS = 60
"""A chart takes hundredths of a second; a process that is silent for this long is broken."""


def find_node_modules(folder: str | None = None) -> Path:
    """The folder of node packages with ECharts: `folder`, else $VARY_NODE_MODULES, else ./node_modules.

    Raises:
        MissingDependencyError: if there is no ECharts.
    """
    given = folder or os.environ.get(NODE_MODULES)
    place = Path(given) if given else Path("node_modules")
    if (place / "echarts" / "package.json").is_file():
        return place.resolve()
    named = str(place) if given else f"./{place}, and ${NODE_MODULES} is not set"
    raise MissingDependencyError(
        f"no ECharts in {named}: {ECHARTS_INSTALL}, then export {NODE_MODULES}=DIR/node_modules; "
        "or draw with matplotlib alone (--renderers matplotlib)"
    )


def echarts_version(folder: Path) -> str:
    """The version of the ECharts in a folder of node packages."""
    record: dict[str, Any] = json.loads((folder / "echarts" / "package.json").read_text(encoding="utf-8"))
    return str(record["version"])


class EchartsProcess:
    """A node process; started by the first `render`, ended by `close` or with this process.

    Attributes:
        charts: how many it has drawn.
    """

    def __init__(self, node_modules: Path) -> None:
        self._folder = node_modules
        self._process: subprocess.Popen[str] | None = None
        self.charts = 0

    def render(self, option: dict[str, Any], width: int, height: int, advances: dict[str, int]) -> str:
        """The SVG of a chart.

        Args:
            option: what ECharts takes, as JSON values.
            width: px, as is `height`.
            height: px.
            advances: widths of the characters in thousandths of the em.

        Raises:
            DataError: if ECharts refuses the option, or the process ends or falls silent.
            MissingDependencyError: without node.
        """
        request = {"option": option, "width": width, "height": height, "advances": advances}
        # In ASCII: node ends a line at U+2028 as well.
        answer = self._ask(json.dumps(request))
        if "svg" not in answer:
            raise DataError(f"ECharts cannot draw a chart: {answer.get('error')}")
        self.charts += 1
        return str(answer["svg"])

    def close(self) -> None:
        """End the process; the next `render` starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # a request may be left that nobody reads
                        pipe.close()
            self._process = None

    def _ask(self, line: str) -> dict[str, Any]:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with _watched(process):
                process.stdin.write(line + "\n")
                process.stdin.flush()
                return _answer(process.stdout)
        except (OSError, ValueError) as error:
            self.close()
            raise DataError(f"the node process that draws charts ended or hung: {error}") from error
        except BaseException:
            self.close()  # its answer is still to come, and would be taken for that of the next chart
            raise

    def _started(self) -> subprocess.Popen[str]:
        if self._process is not None:
            return self._process
        node = shutil.which("node")
        if node is None:
            raise MissingDependencyError(
                "charts of ECharts need node: install Debian's nodejs, or draw with matplotlib alone "
                "(--renderers matplotlib)"
            )
        with resources.as_file(
            resources.files("vary.datagen.chart").joinpath("echarts_server.cjs")
        ) as script:
            self._process = subprocess.Popen(
                [node, str(script), str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
            assert self._process.stdout is not None
            try:
                with _watched(self._process):
                    _answer(self._process.stdout)  # its version: it has read the script
            except ValueError as error:
                self.close()
                raise DataError(f"node cannot load ECharts from {self._folder}: {error}") from error
            except BaseException:
                self.close()  # as in `_ask`
                raise
        return self._process

    def __del__(self) -> None:
        self.close()


@contextmanager
def _watched(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process that hangs: reading from it blocks, and ends with it."""
    watch = threading.Timer(_SECONDS, process.kill)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def _answer(pipe: IO[str]) -> dict[str, Any]:
    line = pipe.readline()
    if not line:
        raise ValueError("it gave no answer")
    answer: dict[str, Any] = json.loads(line)
    return answer

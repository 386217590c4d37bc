"""`import vary` is cheap and silent, and its public names are the ones that it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

import vary

HEAVY = ("torch", "transformers", "tokenizers", "numpy", "PIL", "cv2", "pypdfium2", "tqdm")


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_import_loads_nothing_heavy_and_says_nothing() -> None:
    ran = _python(f"import sys, vary; sys.exit(', '.join(m for m in {HEAVY} if m in sys.modules) or 0)")
    assert (ran.stdout, ran.stderr) == ("", "")


def test_command_line_parsers_load_nothing_heavy() -> None:
    _python(
        "import sys; from vary.cli.main import build_parser; build_parser().format_help();"
        f"sys.exit(', '.join(m for m in {HEAVY} if m in sys.modules) or 0)"
    )


def test_reading_lines_needs_no_torch() -> None:
    _python(
        "import sys, numpy as np\n"
        "from vary.assets import default_checkpoint\n"
        "from vary.engine.light import LightModel\n"
        "from vary.engine.streaming import text_guard\n"
        "model = LightModel.load(default_checkpoint())\n"
        "line = np.full((32, 200), 255, np.uint8); line[8:24, 20:24] = 0\n"
        "[read] = model.read([line], [20], guards=[text_guard(model.decode, 50)])\n"
        "assert read.generation.finish_reason == 'stop', read\n"
        "heavy = ('torch', 'transformers', 'tokenizers', 'safetensors', 'huggingface_hub', 'jinja2')\n"
        "sys.exit(', '.join(name for name in heavy if name in sys.modules) or 0)"
    )


def test_reading_on_a_cpu_needs_no_triton() -> None:
    """Triton cannot be imported there, and the modules that need it are not looked at."""
    _python(
        "import sys; sys.modules['triton'] = None\n"
        "import cv2, numpy as np, vary, vary.bench.contestants.vary\n"
        "page = cv2.putText(np.full((80, 300), 255, np.uint8), 'Hello', (20, 50), 0, 1.5, 0, 2)\n"
        "assert vary.Reader.load(device='cpu').read(page).text\n"
        "used = {name for name in sys.modules if name.startswith('vary.engine.cuda.')}\n"
        "used &= {'vary.engine.cuda.' + name for name in ('kernels', 'operations', 'vision_kernels')}\n"
        "sys.exit(', '.join(used) or 0)"
    )


@pytest.mark.parametrize("name", vary.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(vary, name) is not None
    assert name in dir(vary)


def test_public_names_are_where_they_live() -> None:
    from vary.errors import VaryError

    assert vary.VaryError is VaryError


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = vary.nonsense


def test_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert vary.__version__ == version("vary-toy")

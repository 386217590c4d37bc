"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from vary.model.modeling import VaryForConditionalGeneration

# Without a GPU Triton interprets its kernels; it asks for this when it is first imported.
if not list(Path("/dev").glob("nvidia[0-9]*")):
    os.environ["TRITON_INTERPRET"] = "1"

# How long an example takes says more about the machine than about the code.
settings.register_profile("vary", deadline=None)
settings.load_profile("vary")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder `shared` beside the checkout; the test is skipped where the project stands alone."""
    folder = Path(__file__).resolve().parent.parent.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder.name} beside the checkout")
    return folder


@pytest.fixture(scope="session")
def tiny_nano() -> VaryForConditionalGeneration:
    """A random vary-nano, narrow, with the preset's own token ids."""
    from transformers import set_seed

    from factories import small_nano_config
    from vary.model.modeling import VaryForConditionalGeneration

    set_seed(0)
    return VaryForConditionalGeneration(small_nano_config()).eval()


@pytest.fixture(scope="session")
def tiny_nano_folder(
    tiny_nano: VaryForConditionalGeneration, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny vary-nano as a checkpoint folder."""
    from vary.assets import nano_vocabulary
    from vary.model.presets import nano_processor

    folder = tmp_path_factory.mktemp("checkpoint") / "tiny nano"
    tiny_nano.save_pretrained(folder)
    nano_processor(nano_vocabulary()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Vary-toy as a checkpoint folder: it knows every task and writes readable nonsense."""
    import string

    from checkpoints import chat_config, chat_model, chat_processor

    folder = tmp_path_factory.mktemp("checkpoint") / "tiny toy"
    config = chat_config()
    chat_model(config, letters=string.ascii_letters + " .,\n").save_pretrained(folder)
    chat_processor(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def native_toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Vary-toy for the native kernels; of every image it writes something else, on and on."""
    import string

    from checkpoints import SPECIAL, chat_model, chat_processor, native_chat_config

    folder = tmp_path_factory.mktemp("checkpoint") / "native toy"
    config = native_chat_config()
    model = chat_model(config, letters=string.ascii_letters + " .,\n")
    model.generation_config.suppress_tokens = [SPECIAL["<|im_end|>"]]
    model.save_pretrained(folder)
    chat_processor(config).save_pretrained(folder)
    return folder

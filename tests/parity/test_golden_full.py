"""The authors' code at full width: CLIP-L/14, the vocabulary network and two layers of Qwen-1.8B's width.

The weights follow a rule (see the golden folder's README), so that nothing of this size has to be stored;
they are written as a folder of the authors' and come in through the production loader.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from vary.model.modeling import VaryForConditionalGeneration
from vary.weights.loading import load_foreign

pytestmark = pytest.mark.slow

TOLERANCE = 5e-5
NORMALISATIONS = (
    *("ln_1", "ln_2", "ln_f", "norm1", "norm2", "layer_norm1", "layer_norm2"),
    *("pre_layrnorm", "post_layernorm", "neck.1", "neck.3"),
)
CHUNK = 2**22
"""Numbers drawn at a time: they are drawn in double precision, and an embedding has 311 million."""


def random_numbers(name: str, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    generator = np.random.RandomState(zlib.crc32(name.encode()))
    numbers = np.empty(count, dtype=np.float32)
    for first in range(0, count, CHUNK):
        part = numbers[first : first + CHUNK]
        part[:] = generator.standard_normal(len(part)).astype(np.float32) * 0.02
    return numbers


def parameter(name: str, shape: list[int]) -> Tensor:
    numbers = random_numbers(name, math.prod(shape)).reshape(shape)
    module, _, kind = name.rpartition(".")
    if kind == "weight" and any(module.endswith(f".{norm}") for norm in NORMALISATIONS):
        numbers += np.float32(1)
    return torch.from_numpy(numbers)


def write_authors_folder(folder: Path, meta: dict[str, Any]) -> None:
    """Shards of one tensor, so that never more than one is in memory."""
    weight_map = {}
    for number, (name, shape) in enumerate(meta["state_dict"].items()):
        weight_map[name] = f"model-{number:05d}.safetensors"
        save_file({name: parameter(name, shape)}, folder / weight_map[name])
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    tokens = meta["image_tokens"]
    config = {
        "architectures": ["varyQwenForCausalLM"],
        "model_type": "vary",
        **meta["lm"],
        "im_start_token": tokens["start"],
        "im_end_token": tokens["end"],
        "im_patch_token": tokens["pad"],
        "vision_select_layer": meta["vision_select_layer"],
    }
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def meta(shared_dir: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((shared_dir / "golden" / "full" / "meta.json").read_text("utf-8"))
    return content


@pytest.fixture(scope="module")
def model(
    meta: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VaryForConditionalGeneration]:
    folder = tmp_path_factory.mktemp("full")
    write_authors_folder(folder, meta)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # tiny models are told to take one; these matrices are not tiny
    yield load_foreign(folder)
    torch.set_num_threads(threads)
    for file in folder.iterdir():  # 4.5 GB that nobody needs until pytest clears its folders
        file.unlink()


@pytest.fixture(scope="module")
def inputs(meta: dict[str, Any]) -> dict[str, Tensor]:
    generator = np.random.RandomState(zlib.crc32(b"input"))
    high = generator.standard_normal((1, 3, 1024, 1024)).astype(np.float32)
    low = generator.standard_normal((1, 3, 224, 224)).astype(np.float32)
    text = generator.randint(0, 151850, (1, 20)).tolist()[0]
    tokens = meta["image_tokens"]
    image = [tokens["start"], *[tokens["pad"]] * tokens["count"], tokens["end"]]
    return {
        "input_ids": torch.tensor([[*text[:5], *image, *text[5:]]]),
        "pixel_values": torch.from_numpy(high),
        "pixel_values_clip": torch.from_numpy(low),
    }


def assert_probes(found: Tensor, expected: dict[str, Any]) -> None:
    assert list(found.shape) == expected["shape"]
    values = found.flatten()[torch.tensor(expected["index"])]
    torch.testing.assert_close(values, torch.tensor(expected["value"]), atol=TOLERANCE, rtol=0)
    assert found.mean().item() == pytest.approx(expected["mean"], abs=TOLERANCE)
    assert found.std().item() == pytest.approx(expected["std"], abs=TOLERANCE)


@torch.no_grad()
def test_features_logits_and_greedy_answer(
    model: VaryForConditionalGeneration, inputs: dict[str, Tensor], meta: dict[str, Any]
) -> None:
    probes = meta["probes"]
    features = model.get_image_features(inputs["pixel_values"], pixel_values_clip=inputs["pixel_values_clip"])
    assert_probes(features.last_hidden_state, probes["vocabulary_features"])
    assert_probes(model.model.clip_features(inputs["pixel_values_clip"]), probes["clip_features"])
    assert_probes(features.pooler_output, probes["image_embeds"])
    encoded = {"input_ids": inputs["input_ids"], "mm_encoder_outputs": {"image": features}}
    assert_probes(model(**encoded).logits, probes["logits"])
    answer = model.generate(**encoded, max_new_tokens=12, do_sample=False, eos_token_id=-1)
    assert answer[:, inputs["input_ids"].shape[1] :].tolist() == meta["greedy"]

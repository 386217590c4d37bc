"""The authors' own code, run on random weights: our model, through the loader that users use, must agree."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from factories import left_padded
from vary.model.modeling import VaryForConditionalGeneration
from vary.weights.loading import load_foreign

pytestmark = pytest.mark.shared
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def golden(shared_dir: Path) -> Path:
    return shared_dir / "golden" / "tiny"


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict[str, Tensor]:
    with np.load(golden / "expected.npz") as values:
        return {name: torch.from_numpy(values[name]) for name in values}


@pytest.fixture(scope="module")
def meta(golden: Path) -> dict[str, object]:
    return json.loads((golden / "meta.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model(golden: Path) -> VaryForConditionalGeneration:
    return load_foreign(golden)


@pytest.fixture(scope="module")
def inputs(expected: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        "input_ids": expected["input_ids"],
        "attention_mask": torch.ones_like(expected["input_ids"]),
        "pixel_values": expected["pixel_values_high"],
        "pixel_values_clip": expected["pixel_values_low"],
    }


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_both_branches(model: VaryForConditionalGeneration, expected: dict[str, Tensor]) -> None:
    features = model.get_image_features(
        expected["pixel_values_high"], pixel_values_clip=expected["pixel_values_low"]
    )
    close(features.last_hidden_state, expected["vocabulary_features"])
    close(model.model.clip_features(expected["pixel_values_low"]), expected["clip_features"])
    close(features.pooler_output, expected["image_embeds"])


@torch.no_grad()
def test_logits_and_loss(
    model: VaryForConditionalGeneration,
    inputs: dict[str, Tensor],
    expected: dict[str, Tensor],
    meta: dict[str, float],
) -> None:
    output = model(**inputs, labels=expected["labels"])
    close(output.logits, expected["logits"])
    assert output.loss.item() == pytest.approx(meta["loss"], abs=TOLERANCE)


def test_greedy_answer(
    model: VaryForConditionalGeneration, inputs: dict[str, Tensor], meta: dict[str, list[list[int]]]
) -> None:
    answer = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    assert answer[:, inputs["input_ids"].shape[1] :].tolist() == meta["greedy"]


def test_greedy_answer_beside_a_longer_prompt(
    model: VaryForConditionalGeneration, inputs: dict[str, Tensor], meta: dict[str, list[list[int]]]
) -> None:
    longer = [7, 8, 9, *inputs["input_ids"][1].tolist()]
    padded = left_padded([inputs["input_ids"][0].tolist(), longer])
    answer = model.generate(**{**inputs, **padded}, max_new_tokens=12, do_sample=False)
    assert answer[0, padded["input_ids"].shape[1] :].tolist() == meta["greedy"][0]

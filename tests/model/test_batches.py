"""A row of a batch is read as it is alone, and its neighbours do not exist for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from factories import (
    alone,
    line_batch,
    page_batch,
    random_model,
    tiny_nano_config,
    tiny_opt_config,
    tiny_toy_config,
)
from vary.model.configuration import VaryConfig

IMAGES = (2, 1, 0, 3)
WIDTHS = ((64, 16), (144,), (), (32, 96, 48))

Batch = dict[str, Tensor]
CASES: dict[str, tuple[Callable[[], VaryConfig], Callable[[VaryConfig], Batch]]] = {
    "toy": (tiny_toy_config, lambda config: page_batch(config, IMAGES)),
    "opt": (tiny_opt_config, lambda config: page_batch(config, IMAGES)),
    "nano": (tiny_nano_config, lambda config: line_batch(config, WIDTHS)),
    "nano-padded-further": (tiny_nano_config, lambda config: line_batch(config, WIDTHS, pad_to=256)),
}


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_a_row_of_a_ragged_batch_is_read_as_alone(case: str) -> None:
    make_config, make_batch = CASES[case]
    model = random_model(make_config())
    batch = make_batch(model.config)
    logits = model(**batch).logits
    answers = model.generate(**batch, max_new_tokens=8, do_sample=False)[:, batch["input_ids"].shape[1] :]
    for row in range(len(IMAGES)):
        single = alone(model.config, batch, row)
        length = single["input_ids"].shape[1]
        torch.testing.assert_close(
            logits[row, -length:], model(**single).logits[0], atol=1e-4, rtol=0, msg=f"row {row}"
        )
        answer = model.generate(**single, max_new_tokens=8, do_sample=False)
        assert answer[0, length:].tolist() == answers[row].tolist(), f"row {row}"


@torch.no_grad()
def test_changing_a_neighbour_changes_no_bit_of_a_page() -> None:
    model = random_model(tiny_toy_config())
    before, after = page_batch(model.config, IMAGES, seed=1), page_batch(model.config, IMAGES, seed=2)
    for name, count in (("input_ids", 1), ("pixel_values", 2), ("pixel_values_clip", 2)):
        after[name][:count] = before[name][:count]
    assert not torch.equal(before["pixel_values"], after["pixel_values"])
    first, second = model(**before).logits, model(**after).logits
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])


@torch.no_grad()
def test_changing_a_neighbour_changes_no_bit_of_a_line() -> None:
    """The neighbour's line is another, of another width too; the shapes of the batch stay."""
    model = random_model(tiny_nano_config())
    before = line_batch(model.config, [(64,), (96,), (160,)], seed=1)
    after = line_batch(model.config, [(64,), (48,), (160,)], seed=2)
    after["pixel_values"][0] = before["pixel_values"][0]
    after["input_ids"][0] = before["input_ids"][0]
    assert before["input_ids"].shape == after["input_ids"].shape
    first, second = model(**before).logits, model(**after).logits
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[2], second[2])
    answers = [model.generate(**batch, max_new_tokens=6, do_sample=False)[0] for batch in (before, after)]
    assert answers[0].tolist() == answers[1].tolist()


@torch.no_grad()
def test_what_lies_right_of_a_line_does_not_leak() -> None:
    model = random_model(tiny_nano_config())
    batch = line_batch(model.config, [(64,), (160,)])
    other = {**batch, "pixel_values": batch["pixel_values"].clone()}
    other["pixel_values"][0, ..., 64:] = 1e3
    features, others = (
        model.get_image_features(item["pixel_values"], pixel_widths=item["pixel_widths"])
        for item in (batch, other)
    )
    assert torch.equal(features.pooler_output[0], others.pooler_output[0])
    assert features.ctc_lengths.tolist() == [8, 20]
    assert torch.equal(features.ctc_frames[0, :8], others.ctc_frames[0, :8])
    single = model.get_image_features(batch["pixel_values"][:1, ..., :64])
    torch.testing.assert_close(single.pooler_output[0], features.pooler_output[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(single.ctc_frames[0], features.ctc_frames[0, :8], atol=1e-5, rtol=0)


@torch.no_grad()
def test_images_of_one_prompt_keep_their_order() -> None:
    model = random_model(tiny_toy_config())
    batch = page_batch(model.config, (2,))
    swapped = {**batch, "pixel_values": batch["pixel_values"].flip(0)}
    swapped["pixel_values_clip"] = batch["pixel_values_clip"].flip(0)
    assert not torch.allclose(model(**batch).logits, model(**swapped).logits, atol=1e-3)

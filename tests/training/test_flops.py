"""Floating point operations by formula against those that PyTorch counts in real models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from factories import (
    line_batch,
    page_batch,
    random_model,
    tiny_nano_config,
    tiny_opt_config,
    tiny_text,
    tiny_toy_config,
    tiny_vision_vocabulary,
)
from vary.errors import TrainingError
from vary.model.configuration import VaryConfig
from vary.model.presets import preset_config
from vary.training.adapters import LoraSettings, add_lora
from vary.training.cost.flops import batch_cost, step_breakdown
from vary.training.cost.shapes import meta_model
from vary.training.data.batches import ConversationBatch
from vary.training.data.lines import LineBatch
from vary.training.recipes.conversations import freeze
from vary.training.running import checkpoint_activations

CLOSE = 1e-6
EVERYTHING = ("vision_vocabulary", "clip", "projector", "decoder")
DECODER = ("projector", "decoder")


def _flash(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _flash_backward(grad_out: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad_out, query, key, value)


# The counter does not know the CPU's fused attention; its own formulas for the GPU's are the same thing.
FUSED = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _flash,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _flash_backward,
}


@dataclass
class Counted:
    """What the counter saw."""

    forward: float
    total: float
    shape: tuple[int, int] = field(default=(0, 0))


def _count(
    config: VaryConfig,
    batch: dict[str, torch.Tensor],
    trained: Sequence[str],
    *,
    checkpointing: bool = False,
    rank: int = 0,
) -> Counted:
    """A real forward and, where something is trained, backward pass."""
    model = random_model(config)
    frozen = freeze(model, tuple(trained))
    if rank:
        add_lora(model, LoraSettings(rank=rank))
    if checkpointing:
        checkpoint_activations(model)
        model.disable_input_require_grads()  # else gradients run through a frozen CLIP, for nothing
    model.train()
    for module in frozen:
        module.eval()
    with FlopCounterMode(display=False, custom_mapping=FUSED) as counter:
        output = model(**batch, labels=batch["input_ids"], use_cache=False)
        forward = counter.get_total_flops()
        if trained:
            loss = output.loss
            if output.ctc_logits is not None and "vision_vocabulary" in trained:
                loss = loss + output.ctc_logits.square().mean()
            loss.backward()
    return Counted(forward, counter.get_total_flops(), tuple(batch["input_ids"].shape))


def wide_toy_config() -> VaryConfig:
    """Two branches, grouped heads, windows that divide the grid, and a page that is not square."""
    return VaryConfig(
        vision_vocabulary_config=tiny_vision_vocabulary(image_size=(128, 192), window_size=4),
        text_config=tiny_text(num_key_value_heads=2),
        projector_dim=24,
        image_token_id=91,
        image_start_token_id=92,
        image_end_token_id=93,
    )


CONFIGS = {"toy": tiny_toy_config, "opt": tiny_opt_config, "wide": wide_toy_config}


FROZEN = [(), EVERYTHING, DECODER, ("projector",), ("vision_vocabulary",), ("clip", "projector")]
CASES = [(trained, False) for trained in FROZEN]
CASES += [(trained, True) for trained in (EVERYTHING, DECODER, ("vision_vocabulary",))]


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize(("trained", "checkpointing"), CASES)
def test_pages_cost_what_the_counter_says(kind: str, trained: tuple[str, ...], checkpointing: bool) -> None:
    config = CONFIGS[kind]()
    if config.clip_config is None and trained == ("clip", "projector"):
        trained = ("projector",)
    counted = _count(config, page_batch(config, [1, 2, 0]), trained, checkpointing=checkpointing)
    sequences, length = counted.shape
    found = step_breakdown(
        config,
        sequences=sequences,
        length=length,
        images=3,
        trained=trained,
        gradient_checkpointing=checkpointing,
    )
    assert found.sum.forward == pytest.approx(counted.forward, rel=CLOSE)
    assert found.total == pytest.approx(counted.total, rel=CLOSE)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("trained", [(), EVERYTHING, DECODER], ids="+".join)
def test_lines_cost_what_the_counter_says(trained: tuple[str, ...], attention: str) -> None:
    config = tiny_nano_config()
    config._attn_implementation = attention
    batch = line_batch(config, [[64], [128], [96]])
    counted = _count(config, batch, trained)
    sequences, length = counted.shape
    found = step_breakdown(
        config,
        sequences=sequences,
        length=length,
        images=3,
        trained=trained,
        image_size=(32, 128),
    )
    assert found.total == pytest.approx(counted.total, rel=CLOSE)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("trained", [DECODER, ("decoder",)], ids="+".join)
def test_adapters_cost_what_the_counter_says(trained: tuple[str, ...], checkpointing: bool) -> None:
    config = tiny_toy_config()
    counted = _count(config, page_batch(config, [1, 1]), trained, checkpointing=checkpointing, rank=4)
    sequences, length = counted.shape
    found = step_breakdown(
        config,
        sequences=sequences,
        length=length,
        images=2,
        trained=trained,
        gradient_checkpointing=checkpointing,
        lora_rank=4,
    )
    assert found.total == pytest.approx(counted.total, rel=CLOSE)


def test_text_alone_leaves_the_vision_side_out() -> None:
    config = tiny_toy_config()
    batch = {name: value for name, value in page_batch(config, [0, 0]).items() if "pixel" not in name}
    counted = _count(config, batch, EVERYTHING)
    sequences, length = counted.shape
    found = step_breakdown(config, sequences=sequences, length=length, images=0, trained=EVERYTHING)
    assert found.vision_vocabulary.total == found.clip.total == found.projector.total == 0
    assert found.total == pytest.approx(counted.total, rel=CLOSE)


def test_a_batch_costs_what_its_shapes_say() -> None:
    config = tiny_toy_config()
    batch = page_batch(config, [1, 1, 0])
    trained = DECODER
    conversations = ConversationBatch(
        input_ids=batch["input_ids"],
        labels=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        pixels={name: batch[name] for name in ("pixel_values", "pixel_values_clip")},
        names=("a", "b", "c"),
    )
    counted = _count(config, batch, trained)
    assert batch_cost(config, trained)(conversations) == pytest.approx(counted.total, rel=CLOSE)


def test_a_batch_of_lines_scores_its_rows_alone() -> None:
    config = tiny_nano_config()
    config._attn_implementation = "eager"
    batch = line_batch(config, [[64], [128]])
    sequences, rows = len(batch["input_ids"]), torch.arange(7)
    model = random_model(config).train()
    with FlopCounterMode(display=False, custom_mapping=FUSED) as counter:
        labels = torch.ones_like(batch["input_ids"])
        output = model(**batch, labels=labels, vocabulary_rows=rows, use_cache=False)
        (output.loss + output.ctc_logits.square().mean()).backward()
    lines = LineBatch(
        **batch,
        labels=labels,
        targets=labels[0],
        target_lengths=torch.ones(sequences),
        name="",
        counts={},
        rows=rows,
    )
    found = batch_cost(config, EVERYTHING)(lines)
    assert found == pytest.approx(counter.get_total_flops(), rel=CLOSE)


def test_published_sizes_cost_what_their_weights_say() -> None:
    """Forward passes of Vary-toy's parts: twice the weights a token, and the products of attention."""
    config = preset_config("vary-toy")
    found = step_breakdown(config, sequences=1, length=1024, images=1, trained=())
    model = meta_model(config)
    tokens = 257
    layers = model.model.clip.encoder.layers[:23]  # the last one's output is not used
    clip = sum(p.numel() for p in layers.parameters() if p.ndim == 2)
    patches = 256 * model.model.clip.embeddings.patch_embedding.weight.numel()
    assert found.clip.forward == 2 * tokens * clip + 2 * patches + 23 * 4 * tokens**2 * 1024
    matrices = sum(p.numel() for p in model.model.language_model.layers.parameters() if p.ndim == 2)
    assert found.decoder.forward == 2 * 1024 * matrices + 24 * 4 * 1024**2 * 2048
    assert found.head.forward == 2 * 1024 * 2048 * 151860


def test_parts_and_passes_add_up() -> None:
    config = tiny_toy_config()
    options: dict[str, Any] = {"sequences": 2, "length": 20, "images": 2}
    plain = step_breakdown(config, **options, trained=EVERYTHING)
    again = step_breakdown(config, **options, trained=EVERYTHING, gradient_checkpointing=True)
    assert plain.total == sum(part.total for part in plain.by_part().values())
    assert plain.sum.recomputed == 0
    assert again.total - again.sum.recomputed == plain.total
    assert 0 < again.sum.recomputed < plain.sum.forward
    frozen = step_breakdown(config, **options, trained=("decoder",))
    assert frozen.vision_vocabulary.total == frozen.vision_vocabulary.forward


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(TrainingError, match="no part 'tower'"):
        step_breakdown(tiny_toy_config(), sequences=1, length=8, images=1, trained=("tower",))


def test_mixtures_of_experts_are_refused() -> None:
    text = tiny_text(model_type="qwen2_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16)
    config = VaryConfig(vision_vocabulary_config=tiny_vision_vocabulary(), text_config=text, projector_dim=24)
    with pytest.raises(TrainingError, match="qwen2_moe"):
        step_breakdown(config, sequences=1, length=8, images=1, trained=())

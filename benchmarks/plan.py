"""What `vary train plan` predicts of a training step against what a real step takes, on this CPU.

python benchmarks/plan.py [--steps 3]

The first row sets the share of the processor's peak speed with which the time of the others is predicted.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.training.cost.activations import Arithmetic, saved_activations
from vary.training.cost.flops import step_breakdown
from vary.training.cost.memory import ModelSize, static_memory
from vary.training.data.batches import ConversationBatch
from vary.training.losses import conversation_losses
from vary.training.recipes.conversations import Part, freeze
from vary.training.running import checkpoint_activations, make_optimizer
from vary.training.settings import Precision, RunSettings

MIB = 2**20
HEADER = """\
| trained | arithmetic | checkpointing | GFLOP predicted | measured | ratio \
| peak MiB predicted | measured | ratio | seconds predicted | measured | ratio |
|---|---|---|---|---|---|---|---|---|---|---|---|"""
IMAGE = 4
EVERYTHING: tuple[Part, ...] = ("vision_vocabulary", "clip", "projector", "decoder")
DECODER: tuple[Part, ...] = ("projector", "decoder")
ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
# The counter knows the GPU's fused attention only; the CPU's computes the same.
FUSED = {
    ATTENTION: lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value),
    ATTENTION_BACKWARD: lambda grad, query, key, value, *_, **__: sdpa_backward_flop_count(
        grad, query, key, value
    ),
}


def small_config(decoder: str) -> VaryConfig:
    """A model of Vary's shape, about 20M parameters, pages of 384 pixels."""
    text: dict[str, Any] = {"vocab_size": 8192, "hidden_size": 256, "max_position_embeddings": 1024}
    if decoder == "opt":
        text |= {"model_type": "opt", "ffn_dim": 1024, "word_embed_proj_dim": 256}
    else:
        text |= {"model_type": "qwen2", "intermediate_size": 688, "num_key_value_heads": 4}
    text |= {"num_hidden_layers": 6, "num_attention_heads": 4, "pad_token_id": 0}
    two = decoder == "qwen2"
    return VaryConfig(
        vision_vocabulary_config={
            "image_size": 384,
            "hidden_size": 256,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "global_attention_layers": (2, 5),
            "neck_channels": 128,
            "merge_channels": (256, 512),
        },
        clip_config={
            "hidden_size": 256,
            "intermediate_size": 1024,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "image_size": 84,
            "patch_size": 14,
        }
        if two
        else None,
        text_config=text,
        projector_dim=128 if two else 256,
        tie_word_embeddings=not two,
        image_token_id=IMAGE,
        image_start_token_id=5,
        image_end_token_id=6,
    )


def make_batch(config: VaryConfig, sequences: int, length: int) -> ConversationBatch:
    """Random pages with random text."""
    torch.manual_seed(0)
    ids = torch.randint(10, config.text_config.vocab_size, (sequences, length))
    ids[:, 1 : 1 + config.image_seq_length] = IMAGE
    vision = config.vision_vocabulary_config
    pixels = {"pixel_values": torch.randn(sequences, 3, vision.height, vision.width)}
    if config.clip_config is not None:
        side = config.clip_config.image_size
        pixels["pixel_values_clip"] = torch.randn(sequences, 3, side, side)
    mask = torch.ones_like(ids)
    mask[0, -3:] = 0  # a batch is padded, as a rule
    return ConversationBatch(ids, ids, mask, pixels, tuple(map(str, range(sequences))))


class LiveBytes(TorchDispatchMode):
    """The bytes of all tensors that operations make, as they come and go, and their peak."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.now = self.peak = start
        self.known: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        held = {
            leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)
        }
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._meet(leaf.untyped_storage(), held)
        return result

    def _meet(self, storage: Any, held: set[int]) -> None:
        key = storage._cdata
        if key in self.known or key in held:
            return
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)

        def gone(_: Any) -> None:
            self.now -= size
            self.known.pop(key, None)

        self.known[key] = weakref.ref(storage, gone)


@dataclass
class Measured:
    """What a step took; the time is the processor's, not the clock's."""

    flops: float
    bytes: float
    seconds: float


def measure(
    config: VaryConfig,
    batch: ConversationBatch,
    trained: tuple[Part, ...],
    precision: Precision,
    checkpointing: bool,
    steps: int,
) -> Measured:
    """Real steps: one to have the optimizer's state, one weighed, one counted, some timed.

    All but the one that is weighed are in float32: bfloat16 is emulated on many CPUs, and its time says
    nothing of a GPU's.
    """
    torch.manual_seed(0)
    model = VaryForConditionalGeneration(config)
    frozen = freeze(model, trained)
    if checkpointing:
        checkpoint_activations(model)
        model.disable_input_require_grads()
    optimizer = make_optimizer(model, RunSettings())
    model.train()
    for module in frozen:
        module.eval()

    def step(precision: Precision = "no") -> None:
        with cast(precision):
            loss = conversation_losses(model, batch, {"answer": batch.labels.numel()})["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    step()
    held = [
        *model.parameters(),
        *model.buffers(),
        *(p.grad for p in model.parameters() if p.grad is not None),
    ]
    held += [value for state in optimizer.state.values() for value in state.values()]
    held += batch.pixels.values()
    start = sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}.values())
    with LiveBytes(start) as live:
        step(precision)
    with FlopCounterMode(display=False, custom_mapping=FUSED) as counter:  # it holds tensors: not at once
        step()
    times = []
    for _ in range(steps):
        began = time.process_time()
        step()
        times.append(time.process_time() - began)
    return Measured(counter.get_total_flops(), live.peak, min(times, default=0.0))


def cast(precision: Precision) -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext() if precision == "no" else torch.autocast("cpu", torch.bfloat16)


def product_speed(size: int = 1024) -> float:
    """Floating point operations a second of a large float32 product, by the processor's time."""
    left = torch.ones(size, size)
    times = []
    for _ in range(10):
        began = time.process_time()
        left @ left
        times.append(time.process_time() - began)
    return 2 * size**3 / min(times)


def predict(
    config: VaryConfig,
    batch: ConversationBatch,
    trained: tuple[Part, ...],
    precision: Precision,
    checkpointing: bool,
) -> tuple[float, float]:
    """Floating point operations and bytes, as `vary train plan` has them."""
    sequences, length = batch.input_ids.shape
    options: dict[str, Any] = {
        "sequences": sequences,
        "length": length,
        "images": sequences,
        "trained": trained,
        "gradient_checkpointing": checkpointing,
    }
    activations = saved_activations(config, **options, arithmetic=Arithmetic(precision, "cpu"))
    memory = static_memory(
        ModelSize.of(config, trained), gpus=1, parallel="ddp", precision=precision, activations=activations
    )
    return step_breakdown(config, **options).total, memory.total


def cases() -> Iterator[tuple[str, tuple[Part, ...], Precision, bool]]:
    """Stage 1 with OPT, stage 2 with Qwen2; both arithmetics; without and with checkpointing."""
    for checkpointing in (False, True):
        for precision in ("no", "bf16"):
            yield "opt", EVERYTHING, precision, checkpointing
            yield "qwen2", DECODER, precision, checkpointing


def main() -> None:
    """Print a table: predicted, measured, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--sequences", type=int, default=2)
    parser.add_argument("--length", type=int, default=256)
    args = parser.parse_args()
    torch.set_num_threads(1)
    speed = product_speed()
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread")
    print(f"{speed / 1e9:.0f} GFLOP/s of a large float32 product")
    print(HEADER)
    utilisation = None
    for kind, trained, precision, checkpointing in cases():
        config = small_config(kind)
        batch = make_batch(config, args.sequences, args.length)
        flops, memory = predict(config, batch, trained, precision, checkpointing)
        steps = args.steps if precision == "no" else 0
        found = measure(config, batch, trained, precision, checkpointing, steps)
        cells = [
            f"{kind}, {'all' if trained == EVERYTHING else 'decoder'}",
            "float32" if precision == "no" else "bfloat16",
            "yes" if checkpointing else "no",
            *(f"{flops / 1e9:.2f}", f"{found.flops / 1e9:.2f}", f"{flops / found.flops:.3f}"),
            *(f"{memory / MIB:.1f}", f"{found.bytes / MIB:.1f}", f"{memory / found.bytes:.3f}"),
        ]
        if not steps:
            cells += ["-", "-", "-"]
        elif utilisation is None:
            utilisation = flops / found.seconds / speed
            cells += [f"at {utilisation:.0%}", f"{found.seconds:.2f}", "-"]
        else:
            seconds = flops / (utilisation * speed)
            cells += [f"{seconds:.2f}", f"{found.seconds:.2f}", f"{seconds / found.seconds:.2f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

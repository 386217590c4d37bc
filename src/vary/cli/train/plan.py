"""`vary train plan`: what a stage of training takes in memory, operations and time; nothing is run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vary.cli import console
from vary.errors import CheckpointError

if TYPE_CHECKING:
    from vary.model.configuration import VaryConfig
    from vary.training.cost.plan import Plan
    from vary.training.cost.stages import DataShare, Stage

__all__ = ["STAGES", "add_parser", "run"]

STAGES = ("vary-tiny", "vary-tiny-plus", "vary-toy-multitask", "vary-toy-sft")
"""As in `vary.training.cost.stages`, which is too heavy to ask here; a test compares them."""

EPILOG = """\
examples:
  vary train plan vary-tiny --gpus 8 --gpu h100
  vary train plan vary-toy-multitask --gpus 8 --gpu rtx4090 --parallel fsdp2 --gradient-checkpointing
  vary train plan vary-toy-sft --gpu a100 --data letters:20000:600 --epochs 2 --batch 64 --lora
  vary train plan vary-toy-sft --model runs/multi/model --tokens llava=500 --json plan.json

Exit code 1 means that the stage does not fit; what would is said then.
"""
GIB = 2**30
LABELS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "AdamW's averages",
    "master": "float32 weights",
    "average": "moving average",
    "exchange": "exchange buffers",
    "gathered": "gathered layers",
    "inputs": "pixels",
    "activations": "activations",
    "weight_copies": "half-precision weights",
    "recomputed": "a layer computed again",
    "logits": "scores of the vocabulary",
}


def add_parser(recipes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers the command."""
    parser = console.add_command(
        recipes,
        "plan",
        help="compute what a stage takes in memory and time; runs nothing",
        description="Computes what a stage of training takes in memory of each GPU, floating point "
        "operations, steps and time, from the configuration alone.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("stage", metavar="STAGE", help=f"a stage of the papers: {', '.join(STAGES)}")
    add("--gpus", type=console.positive_int, default=8, metavar="N", help="how many (default: %(default)s)")
    add("--gpu", default="h100", help="their kind, such as a100, rtx4090, l40s (default: %(default)s)")
    add("--model", metavar="MODEL", help="a preset or a checkpoint's folder (default: the stage's preset)")
    add(
        "--micro-batch",
        type=console.positive_int,
        metavar="N",
        help="samples that a GPU computes at once (default: the most that fit)",
    )
    add(
        "--parallel",
        choices=("ddp", "fsdp2", "zero2"),
        default="ddp",
        help="how GPUs share the model (default: %(default)s)",
    )
    add(
        "--gradient-checkpointing",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="keep layers' inputs alone, and compute the rest again (default: no)",
    )
    add("--precision", choices=("bf16", "fp16", "no"), default="bf16", help="no: float32 (default: bf16)")
    add(
        "--lora",
        nargs="?",
        type=console.positive_int,
        const=16,
        default=0,
        metavar="RANK",
        help="adapters on the decoder instead of training it whole (default rank: 16)",
    )
    add("--average", action="store_true", help="keep a moving average of the weights")
    add("--train", metavar="PARTS", help="parts to train, separated by commas (default: the stage's)")
    add(
        "--data",
        nargs="+",
        metavar="NAME:N:TOKENS",
        help="other data than the stage's: a name, samples, tokens of text; `:text` behind it for no images",
    )
    add("--tokens", nargs="+", metavar="NAME=N", help="other lengths of the texts of the stage's data")
    add("--epochs", type=console.positive_number, metavar="N", help="how often the data is shown")
    add("--batch", type=console.positive_int, metavar="N", help="samples a step, over all GPUs")
    add("--max-length", type=console.positive_int, metavar="N", help="the longest sample in tokens")
    add(
        "--utilisation",
        type=console.positive_number,
        metavar="SHARE",
        help="share of the GPU's peak speed that is reached, 0 to 1 (default: 0.35)",
    )
    add("--json", metavar="FILE", help="write the plan as JSON too; - for standard output, instead of tables")


def run(args: argparse.Namespace) -> int:
    """Prints the plan; returns 1 if the stage does not fit."""
    console.quiet_libraries()
    from vary.training.cost.gpus import find_gpu
    from vary.training.cost.plan import UTILISATION, Setup, plan_stage
    from vary.training.cost.stages import find_stage

    stage = _changed(find_stage(args.stage), args)
    setup = Setup(
        gpu=find_gpu(args.gpu),
        gpus=args.gpus,
        parallel=args.parallel,
        micro_batch=args.micro_batch,
        precision=args.precision,
        gradient_checkpointing=args.gradient_checkpointing,
        average=args.average,
        lora_rank=args.lora,
        utilisation=args.utilisation or UTILISATION,
    )
    config = _config(args.model or stage.model)
    plan = plan_stage(config, stage, setup)
    record = json.dumps(plan.record(), ensure_ascii=False, indent=1)
    if args.json == "-":
        print(record)
    else:
        print("\n".join(_text(plan, args.model or stage.model, _lengths(config, stage))))
        if args.json:
            Path(args.json).write_text(record + "\n", encoding="utf-8")
    return console.EXIT_OK if plan.fits else console.EXIT_FAILED


def _config(model: str) -> VaryConfig:
    """The configuration of a preset, or of a checkpoint's folder.  Raises CheckpointError."""
    from vary.cli.checkpoints import find_checkpoint
    from vary.model.configuration import VaryConfig
    from vary.model.loading import LIBRARY_ERRORS, why
    from vary.model.presets import PRESETS, preset_config

    if model in PRESETS or f"vary-{model}" in PRESETS:
        return preset_config(model)
    folder = find_checkpoint(model)
    try:
        return VaryConfig.from_pretrained(folder, local_files_only=True)
    except LIBRARY_ERRORS as error:
        raise CheckpointError(
            f"{model}: no configuration of ours can be read there ({why(error)}); give a preset "
            f"({', '.join(PRESETS)}) or a folder that `vary weights convert` wrote"
        ) from error


def _changed(stage: Stage, args: argparse.Namespace) -> Stage:
    """The stage as the options want it."""
    from dataclasses import replace

    changes: dict[str, Any] = {
        name: value
        for name, value in (("epochs", args.epochs), ("batch", args.batch), ("longest", args.max_length))
        if value is not None
    }
    if args.train:
        changes["trained"] = tuple(part.strip() for part in args.train.split(","))
    if args.data:
        changes["data"] = tuple(map(_data_share, args.data))
        changes["title"] = f"{stage.title}, with other data"
    stage = replace(stage, **changes)
    tokens = dict(_named_number(text) for text in args.tokens or ())
    return stage.with_tokens(tokens)


def _data_share(text: str) -> DataShare:
    """`letters:20000:600` or `chats:5000:300:text`.  Raises console.UsageError."""
    from vary.training.cost.stages import DataShare

    name, *rest = text.split(":")
    numbers = [int(part) for part in rest[:2] if part.isascii() and part.isdigit()]
    if not name or len(numbers) != 2 or rest[2:] not in ([], ["text"]):
        raise console.UsageError(
            f"--data {text}: expected a name, a number of samples and tokens a sample, such as "
            "letters:20000:600, and :text behind them for samples without an image"
        )
    return DataShare(name, numbers[0], numbers[1], image=not rest[2:])


def _named_number(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not (name and number.isascii() and number.isdigit()):
        raise console.UsageError(f"--tokens {text}: expected a name and a number, such as pages-en=1200")
    return name, int(number)


def _lengths(config: VaryConfig, stage: Stage) -> list[tuple[DataShare, int]]:
    return [(share, stage.length(share, config.image_seq_length)) for share in stage.data]


def _text(plan: Plan, model: str, lengths: Sequence[tuple[DataShare, int]]) -> Iterator[str]:
    """The plan for people: the stage, memory, time, and the ways to run it."""
    stage, setup = plan.stage, plan.setup
    yield f"{stage.name}: {stage.title}"
    yield f"{model} on {setup.gpus} x {setup.gpu.name}, {_way(plan)}"
    yield ""
    yield from _model(plan)
    yield ""
    rows = [(share.name, f"{share.samples:,}", f"{length:,}") for share, length in lengths]
    total = ("all, on average", f"{stage.epoch_samples:,}", f"{plan.tokens / stage.samples:,.0f}")
    yield from _table(("data of an epoch", "samples", "tokens each"), [*rows, total])
    yield ""
    yield from _memory(plan)
    yield ""
    yield from _work(plan)
    yield ""
    yield from _choices(plan)
    if plan.remedies:
        yield ""
        yield "It does not fit. What does:"
        yield from (f"  {remedy}" for remedy in plan.remedies)


def _way(plan: Plan) -> str:
    """How the stage runs, in a line."""
    setup = plan.setup
    precision = {
        "no": "float32",
        "bf16": "bfloat16 with float32 weights",
        "fp16": "float16 with float32 weights",
    }
    parts = [setup.parallel, precision[setup.precision]]
    if setup.gradient_checkpointing:
        parts.append("gradient checkpointing")
    if setup.lora_rank:
        parts.append(f"adapters of rank {setup.lora_rank}")
    parts.append(f"micro-batches of {plan.micro_batch}, {plan.accumulation} for a step of {plan.stage.batch}")
    return ", ".join(parts)


def _model(plan: Plan) -> Iterator[str]:
    rows = [
        (name, f"{part.parameters / 1e6:,.1f}M", f"{part.trained / 1e6:,.1f}M")
        for name, part in plan.size.parts.items()
        if part.parameters
    ]
    total = ("all", f"{plan.size.parameters / 1e6:,.1f}M", f"{plan.size.trained / 1e6:,.1f}M")
    yield from _table(("part", "parameters", "trained"), [*rows, total])


def _memory(plan: Plan) -> Iterator[str]:
    setup = plan.setup
    rows = [(LABELS[name], _gib(size)) for name, size in plan.memory.lines().items() if size]
    rows.append(("all", _gib(plan.memory.total)))
    rows.append((f"of {setup.gpu.mebibytes / 1024:.1f} GiB tensors can take", _gib(setup.usable)))
    yield from _table((f"memory of a GPU, samples of {plan.stage.longest} tokens", "GiB"), rows)


def _work(plan: Plan) -> Iterator[str]:
    """Operations, steps and time."""
    stage, setup = plan.stage, plan.setup
    tokens = f"{plan.tokens / 1e9:,.2f}G tokens"
    yield f"{stage.samples:,} samples in {stage.steps:,} steps of {stage.batch}, {tokens}"
    yield f"{plan.step_flops / 1e15:,.2f} PFLOP a step, {plan.total_flops / 1e18:,.2f} EFLOP in all:"
    for name, part in plan.flops.items():
        if part.total:
            share = part.total / plan.step_flops
            again = f", again {part.recomputed / 1e12:,.1f}" if part.recomputed else ""
            yield (
                f"  {name:18s} {share:6.1%}  (TFLOP: forward {part.forward / 1e12:,.1f}, "
                f"backward {part.backward / 1e12:,.1f}{again})"
            )
    speed = setup.gpu.speed(setup.precision) / 1e12
    yield (
        f"{_duration(plan.step_seconds)} a step, {_duration(3600 * plan.hours)} in all "
        f"({plan.hours * setup.gpus:,.1f} GPU hours), at {setup.utilisation:.0%} of {speed:,.0f} TFLOP/s "
        f"(MFU {plan.mfu:.0%})"
    )


def _choices(plan: Plan) -> Iterator[str]:
    rows = [
        (
            choice.parallel,
            "yes" if choice.gradient_checkpointing else "no",
            str(choice.largest or "none"),
            _gib(choice.memory),
            _duration(3600 * choice.hours),
        )
        for choice in plan.choices
    ]
    yield from _table(("sharing", "checkpointing", "largest micro-batch", "GiB", "time"), rows)


def _gib(size: float) -> str:
    return f"{size / GIB:,.2f}"


def _duration(seconds: float) -> str:
    """A time in the unit that fits it."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.2f} s"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns, the first to the left and the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()

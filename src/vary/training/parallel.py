"""Several processes: Accelerate with data parallelism, FSDP2 or DeepSpeed's ZeRO-2, from shipped settings.

Only data parallelism (`ddp`) is tested on several processes; the others are tested to load.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import yaml
from accelerate import Accelerator, DistributedType
from accelerate.state import AcceleratorState
from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin

from vary.errors import DeviceError, MissingDependencyError
from vary.training.checkpoints import PREFIX, STATE_FILE, Position
from vary.training.settings import Parallel, Precision, RunSettings

__all__ = [
    "is_sharded",
    "load_sharded",
    "make_accelerator",
    "plugin",
    "save_sharded",
]

SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED)


def plugin(parallel: Parallel, *, micro_batch: int = 1) -> dict[str, Any]:
    """The argument of `Accelerator` for a way to share the model; none for `ddp`.

    Args:
        parallel: the way.
        micro_batch: samples a process computes at once, which DeepSpeed wants to know.
    """
    if parallel == "fsdp2":
        settings = yaml.safe_load(_shipped("fsdp2.yaml"))
        return {"fsdp_plugin": FullyShardedDataParallelPlugin(**settings)}
    if parallel == "zero2":
        settings = json.loads(_shipped("zero2.json"))
        settings["train_micro_batch_size_per_gpu"] = micro_batch
        return {"deepspeed_plugin": DeepSpeedPlugin(hf_ds_config=settings)}
    return {}


def _shipped(name: str) -> str:
    return (resources.files("vary.configs") / name).read_text(encoding="utf-8")


def make_accelerator(settings: RunSettings, *, accumulation: int, cpu: bool = False) -> Accelerator:
    """The accelerator of a run.

    Args:
        settings: its precision and way to share the model.
        accumulation: micro-batches that each process computes for a step.
        cpu: keeps off a GPU that is there.

    Raises:
        DeviceError: if the model cannot be shared in that way here.
        MissingDependencyError: for `zero2` without DeepSpeed.
    """
    precision: Precision = settings.precision
    if settings.parallel != "ddp":
        import torch

        if cpu or not torch.cuda.is_available():
            raise DeviceError(
                f"{settings.parallel} shares a model among GPUs, and there is none here; use ddp, which "
                "works on CPUs too"
            )
        if settings.parallel == "zero2":
            try:
                import_module("deepspeed")
            except ImportError as error:
                raise MissingDependencyError(
                    "zero2 needs DeepSpeed, which is not installed: pip install deepspeed"
                ) from error
    if precision == "fp16" and cpu:
        raise DeviceError("fp16 is for GPUs; on a CPU train with bf16, or with no (float32)")
    # Accelerate keeps one precision for a process for ever; a run must not depend on the one before it.
    AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=precision,
        gradient_accumulation_steps=accumulation,
        cpu=cpu,
        **plugin(settings.parallel, micro_batch=settings.micro_batch),
    )


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether each process holds only its share of the model or the optimizer."""
    return accelerator.distributed_type in SHARDED


def save_sharded(accelerator: Accelerator, folder: Path, position: Position, *, keep: int) -> None:
    """Has every process write its share into `folder/checkpoint-STEP`; removes all but the newest `keep`."""
    target = folder / f"{PREFIX}{position.step:07d}"
    temporary = folder / f".{target.name}.partial"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (temporary / STATE_FILE).write_text(json.dumps(asdict(position), indent=1), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        for old in sorted(folder.glob(f"{PREFIX}*"))[:-keep]:
            shutil.rmtree(old)


def load_sharded(accelerator: Accelerator, checkpoint: Path) -> None:
    """Loads what `save_sharded` wrote into what the accelerator has prepared."""
    accelerator.load_state(str(checkpoint))

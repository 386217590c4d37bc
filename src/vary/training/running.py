"""What every recipe does around its steps: the run's folder, resuming, the optimizer, the export."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from vary.errors import TrainingError
from vary.model.loading import quiet_library
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor
from vary.training.checkpoints import (
    Position,
    latest_checkpoint,
    load_checkpoint_weights,
    read_position,
)
from vary.training.ema import WeightAverage
from vary.training.logs import LOG_FILE
from vary.training.parallel import is_sharded
from vary.training.settings import MAY_CHANGE, RunSettings

__all__ = [
    "DATA_FILE",
    "MODEL_FOLDER",
    "RECIPE_FILE",
    "RunFolder",
    "export_model",
    "frozen_mark",
    "make_optimizer",
]

RECIPE_FILE, DATA_FILE, MODEL_FOLDER = "recipe.json", "data.json", "model"
FROZEN_FILE, NO_MARK = "frozen.json", f"{0:08x}"
"""The mark of weights that are not trained, and that of none."""
EXPORT_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class RunFolder:
    """A run's folder: what it is made from, its log, its checkpoints, the model in the end.

    Attributes:
        path: the folder.
        checkpoint: the newest checkpoint, to go on from; None for a run that begins.
        position: where the run stands.
        state: what the checkpoint holds besides weights and position.
    """

    path: Path
    checkpoint: Path | None
    position: Position
    state: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path, recipe: Mapping[str, Any], *, resume: bool, sharded: bool = False) -> RunFolder:
        """Makes the folder, or finds where its run stands.

        Args:
            path: the folder.
            recipe: the settings as JSON values.
            resume: whether to go on from the newest checkpoint; a run without one begins.
            sharded: whether each process wrote its share of the checkpoints.

        Raises:
            TrainingError: for a folder that holds a run already and is not to be resumed, or one with other
                settings, or a broken checkpoint.
        """
        path.mkdir(parents=True, exist_ok=True)
        held = [name for name in (RECIPE_FILE, LOG_FILE, MODEL_FOLDER) if (path / name).exists()]
        if held and not resume:
            raise TrainingError(
                f"{path} holds a run already ({held[0]}); resume it, or choose another folder"
            )
        if resume:
            _check_same(path, recipe)
        found = latest_checkpoint(path)
        position, state = (Position(), {}) if found is None else read_position(found, sharded=sharded)
        return cls(path, found, position, state)

    def check_start(self, data: Any, frozen: str = NO_MARK) -> None:
        """Holds a resumed run to what it began with: its data, and the weights that no checkpoint has.

        Raises:
            TrainingError: if they are others.
        """
        if self.checkpoint is None:
            return
        for file, now, what in (
            (DATA_FILE, _lasting(json.loads(as_json(data))), "data"),
            (FROZEN_FILE, frozen, "frozen weights"),
        ):
            path = self.path / file
            if path.exists() and _lasting(json.loads(path.read_text(encoding="utf-8"))) != now:
                raise TrainingError(
                    f"{self.path} holds a run with other {what} (see {file}); resume with those, or choose "
                    "another folder"
                )

    def write(self, recipe: Mapping[str, Any], data: Any, frozen: str = NO_MARK) -> None:
        """Writes what the run is made from; `frozen` is what `frozen_mark` gives."""
        write_json(self.path / FROZEN_FILE, frozen)
        write_json(self.path / RECIPE_FILE, recipe)
        write_json(self.path / DATA_FILE, data)

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage | None
    ) -> None:
        """Puts the checkpoint's state into what a run begins with; nothing without a checkpoint."""
        if self.checkpoint is None:
            return
        load_checkpoint_weights(self.checkpoint, model)
        optimizer.load_state_dict(self.state["optimizer"])
        if average is not None and self.state.get("average") is not None:
            average.load(self.state["average"])


def frozen_mark(model: nn.Module) -> str:
    """A checksum of the parameters that are not trained: of names, shapes and some values of each."""
    checksum = 0
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            values = parameter.detach().flatten()
            some = values[:: max(1, len(values) // 64)].float().cpu().numpy().tobytes()
            checksum = zlib.crc32(f"{name} {tuple(parameter.shape)}".encode() + some, checksum)
    return f"{checksum:08x}"


def make_optimizer(model: nn.Module, settings: RunSettings) -> torch.optim.AdamW:
    """AdamW over the parameters that are trained; vectors (biases, norms) do not decay.

    Raises:
        TrainingError: if there is nothing to train.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise TrainingError("every parameter is frozen: there is nothing to train")
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], settings.learning_rate, settings.betas, fused=True
    )


def checkpoint_activations(model: VaryForConditionalGeneration) -> None:
    """Has the backward pass compute the layers' activations anew instead of keeping them."""
    options = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(options)
    else:  # the library before 5.20
        model.gradient_checkpointing_enable(options)
    # The library also has the embeddings' outputs ask for gradients, which nothing here needs; they would
    # lead through a frozen CLIP.
    model.disable_input_require_grads()


def compile_layers(model: VaryForConditionalGeneration) -> None:
    """Compiles the layers of the vision vocabulary and the decoder, in place."""
    decoder = model.model.language_model
    layers = getattr(decoder, "layers", None) or decoder.decoder.layers
    for layer in (*model.model.vision_vocabulary.blocks, *layers):
        layer.forward = torch.compile(layer.forward, dynamic=True)


def export_model(
    model: VaryForConditionalGeneration,
    processor: VaryProcessor,
    target: Path,
    *,
    version: str,
    dtype: str = "bfloat16",
    state: Mapping[str, torch.Tensor] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Writes a folder that `Reader.load` takes: weights, configuration, tokenizer, processor.

    Args:
        model: what was trained; it stays as it is.
        processor: with which it reads.
        target: the folder; it is replaced.
        version: names these weights in every document that is read with them.
        dtype: of the weights: `bfloat16`, `float16` or `float32`.
        state: the weights, where they are not `model`'s own.
        changes: fields of the configuration to set, such as `tasks`.

    Raises:
        TrainingError: if the folder cannot be written.
    """
    temporary = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        plain = VaryForConditionalGeneration(model.config)  # without what compiling or a wrapper added
        plain.load_state_dict(model.state_dict() if state is None else dict(state))
        plain.generation_config = model.generation_config
        plain.config.checkpoint_version = version
        for name, value in (changes or {}).items():
            setattr(plain.config, name, value)
        with quiet_library():
            plain.to(EXPORT_TYPES[dtype]).save_pretrained(temporary)
        processor.save_pretrained(temporary)
        for file in temporary.iterdir():
            file.chmod(0o644)  # safetensors writes for its owner alone
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise TrainingError(
            f"{target}: the model cannot be written ({error}); make room and resume the run, whose last "
            "checkpoint has its weights"
        ) from error


def finish_state(
    accelerator: Accelerator, model: nn.Module, average: WeightAverage | None
) -> dict[str, torch.Tensor]:
    """The weights to export, on the CPU: the average where there is one."""
    if is_sharded(accelerator):
        gathered: dict[str, torch.Tensor] = accelerator.get_state_dict(model)
        return gathered
    averages = {} if average is None else average.weights
    # By parameter, not by name: weights that are shared have several names, and the average has one of them.
    averaged = {id(p): averages[name] for name, p in model.named_parameters() if name in averages}
    state = model.state_dict(keep_vars=True)
    return {name: averaged.get(id(tensor), tensor).detach().cpu() for name, tensor in state.items()}


def _check_same(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Raises TrainingError if the run in `folder` was begun with other settings, `MAY_CHANGE` apart."""
    path = folder / RECIPE_FILE
    if not path.exists():
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    now = json.loads(as_json(recipe))
    if different := _differences(before, now):
        was = ", ".join(f"{name} {value}" for name, value in different)
        raise TrainingError(
            f"{folder} holds a run with other settings ({was}); resume with those, or choose another folder"
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The settings that differ, with what they were; those of groups by their own names."""
    found: list[tuple[str, Any]] = []
    for name, value in now.items():
        was = before.get(name)
        if isinstance(value, dict) and isinstance(was, dict) and name == "settings":
            found += _differences(was, value)
        elif not _may_go_on(name, was, value):
            found.append((name, was))
    return found


def _may_go_on(name: str, was: Any, now: Any) -> bool:
    if name == "steps":
        return (was is None) == (now is None)
    return name in MAY_CHANGE or bool(was == now)


def _lasting(value: Any) -> Any:
    """JSON values without the versions of packages, which may change while a run rests."""
    if isinstance(value, dict):
        return {name: _lasting(inner) for name, inner in value.items() if name != "versions"}
    return [_lasting(inner) for inner in value] if isinstance(value, list) else value


def as_json(value: Any) -> str:
    """JSON text; paths and the like as their text."""
    return json.dumps(value, default=str, indent=1, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Writes JSON text whole, by renaming."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(as_json(value), encoding="utf-8")
    partial.replace(path)


def stop_ids(model: VaryForConditionalGeneration) -> Sequence[int]:
    """The tokens that end an answer, as generating has them."""
    found = model.generation_config.eos_token_id
    return [found] if isinstance(found, int) else list(found or ())

"""The plan of a stage against real models: weights, optimizer, saved activations, a real step's peak."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from factories import (
    TOKENS,
    page_batch,
    random_model,
    tiny_nano_config,
    tiny_opt_config,
    tiny_text,
    tiny_toy_config,
)
from vary.cli import console
from vary.cli.train import plan as command
from vary.errors import TrainingError
from vary.model.configuration import VaryConfig
from vary.model.presets import PRESETS, preset_config
from vary.training.adapters import LoraSettings, add_lora
from vary.training.cost.activations import Arithmetic, saved_activations
from vary.training.cost.gpus import find_gpu, known_gpus
from vary.training.cost.memory import Memory, ModelSize, static_memory
from vary.training.cost.plan import Plan, Setup, plan_stage
from vary.training.cost.stages import STAGES, DataShare, Stage, find_stage
from vary.training.data.sources import DataSource
from vary.training.recipes import MultitaskRecipe, SftRecipe, VocabularyRecipe
from vary.training.recipes.conversations import freeze
from vary.training.running import checkpoint_activations, make_optimizer
from vary.training.settings import RunSettings

EVERYTHING = ("vision_vocabulary", "clip", "projector", "decoder")
DECODER = ("projector", "decoder")
LENGTH = 120
CLOSE = 0.05


def small_config() -> VaryConfig:
    """Vary-toy, small: windows that need padding, grouped heads, states much larger than the matrices."""
    return VaryConfig(
        vision_vocabulary_config={
            "image_size": 256,
            "hidden_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "window_size": 7,
            "global_attention_layers": (1,),
            "neck_channels": 24,
            "merge_channels": (32, 40),
        },
        clip_config={
            "hidden_size": 32,
            "intermediate_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": 56,
            "patch_size": 14,
        },
        text_config=tiny_text(
            hidden_size=48, intermediate_size=128, num_hidden_layers=3, vocab_size=256, num_key_value_heads=2
        ),
        projector_dim=24,
        **TOKENS,
    )


CONFIGS = {"toy": tiny_toy_config, "opt": tiny_opt_config, "small": small_config}


def _batch(config: VaryConfig) -> dict[str, Tensor]:
    """Four prompts of `LENGTH` tokens, three with an image, the first with padding."""
    batch = page_batch(config, [1, 1, 0, 1])
    short = batch["input_ids"].shape[1]
    ids = torch.full((4, LENGTH), 5)
    ids[:, LENGTH - short :] = batch["input_ids"]
    mask = torch.ones_like(ids)
    mask[0, : LENGTH - short] = 0
    return {**batch, "input_ids": ids, "attention_mask": mask}


def _model(
    config: VaryConfig, trained: tuple[str, ...], *, checkpointing: bool = False, rank: int = 0
) -> Any:
    """A model as the recipes prepare it."""
    model = random_model(config)
    frozen = freeze(model, trained)
    if rank:
        add_lora(model, LoraSettings(rank=rank))
    if checkpointing:
        checkpoint_activations(model)
        model.disable_input_require_grads()
    model.train()
    for module in frozen:
        module.eval()
    return model


def _saved(model: Any, batch: dict[str, Tensor], precision: str) -> int:
    """Bytes of all storages that a forward pass keeps for the backward pass, parameters apart.

    What the decoder's layers share (mask, angles of positions) counts: checkpointing holds it for them.
    """
    known = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    def share(_: Any, __: Any, named: dict[str, Any]) -> None:
        for value in (named.get("attention_mask"), *(named.get("position_embeddings") or ())):
            if isinstance(value, Tensor):
                shared.append(value)
                pack(value)

    shared: list[Tensor] = []
    layers = [m for m in model.model.language_model.modules() if isinstance(m, GradientCheckpointingLayer)]
    layers[0].register_forward_pre_hook(share, with_kwargs=True)
    cast = contextlib.nullcontext() if precision == "no" else torch.autocast("cpu", torch.bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), cast:
        output = model(**batch, labels=batch["input_ids"], use_cache=False)
    assert output.loss is not None  # alive until here, so that no storage was used twice
    return sum(found.values())


def _check_saved(
    config: VaryConfig,
    trained: tuple[str, ...],
    arithmetic: Arithmetic,
    *,
    checkpointing: bool = False,
    rank: int = 0,
) -> None:
    model = _model(config, trained, checkpointing=checkpointing, rank=rank)
    measured = _saved(model, _batch(config), arithmetic.precision)
    found = saved_activations(
        config,
        sequences=4,
        length=LENGTH,
        images=3,
        trained=trained,
        arithmetic=arithmetic,
        gradient_checkpointing=checkpointing,
        lora_rank=rank,
    )
    assert found.saved == pytest.approx(measured, rel=CLOSE)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("trained", [EVERYTHING, DECODER, ("vision_vocabulary",)], ids="+".join)
def test_activations_are_what_is_saved(
    kind: str, precision: Any, checkpointing: bool, trained: tuple[str, ...]
) -> None:
    arithmetic = Arithmetic(precision, "cpu")
    _check_saved(CONFIGS[kind](), trained, arithmetic, checkpointing=checkpointing)


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("trained", [DECODER, ("decoder",)], ids="+".join)
def test_activations_of_adapters_are_what_is_saved(precision: Any, trained: tuple[str, ...]) -> None:
    _check_saved(small_config(), trained, Arithmetic(precision, "cpu"), rank=4)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_written_out_attention_keeps_its_scores(precision: Any) -> None:
    config = small_config()
    config._attn_implementation = "eager"
    _check_saved(config, EVERYTHING, Arithmetic(precision, "cpu"))
    plain, scores = (
        saved_activations(c, sequences=4, length=LENGTH, images=3, trained=EVERYTHING)
        for c in (small_config(), config)
    )
    assert scores.kept > plain.kept


def test_a_gpu_normalises_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule of CUDA's automatic casting, followed on a CPU."""
    plain = F.layer_norm
    monkeypatch.setattr(F, "layer_norm", lambda x, *args, **named: plain(x.float(), *args, **named))
    _check_saved(small_config(), EVERYTHING, Arithmetic("bf16", "cuda"))


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("trained", [EVERYTHING, DECODER, ("vision_vocabulary", "projector")], ids="+".join)
def test_weights_gradients_and_optimizer_to_the_byte(kind: str, rank: int, trained: tuple[str, ...]) -> None:
    config = CONFIGS[kind]()
    rank = rank if "decoder" in trained else 0
    model = _model(config, trained, rank=rank)
    optimizer = make_optimizer(model, RunSettings())
    batch = _batch(config)
    model(**batch, labels=batch["input_ids"], use_cache=False).loss.backward()
    optimizer.step()
    size = ModelSize.of(config, trained, rank)
    memory = static_memory(size, gpus=1, parallel="ddp", precision="bf16", average=True)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    state = [value for entry in optimizer.state.values() for value in entry.values()]
    assert memory.weights == _bytes([*model.parameters(), *model.buffers()])
    assert memory.gradients == _bytes(gradients)
    assert memory.optimizer == _bytes(state)
    assert memory.average == _bytes(gradients)
    assert size.trained_tensors == len(gradients)


def _bytes(tensors: list[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("name", ["vary-toy", "vary-tiny"])
def test_sizes_are_the_presets(name: str) -> None:
    size = ModelSize.of(preset_config(name), ("projector", "decoder"))
    assert size.parameters == PRESETS[name].parameters
    assert size.parts["vision_vocabulary"].trained == size.parts["clip"].trained == 0
    assert size.trained == size.parts["projector"].parameters + size.parts["decoder"].parameters


def _benchmark() -> ModuleType:
    """benchmarks/plan.py, which measures real steps."""
    path = Path(__file__).parents[2] / "benchmarks" / "plan.py"
    spec = importlib.util.spec_from_file_location("benchmark_plan", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("kind", "checkpointing"), [("qwen2", False), ("opt", False), ("qwen2", True)])
def test_a_real_steps_peak_is_the_plans(kind: str, checkpointing: bool) -> None:
    """A vocabulary so large that its scores are most of the peak."""
    benchmark = _benchmark()
    config = small_config() if kind == "qwen2" else tiny_opt_config()
    config.text_config.vocab_size = 4000
    config.image_token_id = benchmark.IMAGE
    batch = benchmark.make_batch(config, 2, LENGTH)
    planned = benchmark.predict(config, batch, EVERYTHING, "no", checkpointing)
    measured = benchmark.measure(config, batch, EVERYTHING, "no", checkpointing, steps=0)
    assert planned[0] == pytest.approx(measured.flops, rel=0.02)
    # With checkpointing the plan is an upper bound: not all that it adds up is there at once.
    assert 0.97 * measured.bytes <= planned[1] <= (1.25 if checkpointing else 1.06) * measured.bytes


@cache
def _plan(name: str = "vary-toy-multitask", **changes: Any) -> Plan:
    stage = find_stage(name)
    setup = Setup(**{"gpu": find_gpu("h100"), **changes})
    return plan_stage(preset_config(stage.model), stage, setup)


def test_stages_are_the_recipes() -> None:
    data = (DataSource(Path("x")),)
    for name, recipe in (
        ("vary-tiny", VocabularyRecipe(data=data)),
        ("vary-toy-multitask", MultitaskRecipe(data=data)),
        ("vary-toy-sft", SftRecipe(data=data)),
    ):
        stage = STAGES[name]
        there = [part for part in recipe.trained if part != "clip" or stage.model != "vary-tiny"]
        assert (list(stage.trained), stage.epochs, stage.batch) == (there, recipe.epochs, recipe.batch)


def test_steps_of_the_papers() -> None:
    assert STAGES["vary-tiny"].samples == 3 * 3_620_000
    assert STAGES["vary-tiny"].steps == 21_211  # of 512
    assert STAGES["vary-tiny-plus"].samples == 2 * 7_000_000
    assert STAGES["vary-toy-sft"].steps == 157


def test_time_and_operations_hang_together() -> None:
    plan, twice = _plan(gpus=8), _plan(gpus=16)
    assert twice.hours == pytest.approx(plan.hours / 2)
    assert twice.total_flops == plan.total_flops
    assert plan.total_flops == pytest.approx(plan.step_flops * 6_585_386 / 512)
    assert plan.step_seconds == pytest.approx(plan.step_flops / (8 * 0.35 * 989.4e12))
    frozen = plan.flops["vision_vocabulary"]
    assert frozen.total == frozen.forward > 0
    again = _plan(gradient_checkpointing=True)
    assert again.hours > plan.hours
    assert again.mfu < plan.mfu == 0.35
    assert _plan(utilisation=0.7).hours == pytest.approx(plan.hours / 2)


@pytest.mark.parametrize(("parallel", "checkpointing"), [("ddp", False), ("ddp", True), ("fsdp2", True)])
def test_the_largest_micro_batch_fits_and_the_next_does_not(parallel: Any, checkpointing: bool) -> None:
    plan = _plan(parallel=parallel, gradient_checkpointing=checkpointing)
    assert plan.fits
    assert plan.micro_batch == plan.largest
    assert plan.micro_batch * plan.accumulation * plan.setup.gpus == plan.stage.batch
    more = _plan(parallel=parallel, gradient_checkpointing=checkpointing, micro_batch=2 * plan.largest)
    assert not more.fits
    assert more.memory.total > more.setup.usable
    assert f"--micro-batch {plan.largest}" in more.remedies
    chosen = [c for c in plan.choices if (c.parallel, c.gradient_checkpointing) == (parallel, checkpointing)]
    assert [choice.largest for choice in chosen] == [plan.largest]


def test_sharing_divides_what_it_shares() -> None:
    size = ModelSize.of(preset_config("vary-tiny"), DECODER)

    def hold(parallel: Any, gpus: int) -> Memory:
        return static_memory(size, gpus=gpus, parallel=parallel, precision="bf16")

    one, few, many = hold("ddp", 1), hold("fsdp2", 2), hold("fsdp2", 16)
    assert few.gradients == 8 * many.gradients == one.gradients / 2
    assert few.optimizer == 8 * many.optimizer
    assert few.gathered == many.gathered > 2 * size.layer
    zero = hold("zero2", 16)
    assert zero.weights - size.buffers == (one.weights - size.buffers) / 2  # whole on each, half as wide
    assert zero.optimizer == 2 * zero.master == 8 * size.trained / 16
    assert one.exchange == 0
    assert hold("ddp", 2).exchange == one.gradients


def test_what_is_advised_does_fit() -> None:
    gpu = "rtx4090"
    plan = _plan(gpu=find_gpu(gpu))
    assert not plan.fits
    assert len(plan.remedies) >= 3
    for remedy in plan.remedies:
        options = remedy.partition(",")[0].partition(" (")[0].split()
        args = _parser().parse_args(["plan", plan.stage.name, "--gpu", gpu, *options])
        changes = {"parallel": args.parallel, "gradient_checkpointing": args.gradient_checkpointing}
        setup = Setup(gpu=find_gpu(args.gpu), lora_rank=args.lora, **changes)
        stage = replace(plan.stage, longest=args.max_length or plan.stage.longest)
        assert plan_stage(preset_config(stage.model), stage, setup).fits, remedy


def test_nothing_is_planned_that_cannot_run() -> None:
    with pytest.raises(TrainingError, match="512 samples cannot be shared among 7 GPUs"):
        _plan(gpus=7)
    with pytest.raises(TrainingError, match=r"micro-batches of 3 do not divide; choose one of 1, 2, 4"):
        _plan(micro_batch=3)
    with pytest.raises(TrainingError, match="expected above 0 and at most 1"):
        _plan(utilisation=35)
    with pytest.raises(TrainingError, match="did you mean 'h200'"):
        find_gpu("h20")
    with pytest.raises(TrainingError, match="did you mean 'vary-tiny'"):
        find_stage("vary-tiney")
    with pytest.raises(TrainingError, match="has no data 'pages'"):
        find_stage("vary-tiny").with_tokens({"pages": 3})
    stage = Stage(
        name="x", title="x", model="x", trained=DECODER, data=(DataShare("x", 5, 5),), epochs=1, batch=8
    )
    with pytest.raises(TrainingError, match="4096 tokens, but the decoder has 256 positions"):
        plan_stage(tiny_toy_config(), stage, Setup(gpu=find_gpu("h100")))
    with pytest.raises(TrainingError, match="reads text lines"):
        plan_stage(tiny_nano_config(), replace(stage, longest=64), Setup(gpu=find_gpu("h100")))
    with pytest.raises(TrainingError, match="no part 'tower'"):
        replace(stage, trained=("tower",))


def test_gpus_have_sensible_figures() -> None:
    for key, gpu in known_gpus().items():
        assert key == gpu.key == key.lower()
        assert 1.5 < gpu.half / gpu.single < 40
        assert 16 * 1024 < gpu.mebibytes < 300 * 1024
    for name in ("4090", "RTX 4090", "GeForce RTX-4090", "NVIDIA RTX 4090"):
        assert find_gpu(name).key == "rtx4090"
    assert find_gpu("A100 80GB").key == find_gpu("A100").key == "a100"
    assert find_gpu("H100 SXM").key == "h100"
    assert find_gpu("a100-40gb").key == "a100-40"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return parser


def test_the_command_knows_the_stages() -> None:
    assert tuple(STAGES) == command.STAGES


@pytest.fixture
def planned(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def call(*words: str) -> tuple[int, str]:
        code = command.run(_parser().parse_args(["plan", *words]))
        return code, capsys.readouterr().out

    return call


def test_the_command_prints_a_plan(planned: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    code, text = planned("vary-tiny", "--gpus", "8", "--gpu", "a100", "--json", str(file))
    assert code == console.EXIT_OK
    for piece in (
        "21,211 steps of 512",
        "scores of the vocabulary",
        "pages-zh",
        "95.6M",
        "NVIDIA A100 80 GB",
    ):
        assert piece in text
    record = json.loads(file.read_text(encoding="utf-8"))
    plan = _plan("vary-tiny", gpu=find_gpu("a100"))
    assert record["total_memory"] == plan.memory.total
    assert record["hours"] == plan.hours
    assert record["fits"] is True


def test_the_command_says_what_does_not_fit(planned: Callable[..., tuple[int, str]]) -> None:
    code, text = planned("vary-toy-sft", "--gpu", "4090", "--gpus", "2")
    assert code == console.EXIT_FAILED
    assert "It does not fit. What does:" in text


def test_the_command_plans_other_data(planned: Callable[..., tuple[int, str]]) -> None:
    code, text = planned(
        *("vary-toy-sft", "--data", "letters:20000:600", "chats:1000:50:text", "--batch", "64"),
        *("--epochs", "2", "--lora", "8", "--gpus", "1", "--max-length", "1024", "--json", "-"),
    )
    record = json.loads(text)
    assert code == console.EXIT_OK
    assert record["samples"] == 42_000
    assert record["steps"] == 657
    assert record["tokens"] == 2 * (20_000 * (32 + 256 + 600) + 1_000 * (32 + 50))
    assert record["size"]["parts"]["decoder"]["trained"] < 1e8


@pytest.mark.parametrize("data", ["letters", "letters:x:3", ":3:3", "a:3:3:picture", "a:3:3:text:4"])
def test_the_command_refuses_broken_data(planned: Callable[..., tuple[int, str]], data: str) -> None:
    with pytest.raises(console.UsageError, match="expected a name, a number of samples"):
        planned("vary-toy-sft", "--data", data)


def test_the_command_plans_for_a_checkpoint(planned: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    config = small_config()
    config.save_pretrained(tmp_path)
    code, text = planned(
        *("vary-toy-sft", "--model", str(tmp_path), "--max-length", "200", "--gpus", "1", "--json", "-")
    )
    assert code == console.EXIT_OK
    assert sum(part["parameters"] for part in json.loads(text)["size"]["parts"].values()) < 1e6

"""What a recipe trains and what it writes: parts, adapters, averages, precision, plugins."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin
from PIL import Image
from torch import nn

from checkpoints import chat_config
from factories import tiny_opt_config, tiny_toy_config
from learners import (
    PROMPT,
    learner,
    learner_config,
    opt_learner,
    page,
    processor_of,
    small_recipe,
    write_llava,
)
from vary.errors import DeviceError, TrainingError
from vary.evaluation.metrics import edit_distance
from vary.model.loading import load_model
from vary.model.modeling import VaryForConditionalGeneration
from vary.reader import Reader
from vary.training.adapters import LoraSettings
from vary.training.answer_validation import AnswerValidation
from vary.training.data.sources import DataSource, Mixture
from vary.training.ema import WeightAverage
from vary.training.parallel import make_accelerator, plugin
from vary.training.plots import plot_log
from vary.training.recipes import MultitaskRecipe, SftRecipe, VocabularyRecipe, train_multitask
from vary.training.recipes.conversations import PARTS, example_builder
from vary.training.running import finish_state
from vary.training.settings import RunSettings, learning_rate

WORDS = ("cat", "dog", "owl", "bee", "ant", "cow", "fox", "hen")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("data"), WORDS)


def changed_parts(before: dict[str, torch.Tensor], model: nn.Module) -> set[str]:
    """The parts of a model in which a weight has changed."""
    parts = set()
    for name, value in model.state_dict().items():
        if not torch.equal(value, before[name]):
            known = {"vision_vocabulary": "model.vision_vocabulary.", "clip": "model.clip."}
            known["projector"] = "model.projector."
            parts.add(next((part for part, start in known.items() if name.startswith(start)), "decoder"))
    return parts


def two_branches() -> VaryForConditionalGeneration:
    return learner(chat_config(tiny_toy_config, positions=512))


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (VocabularyRecipe, set(PARTS)),
        (MultitaskRecipe, {"projector", "decoder"}),
        (SftRecipe, {"projector", "decoder"}),
    ],
)
def test_a_stage_trains_its_parts_and_leaves_the_others(
    kind: Any, parts: set[str], data: Path, tmp_path: Path
) -> None:
    model = two_branches()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stage = kind(data=(DataSource(data),))
    recipe = small_recipe(data, trained=stage.trained, steps=2)
    train_multitask(recipe, model, processor_of(model), tmp_path / "run")
    assert changed_parts(before, model) == parts


def test_defaults_are_the_papers() -> None:
    """arXiv 2312.06109 section 3.2, arXiv 2401.12503 section 3.3."""
    source = (DataSource(Path("x")),)
    stages = [VocabularyRecipe(data=source), MultitaskRecipe(data=source), SftRecipe(data=source)]
    assert [stage.batch for stage in stages] == [512] * 3
    assert [stage.epochs for stage in stages] == [3, 1, 1]
    assert [stage.settings.learning_rate for stage in stages] == [5e-5, 5e-5, 2e-5]
    assert {stage.settings.schedule for stage in stages} == {"cosine"}
    assert {stage.settings.final_fraction for stage in stages} == {0.0}


def test_rates_follow_their_schedules() -> None:
    cosine = RunSettings(learning_rate=2.0, warmup_fraction=0.1)
    rates = [learning_rate(step, 100, cosine) for step in range(101)]
    assert rates[:10] == pytest.approx([2.0 * (step + 1) / 10 for step in range(10)])
    assert rates[55] == pytest.approx(1.0, abs=0.02)
    assert rates[100] == pytest.approx(0.0, abs=1e-6)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    held = RunSettings(learning_rate=1.0, schedule="trapezoid", warmup_fraction=0.1, final_fraction=0.1)
    rates = [learning_rate(step, 100, held) for step in range(100)]
    assert rates[:10] == pytest.approx([n / 10 for n in range(1, 11)])
    assert rates[10:50] == [1.0] * 40
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[-1] == pytest.approx(0.1)
    assert learning_rate(99, 100, RunSettings(schedule="constant", warmup_fraction=0)) == 5e-5


@pytest.mark.parametrize("make", [learner, opt_learner])
def test_adapters_are_trained_merged_and_written(make: Any, data: Path, tmp_path: Path) -> None:
    """The merged model answers as the one with adapters; nothing of the decoder but its adapters changed."""
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recipe = small_recipe(data, trained=("projector", "decoder"), lora=LoraSettings(rank=4), steps=5)
    trained = train_multitask(recipe, model, processor_of(model), tmp_path / "run")
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()
    found = load_model(tmp_path / "run" / "model")
    changed = {name for name, value in found.state_dict().items() if not torch.equal(value, before[name])}
    linear = {f"{name}.weight" for name, module in found.named_modules() if isinstance(module, nn.Linear)} - {
        "lm_head.weight"
    }
    assert changed <= linear | {"model.projector.vision_vocabulary.bias"}
    assert {name for name in changed if "language_model" in name} == {
        name for name in linear if "language_model" in name
    }
    inputs = processor_of(model).build_inputs([page("cat")], PROMPT)
    torch.testing.assert_close(found(**inputs).logits, trained.eval()(**inputs).logits, atol=1e-5, rtol=1e-5)


def test_a_run_with_adapters_goes_on_exactly(data: Path, tmp_path: Path) -> None:
    recipe = {"trained": ("projector", "decoder"), "lora": LoraSettings(rank=4), "save_every": 2}
    model = learner()
    train_multitask(small_recipe(data, steps=6, **recipe), model, processor_of(model), tmp_path / "whole")
    train_multitask(small_recipe(data, steps=4, **recipe), learner(), processor_of(model), tmp_path / "cut")
    longer = small_recipe(data, steps=6, **recipe)
    train_multitask(longer, learner(), processor_of(model), tmp_path / "cut", resume=True)
    whole, cut = load_model(tmp_path / "whole" / "model"), load_model(tmp_path / "cut" / "model")
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, cut.state_dict()[name]), name


def test_an_average_is_kept_exported_and_resumed(data: Path, tmp_path: Path) -> None:
    model = learner()
    plain = learner()
    recipe = small_recipe(data, steps=6, ema_decay=0.5, save_every=3)
    train_multitask(recipe, model, processor_of(model), tmp_path / "run")
    average: dict[str, torch.Tensor] = {}
    reference = learner()
    for step in range(1, 7):  # the same run step by step, averaged by hand
        folder = tmp_path / f"reference{step}"
        reference = train_multitask(small_recipe(data, steps=step), learner(), processor_of(model), folder)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, now in reference.named_parameters():
            start = average.get(name, dict(plain.named_parameters())[name].detach())
            average[name] = decay * start + (1 - decay) * now.detach()
    found = load_model(tmp_path / "run" / "model")
    for name, value in found.named_parameters():
        torch.testing.assert_close(value.detach(), average[name], atol=1e-5, rtol=1e-4)
    for steps in (3, 6):
        part, begun = replace(recipe, settings=replace(recipe.settings, steps=steps)), learner()
        train_multitask(part, begun, processor_of(begun), tmp_path / "cut", resume=True)
    cut = load_model(tmp_path / "cut" / "model").state_dict()
    for name, weight in found.state_dict().items():
        assert torch.equal(weight, cut[name]), name


def test_an_average_of_weights_with_two_names_is_exported_under_both() -> None:
    """A head that is the embedding: on a GPU both are copied to be exported, and must be the average."""
    model = learner(learner_config(tie_word_embeddings=True))
    head, table = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    assert head is table
    average = WeightAverage(model, 0.5)
    for weights in average.weights.values():
        weights.fill_(7.0)
    state = finish_state(Accelerator(cpu=True), model, average)
    buffers = {name for name, _ in model.named_buffers()}
    assert all((state[name] == 7.0).all() for name in state.keys() - buffers)
    assert state["lm_head.weight"].shape == table.shape


def test_an_average_is_refused_where_no_process_has_the_weights() -> None:
    with pytest.raises(TrainingError, match="needs parallel ddp"):
        RunSettings(ema_decay=0.9, parallel="fsdp2")


def test_an_average_leaves_the_weights_as_they_were() -> None:
    model = nn.Linear(2, 2)
    kept = model.weight.detach().clone()
    average = WeightAverage(model, 0.9)
    average.weights["weight"].zero_()
    with average.applied(model):
        assert not model.weight.any()
    assert torch.equal(model.weight, kept)


@pytest.mark.parametrize("make", [learner, opt_learner, two_branches])
def test_checkpointed_activations_give_the_same_losses(make: Any, data: Path, tmp_path: Path) -> None:
    """And are fewer: what the backward pass keeps of the forward pass is less."""
    logs = []
    for on in (False, True):
        model = make()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        folder = tmp_path / str(on)
        recipe = small_recipe(data, steps=3, gradient_checkpointing=on)
        train_multitask(recipe, model, processor_of(model), folder)
        with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
            logs.append([float(row["loss"]) for row in csv.DictReader(file)])
    assert logs[1] == pytest.approx(logs[0], rel=1e-5)


def test_bfloat16_learns_as_float32_does(data: Path, tmp_path: Path) -> None:
    ends = []
    for precision in ("no", "bf16"):
        model = learner()
        recipe = small_recipe(data, steps=25, precision=precision, batch=8, micro_batch=8, log_every=25)
        train_multitask(recipe, model, processor_of(model), tmp_path / precision)
        with (tmp_path / precision / "log.csv").open(encoding="utf-8", newline="") as file:
            ends.append(float(list(csv.DictReader(file))[-1]["loss"]))
    assert ends[1] == pytest.approx(ends[0], rel=0.1)


def test_plugins_load_from_the_shipped_settings() -> None:
    shared = plugin("fsdp2")["fsdp_plugin"]
    assert isinstance(shared, FullyShardedDataParallelPlugin)
    assert shared.fsdp_version == 2
    names = set(shared.transformer_cls_names_to_wrap)
    for config in (tiny_toy_config(), tiny_opt_config()):
        found = {type(module).__name__ for module in VaryForConditionalGeneration(config).modules()}
        assert names & found >= {"Block"}
        assert names & found & {"Qwen2DecoderLayer", "OPTDecoderLayer"}
    zero = plugin("zero2", micro_batch=4)["deepspeed_plugin"]
    assert isinstance(zero, DeepSpeedPlugin)
    assert zero.zero_stage == 2
    assert zero.deepspeed_config["train_micro_batch_size_per_gpu"] == 4
    assert plugin("ddp") == {}


@pytest.mark.parametrize("parallel", ["fsdp2", "zero2"])
def test_a_model_is_not_shared_among_gpus_that_are_not_there(parallel: Any) -> None:
    with pytest.raises(DeviceError, match=f"{parallel} shares a model among GPUs, and there is none"):
        make_accelerator(RunSettings(parallel=parallel), accumulation=1, cpu=True)


def test_half_precision_is_for_gpus() -> None:
    with pytest.raises(DeviceError, match=r"fp16 .* bf16"):
        make_accelerator(RunSettings(precision="fp16"), accumulation=1, cpu=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
@pytest.mark.parametrize("changes", [{"parallel": "fsdp2"}, {"precision": "fp16"}, {"compile": True}])
def test_a_gpu_trains(changes: dict[str, Any], data: Path, tmp_path: Path) -> None:
    model = learner()
    recipe = small_recipe(data, steps=30, batch=8, micro_batch=8, log_every=30, save_every=10, **changes)
    train_multitask(recipe, model, processor_of(model), tmp_path / "run")
    with (tmp_path / "run" / "log.csv").open(encoding="utf-8", newline="") as file:
        assert float(list(csv.DictReader(file))[-1]["loss"]) < 2
    longer, again = replace(recipe, settings=replace(recipe.settings, steps=35)), learner()
    train_multitask(longer, again, processor_of(again), tmp_path / "run", resume=True)


def test_what_a_run_writes_down(data: Path, tmp_path: Path) -> None:
    """The recipe, the data, figures for TensorBoard, sample answers, a plot, and a model with its tasks."""
    folder = tmp_path / "run"
    model = learner(chat_config(positions=512, tasks=()))
    processor = processor_of(model)
    recipe = small_recipe(data, steps=4, evaluate_every=2, tensorboard=True)
    validation = AnswerValidation(
        Mixture.open([DataSource(data)], seed=0),
        example_builder(recipe, model, processor),
        folder,
        edit_distance,
        samples=3,
    )
    train_multitask(recipe, model, processor, folder, evaluate=validation)
    written = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    assert written["settings"]["learning_rate"] == 3e-3
    assert written["data"][0]["path"] == str(data)
    [source] = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    assert source["samples"] == len(WORDS)
    assert list((folder / "tensorboard").glob("events*"))
    answers = [json.loads(line) for line in (folder / "predictions" / "step-0000004.jsonl").open()]
    assert len(answers) == 3
    assert {answer["expected"] for answer in answers} <= set(WORDS)
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["cer"]) for row in rows] == [False, True, False, True]
    assert float(rows[-1]["memory_gb"]) > 0
    assert float(rows[-1]["mfu"]) > 0
    plot_log(folder / "log.csv", tmp_path / "loss.png")
    assert Image.open(tmp_path / "loss.png").size[0] > 500
    reader = Reader.load(folder / "model", device="cpu")
    assert tuple(reader.model.config.tasks) == ("ocr",)
    assert reader.model.config.checkpoint_version.endswith("seed 0, step 4")


def test_debugging_goes_the_whole_way_in_little(data: Path, tmp_path: Path) -> None:
    model = learner()
    recipe = small_recipe(data, debug=True, steps=None, batch=512, micro_batch=64, log_every=100)
    train_multitask(recipe, model, processor_of(model), tmp_path / "run")
    with (tmp_path / "run" / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert rows[-1]["samples"] == "80"
    assert (tmp_path / "run" / "model" / "config.json").is_file()
    assert (tmp_path / "run" / "checkpoint-0000020").is_dir()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trained": ("eyes",)}, "no part 'eyes'"),
        ({"trained": ()}, "nothing to train"),
        ({"max_length": 10_000}, "the decoder has 512 positions"),
        ({"max_length": 12}, "cannot be learned from"),
        ({"warmup_fraction": 2.0}, "warmup_fraction is 2.0"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    change: dict[str, Any], words: str, data: Path, tmp_path: Path
) -> None:
    model = learner()
    with pytest.raises(TrainingError, match=words):
        train_multitask(small_recipe(data, **change), model, processor_of(model), tmp_path / "run")


def test_long_answers_are_cut_and_learned_without_an_end(tmp_path: Path) -> None:
    data = write_llava(tmp_path, ["x" * 300])
    model = learner()
    processor = processor_of(model)
    cut = example_builder(small_recipe(data, max_length=200), model, processor)
    source = Mixture.open([DataSource(data)], seed=0).sources[0]
    example = cut.build(source.load(0), "long")
    assert example.cut
    assert len(example.input_ids) == 200
    assert example.labels[-1] == ord("x")
    refused = example_builder(small_recipe(data, max_length=200, cut=False), model, processor)
    with pytest.raises(Exception, match="more than the 200 that fit"):
        refused.build(source.load(0), "long")

"""What checkpoints need of memory as they are to be loaded, and what is recommended where it is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from checkpoints import chat_config, chat_model, chat_processor
from factories import random_model, small_nano_config
from vary import memory
from vary.engine import memory as engine_memory
from vary.engine.offload import offload_weights, visiting_parts
from vary.errors import DeviceError
from vary.memory import Demand, check_memory, memory_needed
from vary.model.modeling import VaryForConditionalGeneration
from vary.weights.sources import Source, open_source

GPU, META, CPU = torch.device("cuda:0"), torch.device("meta"), torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("checkpoint")
    model = chat_model(chat_config())
    model.save_pretrained(place)
    chat_processor(model.config).save_pretrained(place)
    return place


def working(source: Source) -> int:
    vision = source.config.vision_vocabulary_config
    return 256 * vision.grid[0] * vision.grid[1] * vision.hidden_size


def weights(model: VaryForConditionalGeneration) -> int:
    return sum(tensor.nbytes for tensor in model.state_dict().values())


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
def test_plain_weights(folder: Path, dtype: torch.dtype | None) -> None:
    source = open_source(folder)
    model = chat_model(chat_config()).to(dtype or torch.float32)
    assert memory_needed(source, dtype, None) == Demand(weights(model) + working(source))


def test_whole_numbers_on_a_gpu_need_less(folder: Path) -> None:
    source = open_source(folder)
    sizes = [memory_needed(source, None, name, GPU).device for name in (None, "int8", "int4")]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


@pytest.mark.parametrize("lines", [False, True], ids=["page", "lines"])
def test_offloaded_weights_are_where_they_are_said_to_be(lines: bool, tmp_path: Path, folder: Path) -> None:
    model = random_model(small_nano_config()) if lines else chat_model(chat_config())
    if lines:
        model.save_pretrained(tmp_path)
    source = open_source(tmp_path if lines else folder)
    found = memory_needed(source, None, None, GPU, offload=True)
    parts = [model.get_submodule(name) for name in visiting_parts(model)]
    largest = max(sum(tensor.nbytes for tensor in part.state_dict().values()) for part in parts)
    offload_weights(model, META)
    there = {id(tensor): tensor for tensor in (*model.parameters(), *model.state_dict().values())}
    kept = {tensor.data_ptr(): tensor.nbytes for tensor in there.values() if not tensor.is_meta}
    counted = {name for name in model.state_dict() if name in source.places}
    resident = sum(
        tensor.nbytes for name, tensor in model.state_dict().items() if tensor.is_meta and name in counted
    )
    assert found.main == sum(kept.values())
    assert found.device == resident + largest + working(source)


def pretend(monkeypatch: pytest.MonkeyPatch, free: dict[str, int]) -> None:
    def available(device: torch.device) -> int:
        return free[device.type]

    monkeypatch.setattr(engine_memory, "available_memory", available)
    monkeypatch.setattr(memory, "available_memory", available)


def test_offload_is_recommended_where_it_would_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = memory_needed(open_source(folder), None, None, GPU).device
    pretend(monkeypatch, {"cuda": whole - 1, "cpu": 1 << 40})
    with pytest.raises(
        DeviceError, match=r"^toy needs about .* cuda:0 has .*--quantize int4 takes"
    ) as refused:
        check_memory(folder, "toy", GPU, None, None)
    assert re.search(r"--offload takes \d\.\d MB there, and \d\.\d MB of main memory", str(refused.value))
    pretend(monkeypatch, {"cuda": whole - 1, "cpu": 10})
    with pytest.raises(DeviceError) as refused:
        check_memory(folder, "toy", GPU, None, None)
    assert "--offload" not in str(refused.value)
    assert "--dtype bfloat16 takes" in str(refused.value)
    pretend(monkeypatch, {"cuda": whole, "cpu": 10})
    check_memory(folder, "toy", GPU, None, None)


def test_an_offloaded_checkpoint_has_to_fit_in_both_places(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = memory_needed(open_source(folder), None, None, GPU, offload=True)
    pretend(monkeypatch, {"cuda": needed.device, "cpu": needed.main})
    check_memory(folder, "toy", GPU, None, None, offload=True)
    pretend(monkeypatch, {"cuda": needed.device - 1, "cpu": needed.main})
    match = r"^toy with --offload \(\d\.\d MB of weights in main memory\) needs about .*, and cuda:0 has"
    with pytest.raises(DeviceError, match=match):
        check_memory(folder, "toy", GPU, None, None, offload=True)
    pretend(monkeypatch, {"cuda": needed.device, "cpu": needed.main - 1})
    with pytest.raises(DeviceError, match=r"^toy with --offload .* and cpu has .*--quantize int4 takes"):
        check_memory(folder, "toy", GPU, None, None, offload=True)


def test_offload_on_a_cpu_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="--offload keeps weights in main memory"):
        check_memory(tmp_path / "nothing", "toy", CPU, None, None, offload=True)

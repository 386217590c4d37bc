"""Offloaded weights: the same answers, and nothing of a part on the device but for its turn."""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from checkpoints import chat_config, chat_model, chat_processor
from factories import random_model, small_nano_config, tiny_opt_config, tiny_toy_config
from vary.conversation import Conversation
from vary.engine import offload
from vary.engine.decoders.interface import Entry
from vary.engine.decoders.library import LibraryDecoder
from vary.engine.fast_parts import use_fast_parts
from vary.engine.generation import generate
from vary.engine.grouped_linear import grouped_tensors, use_narrow_linears
from vary.engine.offload import check_offload, is_offloaded, offload_weights, table_stays, visiting_parts
from vary.engine.precisions import precision
from vary.engine.sampling import Sampling
from vary.errors import DeviceError
from vary.model.modeling import VaryForConditionalGeneration
from vary.reader import Reader

CPU = torch.device("cpu")
PAGE = Path(__file__).parent.parent.parent / "examples" / "page.png"


class Device:
    """Stands in for a device: knows which copies are on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._copies: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()
        self._monkeypatch = monkeypatch
        self.most = self.sent = 0

    def watch(self) -> None:
        """From now on: what is there for good was sent before."""
        self._monkeypatch.setattr(offload, "sent", self._take)

    def _take(self, tensor: Tensor, device: torch.device) -> Tensor:
        copy = tensor.detach().clone()
        if isinstance(tensor, nn.Parameter):
            copy = nn.Parameter(copy, requires_grad=False)
        self._copies[id(copy)] = copy
        self.sent += 1
        self.most = max(self.most, self.bytes)
        return copy

    def holds(self, tensor: Tensor) -> bool:
        return any(copy.data_ptr() == tensor.data_ptr() for copy in self._copies.values())

    @property
    def bytes(self) -> int:
        return sum(copy.nbytes for copy in self._copies.values())


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    return Device(monkeypatch)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)


def answer(model: VaryForConditionalGeneration, sampling: Sampling | None = None) -> list[int]:
    inputs = chat_processor(model.config).build_inputs([image()], "Read this.")
    return generate(model, inputs, 12, sampling=sampling)[0].ids


def weights_of(model: nn.Module) -> dict[str, int]:
    return {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}


def largest(model: VaryForConditionalGeneration) -> int:
    parts = [model.get_submodule(name) for name in visiting_parts(model)]
    return max(sum(tensor.nbytes for tensor in (*part.parameters(), *part.buffers())) for part in parts)


@pytest.mark.parametrize("make", [tiny_toy_config, tiny_opt_config], ids=["toy", "opt"])
def test_the_same_answers_with_a_part_at_a_time(make: object, device: Device) -> None:
    model = chat_model(chat_config(make))  # type: ignore[arg-type]
    expected, beams = answer(model), answer(model, Sampling(num_beams=2))
    at_home, most = weights_of(model), largest(model)
    offload_weights(model, CPU)
    device.watch()
    seen = []
    attention = model.model.language_model.get_submodule(
        "layers.0.self_attn" if make is tiny_toy_config else "decoder.layers.0.self_attn"
    )
    attention.q_proj.register_forward_pre_hook(lambda layer, _: seen.append(device.holds(layer.weight)))
    assert is_offloaded(model)
    assert answer(model) == expected
    assert seen
    assert all(seen)  # it multiplied with what was sent
    assert answer(model, Sampling(num_beams=2)) == beams
    assert device.bytes == 0
    assert 0 < device.most <= most
    assert weights_of(model) == at_home


def test_threads_share_an_offloaded_model(device: Device) -> None:
    model = chat_model(chat_config())
    expected, at_home = answer(model), weights_of(model)
    offload_weights(model, CPU)
    device.watch()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: answer(model), range(12))) == [expected] * 12
    assert device.bytes == 0
    assert weights_of(model) == at_home


def test_every_layer_of_every_branch_visits_and_the_table_stays() -> None:
    model = random_model(tiny_toy_config())
    kinds = [type(model.get_submodule(name)).__name__ for name in visiting_parts(model)]
    assert kinds == [
        *(["Block"] * 4 + ["CLIPVisionEmbeddings"] + ["CLIPEncoderLayer"] * 3),
        *(["Qwen2DecoderLayer"] * 2 + ["Linear"]),
    ]
    lines = random_model(small_nano_config())
    assert not table_stays(lines)
    assert "lm_head" not in visiting_parts(lines)  # its CTC branch reads single rows of it


@torch.inference_mode()
def test_nothing_that_computes_is_left_behind() -> None:
    """On the meta device, where products with what lies elsewhere are refused."""
    model = random_model(tiny_toy_config())
    offload_weights(model, torch.device("meta"))
    assert (model.device.type, model.lm_head.weight.device.type) == ("meta", "cpu")
    pixels = {
        "pixel_values": torch.zeros(1, 3, 128, 128, device="meta"),
        "pixel_values_clip": torch.zeros(1, 3, 28, 28, device="meta"),
    }
    assert model.get_image_features(**pixels).pooler_output.is_meta
    decoder = LibraryDecoder(model)
    embeddings = decoder.embed([1, 2, 3])
    assert embeddings.is_meta
    assert decoder.read([Entry(decoder.open(), embeddings, 2)]).shape == (2, 96)
    assert {tensor.device.type for tensor in model.lm_head.state_dict().values()} == {"cpu"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_weights_return_from_a_part_that_fails(error: type[BaseException], device: Device) -> None:
    model = chat_model(chat_config())
    expected, at_home = answer(model), weights_of(model)
    offload_weights(model, CPU)
    device.watch()

    def fail(*_: object) -> None:
        raise error

    failing = model.model.language_model.layers[1].mlp.register_forward_pre_hook(fail)
    with pytest.raises(error):
        answer(model)
    assert device.sent
    assert device.bytes == 0
    assert weights_of(model) == at_home
    failing.remove()
    assert answer(model) == expected


def test_whole_numbers_visit_too(device: Device) -> None:
    model, kind = chat_model(chat_config()), precision("int8")
    floats = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, layer in use_narrow_linears(model, kind).items():
        layer.load_state_dict(layer.state_dict() | grouped_tensors(floats[f"{name}.weight"], kind))
        if layer.bias is not None:
            layer.bias.data = floats[f"{name}.bias"]
    expected, most = answer(model), largest(model)
    offload_weights(model, CPU)
    device.watch()
    assert answer(model) == expected
    assert 0 < device.most <= most


def test_a_conversation_goes_on_from_what_was_read(device: Device) -> None:
    def turns(reader: Reader) -> list[tuple[str, int]]:
        chat = Conversation(reader, image(), max_new_tokens=8)
        found = [chat.ask(question) for question in ("What is this?", "And this?")]
        return [(turn.text, turn.cached_tokens) for turn in found]

    model = chat_model(chat_config())
    processor = chat_processor(model.config)
    expected = turns(Reader(model, processor, "tiny", CPU))
    assert expected[1][1] > 0
    reader = Reader(model, processor, "tiny", CPU, offload=True)
    device.watch()
    assert turns(reader) == expected
    assert device.sent
    assert device.bytes == 0


def test_lines_with_a_ctc_branch_and_no_fast_parts(device: Device) -> None:
    plain = Reader.load(device="cpu", dtype="float32")
    expected = plain.read(PAGE, pages="1").text
    reader = Reader(plain.model, plain.processor, "vary-nano", CPU, offload=True).with_fast_parts()
    plain.model.model.vision_vocabulary.block_runner = plain.model.survey = None
    device.watch()
    assert use_fast_parts(plain.model) == ("PyTorch", None)
    document = reader.read(PAGE)
    assert document.text == expected
    assert document.model.settings["decoder"] == "PyTorch with offloaded weights"
    assert document.model.settings["vision"] == "PyTorch with offloaded weights"
    assert device.sent


def test_a_cpu_is_refused_with_what_helps_there() -> None:
    with pytest.raises(DeviceError, match=r"--offload keeps .* take --quantize int4 or --dtype bfloat16"):
        check_offload(CPU)
    with pytest.raises(DeviceError, match="--offload keeps"):
        Reader.load(device="cpu", offload=True)

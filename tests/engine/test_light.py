"""The light model against the model of PyTorch that reads the same checkpoint: all but the last bits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from line_checkpoints import line_config, many_lines, painted_line, write_checkpoint
from vary.assets import default_checkpoint
from vary.engine.decoders.interface import Entry
from vary.engine.guards import LoopFinding
from vary.engine.light import LightModel
from vary.engine.lines import LineReading, read_lines
from vary.engine.streaming import text_guard
from vary.errors import ContextError, InputError
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor
from vary.weights.loading import load_checkpoint

Lines = Sequence[NDArray[np.uint8]]
TOLERANCE = 1e-4


@dataclass
class Both:
    """A checkpoint in both models."""

    light: LightModel
    model: VaryForConditionalGeneration
    processor: VaryProcessor

    @classmethod
    def load(cls, folder: Path, threads: int = 2) -> Both:
        model, processor = load_checkpoint(folder, dtype=torch.float32)
        return cls(LightModel.load(folder, threads=threads), model.eval(), processor)

    def read(
        self, lines: Lines, limits: Sequence[int], guards: Callable[[], Any] = lambda: None, **options: Any
    ) -> tuple[list[LineReading], list[LineReading]]:
        light = self.light.read(lines, limits, guards=guards(), **options)
        inputs = self.processor.build_inputs(list(lines))
        return light, read_lines(self.model, inputs, limits, guards=guards(), **options)


def check_same(light: list[LineReading], torch_: list[LineReading]) -> None:
    assert len(light) == len(torch_)
    for ours, theirs in zip(light, torch_, strict=True):
        assert ours.generation.ids == theirs.generation.ids
        assert ours.generation.finish_reason == theirs.generation.finish_reason
        assert ours.generation.finding == theirs.generation.finding
        assert (ours.spans, ours.frames, ours.drafted) == (theirs.spans, theirs.frames, theirs.drafted)
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=TOLERANCE)
        ends = [np.exp(one.generation.end_logprob or 0.0) for one in (ours, theirs)]
        assert ends[0] == pytest.approx(ends[1], abs=TOLERANCE)
        assert (ours.generation.end_logprob is None) == (theirs.generation.end_logprob is None)


@pytest.fixture(scope="module")
def nano() -> Both:
    return Both.load(default_checkpoint())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both.load(write_checkpoint(tmp_path_factory.mktemp("light") / "small", line_config()))


@pytest.fixture(params=["nano", "small"])
def both(request: pytest.FixtureRequest) -> Both:
    found: Both = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("widths", [(16,), (517,), (1, 200, 333), (640, 40, 48, 47, 15, 16, 17)])
@pytest.mark.parametrize("drafts", [True, False])
def test_the_light_model_reads_what_the_model_reads(
    both: Both, widths: tuple[int, ...], drafts: bool
) -> None:
    lines = many_lines(widths)
    check_same(*both.read(lines, [width // 4 + 3 for width in widths], drafts=drafts))


def test_print_is_read(nano: Both) -> None:
    [line] = nano.light.read([painted_line(800)], [200])
    text = nano.light.decode(line.generation.ids)
    assert "brown foxes jump over 13 lazy dogs; judge my vow (1984)" in text
    assert np.median(line.probabilities) > 0.9
    assert line.spans is not None
    assert [first for first, _ in line.spans] == sorted(first for first, _ in line.spans)


def test_forty_lines_are_read_as_each_alone(nano: Both) -> None:
    """More than are decoded at once; company changes rounding and nothing else."""
    widths = [40 + 9 * number for number in range(40)]
    lines = many_lines(widths)
    limits = [width // 3 for width in widths]
    light, model = nano.read(lines, limits)
    check_same(light, model)
    for number in (0, 7, 31, 32, 39):
        check_same(nano.light.read([lines[number]], [limits[number]]), [light[number]])


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_lines_end_at_their_limits(both: Both, limit: int) -> None:
    lines = [painted_line(300), *many_lines((120, 90))]
    light, model = both.read(lines, [limit] * 3)
    check_same(light, model)
    assert light[0].generation.finish_reason == "length"
    assert len(light[0].generation.ids) == limit


@pytest.mark.parametrize("drafts", [True, False])
def test_guards_end_lines(both: Both, drafts: bool) -> None:
    def after_four() -> list[Callable[[Sequence[int]], LoopFinding | None]]:
        def guard() -> Callable[[Sequence[int]], LoopFinding | None]:
            seen: list[int] = []

            def feed(ids: Sequence[int]) -> LoopFinding | None:
                seen.extend(ids)
                return LoopFinding("run", 1, 4, 0, None, 2, None, "four") if len(seen) >= 4 else None

            return feed

        return [guard() for _ in range(3)]

    lines = [painted_line(300), *many_lines((120, 90))]
    light, model = both.read(lines, [40] * 3, after_four, drafts=drafts)
    check_same(light, model)
    if not drafts:
        assert "loop" in {line.generation.finish_reason for line in light}
    check_same(*both.read(lines, [40] * 3, lambda: [text_guard(both.light.decode, 20) for _ in lines]))


def test_lines_of_the_greatest_width_fit_and_wider_ones_are_refused(both: Both) -> None:
    widest = both.light.settings.vision.width
    assert both.light.prompt_length(widest) == widest // 16 + 2
    check_same(*both.read([painted_line(widest)], [12]))
    with pytest.raises(InputError, match=f"{widest + 1} px wide"):
        both.light.read([painted_line(widest + 1)], [9])
    for wrong in (np.zeros((31, 64), np.uint8), np.zeros((32, 0), np.uint8), np.zeros((32, 64), np.float32)):
        with pytest.raises(InputError):
            both.light.read([wrong], [9])


def test_answers_end_at_the_models_positions(small: Both) -> None:
    """Without a draft they are cut, as the model cuts them."""
    lines = [painted_line(1200)]
    room = small.light.context - small.light.prompt_length(1200)
    light, model = small.read(lines, [10_000], drafts=False)
    check_same(light, model)
    assert len(light[0].generation.ids) <= room
    decoder = small.light._decoder
    sequence = decoder.open()
    with pytest.raises(ContextError):
        decoder.read([Entry(sequence, np.zeros((small.light.context + 1, 64), np.float32))])
    decoder.close(sequence)


def test_nothing_is_read_of_nothing(small: Both) -> None:
    assert small.light.read([], []) == []
    with pytest.raises(ValueError, match="1 lines have 2 limits"):
        small.light.read([painted_line(30)], [1, 2])


@pytest.mark.parametrize(
    "changes",
    [
        {"tie_word_embeddings": False, "text": {"tie_word_embeddings": False}},
        {"vision": {"ctc_frames": 0, "ctc_hidden_size": None}},
        {"vision": {"num_attention_heads": 4, "num_hidden_layers": 1, "mlp_ratio": 2.25, "ctc_frames": 3}},
        {"vision": {"neck_channels": 48, "merge_channels": (40,)}},
        {"text": {"num_key_value_heads": 1, "intermediate_size": 75, "rms_norm_eps": 1e-3}},
        {"text": {"head_dim": 64, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}},
    ],
    ids=["two tables", "no CTC", "other blocks", "other neck", "other decoder", "wide heads"],
)  # fmt: skip
def test_models_of_other_sizes(changes: dict[str, Any], tmp_path: Path) -> None:
    both = Both.load(write_checkpoint(tmp_path / "x", line_config(**changes), seed=3), threads=1)
    lines = many_lines((90, 250, 33, 31))
    light, model = both.read(lines, [20] * 4)
    check_same(light, model)
    assert both.light.settings.weights == sum(weight.numel() for weight in both.model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_halves_are_read_exactly(dtype: torch.dtype, tmp_path: Path) -> None:
    both = Both.load(write_checkpoint(tmp_path / "x", line_config(), seed=2, dtype=dtype))
    check_same(*both.read(many_lines((100, 64)), [20, 20]))


def test_several_ends_and_ids_that_are_never_chosen(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "x", line_config(), seed=5)
    file = folder / "generation_config.json"
    lines = many_lines((200, 300))
    usual = LightModel.load(folder).read(lines, [30, 30], drafts=False)
    first, second = (line.generation.ids for line in usual)
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings |= {"suppress_tokens": first[:2], "eos_token_id": [1, *second[3:5]]}
    file.write_text(json.dumps(settings), encoding="utf-8")
    both = Both.load(folder)
    for drafts in (True, False):
        light, model = both.read(lines, [30, 30], drafts=drafts)
        check_same(light, model)
        if not drafts:
            assert not set(first[:2]) & set(light[0].generation.ids)


def test_weights_that_are_no_numbers_give_some_reading(tmp_path: Path) -> None:
    """A broken training leaves such; nothing may be looked up where there is nothing."""
    folder = write_checkpoint(tmp_path / "x", line_config())
    model, _ = load_checkpoint(folder, dtype=torch.float32)
    with torch.no_grad():
        model.model.language_model.embed_tokens.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    light = LightModel.load(folder)
    for drafts in (True, False):
        readings = light.read(many_lines((100, 64)), [5, 5], drafts=drafts)
        assert all(0 <= token < 544 for line in readings for token in line.generation.ids)

"""Decoding: ids, log-probabilities, limits and guards, against step-by-step decoding without a cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vary.assets import nano_vocabulary
from vary.engine.generation import Sampling, generate
from vary.engine.guards import LoopFinding
from vary.engine.lines import read_lines
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.presets import nano_processor


def line_inputs(widths: list[int], seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    lines = [rng.integers(0, 255, (32, width), dtype=np.uint8) for width in widths]
    return nano_processor(nano_vocabulary()).build_inputs(lines)


def greedy_by_hand(
    model: VaryForConditionalGeneration, inputs: Any, steps: int
) -> tuple[list[int], list[float]]:
    """One row, the whole prompt anew at every step."""
    ids, values = inputs["input_ids"], []
    for _ in range(steps):
        output = model(
            input_ids=ids, pixel_values=inputs["pixel_values"], pixel_widths=inputs["pixel_widths"]
        )
        best = output.logits[:, -1].float().log_softmax(-1).max(-1)
        values.append(float(best.values[0]))
        ids = torch.cat([ids, best.indices[:, None]], 1)
    return ids[0, -steps:].tolist(), values


@torch.inference_mode()
def test_greedy_ids_and_logprobs_equal_decoding_without_a_cache(
    tiny_nano: VaryForConditionalGeneration,
) -> None:
    inputs = line_inputs([80])
    ids, logprobs = greedy_by_hand(tiny_nano, inputs, 12)
    [read] = generate(tiny_nano, inputs, 12)
    length = len(read.ids)
    assert read.ids == ids[:length]
    assert read.logprobs == pytest.approx(logprobs[:length], abs=1e-4)
    assert read.finish_reason == "length"


def test_rows_of_a_batch_read_as_alone_each_with_its_own_limit(
    tiny_nano: VaryForConditionalGeneration,
) -> None:
    together = generate(tiny_nano, line_inputs([200, 48, 100]), [9, 4, 6])
    assert [len(row.ids) for row in together] == [9, 4, 6]
    rng = np.random.default_rng(0)
    lines = [rng.integers(0, 255, (32, width), dtype=np.uint8) for width in (200, 48, 100)]
    processor = nano_processor(nano_vocabulary())
    for row, line, limit in zip(together, lines, (9, 4, 6), strict=True):
        [alone] = generate(tiny_nano, processor.build_inputs([line]), limit)
        assert alone.ids == row.ids
        assert alone.logprobs == pytest.approx(row.logprobs, abs=1e-4)


def test_a_guard_stops_its_own_row_and_cuts_it(tiny_nano: VaryForConditionalGeneration) -> None:
    seen: list[int] = []

    def speaks_at_five(ids: Any) -> LoopFinding | None:
        seen.extend(ids)
        if len(seen) < 5:
            return None
        return LoopFinding("repeat", 1, 3, 2, None, keep_tokens=2, keep_chars=None, message="enough")

    stopped, free = generate(tiny_nano, line_inputs([64, 64]), 12, guards=[speaks_at_five, lambda _: None])
    assert (stopped.finish_reason, len(stopped.ids), len(stopped.logprobs)) == ("loop", 2, 2)
    assert len(seen) == 5
    assert (free.finish_reason, len(free.ids)) == ("length", 12)


def test_end_of_text_ends_a_row(
    tiny_nano: VaryForConditionalGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = line_inputs([80])
    [read] = generate(tiny_nano, inputs, 12)
    end = read.ids[3]
    monkeypatch.setattr(tiny_nano.generation_config, "eos_token_id", end)
    [ended] = generate(tiny_nano, inputs, 12)
    assert ended.finish_reason == "stop"
    assert ended.ids == read.ids[: read.ids.index(end)]
    assert ended.end_logprob == pytest.approx(read.logprobs[read.ids.index(end)], abs=1e-5)


def test_sampling_follows_its_seed(tiny_nano: VaryForConditionalGeneration) -> None:
    inputs = line_inputs([80])

    def draw(seed: int) -> list[int]:
        return generate(tiny_nano, inputs, 12, sampling=Sampling(temperature=2.0, seed=seed))[0].ids

    assert draw(1) == draw(1)
    assert len({tuple(draw(seed)) for seed in range(5)}) > 1


def test_lines_carry_probabilities_and_spans(tiny_nano: VaryForConditionalGeneration) -> None:
    for reading, width in zip(
        read_lines(tiny_nano, line_inputs([96, 160]), [5, 5], drafts=False), (96, 160), strict=True
    ):
        assert reading.frames == width // 16 * 4
        assert all(0 <= value <= 1 for value in reading.probabilities)
        assert reading.spans is not None
        assert len(reading.spans) == len(reading.generation.ids) == len(reading.probabilities) == 5
        edges = [edge for span in reading.spans for edge in span]
        assert edges == sorted(edges)
        assert edges[0] >= 0
        assert edges[-1] < reading.frames


def test_a_draft_is_taken_only_where_greedy_decoding_gives_the_same(
    tiny_nano: VaryForConditionalGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drafts that greedy decoding itself wrote are accepted in one forward; spoilt ones are decoded on."""
    inputs = line_inputs([96, 160, 64])
    decoded = generate(tiny_nano, inputs, 9)
    end = decoded[0].ids[5]
    monkeypatch.setattr(tiny_nano.generation_config, "eos_token_id", end)
    monkeypatch.setattr(tiny_nano.config.text_config, "eos_token_id", end)
    plain = read_lines(tiny_nano, inputs, [9, 9, 9], drafts=False)
    drafts = [list(reading.generation.ids) for reading in plain]
    finished = [reading.generation.finish_reason == "stop" for reading in plain]
    assert finished[0]
    calls: list[int] = []

    def draft(path: list[int], blank: int) -> list[int]:
        calls.append(len(path))
        return drafts[(len(calls) - 1) % 3]

    monkeypatch.setattr("vary.engine.lines.spell", draft)
    forwards: list[int] = []

    def count(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        forwards.append(len(kwargs["inputs_embeds"]))

    hook = tiny_nano.model.language_model.register_forward_pre_hook(count, with_kwargs=True)
    drafted = read_lines(tiny_nano, inputs, [9, 9, 9])
    for ours, reference, done in zip(drafted, plain, finished, strict=True):
        if done:
            assert ours.drafted
            assert ours.generation.ids == reference.generation.ids
            assert ours.generation.logprobs == pytest.approx(reference.generation.logprobs, abs=1e-4)
            assert ours.generation.end_logprob == pytest.approx(reference.generation.end_logprob, abs=1e-4)
    assert forwards[0] == 3
    drafts[0] = [token + 1 for token in drafts[0]]
    first = len(forwards)
    spoilt = read_lines(tiny_nano, inputs, [9, 9, 9])
    hook.remove()
    assert len(forwards) - first > first, "the first line is read on"
    if not spoilt[0].drafted:
        assert spoilt[0].generation.ids == plain[0].generation.ids


def test_a_guard_hears_nothing_of_what_both_branches_read(
    tiny_nano: VaryForConditionalGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """True repetition is no loop; where the decoder goes its own way the guard hears all of it."""
    inputs = line_inputs([96, 160])
    decoded = generate(tiny_nano, inputs, 9)
    end = decoded[0].ids[5]
    monkeypatch.setattr(tiny_nano.generation_config, "eos_token_id", end)
    monkeypatch.setattr(tiny_nano.config.text_config, "eos_token_id", end)
    first = decoded[0].ids[: decoded[0].ids.index(end)]
    assert first
    heard: list[list[int]] = [[], []]
    spelled = [first, [200] * 4]
    monkeypatch.setattr("vary.engine.lines.spell", lambda path, blank: spelled[len(path) == 40])

    def guard(row: int) -> Any:
        return lambda ids: heard[row].extend(ids)

    readings = read_lines(tiny_nano, inputs, [9, 9], guards=[guard(0), guard(1)])
    assert readings[0].drafted
    assert readings[0].generation.ids == first
    assert heard[0] == []
    answer = generate(tiny_nano, inputs, 9)[1]
    assert heard[1] == answer.ids

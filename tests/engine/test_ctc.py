"""The CTC branch: greedy reading and alignment, against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vary.assets import nano_vocabulary
from vary.engine import model_frames
from vary.engine.ctc import CTCFrames, align, spell, total_logprobs
from vary.engine.model_frames import ModelFrames
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.presets import nano_processor

BLANK = 0


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [token for token, _ in itertools.groupby(path) if token != BLANK]


def spans_of(scores: np.ndarray, *texts: list[int]) -> list[list[tuple[int, int]] | None]:
    """First and last frames of the ids of each text in the same frames."""
    tables = [scores[:, [BLANK, *ids]] for ids in texts]
    return [places and [place[:2] for place in places] for places in align(tables, texts)]


def test_a_path_spells_without_blanks_and_repeats() -> None:
    assert spell([0, 3, 3, 0, 3, 1, 1], BLANK) == [3, 3, 1]
    assert spell([], BLANK) == spell([0, 0], BLANK) == []


@given(st.integers(0, 10_000), st.lists(st.integers(1, 2), max_size=3), st.integers(1, 6))
def test_alignment_is_the_best_of_all_paths(seed: int, ids: list[int], frames: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(frames, 3)).astype(np.float32)
    paths = [path for path in itertools.product(range(3), repeat=frames) if collapsed(path) == ids]
    [spans] = spans_of(scores, ids)
    if not paths:
        assert spans is None
        return
    best = max(paths, key=lambda path: sum(scores[frame, token] for frame, token in enumerate(path)))
    groups = [
        (token, [frame for frame, _ in group])
        for token, group in itertools.groupby(enumerate(best), key=lambda pair: pair[1])
    ]
    expected = [(frames_of[0], frames_of[-1]) for token, frames_of in groups if token != BLANK]
    assert spans == expected


@given(
    st.lists(st.tuples(st.lists(st.integers(1, 3), max_size=5), st.integers(1, 12)), min_size=1, max_size=5),
    st.integers(0, 1000),
)
def test_lines_of_a_batch_are_aligned_as_alone(lines: list[tuple[list[int], int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    texts = [ids for ids, _ in lines]
    tables = [rng.normal(size=(frames, 1 + len(ids))).astype(np.float32) for ids, frames in lines]
    assert align(tables, texts) == [
        align([table], [ids])[0] for table, ids in zip(tables, texts, strict=True)
    ]


def test_an_empty_text_has_no_spans_and_no_text_no_answer() -> None:
    assert spans_of(np.zeros((4, 3), np.float32), []) == [[]]
    assert align([], []) == []


def test_the_best_frame_of_a_place_gives_its_probability() -> None:
    scores = np.array([[-1, -9], [-9, -2], [-9, -1], [-1, -9]], np.float32)
    assert align([scores], [[1]]) == [[(1, 2, -1.0)]]


def test_what_the_branch_holds_impossible_has_no_place() -> None:
    scores = np.zeros((5, 3), np.float32)
    scores[:, 2] = -np.inf
    impossible, possible = spans_of(scores, [1, 2], [1])
    assert impossible is None
    assert possible is not None


@pytest.mark.parametrize("at_once", [1, 7, 1024])
@torch.inference_mode()
def test_frames_are_those_of_the_whole_table(
    tiny_nano: VaryForConditionalGeneration, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_frames, "SCORED_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    lines = [rng.integers(0, 255, (32, width), dtype=np.uint8) for width in (64, 160)]
    inputs = nano_processor(nano_vocabulary()).build_inputs(lines)
    features = tiny_nano.get_image_features(inputs["pixel_values"], pixel_widths=inputs["pixel_widths"])
    never = [1, 2]
    found = ModelFrames(tiny_nano, features, never)
    frames = CTCFrames(found, BLANK)
    scores = tiny_nano.ctc_logits(features)
    scores[..., never] = -torch.inf
    assert features.ctc_lengths is not None
    for line, length in enumerate(features.ctc_lengths.tolist()):
        table = scores[line, :length].log_softmax(-1)
        assert frames.paths[line] == table.argmax(-1).tolist()
        asked = [0, 30, 2, 31]
        torch.testing.assert_close(
            torch.from_numpy(found.columns(line, asked)), table[:, asked], atol=1e-5, rtol=1e-5
        )
        for ids in ([], [30, 31], [30, 30, 40]):
            expected = (
                -torch.nn.functional.ctc_loss(
                    table[:, None], torch.tensor([ids]), torch.tensor([length]), torch.tensor([len(ids)]),
                    BLANK, reduction="sum",
                )
                if ids
                else table[:, BLANK].sum()
            )  # fmt: skip
            assert frames.logprobs([line], [ids]) == pytest.approx([float(expected)], abs=1e-3)


def test_a_text_is_as_likely_as_all_its_paths() -> None:
    """Lines of several lengths and texts at once, against PyTorch's loss."""
    rng = np.random.default_rng(3)
    tables, texts, expected = [], [], []
    for frames, size in ((30, 8), (12, 12), (1, 1), (40, 1), (5, 0), (3, 5), (9, 4)):
        ids = rng.integers(1, 4, size).tolist()
        table = torch.from_numpy(rng.normal(size=(frames, 4)).astype(np.float32)).log_softmax(-1)
        loss = torch.nn.functional.ctc_loss(
            table[:, None], torch.tensor([ids]).view(1, -1), torch.tensor([frames]), torch.tensor([size]),
            BLANK, reduction="sum",
        ) if ids else -table[:, BLANK].sum()  # fmt: skip
        tables.append(table[:, [BLANK, *ids]].numpy())
        texts.append(ids)
        expected.append(-float(loss))
    assert total_logprobs(tables, texts) == pytest.approx(expected, abs=1e-3)
    assert total_logprobs([], []) == []
    assert total_logprobs(tables[:3], texts[:3]) == total_logprobs(tables, texts)[:3]


@given(st.integers(0, 1000), st.floats(0.5, 40.0), st.booleans())
def test_paths_of_long_and_unlikely_texts_add_up_as_logarithms_do(
    seed: int, spread: float, hole: bool
) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 4, 20).tolist()
    scores = torch.from_numpy(rng.normal(0, spread, (60, 4)).astype(np.float32)).log_softmax(-1).numpy()
    if hole:
        scores[30, :] = -np.inf  # no path leads through this frame
    expected = np.full(43, -np.inf)
    expected[2] = 0.0
    for frame in scores:
        before, expected = expected, np.full(43, -np.inf)
        for state in range(2, 43):
            token = 0 if state % 2 == 0 else ids[(state - 3) // 2]
            skips = token != 0 and state > 3 and token != ids[(state - 5) // 2]
            ways = [before[state], before[state - 1], before[state - 2] if skips else -np.inf]
            expected[state] = np.logaddexp.reduce(ways) + frame[token]
    [found] = total_logprobs([scores[:, [BLANK, *ids]]], [ids])
    assert found == pytest.approx(np.logaddexp(*expected[-2:]), rel=1e-5)

"""The decoder over the library's modules: sequences of any length side by side, each as if it were alone."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor

from factories import random_model, tiny_opt_config, tiny_toy_config
from text_models import anew, model_of
from vary.engine.decoders.interface import Entry
from vary.engine.decoders.library import PLAIN, LibraryDecoder
from vary.errors import ContextError

SUPPORTED = sorted(PLAIN)


def read(decoder: LibraryDecoder, new: dict[int, list[int]]) -> list[Tensor]:
    """Reads some ids of each sequence; all scores of each."""
    entries = [Entry(sequence, decoder.embed(ids), len(ids)) for sequence, ids in new.items()]
    return list(decoder.read(entries).split([len(ids) for ids in new.values()]))


@pytest.mark.parametrize("kind", SUPPORTED)
def test_anything_in_any_order_equals_reading_anew(kind: str) -> None:
    """Random openings, reads of random sequences with random numbers of tokens, cuts and closings."""
    model = model_of(kind)
    assert LibraryDecoder.supports(model)
    decoder, held, rng = LibraryDecoder(model), dict[int, list[int]](), random.Random(1)
    for _ in range(60):
        action = rng.random()
        if action < 0.2 or not held:
            held[decoder.open()] = []
        elif action < 0.28:
            sequence = rng.choice(list(held))
            decoder.close(sequence)
            del held[sequence]
        elif action < 0.4:
            sequence = rng.choice(list(held))
            length = rng.randint(0, len(held[sequence]))
            decoder.cut(sequence, length)
            del held[sequence][length:]
        else:
            chosen = rng.sample(list(held), rng.randint(1, len(held)))
            new = {
                sequence: [rng.randint(1, 250) for _ in range(rng.choice([1, 1, 2, 5, 30]))]
                for sequence in chosen
                if len(held[sequence]) < 200
            }
            if not new:
                continue
            for sequence, scores in zip(new, read(decoder, new), strict=True):
                held[sequence] += new[sequence]
                expected = anew(model, held[sequence])[-len(new[sequence]) :]
                torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)
        assert {sequence: decoder.length(sequence) for sequence in held} == {
            sequence: len(ids) for sequence, ids in held.items()
        }


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("mistral", {"sliding_window": 6}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0}),
        ("bloom", {}),
        ("mpt", {}),
        ("qwen2", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
    ],
)
def test_what_needs_more_than_a_plain_cache_is_not_supported(kind: str, changes: dict[str, Any]) -> None:
    assert not LibraryDecoder.supports(model_of(kind, **changes))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("make", [tiny_toy_config, tiny_opt_config])
def test_both_kinds_of_attention(make: Any, attention: str) -> None:
    model = random_model(make())
    model.set_attn_implementation(attention)
    assert LibraryDecoder.supports(model)
    decoder = LibraryDecoder(model)
    first, second = decoder.open(), decoder.open()
    read(decoder, {first: [5, 6, 7], second: [8]})
    one, other = read(decoder, {second: [9, 10], first: [11]})
    torch.testing.assert_close(one, anew(model, [8, 9, 10])[-2:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(other, anew(model, [5, 6, 7, 11])[-1:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    model = random_model(tiny_toy_config()).to(dtype)
    decoder = LibraryDecoder(model)
    first, second = decoder.open(), decoder.open()
    read(decoder, {first: [5, 6, 7], second: [8]})
    one, other = read(decoder, {first: [9], second: [10, 11]})
    assert one.dtype == other.dtype == torch.float32
    torch.testing.assert_close(one, anew(model, [5, 6, 7, 9])[-1:], atol=0.05, rtol=0.05)
    torch.testing.assert_close(other, anew(model, [8, 10, 11])[-2:], atol=0.05, rtol=0.05)


def test_only_wanted_scores_come_in_the_order_of_the_entries() -> None:
    model = random_model(tiny_toy_config())
    decoder = LibraryDecoder(model)
    first, second, third = decoder.open(), decoder.open(), decoder.open()
    entries = [
        Entry(second, decoder.embed([4, 5, 6]), 2),
        Entry(third, decoder.embed([7]), 0),
        Entry(first, decoder.embed([8, 9])),
    ]
    scores = decoder.read(entries)
    expected = torch.cat([anew(model, [4, 5, 6])[1:], anew(model, [8, 9])[1:]])
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)
    assert decoder.read([Entry(third, decoder.embed([7]), 0)]).shape == (0, decoder.vocabulary_size)
    assert decoder.length(third) == 2


def test_a_sequence_ends_where_the_positions_do() -> None:
    model = random_model(tiny_opt_config())
    decoder = LibraryDecoder(model)
    whole = decoder.context
    assert whole is not None
    long, short = decoder.open(), decoder.open()
    read(decoder, {long: [5] * (whole - 1), short: [6]})
    # Padding of the full sequence reaches beyond its positions, and is nothing.
    one, _ = read(decoder, {long: [7], short: [8, 9, 10]})
    torch.testing.assert_close(one, anew(model, [*[5] * (whole - 1), 7])[-1:], atol=1e-4, rtol=1e-4)
    with pytest.raises(ContextError, match=f"{whole} tokens grows by 1"):
        read(decoder, {short: [11], long: [8]})
    assert (decoder.length(long), decoder.length(short)) == (whole, 4)


def test_tokens_of_like_numbers_are_read_in_one_forward_and_prompts_apart() -> None:
    model = random_model(tiny_toy_config())
    decoder = LibraryDecoder(model)
    shapes: list[tuple[int, int]] = []

    def note(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        shapes.append(tuple(kwargs["inputs_embeds"].shape[:2]))

    hook = model.model.language_model.register_forward_pre_hook(note, with_kwargs=True)
    rows = [decoder.open() for _ in range(4)]
    read(decoder, {row: [5] for row in rows[:3]})
    read(decoder, {rows[3]: [6] * 100, rows[0]: [7], rows[1]: [8, 9], rows[2]: [10]})
    hook.remove()
    assert shapes == [(3, 1), (1, 100), (3, 2)]


def test_copies_for_the_search_with_beams() -> None:
    model = random_model(tiny_toy_config())
    decoder = LibraryDecoder(model)
    first, second = decoder.open(), decoder.open()
    read(decoder, {first: [5, 6, 7], second: [8]})
    cache = decoder.copies(first, 3)
    assert cache.get_seq_length() == 3
    with torch.no_grad():
        scores = model(
            input_ids=torch.tensor([[9], [10], [11]]),
            attention_mask=torch.ones((3, 4), dtype=torch.long),
            past_key_values=cache,
        ).logits[:, -1]
    for row, token in zip(scores, (9, 10, 11), strict=True):
        torch.testing.assert_close(row, anew(model, [5, 6, 7, token])[-1], atol=1e-4, rtol=1e-4)

"""The GPU's decoder: its book-keeping on any device, and its kernels in Triton's interpreter or on a GPU."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

from plain_operations import PlainOperations
from text_models import anew, model_of
from vary.engine.cuda.batch import Operations
from vary.engine.cuda.cache import PAGE, PagedCache
from vary.engine.cuda.weights import DecoderWeights
from vary.engine.decoders.graphed import GraphDecoder
from vary.engine.decoders.interface import Entry
from vary.engine.decoders.library import LibraryDecoder
from vary.engine.decoding import Prompt, decode
from vary.engine.sampling import Sampling
from vary.errors import ContextError
from vary.model.modeling import VaryForConditionalGeneration

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LONG = 3 * PAGE
# The interpreter computes with NumPy, which has no bfloat16.
HALVES = [torch.float16, *([torch.bfloat16] if DEVICE.type == "cuda" else [])]
# Many tokens, few, and one at a time; the interpreter takes a second a read.
READS = ([20], [17, 1, 1, 1], [7, 13]) if DEVICE.type == "cuda" else ([17, 2, 1],)

Kernels = Callable[[DecoderWeights], Operations]


def model(**changes: Any) -> VaryForConditionalGeneration:
    """Three heads share one key in pairs, and no size is a power of two but the head's."""
    sizes = {"hidden_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
    sizes |= {"intermediate_size": 136, "max_position_embeddings": LONG}
    return model_of("qwen2", **sizes | changes).to(DEVICE)


def decoder_of(built: VaryForConditionalGeneration, operations: Kernels) -> GraphDecoder:
    """Plain operations read numbers on the host, which no graph may."""
    graphs = False if operations is PlainOperations else None
    return GraphDecoder(built, operations=operations, graphs=graphs)


def read(decoder: GraphDecoder | LibraryDecoder, new: dict[int, list[int]]) -> list[Tensor]:
    entries = [Entry(sequence, decoder.embed(ids), len(ids)) for sequence, ids in new.items()]
    return list(decoder.read(entries).split([len(ids) for ids in new.values()]))


def triton_operations(weights: DecoderWeights) -> Operations:
    """On a GPU as it is used; large tiles where a program takes Python's time."""
    from vary.engine.cuda.operations import LayerTiles, Tiles, TritonOperations

    if DEVICE.type == "cuda":
        return TritonOperations(weights)
    large = LayerTiles(*[Tiles(64, 128, 1, 1)] * 5)
    return TritonOperations(weights, one=large, some=large)


NEEDS_TRITON = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton comes with PyTorch for GPUs; pip install triton"
)
EITHER = pytest.mark.parametrize(
    "operations", [PlainOperations, pytest.param(triton_operations, marks=NEEDS_TRITON)]
)
# Interpreted they take a quarter of a minute each; what is quicker shows the same kernels.
EITHER_SLOWLY = pytest.mark.parametrize(
    "operations", [PlainOperations, pytest.param(triton_operations, marks=[NEEDS_TRITON, pytest.mark.slow])]
)


@EITHER
def test_anything_in_any_order_equals_reading_anew(operations: Kernels) -> None:
    """Random openings, reads of some sequences with some tokens, cuts and closings; few and many tokens."""
    built = model()
    decoder, held, rng = decoder_of(built, operations), dict[int, list[int]](), random.Random(1)
    for turn in range(14):
        action = rng.random()
        if action < 0.25 or not held:
            held[decoder.open()] = []
        elif action < 0.32:
            sequence = rng.choice(list(held))
            decoder.close(sequence)
            del held[sequence]
        elif action < 0.4:
            sequence = rng.choice(list(held))
            held[sequence] = held[sequence][: rng.randint(0, len(held[sequence]))]
            decoder.cut(sequence, len(held[sequence]))
        else:
            chosen = rng.sample(list(held), rng.randint(1, min(3, len(held))))
            most = rng.choice([1, 5, 20])
            new = {
                sequence: [rng.randrange(300) for _ in range(rng.randint(1, most))]
                for sequence in chosen
                if len(held[sequence]) + most < LONG
            }
            if not new:
                continue
            found = read(decoder, new)
            for (sequence, ids), scores in zip(new.items(), found, strict=True):
                held[sequence] += ids
                expected = anew(built, held[sequence])[-len(ids) :]
                torch.testing.assert_close(scores, expected, atol=2e-4, rtol=2e-4, msg=f"turn {turn}")
        for sequence, ids in held.items():
            assert decoder.length(sequence) == len(ids)


@EITHER
def test_a_sequence_runs_ahead_as_by_single_steps(operations: Kernels) -> None:
    check_running_ahead(operations, 1)


@EITHER_SLOWLY
def test_sequences_run_ahead_as_by_single_steps(operations: Kernels) -> None:
    check_running_ahead(operations, 3)


def check_running_ahead(operations: Kernels, rows: int) -> None:
    """It chooses what single steps of the library choose, with their log-probabilities."""
    built = model()
    decoder, reference = decoder_of(built, operations), LibraryDecoder(built)
    rng = random.Random(2)
    prompts = [[rng.randrange(300) for _ in range(length)] for length in (3, 9, PAGE - 2)[:rows]]
    banned = [7, 8, 9]
    sequences, expected, chances = [], [], []
    last = []
    for ids in prompts:
        sequence = decoder.open()
        first = int(read(decoder, {sequence: ids})[0][-1].argmax())
        sequences.append(sequence)
        last.append(first)
        other = reference.open()
        read(reference, {other: ids})
        answer, sure, token = [], [], first
        for _ in range(5):
            scores = read(reference, {other: [token]})[0][-1].clone()
            scores[banned] = -torch.inf
            token = int(scores.argmax())
            answer.append(token)
            sure.append(float(scores.log_softmax(-1)[token]))
        expected.append(answer)
        chances.append(sure)
    chosen, found = decoder.run(sequences, last, 5, banned)
    assert chosen == expected
    torch.testing.assert_close(found.cpu(), torch.tensor(chances), atol=2e-4, rtol=2e-4)
    assert [decoder.length(sequence) for sequence in sequences] == [len(ids) + 5 for ids in prompts]
    again, _ = decoder.run(sequences, [ids[-1] for ids in chosen], 1)  # nothing is banned any more
    assert len(again) == rows


WAYS = [
    Sampling(temperature=1.2, seed=3),
    Sampling(temperature=0.9, top_k=9, top_p=0.8, repetition_penalty=1.3, seed=4),
    Sampling(repetition_penalty=1.7),
]


@EITHER_SLOWLY
def test_the_loop_runs_ahead_and_answers_as_before(operations: Kernels) -> None:
    check_the_loop(operations, Sampling())


@pytest.mark.parametrize("sampling", WAYS, ids=str)
def test_the_loop_runs_ahead_where_more_than_scores_decide(
    sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = list[int]()
    run = GraphDecoder.run

    def noted(self: GraphDecoder, sequences: Any, ids: Any, steps: int, *rest: Any) -> Any:
        assert rest[1] is not None
        runs.append(steps)
        return run(self, sequences, ids, steps, *rest)

    monkeypatch.setattr(GraphDecoder, "run", noted)
    check_the_loop(PlainOperations, sampling)
    assert max(runs) > 4


def test_ngrams_are_looked_for_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GraphDecoder, "run", lambda *_: pytest.fail("it ran ahead"))
    check_the_loop(PlainOperations, Sampling(no_repeat_ngram_size=2, temperature=1.0, seed=1))


def check_the_loop(operations: Kernels, sampling: Sampling) -> None:
    """Rows come and go; with a suppressed id."""
    built = model()
    rng = random.Random(3)
    prompts = [[rng.randrange(300) for _ in range(length)] for length in (4, 12, 30)]
    limits = [3, 12, 10]

    def answers(decoder: GraphDecoder | LibraryDecoder) -> dict[int, tuple[list[int], list[float]]]:
        made = (Prompt(decoder.embed(ids), limit, ids) for ids, limit in zip(prompts, limits, strict=True))
        found = decode(decoder, made, [5], sampling, max_rows=2, suppressed=[17])
        return {number: (answer.ids, answer.logprobs) for number, answer in found}

    found, expected = answers(decoder_of(built, operations)), answers(LibraryDecoder(built))
    assert {number: ids for number, (ids, _) in found.items()} == {
        number: ids for number, (ids, _) in expected.items()
    }
    for number, (_, logprobs) in found.items():
        assert logprobs == pytest.approx(expected[number][1], abs=2e-4)


def test_pages_are_given_back_and_the_cache_grows() -> None:
    """More sequences and more positions than there is room for at first; a page has one owner."""
    decoder = decoder_of(model(), PlainOperations)
    cache = decoder._cache
    first = [decoder.open() for _ in range(20)]
    for sequence in first:
        cache.reserve(decoder._rows[sequence], 5 * PAGE)
    taken = [page for pages in cache._taken.values() for page in pages]
    assert len(taken) == len(set(taken)) == 100
    assert 0 not in taken
    assert cache.version > 0
    for sequence in first:
        decoder.close(sequence)
    assert len(cache._free_pages) == len(cache.keys[0]) - 1
    assert len(set(cache._free_pages)) == len(cache._free_pages)


def test_threads_share_a_decoder() -> None:
    """Each with answers of its own, though what a replay reads lies in one place for all of them."""
    decoder = decoder_of(model(), PlainOperations)

    def answer(number: int) -> tuple[list[int], list[float]]:
        ids = [number, 7 * number + 1, 100 + number]
        [(_, found)] = decode(decoder, [Prompt(decoder.embed(ids), 24, ids)], [], max_rows=1)
        return found.ids, found.logprobs

    expected = [answer(number) for number in range(4)]
    assert len({tuple(ids) for ids, _ in expected}) == 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(answer, list(range(4)) * 4))
    assert found == expected * 4
    assert len(decoder._cache._free_pages) == len(decoder._cache.keys[0]) - 1


def test_a_sequence_may_be_closed_in_the_middle_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the garbage collector does; it is given back when the next call begins."""
    decoder = decoder_of(model(), PlainOperations)
    kept, dropped = decoder.open(), decoder.open()
    read(decoder, {kept: [1, 2], dropped: [3]})
    reserve = PagedCache.reserve

    def closing(self: PagedCache, row: int, length: int) -> None:
        decoder.close(dropped)
        reserve(self, row, length)

    with monkeypatch.context() as patch:
        patch.setattr(PagedCache, "reserve", closing)
        read(decoder, {kept: [4]})
    assert len(decoder._cache._taken) == 2
    other = decoder.open()
    assert set(decoder._lengths) == {kept, other}
    assert len(decoder._cache._taken) == 2


def test_growing_may_fail_between_two_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held stays, and there is room for others as far as there was, or when memory is back."""
    built = model()
    decoder = decoder_of(built, PlainOperations)
    cache, ids = decoder._cache, [7, 8, 9]
    kept, large = decoder.open(), decoder.open()
    read(decoder, {kept: ids})
    pages, calls = PagedCache._pages, list[int]()

    def fails(self: PagedCache, count: int) -> Tensor:
        calls.append(count)
        if len(calls) in (2, 4):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return pages(self, count)

    monkeypatch.setattr(PagedCache, "_pages", fails)
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            cache.reserve(decoder._rows[large], 40 * PAGE)
    cache.reserve(decoder._rows[large], 40 * PAGE)
    assert {len(table) for table in (*cache.keys, *cache.values)} == {64}
    taken = [page for pages in cache._taken.values() for page in pages]
    assert len(set(taken)) == len(taken) == 41
    [scores] = read(decoder, {kept: [4]})
    torch.testing.assert_close(scores[-1], anew(built, [*ids, 4])[-1], atol=2e-4, rtol=2e-4)


def test_the_model_goes_on_with_the_joined_weights() -> None:
    built = model()
    before = anew(built, [1, 2, 3])
    parameters = sum(one.numel() for one in built.parameters())
    decoder_of(built, PlainOperations)
    assert torch.equal(anew(built, [1, 2, 3]), before)
    attention = built.model.language_model.layers[0].self_attn
    assert attention.q_proj.weight.untyped_storage().data_ptr() == (
        attention.v_proj.weight.untyped_storage().data_ptr()
    )
    assert sum(one.numel() for one in built.parameters()) == parameters


def test_a_sequence_ends_with_the_models_positions() -> None:
    decoder = decoder_of(model(), PlainOperations)
    sequence = decoder.open()
    read(decoder, {sequence: [1] * (LONG - 1)})
    with pytest.raises(ContextError, match=f"positions end at {LONG}"):
        read(decoder, {sequence: [1, 2]})
    with pytest.raises(ContextError, match=f"positions end at {LONG}"):
        decoder.run([sequence], [1], 2)
    with pytest.raises(ValueError, match="not 500"):
        decoder.cut(sequence, 500)


@NEEDS_TRITON
@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_stays_as_close_as_the_library(dtype: torch.dtype) -> None:
    """The kernels' error, against the same weights in float32, is at most twice that of PyTorch's modules."""
    built = model().to(dtype)
    wide = model().float()
    wide.load_state_dict(built.state_dict())
    rng = random.Random(4)
    ids = [rng.randrange(300) for _ in range(20)]
    exact = anew(wide, ids)
    library = (anew(built, ids) - exact).norm()
    for counts in READS:
        decoder = decoder_of(built, triton_operations)
        sequence, rows, begin = decoder.open(), [], 0
        for count in counts:
            rows.append(read(decoder, {sequence: ids[begin : begin + count]})[0])
            begin += count
        assert float((torch.cat(rows) - exact).norm()) < 2 * float(library) + 1e-3


@NEEDS_TRITON
@pytest.mark.slow
def test_a_tokens_scores_do_not_depend_on_its_neighbours() -> None:
    """The same bits for the same number of tokens, whoever they belong to and in whatever order they come."""
    built = model()
    rng = random.Random(5)
    decoder = decoder_of(built, triton_operations)
    prompts = [[rng.randrange(300) for _ in range(length)] for length in (5, 70, 20, 33)]
    sequences = [decoder.open() for _ in prompts]
    for sequence, ids in zip(sequences, prompts, strict=True):
        read(decoder, {sequence: ids})
    plain = read(decoder, {sequence: [11] for sequence in sequences})
    for order in ([3, 1, 0, 2], [2, 3, 1, 0]):
        for sequence, ids in zip(sequences, prompts, strict=True):
            decoder.cut(sequence, len(ids))
        found = read(decoder, {sequences[number]: [11] for number in order})
        for place, number in enumerate(order):
            assert torch.equal(found[place], plain[number])

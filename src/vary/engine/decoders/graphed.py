"""A decoder for a GPU: few tokens go through recorded graphs, and many steps without a word from the host."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vary.engine.cuda.batch import Batch, Operations
from vary.engine.cuda.cache import PagedCache
from vary.engine.cuda.current import current
from vary.engine.cuda.weights import DecoderWeights
from vary.engine.decoders.interface import Entry
from vary.engine.drawing import Draws
from vary.engine.grouped_linear import grouped_linears
from vary.engine.packing import TextShape
from vary.errors import ContextError, NativeError
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["GraphDecoder"]

RECORDED = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Numbers of tokens for which a graph is recorded, when they first come; fewer are padded."""
TOKEN_COST = 0.08
"""Of one more token in a step: on an H100 eight took 1.6 times one, sixteen 1.8 times."""

_RECORDS = threading.Lock()  # all graphs are recorded on one stream


@dataclass(slots=True)
class _Recording:
    """A graph with what it reads and writes; the tensors are written before a replay, and read after it."""

    replay: Callable[[], None]
    inputs: Tensor
    where: Tensor
    outputs: Tensor
    chances: Tensor


class GraphDecoder:
    """A `Decoder` of the Qwen2 kind on a GPU, in the type of the model's weights; see `decoders.interface`.

    Calls of several threads wait for each other.

    Args:
        model: in evaluation mode; its attention and perceptron weights are put together in memory, and it
            goes on working.
        operations: what computes the layers; by default the Triton kernels.
        graphs: whether graphs are recorded: by default on a GPU.

    Raises:
        NativeError: for a language model of another kind; `supports` says so before.
    """

    exact = False
    alone = False
    token_cost = TOKEN_COST
    ahead = 8

    def __init__(
        self,
        model: VaryForConditionalGeneration,
        *,
        operations: Callable[[DecoderWeights], Operations] | None = None,
        graphs: bool | None = None,
    ) -> None:
        if operations is None:
            from vary.engine.cuda.operations import TritonOperations  # triton comes with torch for GPUs

            operations = TritonOperations
        self._weights = DecoderWeights.of(model)
        shape, head = self._weights.shape, self._weights.head
        self._device, self._dtype = head.device, head.dtype
        self._operations = operations(self._weights)
        self._graphs = head.device.type == "cuda" if graphs is None else graphs
        self._cache = PagedCache(shape, head.dtype, head.device)
        self._pool: Any = None  # its type has no name in all versions of PyTorch
        self._recordings: dict[tuple[str, int], _Recording] = {}
        self._recorded_version = 0
        self._suppressed: list[int] = []
        self._penalty = torch.zeros(shape.vocabulary, device=head.device)
        self._rows: dict[int, int] = {}
        self._lengths: dict[int, int] = {}
        self._opened = 0
        self._closed: deque[int] = deque()
        self._lock = threading.Lock()
        self.name = f"recorded graphs ({str(head.dtype).removeprefix('torch.')}, {head.device.type})"
        self.vocabulary_size, self.hidden_size = shape.vocabulary, shape.hidden
        self.context: int | None = shape.context

    @staticmethod
    def supports(model: VaryForConditionalGeneration) -> bool:
        """Whether the kernels compute this language model, with weights of one float type, and are there."""
        try:
            import triton  # noqa: F401

            shape = TextShape.of(model.config.text_config)
        except (ImportError, NativeError):
            return False
        weights = [*model.model.language_model.parameters(), *model.lm_head.parameters()]
        plain = len({weight.dtype for weight in weights}) == 1 and not grouped_linears(model)
        return plain and shape.head_dim & (shape.head_dim - 1) == 0

    def open(self) -> int:
        """Begins an empty sequence; its number."""
        with self._alone():
            self._opened += 1
            self._rows[self._opened] = self._cache.open()
            self._lengths[self._opened] = 0
            return self._opened

    def close(self, sequence: int) -> None:
        """Forgets a sequence; where a call is under way, when the next one begins.

        The garbage collector may close one, in the middle of a call and in the same thread.
        """
        self._closed.append(sequence)
        if self._lock.acquire(blocking=False):
            try:
                self._give_back()
            finally:
                self._lock.release()

    def _give_back(self) -> None:
        """Gives back what closed sequences held."""
        while self._closed:
            sequence = self._closed.popleft()
            self._cache.close(self._rows.pop(sequence))
            del self._lengths[sequence]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One call at a time: nobody else writes what a replay reads, before its results are out."""
        with self._lock:
            self._give_back()
            yield

    def length(self, sequence: int) -> int:
        """How many tokens a sequence holds."""
        return self._lengths[sequence]

    def cut(self, sequence: int, length: int) -> None:
        """Forgets all but the first `length` tokens of a sequence."""
        if not 0 <= length <= self._lengths[sequence]:
            raise ValueError(f"sequence {sequence} has {self._lengths[sequence]} tokens, not {length}")
        self._lengths[sequence] = length

    @torch.inference_mode()
    def embed(self, ids: Sequence[int]) -> Tensor:
        """The embeddings (T, hidden_size) of token ids."""
        return self._weights.embedding[torch.tensor(list(ids), dtype=torch.long, device=self._device)]

    @torch.inference_mode()
    def read(self, entries: Sequence[Entry]) -> Tensor:
        """Reads new tokens; scores (sum of `scored`, vocabulary_size) in float32, see `Decoder.read`."""
        with self._alone():
            for entry in entries:
                self._reserve(entry.sequence, len(entry.embeddings))
            self._cache.upload()
            # Beginning sequences come last: their tokens see each other and nothing else.
            order = sorted(
                range(len(entries)), key=lambda number: self._lengths[entries[number].sequence] == 0
            )
            rows: list[int] = []
            positions: list[int] = []
            fresh: list[tuple[int, int]] = []
            begins = [0] * len(entries)
            for number in order:
                entry = entries[number]
                begin, count = len(rows), len(entry.embeddings)
                held = self._lengths[entry.sequence]
                if held == 0:
                    fresh.append((begin, begin + count))
                begins[number] = begin
                rows += [self._rows[entry.sequence]] * count
                positions += range(held, held + count)
            embeddings = [entries[number].embeddings.to(self._device, self._dtype) for number in order]
            x = embeddings[0] if len(embeddings) == 1 else torch.cat(embeddings)
            wanted = [
                place
                for entry, begin in zip(entries, begins, strict=True)
                for place in range(
                    begin + len(entry.embeddings) - entry.scored, begin + len(entry.embeddings)
                )
            ]
            with current(self._device):
                scores = self._read(x, [rows, positions], tuple(fresh), wanted)
            for entry in entries:
                self._lengths[entry.sequence] += len(entry.embeddings)
            return scores

    @torch.inference_mode()
    def run(
        self,
        sequences: Sequence[int],
        ids: Sequence[int],
        steps: int,
        suppressed: Sequence[int] = (),
        draws: Draws | None = None,
    ) -> tuple[list[list[int]], Tensor]:
        """Reads a token of each sequence, then the next one, and so on; see `RunsAhead.run`."""
        with self._alone():
            for sequence in sequences:
                self._reserve(sequence, steps)
            self._cache.upload()
            if list(suppressed) != self._suppressed:
                self._suppressed = list(suppressed)
                self._penalty.zero_()[self._suppressed] = -torch.inf
            where = [
                [self._rows[sequence] for sequence in sequences],
                [self._lengths[sequence] for sequence in sequences],
                list(ids),
            ]
            with current(self._device):
                places = torch.tensor(where, dtype=torch.int32)
                chosen, chances = (
                    self._run(places, steps) if draws is None else self._draw(places, steps, draws)
                )
            for sequence in sequences:
                self._lengths[sequence] += steps
            return chosen.tolist(), chances

    def _run(self, where: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """The tokens chosen behind rows, positions, ids (3, B), and their log-probabilities: (B, steps)."""
        count = where.shape[1]
        recording = self._recording("run", count)
        recording.where[:, :count] = where
        recording.where[:2, count:] = 0
        chosen, chances = [], []
        for _ in range(steps):
            recording.replay()
            chosen.append(recording.where[2, :count].clone())
            chances.append(recording.chances[:count].clone())
        return torch.stack(chosen, 1), torch.stack(chances, 1)

    def _draw(self, where: Tensor, steps: int, draws: Draws) -> tuple[Tensor, Tensor]:
        """As `_run`, with tokens that `draws` chooses; the layers are recorded, the choice is launched.

        Its few kernels take the host less time than the layers take the device, and a recording of them would
        be another one for each temperature.
        """
        count = where.shape[1]
        recording = self._recording("score", count)
        recording.where[:, :count] = where
        recording.where[:2, count:] = 0
        chosen, chances = [], []
        for step in range(steps):
            recording.replay()
            scores = recording.outputs[:count]
            ids = draws.choose(scores, step)
            chosen.append(ids)
            chances.append(scores.gather(1, ids[:, None])[:, 0] - scores.logsumexp(-1))
            recording.where[2, :count] = ids
            recording.where[1] += 1
        return torch.stack(chosen, 1), torch.stack(chances, 1)

    def _reserve(self, sequence: int, count: int) -> None:
        """Makes room for further tokens of a sequence."""
        held = self._lengths[sequence]
        assert self.context is not None
        if held + count > self.context:
            raise ContextError(
                f"a sequence of {held} tokens grows by {count}, and the language model's positions end at "
                f"{self.context}; give a shorter prompt or a lower limit of new tokens"
            )
        self._cache.reserve(self._rows[sequence], held + count)

    def _read(
        self, x: Tensor, where: list[list[int]], fresh: tuple[tuple[int, int], ...], wanted: list[int]
    ) -> Tensor:
        """The wanted scores of tokens x (N, C) at rows and positions."""
        count = len(x)
        places = torch.tensor(where, dtype=torch.int32)
        if self._graphs and count <= RECORDED[-1]:
            recording = self._recording("read", count)
            recording.inputs[:count] = x
            recording.where[:2, :count] = places
            recording.where[:2, count:] = 0
            recording.replay()
            scores = recording.outputs
        else:
            rows, positions = places.to(self._device)
            x = self._layers(x, Batch(self._cache.table, rows, positions, fresh))
            if wanted != list(range(count)):
                x = x[torch.tensor(wanted, dtype=torch.long, device=self._device)]
            return self._operations.scores(x)
        return scores[torch.tensor(wanted, dtype=torch.long, device=self._device)]

    def _layers(self, x: Tensor, batch: Batch) -> Tensor:
        for weights, keys, values in zip(
            self._weights.layers, self._cache.keys, self._cache.values, strict=True
        ):
            x = self._operations.layer(weights, x, keys, values, batch)
        return x

    def _recording(self, kind: str, count: int) -> _Recording:
        """The graph for so many tokens, recorded if it is not there, or was for tensors that are gone."""
        if self._recorded_version != self._cache.version:
            self._recordings.clear()
            self._pool = None
            self._recorded_version = self._cache.version
        size = next((size for size in RECORDED if size >= count), -(-count // RECORDED[-1]) * RECORDED[-1])
        if (kind, size) not in self._recordings:
            self._recordings[kind, size] = self._record(kind, size)
        return self._recordings[kind, size]

    def _record(self, kind: str, size: int) -> _Recording:
        inputs = torch.zeros((size, self.hidden_size), dtype=self._dtype, device=self._device)
        where = torch.zeros((3, size), dtype=torch.int32, device=self._device)
        chances = torch.zeros(size, device=self._device)
        recording = _Recording(lambda: None, inputs, where, torch.empty(0), chances)
        work = {"read": self._read_step, "run": self._run_step, "score": self._score_step}[kind]
        if not self._graphs:
            recording.replay = lambda: work(recording)
            return recording
        # The kernels are compiled, and workspaces taken, before the recording; padding is read meanwhile.
        beside = torch.cuda.Stream(self._device)
        beside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(beside):
            work(recording)
            work(recording)
        torch.cuda.current_stream(self._device).wait_stream(beside)
        where.zero_()
        graph = torch.cuda.CUDAGraph()
        # Meanwhile other threads may do what they like with the GPU, but for recording: encode an image, say.
        with _RECORDS, torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            work(recording)
        self._pool = self._pool or graph.pool()
        recording.replay = graph.replay
        return recording

    def _read_step(self, recording: _Recording) -> None:
        rows, positions, _ = recording.where
        states = self._layers(recording.inputs, Batch(self._cache.table, rows, positions))
        recording.outputs = self._operations.scores(states)

    def _score_step(self, recording: _Recording) -> None:
        rows, positions, ids = recording.where
        states = self._layers(self._weights.embedding[ids], Batch(self._cache.table, rows, positions))
        recording.outputs = self._operations.scores(states)
        recording.outputs += self._penalty

    def _run_step(self, recording: _Recording) -> None:
        self._score_step(recording)
        scores, (_, positions, ids) = recording.outputs, recording.where
        best, chosen = scores.max(-1)
        recording.chances.copy_(best - scores.logsumexp(-1))
        ids.copy_(chosen)
        positions += 1

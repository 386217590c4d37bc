"""The decoding loop: prompts in, answers out, each as if it were alone, however many are decoded at a time.

A step reads one token of every answer, or with a draft the last token and some that the draft says come next:
of these are kept as many as would have been chosen anyhow, and the first that would not is replaced.  So a
draft changes how many steps there are, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from vary.engine.arrays import Array, Arrays, arrays_of
from vary.engine.choosing import Chooser, agreeing
from vary.engine.decoders.interface import Decoder, Entry, RunsAhead
from vary.engine.drafts import TOKEN_COST, ChunkLength, Draft
from vary.engine.guards import LoopFinding
from vary.engine.sampling import Sampling

__all__ = ["Decoded", "DecodingLoop", "DraftUse", "Prompt", "decode"]

PREFILL = 512
"""Tokens of a prompt that are read in one step, so that a long prompt does not hold up the other answers."""

RowGuard = Callable[[Sequence[int]], LoopFinding | None]
OnIds = Callable[[Sequence[int]], None]


@dataclass(slots=True)
class Prompt:
    """What is to be answered.

    Attributes:
        embeddings: of what the sequence does not hold yet, (T, hidden_size), T at least 1.
        limit: the most tokens that the answer may have, the end of text included.
        ids: the whole prompt, where penalties count what stands in it.
        guard: is fed every new id but the end of text, and ends the answer where it speaks.
        on_ids: hears the ids as they are chosen, the end of text included.
        draft: a guess of the answer.
        check: a guess whose log-probabilities are wanted in any case, its end of text included.  It is read
            whole, with the prompt, and stands for the draft's first chunk.
        sequence: one of the decoder's that holds the prompt's beginning; it is left open.  Otherwise one is
            opened, and closed at the end.
    """

    embeddings: Array
    limit: int
    ids: Sequence[int] = ()
    guard: RowGuard | None = None
    on_ids: OnIds | None = None
    draft: Draft | None = None
    check: Sequence[int] | None = None
    sequence: int | None = None


@dataclass(slots=True)
class DraftUse:
    """What a draft was worth.

    Attributes:
        tokens: of the answer, the end of text included.
        steps: in which they came.
        proposed, accepted: tokens of the draft that were read, and that were kept.
    """

    tokens: int = 0
    steps: int = 0
    proposed: int = 0
    accepted: int = 0

    @property
    def per_step(self) -> float:
        """Tokens of a step; 1 without a draft."""
        return self.tokens / self.steps if self.steps else 0.0

    def __add__(self, other: DraftUse) -> DraftUse:
        return DraftUse(
            self.tokens + other.tokens,
            self.steps + other.steps,
            self.proposed + other.proposed,
            self.accepted + other.accepted,
        )


@dataclass(slots=True)
class Decoded:
    """An answer.

    Attributes:
        ids: its tokens, the end of text included where it was reached.
        logprobs: the model's own log-probability of each.
        finding: what the guard saw.
        use: what the draft was worth.
        checked: the log-probabilities of what was to be checked.
    """

    ids: list[int]
    logprobs: list[float]
    finding: LoopFinding | None
    use: DraftUse
    checked: list[float] | None = None


@dataclass(slots=True)
class _Row:
    """An answer on its way.  `proposed` are the draft's ids that are read in this step."""

    number: int
    prompt: Prompt
    sequence: int
    chunk: ChunkLength
    chooser: Chooser | None
    held: int
    begun: int = 0
    proposed: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    chances: list[Array] = field(default_factory=list)
    checked: Array | None = None
    finding: LoopFinding | None = None
    use: DraftUse = field(default_factory=DraftUse)


class DecodingLoop:
    """Decodes answers side by side: they begin with `add`, grow with `step`, and leave when they end.

    Args:
        decoder: what reads; it may hold other sequences.
        eos_ids: any of them ends an answer.
        sampling: how tokens are chosen; `num_beams` has no effect.
        suppressed: ids that are never chosen.
        draft_cost: of one more token in a step of this decoder, in steps.
    """

    def __init__(
        self,
        decoder: Decoder,
        eos_ids: Iterable[int],
        sampling: Sampling | None = None,
        *,
        suppressed: Sequence[int] = (),
        draft_cost: float = TOKEN_COST,
    ) -> None:
        self._decoder = decoder
        self._eos_ids = frozenset(eos_ids)
        self._sampling = sampling or Sampling()
        self._suppressed = list(suppressed)
        self._cost = draft_cost
        self._arrays: Arrays | None = None
        self._rows: list[_Row] = []
        self._added = 0

    def __len__(self) -> int:
        """How many answers are on their way."""
        return len(self._rows)

    def add(self, prompt: Prompt) -> int:
        """Begins an answer; its number, counted from 0."""
        decoder = self._decoder
        sequence = decoder.open() if prompt.sequence is None else prompt.sequence
        likeliest = (
            not self._sampling.temperature
            and self._sampling.repetition_penalty == 1
            and not self._sampling.no_repeat_ngram_size
        )
        self._arrays = arrays = self._arrays or arrays_of(prompt.embeddings)
        chooser = None if likeliest else arrays.chooser(self._sampling, prompt.ids, prompt.embeddings)
        held = decoder.length(sequence) + len(prompt.embeddings)
        chunk = ChunkLength(self._cost)
        self._rows.append(_Row(self._added, prompt, sequence, chunk, chooser, held))
        self._added += 1
        return self._added - 1

    def close(self) -> None:
        """Gives up what is on its way."""
        for row in self._rows:
            if row.prompt.sequence is None:
                self._decoder.close(row.sequence)
        self._rows = []

    def step(self) -> list[tuple[int, Decoded]]:
        """Reads a part of a prompt or some tokens of every answer; those that ended, with their numbers."""
        if self._arrays is None:
            return []
        with self._arrays.reading():
            return self._step(self._arrays)

    def _step(self, arrays: Arrays) -> list[tuple[int, Decoded]]:
        if isinstance(self._decoder, RunsAhead) and (steps := self._steps_ahead(self._decoder.ahead)) > 1:
            self._run_ahead(self._decoder, steps)
        else:
            entries = self._entries(arrays)
            scores = self._decoder.read(entries)
            if self._suppressed:
                arrays.suppress(scores, self._suppressed)
            self._take(arrays, scores, [entry.scored for entry in entries])
        ended = [row for row in self._rows if self._has_ended(row)]
        self._rows = [row for row in self._rows if not self._has_ended(row)]
        return [(row.number, self._finish(arrays, row)) for row in ended]

    def _steps_ahead(self, most: int) -> int:
        """How many steps the decoder may take by itself: none where more than scores decide what follows."""
        for row in self._rows:
            if not row.ids or row.chooser is not None or row.prompt.draft is not None:
                return 0
            most = min(most, row.prompt.limit - len(row.ids))
            if self._decoder.context is not None:
                most = min(most, self._decoder.context - self._decoder.length(row.sequence))
        return most

    def _run_ahead(self, decoder: RunsAhead, steps: int) -> None:
        """Lets the decoder choose several tokens of each answer; those behind an end were in vain."""
        rows = self._rows
        chosen, chances = decoder.run(
            [row.sequence for row in rows], [row.ids[-1] for row in rows], steps, self._suppressed
        )
        for row, tokens, values in zip(rows, chosen, chances, strict=True):
            row.proposed = []
            new = self._append(row, tokens, 0)
            row.use.steps += len(new) - 1
            row.chances.append(values[: len(new)])

    def _entries(self, arrays: Arrays) -> list[Entry]:
        """What each row reads next: its prompt, or its last token; and what its draft proposes."""
        wanted: list[int] = []
        for row in self._rows:
            row.proposed = []
            if not row.ids and len(row.prompt.embeddings) - row.begun > PREFILL:
                continue
            row.proposed = self._proposal(row)
            wanted += [*row.ids[-1:], *row.proposed]
        embeddings = self._decoder.embed(wanted) if wanted else None
        entries, place = [], 0
        for row in self._rows:
            count = len(row.ids[-1:]) + len(row.proposed)
            tokens = None if embeddings is None or count == 0 else embeddings[place : place + count]
            place += count
            if row.ids:
                assert tokens is not None
                entries.append(Entry(row.sequence, tokens, count))
                continue
            rest = row.prompt.embeddings[row.begun :]
            row.begun += min(len(rest), PREFILL)
            if len(rest) > PREFILL:
                entries.append(Entry(row.sequence, rest[:PREFILL], 0))
            else:
                both = rest if tokens is None else arrays.join(rest, tokens)
                entries.append(Entry(row.sequence, both, count + 1))
        return entries

    def _proposal(self, row: _Row) -> list[int]:
        """The ids of the draft that this step checks."""
        if not row.ids and row.prompt.check is not None:
            return list(row.prompt.check[:-1])
        if row.prompt.draft is None:
            return []
        room = row.prompt.limit - len(row.ids) - 1
        if self._decoder.context is not None:
            room = min(room, self._decoder.context - row.held - len(row.ids))
        return row.prompt.draft.propose(max(0, min(room, row.chunk.best())))

    def _take(self, arrays: Arrays, scores: Array, counts: Sequence[int]) -> None:
        """Chooses each row's next tokens by its scores and appends them."""
        best = arrays.likeliest(scores) if any(row.chooser is None for row in self._rows) else []
        places: list[int] = []
        tokens: list[int] = []
        spans: list[tuple[_Row, int, int]] = []
        first = 0
        for row, count in zip(self._rows, counts, strict=True):
            if count == 0:
                continue
            if row.chooser is not None:
                chosen = row.chooser.choose(scores[first : first + count], row.ids, row.proposed)
                same = len(chosen) - 1
            else:
                chosen = best[first : first + count]
                same = agreeing(chosen, row.proposed)
            checked = 0
            if not row.ids and row.prompt.check is not None:
                checked = len(row.prompt.check)
                places += range(first, first + checked)
                tokens += row.prompt.check
            new = self._append(row, chosen[: same + 1], same)
            spans.append((row, checked, len(new)))
            places += range(first, first + len(new))
            tokens += new
            first += count
        if not places:
            return
        values = arrays.logprobs(scores, places, tokens)
        place = 0
        for row, checked, count in spans:
            if checked:
                row.checked = values[place : place + checked]
            row.chances.append(values[place + checked : place + checked + count])
            place += checked + count

    def _append(self, row: _Row, chosen: Sequence[int], same: int) -> list[int]:
        """Takes chosen tokens up to where the answer ends, and tells whoever follows it."""
        prompt, new = row.prompt, list[int]()
        for token in chosen:
            new.append(token)
            if token in self._eos_ids:
                break
            if prompt.guard is not None and (finding := prompt.guard([token])) is not None:
                row.finding = finding
                break
            if len(row.ids) + len(new) >= prompt.limit:
                break
        row.use.proposed += len(row.proposed)
        row.use.accepted += min(same, len(new))
        row.use.steps += 1
        row.use.tokens += len(new)
        if prompt.draft is not None:
            self._learn(row, prompt.draft, new)
        row.ids += new
        self._decoder.cut(row.sequence, row.held + len(row.ids) - 1)
        if prompt.on_ids is not None:
            prompt.on_ids(new)
        return new

    @staticmethod
    def _learn(row: _Row, draft: Draft, new: Sequence[int]) -> None:
        """Measures the draft by what it proposed, or where that was not worth reading would have proposed."""
        proposed = row.proposed or draft.propose(1)
        right = agreeing(new, proposed)
        if proposed:
            row.chunk.learn(right, int(right < min(len(new), len(proposed))))
        draft.follow(new)

    def _has_ended(self, row: _Row) -> bool:
        return bool(row.ids) and (
            row.finding is not None or row.ids[-1] in self._eos_ids or len(row.ids) >= row.prompt.limit
        )

    def _finish(self, arrays: Arrays, row: _Row) -> Decoded:
        if row.prompt.sequence is None:
            self._decoder.close(row.sequence)
        checked = None if row.checked is None else arrays.numbers([row.checked])
        return Decoded(row.ids, arrays.numbers(row.chances), row.finding, row.use, checked)


def decode(
    decoder: Decoder,
    prompts: Iterable[Prompt],
    eos_ids: Iterable[int],
    sampling: Sampling | None = None,
    *,
    max_rows: int = 32,
    suppressed: Sequence[int] = (),
    draft_cost: float = TOKEN_COST,
) -> Iterator[tuple[int, Decoded]]:
    """Answers prompts, at most `max_rows` at a time: one that ends makes room for the next.

    Yields the answers as they end, each with the number of its prompt.  A prompt is taken from `prompts` only
    when there is room for it, so that whoever makes them need not make all at once.  Arguments as in
    `DecodingLoop`.
    """
    loop = DecodingLoop(decoder, eos_ids, sampling, suppressed=suppressed, draft_cost=draft_cost)
    waiting, more = iter(prompts), True
    try:
        while more or len(loop):
            while more and len(loop) < max_rows:
                prompt = next(waiting, None)
                if prompt is None:
                    more = False
                else:
                    loop.add(prompt)
            if len(loop):
                yield from loop.step()
    finally:
        loop.close()

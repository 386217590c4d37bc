"""The decoding loop: prompts in, answers out, each as if it were alone, however many are decoded at a time.

A step reads one token of every answer, or with a draft the last token and some that the draft says come next:
of these are kept as many as would have been chosen anyhow, and the first that would not is replaced.  So a
draft changes how many steps there are, and nothing else.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vary.engine.arrays import Array, Arrays, arrays_of
from vary.engine.choosing import agreeing
from vary.engine.decoders.interface import Decoder, Entry, RunsAhead
from vary.engine.drafts import TOKEN_COST, ChunkLength, Draft
from vary.engine.guards import LoopFinding
from vary.engine.prompts import Decoded, DraftUse, OnIds, Prompt, RowGuard
from vary.engine.sampling import Sampling

if TYPE_CHECKING:  # it loads PyTorch
    from vary.engine.drawing import Chooser, Past

__all__ = ["Decoded", "DecodingLoop", "DraftUse", "OnIds", "Prompt", "RowGuard", "decode"]

PREFILL = 512
"""Tokens of a prompt that are read in one step, so that a long prompt does not hold up the other answers."""


@dataclass(slots=True)
class _Row:
    """An answer on its way.

    Attributes:
        held: tokens of the sequence with the whole prompt, and nothing of the answer.
        unread: embeddings (T, hidden_size) that come before the next token is chosen, or before the last one.
        past: where more than scores decide what follows.
        proposed: the draft's ids that are read in this step.
    """

    number: int
    prompt: Prompt
    sequence: int
    chunk: ChunkLength
    past: Past | None
    held: int
    unread: Array
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
        self._chooser: Chooser | None = None
        self._rows: list[_Row] = []
        self._aside: deque[_Row] = deque()
        self._most = sys.maxsize
        self._added = 0

    def __len__(self) -> int:
        """How many answers are on their way."""
        return len(self._rows) + len(self._aside)

    def add(self, prompt: Prompt) -> int:
        """Begins an answer; its number, counted from 0."""
        decoder = self._decoder
        sequence = decoder.open() if prompt.sequence is None else prompt.sequence
        if self._arrays is None:
            self._arrays = arrays_of(prompt.embeddings)
            if not self._sampling.likeliest:
                vocabulary = decoder.vocabulary_size
                self._chooser = self._arrays.chooser(self._sampling, vocabulary, prompt.embeddings)
        past = None if self._chooser is None else self._chooser.begin(prompt.ids)
        held = decoder.length(sequence) + len(prompt.embeddings)
        chunk = ChunkLength(self._cost)
        self._rows.append(_Row(self._added, prompt, sequence, chunk, past, held, prompt.embeddings))
        self._added += 1
        return self._added - 1

    def close(self) -> None:
        """Gives up what is on its way."""
        for row in self._rows:
            if row.prompt.sequence is None:
                self._decoder.close(row.sequence)
        self._rows = []
        self._aside.clear()

    def fall_back(self, rows: int) -> None:
        """Goes on with fewer answers at a time, where memory did not suffice for a step; nothing is lost.

        All sequences are closed, so that whatever the step has left of itself is gone.  They are opened again
        in their order, at most `rows` at a time, and read their prompts and what was chosen so far anew.
        """
        assert all(row.prompt.sequence is None for row in self._rows), "a sequence of the caller's stays"
        for row in self._rows:
            self._decoder.close(row.sequence)
        self._aside.extendleft(reversed(self._rows))
        self._rows, self._most = [], rows

    def _bring_back(self, arrays: Arrays) -> None:
        """Opens sequences again for what `fall_back` has put aside."""
        while self._aside and len(self._rows) < self._most:
            row = self._aside[0]
            row.unread = row.prompt.embeddings
            if len(row.ids) > 1:
                row.unread = arrays.join(row.unread, self._decoder.embed(row.ids[:-1]))
            row.sequence = self._decoder.open()
            self._rows.append(self._aside.popleft())

    def step(self) -> list[tuple[int, Decoded]]:
        """Reads a part of a prompt or some tokens of every answer; those that ended, with their numbers."""
        if self._arrays is None or not len(self):
            return []
        with self._arrays.reading():
            return self._step(self._arrays)

    def _step(self, arrays: Arrays) -> list[tuple[int, Decoded]]:
        self._bring_back(arrays)
        if not any(self._has_ended(row) for row in self._rows):  # one whose numbers did not fit into memory
            self._read_on(arrays)
        ended = [row for row in self._rows if self._has_ended(row)]
        answers = [(row.number, self._answer(arrays, row)) for row in ended]
        for row in ended:
            if row.prompt.sequence is None:
                self._decoder.close(row.sequence)
        self._rows = [row for row in self._rows if not self._has_ended(row)]
        return answers

    def _read_on(self, arrays: Arrays) -> None:
        if isinstance(self._decoder, RunsAhead) and (steps := self._steps_ahead(self._decoder.ahead)) > 1:
            self._run_ahead(self._decoder, steps)
        else:
            entries = self._entries(arrays)
            scores = self._decoder.read(entries)
            if self._suppressed:
                arrays.suppress(scores, self._suppressed)
            if counts := [entry.scored for entry in entries if entry.scored]:
                rows = [row for row, entry in zip(self._rows, entries, strict=True) if entry.scored]
                self._take(arrays, scores, rows, counts)

    def _steps_ahead(self, most: int) -> int:
        """How many steps the decoder may take by itself: none where the host has to look at each."""
        if self._chooser is not None and not self._chooser.ahead:
            return 0
        for row in self._rows:
            if not row.ids or len(row.unread) or row.prompt.draft is not None:
                return 0
            most = min(most, row.prompt.limit - len(row.ids))
            if self._decoder.context is not None:
                most = min(most, self._decoder.context - self._decoder.length(row.sequence))
        return most

    def _run_ahead(self, decoder: RunsAhead, steps: int) -> None:
        """Lets the decoder choose several tokens of each answer; those behind an end were in vain."""
        rows, draws = self._rows, None
        if self._chooser is not None:
            draws = self._chooser.draws([row.past for row in rows if row.past is not None], steps)
        chosen, chances = decoder.run(
            [row.sequence for row in rows], [row.ids[-1] for row in rows], steps, self._suppressed, draws
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
            if len(row.unread) <= PREFILL:
                row.proposed = self._proposal(row)
                wanted += [*row.ids[-1:], *row.proposed]
        embeddings = self._decoder.embed(wanted) if wanted else None
        entries, place = [], 0
        for row in self._rows:
            new, row.unread = row.unread[:PREFILL], row.unread[PREFILL:]
            if len(row.unread):
                entries.append(Entry(row.sequence, new, 0))
                continue
            count = len(row.ids[-1:]) + len(row.proposed)
            if count:
                assert embeddings is not None
                tokens = embeddings[place : place + count]
                new = arrays.join(new, tokens) if len(new) else tokens
                place += count
            entries.append(Entry(row.sequence, new, count if row.ids else count + 1))
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

    def _take(self, arrays: Arrays, scores: Array, rows: Sequence[_Row], counts: Sequence[int]) -> None:
        """Chooses the next tokens of rows, each by so many of the scores, and appends them."""
        if self._chooser is None:
            best = arrays.likeliest(scores)
        else:
            best = self._chooser.choose(
                scores, [(row.past, row.proposed) for row in rows if row.past is not None]
            )
        places: list[int] = []
        tokens: list[int] = []
        spans: list[tuple[_Row, int, list[int], int]] = []
        first = 0
        for row, count in zip(rows, counts, strict=True):
            chosen = best[first : first + count]
            same = agreeing(chosen, row.proposed)
            checked: Sequence[int] = () if row.ids else row.prompt.check or ()
            places += [*range(first, first + len(checked)), *range(first, first + same + 1)]
            tokens += [*checked, *chosen[: same + 1]]
            spans.append((row, len(checked), chosen[: same + 1], same))
            first += count
        # Before anything is appended: where memory does not suffice for it, nothing was done.
        values = arrays.logprobs(scores, places, tokens)
        place = 0
        for row, checks, chosen, same in spans:
            if checks:
                row.checked = values[place : place + checks]
            new = self._append(row, chosen, same)
            row.chances.append(values[place + checks : place + checks + len(new)])
            place += checks + len(chosen)

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
        if row.past is not None:
            row.past.follow(new)
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

    @staticmethod
    def _answer(arrays: Arrays, row: _Row) -> Decoded:
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

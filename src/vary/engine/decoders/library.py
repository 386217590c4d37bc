"""A decoder over the library's own modules: any text model with a plain cache, on any device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer

from vary.engine.decoders.interface import Entry
from vary.engine.drafts import TOKEN_COST
from vary.errors import ContextError
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["LibraryDecoder", "context_length"]

PLAIN = frozenset(["gpt2", "gpt_neox", "llama", "mistral", "opt", "phi3", "qwen2", "qwen3"])
"""Text models that take positions and masks of our own, and whose tests are in `tests/engine`."""
STATELESS_ROPE = frozenset(["default", "linear", "llama3", "yarn"])
"""Rotary positions that do not depend on how long the other sequences of a batch are."""
ROOM = 64
"""Tokens by which the room of a sequence grows at least."""
PADDING, FORWARD = 0.25, 64
"""Sequences are read in one forward while at most this share of it is padding, or so many tokens are: another
forward, which reads all weights again, would cost more."""


def context_length(model: VaryForConditionalGeneration) -> int | None:
    """How many tokens the language model's positions reach, prompt and answer together; None if unknown."""
    positions = getattr(model.config.text_config, "max_position_embeddings", None)
    return None if positions is None else int(positions)


class LibraryDecoder:
    """A `Decoder` over the language model and the head of a Vary model, as the library computes them.

    The keys and values of all sequences lie in one tensor a layer, (slots, heads, room, width), whose first
    slots are the open sequences: when one is closed, the last takes its place.  A batch of all sequences thus
    reads them where they lie; of some of them, copies.  With the last sequence the tensors go.  It is for one
    thread: each reading makes its own.

    Args:
        model: in evaluation mode.
    """

    exact = False
    alone = False
    token_cost = TOKEN_COST

    def __init__(self, model: VaryForConditionalGeneration) -> None:
        self._model = model
        self._text = model.model.language_model
        self.name = f"Transformers ({str(model.dtype).removeprefix('torch.')}, {model.device.type})"
        self.vocabulary_size = int(model.config.text_config.vocab_size)
        self.hidden_size = int(model.config.text_config.hidden_size)
        self.context = context_length(model)
        self._eager = model.config.text_config._attn_implementation == "eager"
        self._cache = self._empty_cache()
        self._slots: list[int] = []
        self._lengths: dict[int, int] = {}
        self._opened = 0

    @staticmethod
    def supports(model: VaryForConditionalGeneration) -> bool:
        """Whether the text model has one plain cache, whose rows may have lengths of their own."""
        config = model.config.text_config
        rope = getattr(config, "rope_parameters", None) or {}
        return (
            config.model_type in PLAIN
            and config._attn_implementation in ("sdpa", "eager")
            and rope.get("rope_type", "default") in STATELESS_ROPE
            and all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)
        )

    def open(self) -> int:
        """Begins an empty sequence; its number."""
        self._opened += 1
        self._slots.append(self._opened)
        self._lengths[self._opened] = 0
        return self._opened

    @torch.inference_mode()
    def close(self, sequence: int) -> None:
        """Forgets a sequence; the last slot moves into its place."""
        slot, last = self._slots.index(sequence), len(self._slots) - 1
        if slot != last:
            self._slots[slot] = self._slots[last]
            for layer in self._layers():
                layer.move(last, slot, self._lengths[self._slots[slot]])
        self._slots.pop()
        del self._lengths[sequence]
        if not self._slots:
            self._cache = self._empty_cache()

    def length(self, sequence: int) -> int:
        """How many tokens a sequence holds."""
        return self._lengths[sequence]

    def cut(self, sequence: int, length: int) -> None:
        """Forgets all but the first `length` tokens of a sequence."""
        assert 0 <= length <= self._lengths[sequence]
        self._lengths[sequence] = length

    @torch.inference_mode()
    def embed(self, ids: Sequence[int]) -> Tensor:
        """The embeddings (T, hidden_size) of token ids."""
        table = self._text.get_input_embeddings()
        embeddings: Tensor = table(torch.tensor(list(ids), dtype=torch.long, device=table.weight.device))
        return embeddings

    @torch.inference_mode()
    def read(self, entries: Sequence[Entry]) -> Tensor:
        """Reads new tokens; scores (sum of `scored`, vocabulary_size) in float32, see `Decoder.read`."""
        for entry in entries:
            held, new = self._lengths[entry.sequence], len(entry.embeddings)
            if self.context is not None and held + new > self.context:
                raise ContextError(
                    f"a sequence of {held} tokens grows by {new}, and the language model's positions end at "
                    f"{self.context}; give a shorter prompt or a lower limit of new tokens"
                )
        hidden: list[Tensor] = [torch.empty(0)] * len(entries)
        for group in _groups(entries):
            group.sort(key=lambda number: self._slots.index(entries[number].sequence))
            states = self._forward([entries[number] for number in group])
            for number, row in zip(group, states, strict=True):
                entry = entries[number]
                size = len(entry.embeddings)
                hidden[number] = row[size - entry.scored : size]
        if not any(entry.scored for entry in entries):
            return torch.empty((0, self.vocabulary_size), device=self._model.device)
        wanted = hidden[0] if len(hidden) == 1 else torch.cat(hidden)
        scores: Tensor = self._model.scores(wanted)
        return scores.float()

    def copies(self, sequence: int, count: int) -> DynamicCache:
        """The keys and values of a sequence `count` times over, for the library's search with beams."""
        slot, length = self._slots.index(sequence), self._lengths[sequence]
        cache = DynamicCache(config=self._model.config.text_config)
        for number, layer in enumerate(self._layers()):
            if length:
                keys, values = layer.first(slot, length)
                cache.update(keys.repeat(count, 1, 1, 1), values.repeat(count, 1, 1, 1), number)
        return cache

    def _empty_cache(self) -> Cache:
        return Cache(
            layers=[_SlottedLayer() for _ in range(int(self._model.config.text_config.num_hidden_layers))]
        )

    def _layers(self) -> Iterator[_SlottedLayer]:
        for layer in self._cache.layers:
            assert isinstance(layer, _SlottedLayer)
            yield layer

    def _forward(self, entries: list[Entry]) -> Tensor:
        """The last hidden states (B, T, hidden_size) of some entries, padded behind their tokens."""
        counts = [len(entry.embeddings) for entry in entries]
        lengths = [self._lengths[entry.sequence] for entry in entries]
        device, longest = entries[0].embeddings.device, max(counts)
        place = _Place(
            [self._slots.index(entry.sequence) for entry in entries],
            lengths,
            longest,
            len(self._slots),
            device,
        )
        for layer in self._layers():
            layer.place = place
        if len(entries) == 1:
            embeddings = entries[0].embeddings[None]
        else:
            embeddings = torch.stack(
                [F.pad(e.embeddings, (0, 0, 0, longest - len(e.embeddings))) for e in entries]
            )
        positions = place.positions
        if self.context is not None and max(lengths) + longest > self.context:
            positions = positions.clamp(max=self.context - 1)  # padding reaches no position
        output = self._text(
            inputs_embeds=embeddings,
            attention_mask=self._mask(place, embeddings.dtype),
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        for entry, count in zip(entries, counts, strict=True):
            self._lengths[entry.sequence] += count
        states: Tensor = output.last_hidden_state
        return states

    def _mask(self, place: _Place, dtype: torch.dtype) -> Tensor | None:
        """What each new token sees, (B, 1, T, K); None where it is what the library takes for granted."""
        if place.empty or (place.even and place.count == 1):
            return None
        seen = torch.arange(place.reach, device=place.device) <= place.positions[:, None, :, None]
        if not self._eager:
            return seen
        return torch.zeros(seen.shape, dtype=dtype, device=place.device).masked_fill_(
            ~seen, torch.finfo(dtype).min
        )


class _Place:
    """Where the new tokens of a batch belong: which slots, and from which positions on.

    Attributes:
        count: T, new tokens of a row, padding included.
        reach: K, the positions that the batch sees: the longest row with its new tokens.
        positions: (B, T) of the new tokens.
        empty, even: whether no row holds anything yet; whether all hold the same number of tokens.
    """

    def __init__(
        self, slots: list[int], lengths: list[int], count: int, opened: int, device: torch.device
    ) -> None:
        self.count, self.opened, self.device = count, opened, device
        self.length = max(lengths)
        self.reach = self.length + count
        self.even = min(lengths) == self.length
        self.empty = self.length == 0
        first, rows = slots[0], len(slots)
        self.rows: slice | Tensor
        if slots == list(range(first, first + rows)):
            self.rows = slice(first, first + rows)
        else:
            self.rows = torch.tensor(slots, device=device)
        steps = torch.arange(count, device=device)
        if self.even:
            self.positions = (steps + self.length)[None].expand(rows, -1)
        else:
            self.positions = torch.tensor(lengths, device=device)[:, None] + steps
            self.index = torch.tensor(slots, device=device)[:, None]


class _SlottedLayer(CacheLayerMixin):
    """Keys and values of one layer, (slots, heads, room, width) each, of which `place` is written next."""

    is_sliding = False
    place: _Place

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Takes number and width of the heads from the first keys and values, (B, heads, T, width)."""
        self.keys = key_states.new_zeros((0, key_states.shape[1], 0, key_states.shape[3]))
        self.values = value_states.new_zeros((0, value_states.shape[1], 0, value_states.shape[3]))
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Writes the new keys and values into their slots; returns all that the batch sees, (B, h, K, w)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        place = self.place
        self._reserve(place)
        assert self.keys is not None
        assert self.values is not None
        for table, new in ((self.keys, key_states), (self.values, value_states)):
            if place.even:
                table[place.rows, :, place.length : place.reach] = new
            else:
                table[place.index, :, place.positions] = new.transpose(1, 2)
        if place.empty:
            return key_states, value_states
        rows = place.rows
        if isinstance(rows, slice):
            return self.keys[rows, :, : place.reach], self.values[rows, :, : place.reach]
        # What is cut before it is copied is not copied.
        return self.keys[:, :, : place.reach][rows], self.values[:, :, : place.reach][rows]

    def move(self, source: int, target: int, length: int) -> None:
        """Copies what the slot `source` holds to `target`."""
        # A sequence that holds nothing may have no slot yet.
        if length and self.keys is not None and self.values is not None:
            for table in (self.keys, self.values):
                table[target, :, :length] = table[source, :, :length]

    def first(self, slot: int, length: int) -> tuple[Tensor, Tensor]:
        """Keys and values (1, heads, length, width) at the beginning of a slot."""
        assert self.keys is not None
        assert self.values is not None
        return self.keys[slot : slot + 1, :, :length], self.values[slot : slot + 1, :, :length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many positions the batch sees, and the first of them."""
        return self.place.reach, 0

    def get_seq_length(self) -> int:
        """How many tokens the longest row of the batch holds."""
        return self.place.length

    def get_max_length(self) -> int:
        """No longest one."""
        return -1

    def _reserve(self, place: _Place) -> None:
        """Makes room; what is new is zeros, since even what is masked must be finite."""
        assert self.keys is not None
        assert self.values is not None
        slots, heads, room, _ = self.keys.shape
        if place.opened <= slots and place.reach <= room:
            return
        if place.opened > slots:
            slots = max(place.opened, 2 * slots)
        if place.reach > room:
            room = -(-max(place.reach, 3 * room // 2) // ROOM) * ROOM
        grown = []
        for table in (self.keys, self.values):
            new = table.new_zeros((slots, heads, room, table.shape[3]))
            new[: table.shape[0], :, : table.shape[2]] = table
            grown.append(new)
        self.keys, self.values = grown


def _groups(entries: Sequence[Entry]) -> Iterator[list[int]]:
    """Numbers of the entries that are read in one forward: of a similar number of tokens."""
    order = sorted(range(len(entries)), key=lambda number: -len(entries[number].embeddings))
    group: list[int] = []
    tokens = 0
    for number in order:
        count = len(entries[number].embeddings)
        if group:
            whole = len(entries[group[0]].embeddings) * (len(group) + 1)
            if whole - (tokens + count) > max(PADDING * whole, FORWARD):
                yield group
                group, tokens = [], 0
        group.append(number)
        tokens += count
    if group:
        yield group

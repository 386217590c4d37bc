"""What a model has read of one growing text: its ids with their keys and values, to go on from."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from vary.engine.decoders.interface import Decoder, Entry
from vary.engine.decoders.library import LibraryDecoder
from vary.model.modeling import VaryForConditionalGeneration, VaryImageFeatures

__all__ = ["SCORED_AT_ONCE", "PromptCache"]

CHUNK = 512
"""Ids that are read at once; more only take more memory."""
SCORED_AT_ONCE = 64
"""Positions whose scores over the whole vocabulary are in memory at a time."""


class PromptCache:
    """Keys and values of one sequence, whose beginning the next prompt shares.

    They lie in a decoder, or where the text model needs a cache of another kind in the library's.  With this
    they go: a decoder that others use too gets its memory back.

    Args:
        model: whose prompts these are.
        decoder: another decoder for its language model than the library's.

    Attributes:
        ids: what was read, in order.  After a step that was interrupted the decoder or some layers may hold
            more: `keep` cuts that off.
        decoder: what holds it; None where the library's cache does.
        sequence: its number in the decoder.
        cache: the library's cache, of one row; empty where there is a decoder.
    """

    def __init__(self, model: VaryForConditionalGeneration, decoder: Decoder | None = None) -> None:
        self._model = model
        self._features: VaryImageFeatures | None = None
        if decoder is None and LibraryDecoder.supports(model):
            decoder = LibraryDecoder(model)
        self.decoder = decoder
        self.sequence = -1
        if decoder is not None:
            self.sequence = decoder.open()
            # Not at the end of the process, where another thread may still read.
            weakref.finalize(self, decoder.close, self.sequence).atexit = False
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self.ids: list[int] = []
        self.cache = DynamicCache(config=self._model.config.text_config)
        if self.decoder is not None:
            self.decoder.cut(self.sequence, 0)

    def shared(self, ids: Sequence[int], features: VaryImageFeatures | None) -> int:
        """How many ids at the beginning of a prompt need not be read again.

        At least the last id of the prompt is left to be read, since what comes next follows from it.

        Args:
            ids: the whole prompt.
            features: of its images.  The ids of two images are the same, so with other features, compared by
                identity, nothing is shared.
        """
        if features is not self._features:
            return 0
        pairs = enumerate(zip(self.ids, ids[:-1], strict=False))
        return next((at for at, (old, new) in pairs if old != new), min(len(self.ids), len(ids) - 1))

    def keep(self, ids: Sequence[int], features: VaryImageFeatures | None) -> int:
        """Keeps what the cache shares with a prompt, and forgets the rest; returns how many ids are kept."""
        self.cut(self.shared(ids, features))
        self._features = features
        return len(self.ids)

    def cut(self, length: int) -> None:
        """Forgets all but the first `length` ids; mends what an interrupted step has left uneven."""
        if self.decoder is not None:
            del self.ids[length:]
            self.decoder.cut(self.sequence, length)
            return
        layers = self.cache.layers
        if length == 0 or any(type(layer) is not DynamicLayer for layer in layers):
            # Layers of other kinds, such as those of a sliding window, have no beginning to go back to.
            if length == 0 or self.cache.get_seq_length() != length:
                self.clear()
            return
        # The ids first: if this is interrupted, layers hold more than they say, which the next `cut` mends.
        del self.ids[length:]
        for layer in layers:
            layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]

    def read(self, ids: Sequence[int]) -> None:
        """Reads a part of a prompt behind what is there, in chunks, and the images in their places."""
        for start in range(0, len(ids), CHUNK):
            self._step(ids[start : start + CHUNK], images=True, scored=0 if self.decoder else 1)

    def read_answer(self, last: int, answer: Sequence[int]) -> list[float]:
        """Reads the last id of a prompt and the answer to it; the log-probabilities of the answer's ids.

        The answer's own last id is not read, as after decoding step by step.
        """
        ids = [last, *answer]
        chances: list[float] = []
        for start in range(0, len(answer), SCORED_AT_ONCE):
            end = min(start + SCORED_AT_ONCE, len(answer))
            table = self._step(ids[start:end], images=False, scored=end - start).float().log_softmax(-1)
            follows = torch.tensor(ids[start + 1 : end + 1], device=table.device)
            chances += table.gather(1, follows[:, None])[:, 0].tolist()
        return chances

    @property
    def for_library(self) -> bool:
        """Whether the library can go on with these keys and values; other decoders keep theirs."""
        return self.decoder is None or isinstance(self.decoder, LibraryDecoder)

    def for_beams(self, beams: int) -> DynamicCache:
        """A copy of the keys and values for so many rows, which the library's search may change."""
        if isinstance(self.decoder, LibraryDecoder):
            return self.decoder.copies(self.sequence, beams)
        rows = copy.deepcopy(self.cache)
        rows.batch_repeat_interleave(beams)
        return rows

    @torch.no_grad()
    def embed(self, ids: Sequence[int]) -> Tensor:
        """The embeddings (T, hidden_size) of new ids of the prompt, images in their places."""
        where = torch.tensor([list(ids)], device=self._model.device)
        embeddings: Tensor = self._model.model.embed(where, self._features_for(ids))[0]
        return embeddings

    def _step(self, ids: Sequence[int], *, images: bool, scored: int) -> Tensor:
        """One forward over new ids; the scores (scored, V) of the last ones."""
        if self.decoder is not None:
            embeddings = self.embed(ids) if images else self.decoder.embed(ids)
            scores = self.decoder.read([Entry(self.sequence, embeddings, scored)])
            self.ids += ids
            return scores
        model = self._model
        device = model.device
        features = self._features_for(ids) if images else None
        output = model(
            input_ids=torch.tensor([list(ids)], device=device),
            attention_mask=torch.ones((1, len(self.ids) + len(ids)), dtype=torch.long, device=device),
            past_key_values=self.cache,
            mm_encoder_outputs=None if features is None else {"image": features},
            use_cache=True,
            logits_to_keep=scored,
        )
        self.ids += ids
        logits: Tensor = output.logits[0]
        return logits

    def _features_for(self, ids: Sequence[int]) -> VaryImageFeatures | None:
        """The image tokens that belong into new ids of the prompt."""
        token = self._model.config.image_token_id
        wanted = list(ids).count(token)
        if self._features is None or self._features.pooler_output is None or wanted == 0:
            return None
        before = self.ids.count(token)
        return VaryImageFeatures(
            pooler_output=[torch.cat(list(self._features.pooler_output))[before:][:wanted]]
        )

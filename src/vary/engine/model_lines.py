"""Text lines encoded by a model of PyTorch, as `vary.engine.lines` reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from vary.engine.decoders.interface import Decoder
from vary.engine.decoders.library import LibraryDecoder
from vary.engine.decoding import RowGuard
from vary.engine.generation import Generation, end_ids, generate, runs_here
from vary.engine.model_frames import ModelFrames
from vary.engine.sampling import Sampling
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["ModelLines"]


class ModelLines:
    """A `vary.engine.lines.LineBatch`; arguments as in `vary.engine.lines.read_lines`."""

    def __init__(
        self,
        model: VaryForConditionalGeneration,
        inputs: Mapping[str, Any],
        limits: Sequence[int],
        *,
        sampling: Sampling | None,
        guards: Sequence[RowGuard] | None,
        drafts: bool,
        decoder: Decoder | None,
    ) -> None:
        config = model.config
        self._model, self._sampling, self._own_decoder = model, sampling, decoder
        self._text: dict[str, Tensor] = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        self._features = model.get_image_features(inputs["pixel_values"], pixel_widths=inputs["pixel_widths"])
        self.limits, self.guards = limits, guards
        self.eos_ids = end_ids(model)
        self.suppressed: Sequence[int] = model.generation_config.suppress_tokens or ()
        self.end, self.blank = config.text_config.eos_token_id, config.text_config.pad_token_id
        marks = [config.image_token_id, config.image_start_token_id, config.image_end_token_id]
        read = self._features.ctc_frames is not None
        self.frames = ModelFrames(model, self._features, [*marks, self.end]) if read else None
        greedy = sampling is None or sampling.greedy
        self.drafts = drafts and greedy and runs_here(model, Sampling(), decoder)

    @property
    def decoder(self) -> Decoder:
        return self._own_decoder or LibraryDecoder(self._model)

    def prompts(self) -> list[Tensor]:
        """The embeddings (T, C) of each line's prompt."""
        embeddings = self._model.model.embed(self._text["input_ids"], self._features)
        masks = self._text["attention_mask"].bool()
        return [row[mask] for row, mask in zip(embeddings, masks, strict=True)]

    def decode(self) -> list[Generation]:
        """Decodes the lines from nothing, as they come or by beams."""
        return generate(
            self._model,
            {**self._text, "mm_encoder_outputs": {"image": self._features}},
            self.limits,
            sampling=self._sampling,
            guards=self.guards,
            decoder=self._own_decoder,
        )

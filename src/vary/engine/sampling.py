"""How the next token is chosen: `Sampling`, and what it means in the library's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vary.errors import VaryError

if TYPE_CHECKING:  # neither is loaded where nothing is drawn and nothing penalised
    from torch import Tensor
    from transformers import LogitsProcessor, LogitsProcessorList

__all__ = ["UNUSUAL", "Sampling"]

SMALLEST_TEMPERATURE, SMALLEST_PENALTY = 1e-4, 1e-20
"""Smaller ones are taken for these: they choose the same tokens, and divided scores stay finite."""

UNUSUAL = (
    *("bad_words_ids", "begin_suppress_tokens", "diversity_penalty", "encoder_repetition_penalty"),
    *("epsilon_cutoff", "eta_cutoff", "exponential_decay_length_penalty", "forced_bos_token_id"),
    *("forced_eos_token_id", "guidance_scale", "min_length", "min_new_tokens", "min_p", "sequence_bias"),
    *("stop_strings", "top_h", "typical_p", "watermarking_config"),
)
"""Settings of a generation configuration that only the library's own loop knows."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; the default is greedy.

    Every answer draws by itself, with random numbers that its own tokens have from the beginning: it does not
    depend on what is decoded beside it.  What a checkpoint's `generation_config.json` says about these has no
    effect: the fields do what they say.

    Attributes:
        temperature: 0 for greedy decoding; above, tokens are drawn.
        top_k, top_p: keep only the k likeliest tokens, or the likeliest that make up p; 0 and 1 keep all.
        repetition_penalty: divides the scores of tokens that stand in the prompt or the answer so far (where
            they are negative, multiplies them); 1 for none.
        seed: of the draws, at which every answer begins; None takes another one for each answer, from torch's
            global state.
        num_beams: answers that are followed at a time; of those that ended the one is taken whose mean
            log-probability is highest.  Above 1 nothing can be said before all are finished: there is no
            text to stream, and a loop is not stopped but cut off afterwards.
        no_repeat_ngram_size: no n tokens in a row occur twice, the prompt's included; 0 allows all.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    num_beams: int = 1
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        if (
            not 0 <= self.temperature < float("inf")
            or self.top_k < 0
            or not 0 < self.top_p <= 1
            or not 0 < self.repetition_penalty < float("inf")
            or self.num_beams < 1
            or self.no_repeat_ngram_size < 0
            or not -(2**63) <= (self.seed or 0) < 2**64
        ):
            raise VaryError(
                f"{self}: expected temperature, top_k and no_repeat_ngram_size of at least 0, top_p above 0 "
                "and at most 1, repetition_penalty above 0, num_beams of at least 1, a seed of 64 bits"
            )

    @property
    def likeliest(self) -> bool:
        """Whether a step takes the likeliest token, just as the model sees it."""
        return self.temperature == 0 and self.repetition_penalty == 1 and self.no_repeat_ngram_size == 0

    @property
    def greedy(self) -> bool:
        """Whether the answer is made of the likeliest token at every step."""
        return self.likeliest and self.num_beams == 1

    @property
    def divisor(self) -> float:
        """What scores are divided by before tokens are drawn."""
        return max(float(self.temperature), SMALLEST_TEMPERATURE)

    @property
    def penalty(self) -> float:
        """What scores of repeated tokens are divided by."""
        return max(float(self.repetition_penalty), SMALLEST_PENALTY)

    def library_options(self) -> dict[str, Any]:
        """What the library's `generate` is told; without beams it takes what `vary.engine.drawing` leaves."""
        drawn = self.temperature > 0 and self.num_beams > 1
        options: dict[str, Any] = {
            "do_sample": drawn,
            "num_beams": self.num_beams,
            "num_return_sequences": 1,
            # These are in `processors`, behind the recorder of log-probabilities.
            "repetition_penalty": 1.0,
            "no_repeat_ngram_size": 0,
        }
        if self.num_beams > 1:
            options |= {"early_stopping": False, "length_penalty": 1.0}
        if drawn:
            options |= {"temperature": self.divisor, "top_k": self.top_k, "top_p": self.top_p}
        return options

    def processors(self, attention_mask: Tensor) -> LogitsProcessorList:
        """The library's processors for beams; padding of the prompts (B, T) counts for no repetition."""
        from transformers import (
            LogitsProcessorList,
            NoRepeatNGramLogitsProcessor,
            RepetitionPenaltyLogitsProcessor,
        )

        chosen: list[LogitsProcessor] = []
        if self.repetition_penalty != 1:
            padding = (attention_mask != 0).int().argmax(dim=1).repeat_interleave(self.num_beams)
            chosen.append(RepetitionPenaltyLogitsProcessor(self.penalty, padding))
        if self.no_repeat_ngram_size:
            chosen.append(NoRepeatNGramLogitsProcessor(self.no_repeat_ngram_size))
        return LogitsProcessorList(chosen)

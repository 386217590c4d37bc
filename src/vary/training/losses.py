"""The loss of stage 1: reading aloud (cross entropy of the decoder) and spelling (CTC of the encoder)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vary.training.data import LineBatch

__all__ = ["ctc_loss", "vocabulary_losses"]


def ctc_loss(logits: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor, blank: int) -> Tensor:
    """Connectionist temporal classification, a mean per character and line.

    logits (B, F, V) with `lengths` (B,) valid frames; targets (sum of lengths,).  Computed in float32.
    """
    scores = logits.float().log_softmax(-1).transpose(0, 1)
    return F.ctc_loss(scores, targets, lengths, target_lengths, blank=blank, zero_infinity=True)


def vocabulary_losses(model: nn.Module, batch: LineBatch, blank: int) -> dict[str, Tensor]:
    """The decoder's loss and, where the network has one, the CTC branch's: scalars `decoder`, `ctc`."""
    output = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        pixel_values=batch.pixel_values,
        pixel_widths=batch.pixel_widths,
        labels=batch.labels,
        use_cache=False,
    )
    losses = {"decoder": output.loss}
    if output.ctc_logits is not None:
        losses["ctc"] = ctc_loss(
            output.ctc_logits, output.ctc_lengths, batch.targets, batch.target_lengths, blank
        )
    return losses

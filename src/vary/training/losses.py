"""The loss of stage 1: reading aloud (cross entropy of the decoder) and spelling (CTC of the encoder)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vary.training.data import IGNORED, LineBatch

__all__ = ["ctc_loss", "vocabulary_losses"]


def ctc_loss(logits: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor, blank: int) -> Tensor:
    """Connectionist temporal classification, a mean per character and line.

    logits (B, F, V) with `lengths` (B,) valid frames; targets (sum of lengths,).  Computed in float32.
    """
    scores = logits.float().log_softmax(-1).transpose(0, 1)
    return F.ctc_loss(scores, targets, lengths, target_lengths, blank=blank, zero_infinity=True)


def vocabulary_losses(model: nn.Module, batch: LineBatch, blank: int) -> dict[str, Tensor]:
    """The decoder's loss and, where the network has one, the CTC branch's: scalars `decoder`, `ctc`.

    With `batch.rows` both compare a character with these rows of the table alone.
    """
    rows, labels, targets = batch.rows, batch.labels, batch.targets
    if rows is not None:  # what was an id is a place among the rows, which are sorted
        targets = torch.searchsorted(rows, targets)
        labels = labels.where(labels == IGNORED, torch.searchsorted(rows, labels))
        blank = int(torch.searchsorted(rows, blank))
    output = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        pixel_values=batch.pixel_values,
        pixel_widths=batch.pixel_widths,
        labels=labels,
        use_cache=False,
        vocabulary_rows=rows,
    )
    losses = {"decoder": output.loss}
    if output.ctc_logits is not None:
        losses["ctc"] = ctc_loss(output.ctc_logits, output.ctc_lengths, targets, batch.target_lengths, blank)
    return losses

"""What is minimised: reading aloud (cross entropy of the decoder), and spelling (CTC of the encoder).

A loss is a sum over a batch, divided by what the whole step counts over all its batches and processes; so the
losses of a step add up to the same number however it is cut into batches.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vary.training.data.batches import ConversationBatch
from vary.training.data.examples import IGNORED
from vary.training.data.lines import LineBatch

__all__ = ["conversation_losses", "ctc_loss", "line_losses"]


def ctc_loss(
    logits: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor, blank: int, lines: int
) -> Tensor:
    """Connectionist temporal classification: per character, added over the batch, divided by `lines`.

    logits (B, F, V) with `lengths` (B,) valid frames; targets (sum of lengths,).  Computed in float32.
    """
    scores = logits.float().log_softmax(-1).transpose(0, 1)
    each = F.ctc_loss(
        scores, targets, lengths, target_lengths, blank=blank, zero_infinity=True, reduction="none"
    )
    return (each / target_lengths).sum() / lines


def line_losses(
    model: nn.Module, batch: LineBatch, counts: Mapping[str, int], blank: int
) -> dict[str, Tensor]:
    """The decoder's loss and, where the network has one, the CTC branch's: scalars `decoder`, `ctc`.

    With `batch.rows` both compare a character with these rows of the table alone.  Padding stands on the
    right, where nothing that is learned looks, so the decoder needs no mask for it, which only costs time.
    """
    rows, labels, targets = batch.rows, batch.labels, batch.targets
    if rows is not None:  # what was an id is a place among the rows, which are sorted
        targets = torch.searchsorted(rows, targets)
        labels = labels.where(labels == IGNORED, torch.searchsorted(rows, labels))
        blank = int(torch.searchsorted(rows, blank))
    output = model(
        input_ids=batch.input_ids,
        pixel_values=batch.pixel_values,
        pixel_widths=batch.pixel_widths,
        labels=labels,
        use_cache=False,
        vocabulary_rows=rows,
        num_items_in_batch=counts["answer"],
    )
    losses = {"decoder": output.loss}
    if output.ctc_logits is not None:
        losses["ctc"] = ctc_loss(
            output.ctc_logits,
            output.ctc_lengths,
            targets,
            batch.target_lengths,
            blank,
            counts["samples"],
        )
    return losses


def conversation_losses(
    model: nn.Module, batch: ConversationBatch, counts: Mapping[str, int]
) -> dict[str, Tensor]:
    """The cross entropy of the answers' tokens: a scalar `loss`.

    A batch without images leaves the vision side out; where that is trained, its parameters are named all the
    same, so that every process has the same gradients to exchange.
    """
    unused = [] if batch.pixels else _vision_parameters(model)
    nothing = sum(
        (0.0 * parameter.sum() for parameter in unused), torch.zeros((), device=batch.labels.device)
    )
    output = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        labels=batch.labels,
        use_cache=False,
        num_items_in_batch=counts["answer"],
        **batch.pixels,
    )
    return {"loss": output.loss + nothing}


def _vision_parameters(model: nn.Module) -> list[nn.Parameter]:
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and ".language_model." not in name and not name.startswith("lm_head")
    ]

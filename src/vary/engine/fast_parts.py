"""Which implementations compute a model that only reads: the fastest ones that run on its device."""

from __future__ import annotations

from contextlib import suppress

import torch

from vary.engine.decoders.graphed import GraphDecoder
from vary.engine.decoders.interface import Decoder
from vary.engine.offload import is_offloaded
from vary.engine.surveys import use_native_survey
from vary.engine.vision import fastest_precision, use_native_vision
from vary.errors import NativeError
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["use_fast_parts"]


def use_fast_parts(
    model: VaryForConditionalGeneration, decoder: Decoder | None = None, *, rounded: bool = False
) -> tuple[str, Decoder | None]:
    """Lets a model's parts be computed by what is fastest here; it is the same, up to rounding.

    On a CPU the native kernels compute the vision vocabulary network, and look through the scores of a CTC
    branch.  In float32 they add up in another order than PyTorch; of a checkpoint in another type, or with
    rounded weights, products are in bfloat16 where the processor multiplies it (AMX), CLIP's too, and
    elsewhere have 12 bits and more, which is closer.  On a GPU both the network and the language model have
    kernels.  Where there are none, or weights are offloaded, PyTorch computes.

    Args:
        model: on its device, in evaluation mode; its weights do not change any more.
        decoder: of its language model, where it has one already.
        rounded: whether the language model's weights are not those of the checkpoint any more.

    Returns:
        What computes the vision vocabulary network, for people, and the decoder; None for the library's.
    """
    vision = "PyTorch"
    if is_offloaded(model):  # what is fast reads weights where they were when it was built
        return vision, decoder
    exact = model.dtype == torch.float32 and not rounded
    with suppress(NativeError):
        if model.device.type == "cpu":
            network = model.model.vision_vocabulary
            vision = use_native_vision(model.model, "float32" if exact else fastest_precision(network))
            if exact and decoder is None and model.config.vision_vocabulary_config.ctc_frames:
                use_native_survey(model)
        elif model.device.type == "cuda":
            from vary.engine.cuda.branches import use_gpu_vision  # imports Triton

            vision = use_gpu_vision(model)
    if model.device.type == "cuda" and decoder is None and GraphDecoder.supports(model):
        decoder = GraphDecoder(model)
    return vision, decoder

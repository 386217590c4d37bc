"""Both vision branches on a GPU: recorded as graphs for a few images, which would else wait for the host."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from vary.engine.cuda.current import current
from vary.engine.cuda.vision import use_triton_blocks
from vary.errors import NativeError
from vary.model.modeling import VaryForConditionalGeneration, VaryModel

__all__ = ["RecordedBranches", "use_gpu_vision"]

Images: TypeAlias = tuple[Tensor, Tensor | None]
Found: TypeAlias = tuple[Tensor, Tensor, Tensor]
FEW = 4 * 4096
"""Patches up to which a batch is recorded: more keep the GPU busy while the host launches."""
RECORDINGS = 4
"""Sizes of batches that are held at a time; each keeps the memory of its activations."""


@dataclass(frozen=True, slots=True)
class _Recording:
    """A graph with the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    images: Images
    found: Found


class RecordedBranches:
    """Computes a model's `branch_runner`: features, tokens and embeddings of images of one size.

    A batch of a size that comes for the second time is recorded, and replayed from then on; the parameters
    are read where they were at that time.  Calls of several threads wait for each other.

    Args:
        model: in evaluation mode, on a GPU.
    """

    def __init__(self, model: VaryModel) -> None:
        self._model = model
        self._seen: set[tuple[object, ...]] = set()
        self._recordings: OrderedDict[tuple[object, ...], _Recording] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, pixels: Tensor, clip_pixels: Tensor | None) -> Found:
        """See `VaryModel.get_image_features`; what is returned stays as it is when others are encoded."""
        with self._lock, current(pixels.device):
            return self._found(pixels, clip_pixels)

    def _found(self, pixels: Tensor, clip_pixels: Tensor | None) -> Found:
        size = self._model.config.vision_vocabulary_config.patch_size
        patches = len(pixels) * (pixels.shape[-2] // size) * (pixels.shape[-1] // size)
        if patches > FEW or torch.cuda.is_current_stream_capturing():
            return self._compute(pixels, clip_pixels)
        key = (tuple(pixels.shape), None if clip_pixels is None else tuple(clip_pixels.shape), pixels.dtype)
        recording = self._recordings.get(key)
        if recording is None:
            if key not in self._seen:
                self._seen.add(key)
                return self._compute(pixels, clip_pixels)
            recording = self._record(pixels, clip_pixels)
            self._recordings[key] = recording
            if len(self._recordings) > RECORDINGS:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(key)
        own, own_clip = recording.images
        own.copy_(pixels)
        if own_clip is not None and clip_pixels is not None:
            own_clip.copy_(clip_pixels)
        recording.graph.replay()
        features, tokens, embeddings = (tensor.clone() for tensor in recording.found)
        return features, tokens, embeddings

    @torch.inference_mode(False)
    @torch.no_grad()
    def _record(self, pixels: Tensor, clip_pixels: Tensor | None) -> _Recording:
        """Everything has run once before: kernels are compiled, and libraries have their memory.

        Not in inference mode, outside of which its tensors could not be written again.
        """
        images = pixels.clone(), None if clip_pixels is None else clip_pixels.clone()
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(pixels.device)
        side = torch.cuda.Stream(pixels.device)
        with torch.cuda.stream(side):
            self._compute(*images)  # on the stream of the recording
        side.synchronize()
        # Other threads may do what they like with the GPU meanwhile.
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            found = self._compute(*images)
        return _Recording(graph, images, found)

    def _compute(self, pixels: Tensor, clip_pixels: Tensor | None) -> Found:
        features, _ = self._model.vision_vocabulary.encode(pixels)
        tokens, embeddings = self._model.project(features, None, clip_pixels)
        return features, tokens, embeddings


def use_gpu_vision(model: VaryForConditionalGeneration) -> str:
    """Lets graphs, and Triton kernels where they can, compute the vision branches that only read.

    Weights may change in place, but not move: this is for models that only read.

    Returns:
        What computes the vision vocabulary network's blocks now, for people: "Triton (bfloat16)", "PyTorch".

    Raises:
        NativeError: if the model is not on a GPU of the kind `cuda`.
    """
    if model.device.type != "cuda":
        raise NativeError(f"the GPU's vision branches need a GPU, and this model is on {model.device}")
    network = model.model.vision_vocabulary
    for module in (*network.neck, *network.merge):
        if isinstance(module, nn.Conv2d):  # laid out as the blocks leave their channels
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    name = "PyTorch"
    with suppress(NativeError):
        name = use_triton_blocks(network)
    model.model.branch_runner = RecordedBranches(model.model)
    return name

"""A GGUF file of a Qwen2 decoder without a tokenizer, quantised in slices while it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vary.bench.contestants.graph import Qwen2Tensors
from vary.bench.contestants.protocol import Order, peer_module
from vary.bench.weights import LANGUAGE, row_slices

__all__ = ["TYPES", "write_gguf"]

INSTALL = "pip install 'gguf>=0.17'"
TYPES: Mapping[str, str] = {"int4": "Q4_0", "int4-g32": "Q4_0", "int8": "Q8_0", "int8-g32": "Q8_0"}
BLOCK_BYTES = {"Q4_0": 18, "Q8_0": 34}
"""Of 32 weights with their scale."""
ROWS = 32
"""The head is filled up to a multiple of so many rows: its kernels that take several rows at once need it."""
MATRICES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
VECTORS = {
    "attn_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "attn_q.bias": "self_attn.q_proj.bias",
    "attn_k.bias": "self_attn.k_proj.bias",
    "attn_v.bias": "self_attn.v_proj.bias",
}
"""llama.cpp's names in a layer, and the library's."""


def write_gguf(order: Order, path: Path) -> int:
    """Writes the file; returns how many bytes of weights a token reads."""
    gguf = peer_module("gguf", INSTALL)
    kind = getattr(gguf.GGMLQuantizationType, TYPES[order.precision])
    tensors = Qwen2Tensors(order)
    size, writer = tensors.size, gguf.GGUFWriter(str(path), "qwen2")
    rows = -(-size.vocabulary // ROWS) * ROWS
    writer.add_context_length(order.config.text_config.max_position_embeddings)
    writer.add_embedding_length(size.width)
    writer.add_block_count(size.layers)
    writer.add_feed_forward_length(size.inner)
    writer.add_head_count(size.heads)
    writer.add_head_count_kv(size.key_value_heads)
    writer.add_layer_norm_rms_eps(size.epsilon)
    writer.add_rope_freq_base(size.rope_theta)
    writer.add_vocab_size(rows)
    writer.add_tokenizer_model("none")
    plain, packed = _plan(tensors)
    for name, (_, shape) in plain.items():
        half = name == "token_embd.weight"
        declared = (rows, shape[1]) if half else shape
        writer.add_tensor_info(
            name,
            declared,
            np.dtype(np.float16 if half else np.float32),
            (2 if half else 4) * int(np.prod(declared)),
        )
    total = 0
    for name, (_, (outputs, inputs)) in packed.items():
        filled = rows if name == "output.weight" else outputs
        count = filled * inputs // 32 * BLOCK_BYTES[TYPES[order.precision]]
        total += count
        stored = gguf.quant_shape_to_byte_shape((filled, inputs), kind)
        writer.add_tensor_info(name, stored, np.dtype(np.uint8), count, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, (source, _) in plain.items():
        tensor = tensors.weights.tensor(source)
        half = name == "token_embd.weight"
        writer.write_tensor_data(_filled(tensor, rows).half().numpy() if half else tensor.float().numpy())
    for name, (source, _) in packed.items():
        whole = np.concatenate(list(_quantised(gguf, kind, tensors, source)))
        if name == "output.weight":
            empty = torch.zeros(rows - size.vocabulary, size.width)
            whole = (
                np.concatenate([whole, gguf.quants.quantize(empty.numpy(), kind)]) if len(empty) else whole
            )
        writer.write_tensor_data(whole)
    writer.close()
    return total


Plan = dict[str, tuple[str, tuple[int, ...]]]


def _plan(tensors: Qwen2Tensors) -> tuple[Plan, Plan]:
    """What is stored as it is and what is quantised: its name there, ours, and its shape."""
    shape = tensors.weights.shape
    embedding, norm = f"{LANGUAGE}embed_tokens.weight", f"{LANGUAGE}norm.weight"
    plain: Plan = {
        "token_embd.weight": (embedding, shape(embedding)),
        "output_norm.weight": (norm, shape(norm)),
    }
    packed: Plan = {"output.weight": (tensors.head.weight, shape(tensors.head.weight))}
    for layer in range(tensors.size.layers):
        for theirs, ours in VECTORS.items():
            name = f"{LANGUAGE}layers.{layer}.{ours}"
            plain[f"blk.{layer}.{theirs}"] = (name, shape(name))
        for theirs, ours in MATRICES.items():
            name = tensors.matrix(layer, ours).weight
            packed[f"blk.{layer}.{theirs}.weight"] = (name, shape(name))
    return plain, packed


def _filled(table: Tensor, rows: int) -> Tensor:
    return torch.nn.functional.pad(table, (0, 0, 0, rows - len(table)))


def _quantised(gguf: Any, kind: Any, tensors: Qwen2Tensors, name: str) -> Iterator[NDArray[np.uint8]]:
    for _, rows in row_slices(tensors.weights, name):
        yield gguf.quants.quantize(rows.contiguous().numpy(), kind)

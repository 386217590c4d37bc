"""The keys of MindOCR's settings file for Vary-toy, and what becomes of each, as data.

For keys that a file leaves out, the defaults are those of MindOCR's configuration classes; only `use_past`,
on which no answer depends, has the fast one.  The table in docs/mindocr.md is made from this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["DTYPES", "KEYS", "SECTIONS", "Key", "Kind", "Outcome", "keys_table"]

Kind = Literal["text", "whole", "number", "yes or no", "type", "ids"]
"""What a value must be: `whole` is a whole number, `type` one of DTYPES, `ids` a token id or several."""

Outcome = Literal["used", "checked", "fixed", "no effect"]
"""`used`: the run follows the value.  `checked`: the checkpoint must have the same.  `fixed`: vary does what
one value says, another is refused.  `no effect`: the answer does not depend on it."""

DTYPES = ("float16", "bfloat16", "float32")

UNSET: Any = object()


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        kind, outcome: see `Kind` and `Outcome`.
        what: what it means here, or why it has no effect or only one value; for the documentation.
        default: what MindOCR takes where the key is left out; UNSET where the checkpoint says it.
        least, above, most: bounds of a number.
        only: the values of a `fixed` key.
        empty: whether no value at all (`key:`) stands for leaving it out.
    """

    kind: Kind
    outcome: Outcome
    what: str
    default: Any = UNSET
    least: float | None = None
    above: float | None = None
    most: float | None = None
    only: tuple[Any, ...] = ()
    empty: bool = False


_ASCEND = "a kernel or memory layout of Ascend processors; the answer does not depend on it"
_ROUNDING = "rounding only"

_MODEL = {
    "name": Key(
        "text",
        "fixed",
        "the model class; other models of MindOCR are not Vary",
        default="VaryQwenForCausalLM",
        only=("VaryQwenForCausalLM",),
    ),
    "batch_size": Key(
        "whole",
        "no effect",
        "images are answered one after another, so that each answer is what it is alone",
        default=1,
        least=1,
    ),
    "seq_length": Key(
        "whole",
        "used",
        "the longest text in tokens: prompt, image and answer, over all turns; the checkpoint must have as "
        "many positions",
        default=2048,
        least=1,
    ),
    "hidden_size": Key("whole", "checked", "width of the language model", least=1),
    "num_layers": Key("whole", "checked", "its layers", least=1),
    "num_heads": Key("whole", "checked", "its attention heads", least=1),
    "vocab_size": Key("whole", "checked", "its tokens", least=1),
    "intermediate_size": Key(
        "whole",
        "checked",
        "true inner width of its feed-forward layers (Qwen's own configuration doubles it)",
        least=1,
    ),
    "rms_norm_eps": Key("number", "checked", "epsilon of its normalisations", above=0),
    "emb_dropout_prob": Key(
        "number", "no effect", "dropout belongs to training; nothing is dropped in a run", least=0, most=1
    ),
    "eos_token_id": Key(
        "ids",
        "used",
        "an answer ends at this token (or one of a list) or at `<|im_end|>`; MindOCR knows only the former",
        default=(),
        least=0,
    ),
    "pad_token_id": Key("whole", "no effect", "prompts are answered one at a time and never padded", least=0),
    "compute_dtype": Key(
        "type",
        "used",
        "type of the weights and of the computation; `--dtype` overrides it",
        default="float16",
    ),
    "layernorm_compute_type": Key(
        "type", "no effect", f"{_ROUNDING}: normalisations are always computed in float32"
    ),
    "softmax_compute_type": Key(
        "type", "no effect", f"{_ROUNDING}: attention sums up in float32, which is never less exact"
    ),
    "rotary_dtype": Key(
        "type",
        "no effect",
        f"{_ROUNDING}: angles are computed in float32 and applied in `compute_dtype`",
    ),
    "param_init_type": Key(
        "type", "no effect", f"{_ROUNDING}: weights are held in `compute_dtype`, whatever the file has"
    ),
    "ln_param_init_type": Key("type", "no effect", f"{_ROUNDING}: as `param_init_type`"),
    "use_past": Key(
        "yes or no",
        "used",
        "False computes the whole text again for every token: the same answer, later; refused with "
        "`--quantize` where native kernels decode, as is `num_beams` above 1",
        default=True,
    ),
    "use_flash_attention": Key(
        "yes or no", "no effect", "torch chooses the fastest exact kernel of the device either way"
    ),
    "use_past_shard": Key("yes or no", "no effect", "read by nothing in MindOCR either"),
    "offset": Key("whole", "no effect", "a stage of pipeline parallelism, which a run here does not have"),
    "checkpoint_name_or_path": Key(
        "text",
        "used",
        "a `.ckpt` file of MindSpore, the authors' folder or its `pytorch_model.bin`, a folder of vary's, or "
        "the name of fetched weights; `--model` overrides it",
        default="",
    ),
    "repetition_penalty": Key(
        "number",
        "used",
        "the scores of all tokens of the prompt and the answer are divided by it (multiplied where negative)",
        default=1.0,
        above=0,
    ),
    "max_decode_length": Key(
        "whole",
        "used",
        "the longest text, prompt included; has no effect beside `max_new_tokens`",
        default=1024,
        least=1,
    ),
    "top_k": Key(
        "whole", "used", "with `do_sample`: keep the k likeliest tokens; 0 keeps all", default=5, least=0
    ),
    "top_p": Key(
        "number",
        "used",
        "with `do_sample`: keep the likeliest tokens that make up p; MindOCR looks at the 200 likeliest only",
        default=1.0,
        above=0,
        most=1,
    ),
    "do_sample": Key(
        "yes or no",
        "used",
        "draw the next token; False takes the likeliest, and then `top_k`, `top_p` and `temperature` have no "
        "effect",
        default=True,
    ),
    "max_new_tokens": Key(
        "whole",
        "used",
        "the longest answer; it wins over `max_decode_length`, with beams too (MindOCR then ignores it)",
        default=None,
        least=1,
        empty=True,
    ),
    "temperature": Key("number", "used", "with `do_sample`: divides the scores", default=1.0, above=0),
    "num_beams": Key(
        "whole",
        "used",
        "more than 1 is beam search, without sampling; `use_past` may stay True, which MindOCR refuses",
        default=1,
        least=1,
    ),
    "rotary_pct": Key(
        "number",
        "fixed",
        "share of a head that is rotated; the whole head is, in every checkpoint of Vary",
        only=(1.0,),
    ),
    "rotary_emb_base": Key("number", "checked", "base of the rotary positions", above=0),
    "kv_channels": Key("whole", "checked", "width of an attention head", least=1),
    # Keys of other versions of the file, and of the class that reads it.
    "compute_in_2d": Key("yes or no", "no effect", _ASCEND),
    "theta": Key("number", "checked", "as `rotary_emb_base`", above=0),
    "n_kv_heads": Key("whole", "checked", "heads of keys and values", least=1, empty=True),
    "max_position_embedding": Key(
        "whole", "no effect", "`seq_length` says how long a text may be", least=1, empty=True
    ),
    "bos_token_id": Key("whole", "no effect", "no prompt of Vary begins with one", least=0),
    "ignore_token_id": Key("whole", "no effect", "belongs to training"),
    "qkv_has_bias": Key("yes or no", "fixed", "Qwen's attention has biases", only=(True,)),
    "extend_method": Key("text", "fixed", "Vary's positions are not stretched", only=("None",), empty=True),
    "scaling_factor": Key("number", "fixed", "Vary's positions are not stretched", only=(1.0,)),
    "is_dynamic": Key("yes or no", "no effect", _ASCEND),
    "use_kvcache_op": Key("yes or no", "no effect", _ASCEND),
    "is_flexible_shape": Key("yes or no", "no effect", _ASCEND),
    "use_rope_slice": Key("yes or no", "no effect", _ASCEND),
    "use_paged_attention": Key("yes or no", "no effect", _ASCEND),
    "fine_grain_interleave": Key("whole", "no effect", _ASCEND),
    "block_size": Key("whole", "no effect", _ASCEND),
    "num_blocks": Key("whole", "no effect", _ASCEND),
}

_PROCESSOR = {
    "return_tensors": Key(
        "text", "no effect", "`ms` asks for MindSpore's tensors; here they are torch's, inside the run"
    ),
    "type": Key("text", "fixed", "the processor class", default="QwenProcessor", only=("QwenProcessor",)),
}

_TOKENIZER = {
    "vocab_file": Key(
        "text",
        "used",
        "Qwen's `qwen.tiktoken`, for weights of MindOCR or the authors; where it is not there, a tokenizer "
        "beside them is taken; a folder of vary's keeps its own; `--tokenizer` overrides it",
        default="",
    ),
    "pad_token": Key("text", "no effect", "prompts are answered one at a time and never padded"),
    "type": Key("text", "fixed", "the tokenizer class", only=("QwenTokenizer",)),
    "model_max_length": Key("whole", "no effect", "`seq_length` says how long a text may be", least=1),
}

SECTIONS = ("model", "processor", "processor.tokenizer")
"""Where the keys stand; a section within another is a dotted name."""

KEYS: Mapping[str, Key] = MappingProxyType(
    {
        **{f"model.{name}": key for name, key in _MODEL.items()},
        **{f"processor.{name}": key for name, key in _PROCESSOR.items()},
        **{f"processor.tokenizer.{name}": key for name, key in _TOKENIZER.items()},
    }
)
"""Every key that a settings file may have, by its dotted name."""


def keys_table() -> str:
    """KEYS as a Markdown table, for the documentation."""
    rows = [f"| `{name}` | {key.outcome} | {_without(key)} | {_meaning(key)} |" for name, key in KEYS.items()]
    return "\n".join(["| key | here | left out | meaning |", "|---|---|---|---|", *rows, ""])


def _without(key: Key) -> str:
    """What is taken where the key is left out."""
    if key.default is UNSET or key.default in ("", ()):
        return ""
    return "none" if key.default is None else f"`{key.default}`"


def _meaning(key: Key) -> str:
    only = f"only {' or '.join(f'`{value}`' for value in key.only)}: " if key.only else ""
    return f"{only}{key.what}".replace("|", "\\|")

"""The prompt layouts of the family as chat templates (Jinja), by their names in a checkpoint.

Each image is written as `<img><imgpad></img>`, or as `<imgpad>` alone where the model knows no borders; the
processor repeats `<imgpad>` once for each image token.  Images come first in their message whatever their
place in the list, since that is how the models were trained.  A template marks what the model itself writes
with `generation`, so that training counts just that.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vary.model.special_tokens import IMAGE_END_TOKEN, IMAGE_START_TOKEN, IMAGE_TOKEN

__all__ = ["CHAT_TEMPLATES", "SYSTEM_MESSAGE"]

SYSTEM_MESSAGE = "You should follow the instructions carefully and explain your answers in detail."

_IMAGE = IMAGE_START_TOKEN + IMAGE_TOKEN + IMAGE_END_TOKEN

_MACROS = """\
{%- macro images(content, after) -%}
    {%- if content is not string -%}
        {%- for part in content if part['type'] == 'image' -%}
            {{- '@IMAGE@' + after -}}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- macro text(content) -%}
    {%- if content is string -%}
        {{- content -}}
    {%- else -%}
        {%- for part in content if part['type'] == 'text' -%}
            {{- part['text'] -}}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
"""
_CONTENT_MACROS = _MACROS.replace("@IMAGE@", _IMAGE)
_BARE_IMAGES = _MACROS.replace("@IMAGE@", IMAGE_TOKEN)

_SYSTEM = """\
{%- if messages[0]['role'] != 'system' -%}
    {{- '<|im_start|>system\\n@SYSTEM@<|im_end|>@NEWLINE@' -}}
{%- endif -%}
""".replace("@SYSTEM@", SYSTEM_MESSAGE)

_AUTHORS = (
    _CONTENT_MACROS
    + _SYSTEM.replace("@NEWLINE@", "")
    + """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- if message['role'] == 'assistant' -%}
        {%- generation -%}{{- text(message['content']) + '<|im_end|>' -}}{%- endgeneration -%}
    {%- else -%}
        {{- images(message['content'], '\\n') + text(message['content']) + '<|im_end|>' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
)

_MINDOCR = (
    _CONTENT_MACROS
    + _SYSTEM.replace("@NEWLINE@", "\\n")
    + """\
{%- for message in messages -%}
    {%- if message['role'] == 'assistant' -%}
        {%- generation -%}
            {{- '<|im_start|>assistant\\n' + text(message['content']) + '<|im_end|>' -}}
        {%- endgeneration -%}
        {{- '\\n' -}}
    {%- else -%}
        {{- '<|im_start|>' + message['role'] + '\\n' -}}
        {{- images(message['content'], '') + text(message['content']) + '<|im_end|>\\n' -}}
    {%- endif -%}
{%- endfor -%}
"""
)

_GOT = (
    _BARE_IMAGES
    + _SYSTEM.replace("@NEWLINE@", "")
    + """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- if message['role'] == 'assistant' -%}
        {%- generation -%}{{- text(message['content']) + '<|im_end|>' -}}{%- endgeneration -%}
    {%- else -%}
        {%- set pages = images(message['content'], '') -%}
        {{- '@START@' + pages + '@END@\\n' if pages else '' -}}
        {{- text(message['content']) + '<|im_end|>' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
""".replace("@START@", IMAGE_START_TOKEN).replace("@END@", IMAGE_END_TOKEN)
)

_WITHOUT_TEXT = """\
{%- for message in messages -%}
    {%- if message['role'] == 'assistant' -%}
        {%- generation -%}{{- text(message['content']) + '@EOS@' -}}{%- endgeneration -%}
    {%- elif text(message['content']) | trim -%}
        {{- raise_exception('this model reads the @WHAT@ that it is shown and takes no prompt text') -}}
    {%- else -%}
        {{- '@BOS@' + images(message['content'], '') -}}
    {%- endif -%}
{%- endfor -%}
"""

_TINY = _CONTENT_MACROS + (
    _WITHOUT_TEXT.replace("@EOS@", "</s>").replace("@WHAT@", "page").replace("@BOS@", "</s>")
)
_NANO = _CONTENT_MACROS + (
    _WITHOUT_TEXT.replace("@EOS@", "<eos>").replace("@WHAT@", "line").replace("@BOS@", "")
)

_TINY_600K = (
    _BARE_IMAGES
    + """\
{%- for message in messages -%}
    {%- if message['role'] == 'assistant' -%}
        {%- generation -%}{{- text(message['content']) + '\\n' -}}{%- endgeneration -%}
    {%- else -%}
        {{- images(message['content'], '') + '</s>' + text(message['content']) -}}
    {%- endif -%}
{%- endfor -%}
"""
)

CHAT_TEMPLATES: Mapping[str, str | dict[str, str]] = MappingProxyType(
    {
        "vary_qwen": {"default": _AUTHORS, "mindocr": _MINDOCR},
        "vary_tiny": _TINY,
        "vary_tiny_600k": _TINY_600K,
        "got_ocr2": _GOT,
        "vary_nano": _NANO,
    }
)
"""Templates by family.

- `vary_qwen`: the layout of the authors' demo, and MindOCR's (a newline after every `<|im_end|>`, none after
  the image, and an assistant's header that the model writes itself).
- `vary_tiny`: OPT's `</s>` and the image; no instructions.
- `vary_tiny_600k`: the image without borders, `</s>`, then the text; an answer ends with a newline.
- `got_ocr2`: the authors' layout with all pages between one pair of borders.
- `vary_nano`: the image and then the answer, without instructions.
"""

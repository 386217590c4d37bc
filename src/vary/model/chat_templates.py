"""The prompt layouts of the family as chat templates (Jinja), by their names in a checkpoint.

Each image is written as `<img><imgpad></img>`; the processor repeats `<imgpad>` once for each image token.
Images come first in their message whatever their place in the list, since that is how the models were
trained.  A template marks what the model itself writes with `generation`, so that training counts just that.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vary.model.tokenization import IMAGE_END_TOKEN, IMAGE_START_TOKEN, IMAGE_TOKEN

__all__ = ["CHAT_TEMPLATES", "SYSTEM_MESSAGE"]

SYSTEM_MESSAGE = "You should follow the instructions carefully and explain your answers in detail."

_IMAGE = IMAGE_START_TOKEN + IMAGE_TOKEN + IMAGE_END_TOKEN

_CONTENT_MACROS = """\
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
""".replace("@IMAGE@", _IMAGE)

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

_NANO = (
    _CONTENT_MACROS
    + """\
{%- for message in messages -%}
    {%- if message['role'] == 'assistant' -%}
        {%- generation -%}{{- text(message['content']) + '<eos>' -}}{%- endgeneration -%}
    {%- elif text(message['content']) | trim -%}
        {{- raise_exception('this model reads the line that it is shown and takes no prompt text') -}}
    {%- else -%}
        {{- images(message['content'], '') -}}
    {%- endif -%}
{%- endfor -%}
"""
)

CHAT_TEMPLATES: Mapping[str, str | dict[str, str]] = MappingProxyType(
    {"vary_qwen": {"default": _AUTHORS, "mindocr": _MINDOCR}, "vary_nano": _NANO}
)
"""Templates by family: `vary_qwen` has the layout of the authors' demo, and MindOCR's (a newline after
every `<|im_end|>`, none after the image, and an assistant's header that the model writes itself); `vary_nano`
has the image and then the answer, without instructions."""

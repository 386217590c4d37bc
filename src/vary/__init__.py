"""vary reads documents with vision-language models of the Vary family.

    >>> import vary
    >>> vary.read("page.png").text

The names below are loaded when they are first used, so `import vary` is cheap: it loads neither torch nor
transformers, resolves nothing and logs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vary.conversation import Conversation
    from vary.errors import VaryError
    from vary.model.configuration import VaryConfig
    from vary.model.modeling import VaryForConditionalGeneration
    from vary.model.processing import VaryProcessor
    from vary.outputs.document import Block, Document, Page
    from vary.reader import Reader, read

__all__ = [
    "Block",
    "Conversation",
    "Document",
    "Page",
    "Reader",
    "VaryConfig",
    "VaryError",
    "VaryForConditionalGeneration",
    "VaryProcessor",
    "__version__",
    "read",
]

__version__ = "0.1.0"

_HOMES = {
    "Block": "vary.outputs.document",
    "Conversation": "vary.conversation",
    "Document": "vary.outputs.document",
    "Page": "vary.outputs.document",
    "Reader": "vary.reader",
    "VaryConfig": "vary.model.configuration",
    "VaryError": "vary.errors",
    "VaryForConditionalGeneration": "vary.model.modeling",
    "VaryProcessor": "vary.model.processing",
    "read": "vary.reader",
}


def __getattr__(name: str) -> object:
    """Load a public name from its home module and keep it here."""
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'vary' has no attribute {name!r}") from None
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

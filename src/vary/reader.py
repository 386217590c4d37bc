"""The corridor: pages in, windows of them to the model, what it wrote into a document.

>>> Reader.load().read("page.png").text
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vary import __version__
from vary.assets import default_checkpoint
from vary.backends import Backend, Request
from vary.backends.light import LightBackend, may_have_an_accelerator
from vary.document_stream import Begun, ManyProgress, read_together
from vary.engine.sampling import Sampling
from vary.errors import InputError, NativeError, TaskError, VaryError
from vary.inputs.page_image import DEFAULT_LIMITS, InputLimits, PageImage
from vary.inputs.page_range import parse_page_range
from vary.inputs.pages import DEFAULT_DPI, Source, open_pages, page_count, source_name
from vary.inputs.tasks import LANGUAGES, ResolvedTask, resolve_task
from vary.outputs.document import Document, Provenance
from vary.page_drafts import DraftChoice, PageDrafts, choose_drafts
from vary.page_work import Pages, PageWork

if TYPE_CHECKING:  # PyTorch takes seconds to load, and is not needed for every reading
    import torch

    from vary.backends.pytorch import PyTorchBackend
    from vary.engine.decoders.interface import Decoder
    from vary.model.modeling import VaryForConditionalGeneration
    from vary.model.processing import VaryProcessor

__all__ = ["Reader", "read"]

DEFAULT_NAME, CONFIG_FILE = "vary-nano", "config.json"
LINE_BATCH = 32
"""Lines that are read at once, by default."""
Progress = Callable[[int, int | None], None]


class Reader:
    """Reads documents with one checkpoint on one device.

    Build it with `Reader.load`; a reader holds no state between documents.

    Args:
        model, processor: of the checkpoint.
        name: of the checkpoint, for messages and provenance.
        device: where it computes.
        decoder: what reads the tokens instead of the library's modules.
        offload: whether the weights stay in main memory, as in `load`.
    """

    def __init__(
        self,
        model: VaryForConditionalGeneration,
        processor: VaryProcessor,
        name: str,
        device: torch.device,
        decoder: Decoder | None = None,
        *,
        offload: bool = False,
    ) -> None:
        from vary.backends.pytorch import PyTorchBackend

        self._begin(PyTorchBackend(model, processor, name, device, decoder, offload=offload), name)

    def _begin(self, backend: Backend, name: str) -> None:
        self._backend = backend
        self.name = name
        self._nano: Reader | None = None

    @classmethod
    def _with(cls, backend: Backend, name: str) -> Reader:
        reader = cls.__new__(cls)
        reader._begin(backend, name)
        return reader

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        device: str | torch.device = "auto",
        dtype: torch.dtype | str | None = None,
        tokenizer: str | Path | None = None,
        quantize: str | None = None,
        offload: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> Reader:
        """Loads a checkpoint; None or `vary-nano` is the one that the package ships.

        Args:
            checkpoint: a folder with configuration, weights, tokenizer and processor; a folder or file of
                another format, such as the authors' or MindOCR's; or the name of a fetched checkpoint.
            device: `auto`, a kind (`cpu`, `cuda`, `mps`, `npu`, `xpu`), or one with an index.
            dtype: of the weights, such as "bfloat16"; None takes float32 on a CPU and on others what the
                checkpoint has.
            tokenizer: the tokenizer's file (`qwen.tiktoken`), where it does not lie beside the weights.
            quantize: the precision of the language model's weights, such as `int4` or `int8`: decoded by the
                native kernels on a CPU, else by PyTorch; see `vary.weight_only`.
            offload: whether the weights stay in main memory, for a device with too little of its own; each
                layer's go there when it is its turn.
            settings: what a file of weights without a configuration beside it does not tell; see
                `vary.weights.loading.load_checkpoint`.

        Raises:
            CheckpointError: if the checkpoint is missing, incomplete or of an unknown kind.
            DeviceError: if the device is not there (another is never taken instead), has not the memory, or
                is a CPU with `offload`.
            NativeError: for a precision that is not known, or that this model cannot have.
        """
        shipped = checkpoint is None or checkpoint == DEFAULT_NAME
        folder = default_checkpoint() if shipped or checkpoint is None else Path(checkpoint)
        name = DEFAULT_NAME if folder == default_checkpoint() else None
        on_cpu = str(device) == "cpu" or (str(device) == "auto" and not may_have_an_accelerator())
        exact = str(dtype).removeprefix("torch.") in ("None", "float32")
        plain = quantize is None and tokenizer is None and settings is None and not offload
        if on_cpu and exact and plain and (folder / CONFIG_FILE).is_file():
            with suppress(NativeError):  # then PyTorch reads
                return cls._with(LightBackend.load(folder, name or folder.name), name or folder.name)
        from vary.backends.pytorch import PyTorchBackend

        backend = PyTorchBackend.load(
            *(folder, name),
            device=device,
            dtype=dtype,
            tokenizer=tokenizer,
            quantize=quantize,
            offload=offload,
            settings=settings,
        )
        return cls._with(backend, backend.name)

    @property
    def model(self) -> VaryForConditionalGeneration:
        """The checkpoint's model; a reader that did without PyTorch loads it, and reads with it then.

        Where a decoder did without the language model's own modules they are loaded too, and take their
        memory besides; with `quantize` on a CPU there are none.
        """
        return self._in_pytorch().whole_model()

    def computing(self, sampling: Sampling) -> tuple[VaryForConditionalGeneration, Decoder | None]:
        """The model and the decoder that follow a sampling; None for the library's.

        It loads PyTorch as `model` does.  Where there is a decoder the model may be without its language
        model's own modules.
        """
        return self._in_pytorch().computing(sampling)

    @property
    def processor(self) -> VaryProcessor:
        """The checkpoint's processor; loads PyTorch as `model` does."""
        return self._in_pytorch().processor

    @property
    def decoder(self) -> Decoder | None:
        """What reads the tokens instead of the library's modules; loads PyTorch as `model` does."""
        return self._in_pytorch().decoder

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        import torch

        return torch.device(self._backend.parts()["device"])

    def _in_pytorch(self) -> PyTorchBackend:
        """The backend that has the library's classes."""
        from vary.backends.pytorch import PyTorchBackend

        if isinstance(self._backend, LightBackend):
            self._backend = PyTorchBackend.load(self._backend.folder, self.name, device="cpu")
        assert isinstance(self._backend, PyTorchBackend)
        return self._backend

    def with_fast_parts(self) -> Reader:
        """Takes the fastest implementations that run on its device, see `vary.engine.fast_parts`."""
        self._in_pytorch().with_fast_parts()
        return self

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how the checkpoint runs here."""
        return self._backend.notes

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that the checkpoint was trained for."""
        return self._backend.traits.tasks

    def read(self, source: Source, *, progress: Progress | None = None, **options: Any) -> Document:
        """Reads all pages of a source; options and errors as in `iter_pages`.

        `progress` is called with the number of pages done and, where it is known, of all.
        """

        def told(_: int, done: int, total: int | None) -> None:
            if progress is not None and done:
                progress(done, total)

        [found] = self.read_many([source], progress=None if progress is None else told, **options)
        if isinstance(found, InputError):
            raise found
        return found

    def read_many(
        self, sources: Iterable[Source], *, progress: ManyProgress | None = None, **options: Any
    ) -> Iterator[Document | InputError]:
        """Reads many documents in their order, each as `read` does; options and errors as there.

        Where a model reads several pages at a time, those of the next documents join when there is room, so
        that a folder of single pages is read as fast as one document with all of them.

        Args:
            sources: each is opened when it is its turn.
            progress: is called with the number of a document, counted from 0, its pages that are done, and
                how many there are; first with 0 pages done.

        Yields:
            The document of each source; or the InputError why it cannot be read as a whole, which keeps none
            of the others from being read.
        """

        def begin(number: int, source: Source) -> Begun:
            task = self.resolve_task(options.get("task"), options.get("prompt"), options.get("language"))
            provenance = self._provenance(task, options)
            total = None if progress is None else self._count(source, options)
            return Begun(number, source, provenance, self.iter_pages(source, **options), total)

        numbered = enumerate(sources)
        # The lines of a page are enough for a batch.
        apart: Iterable[Iterable[tuple[int, Source]]] = (
            ([one] for one in numbered) if self._reads_lines else [numbered]
        )
        return (
            found
            for some in apart
            for found in read_together(some, begin, lambda: self._parts(options), progress)
        )

    def _parts(self, options: Mapping[str, Any]) -> dict[str, str]:
        """What reads with these options by now."""
        return self._backend.parts(Sampling(num_beams=options.get("num_beams", 1)))

    def iter_pages(
        self,
        source: Source,
        *,
        pages: str | None = None,
        dpi: float = DEFAULT_DPI,
        task: str | None = None,
        prompt: str | None = None,
        language: str | None = None,
        batch_size: int | None = None,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        num_beams: int = 1,
        no_repeat_ngram_size: int = 0,
        layout: str | None = None,
        draft: DraftChoice | PageDrafts = None,
        password: str | None = None,
        limits: InputLimits = DEFAULT_LIMITS,
    ) -> Pages:
        """Reads page after page; at most a few pages are in memory at a time.

        Args:
            source: a file's path, its bytes, a PIL image or an array.
            pages: which of them, such as `1-3,7`; all by default.
            dpi: at which PDF pages are painted.
            task, prompt: what to ask; by default the checkpoint's first task.
            language: of the task's prompt, `en` or `zh`, where the papers have it in both; by default the
                checkpoint's first.
            batch_size: windows that are read at once; by default 32 lines, or 8 pages on a GPU, 4 with the
                native kernels (fewer where memory is scarce) and one with PyTorch on a CPU.  Whole pages join
                as others end.  Where a GPU's memory does not suffice, there are fewer at a time.
            max_new_tokens: the longest answer per window; by default what can stand in it, and never more
                than the language model's positions leave.
            temperature, top_k, top_p, repetition_penalty, seed, num_beams, no_repeat_ngram_size: see
                `engine.sampling.Sampling`.
            layout: one of the processor's layouts; by default the checkpoint's own.
            draft: a guess of the pages' text, with which they are read faster and not otherwise: `pdf`, a PDF
                page's own text layer; `nano`, what vary-nano reads; a text file, pages with form feeds
                between them; a list of the pages' texts; `off`; or by default `auto`: where the task is to
                read text, the text layer, else vary-nano if this model is ten times larger.
            password: of an encrypted PDF.
            limits: on bytes, pixels and pages.

        Raises:
            InputError: if the source as a whole cannot be read; one bad page has the status `failed`.
            VaryError: for a draft where it has no effect: with several beams, or for vary-nano itself.
            TaskError: for a task or language that the checkpoint does not know.
            ContextError: for a prompt that leaves no room for an answer.
        """
        for name, value in (("batch_size", batch_size), ("max_new_tokens", max_new_tokens)):
            if value is not None and value < 1:
                raise VaryError(f"{name} is {value}, expected at least 1")
        resolved = self.resolve_task(task, prompt, language)
        drafts = draft if isinstance(draft, PageDrafts) else self._page_drafts(draft, resolved, num_beams)
        sampling = Sampling(
            temperature, top_k, top_p, repetition_penalty, seed, num_beams, no_repeat_ngram_size
        )
        default_batch = LINE_BATCH if self._reads_lines else self._backend.pages_at_once(sampling)
        request = Request(resolved, sampling, max_new_tokens, layout)
        if not request.plain:
            self._in_pytorch().check_layout(layout)
        work = PageWork(self._backend, request, batch_size or default_batch, drafts)
        images = open_pages(source, pages=pages, dpi=dpi, limits=limits, password=password, text=drafts.layer)
        return Pages(work, images)

    @staticmethod
    def _count(source: Source, options: dict[str, Any]) -> int:
        """How many pages will be read."""
        known = {name: options[name] for name in ("limits", "password") if name in options}
        return len(
            parse_page_range(options.get("pages")).indices(page_count(source, **known), source_name(source))
        )

    @property
    def _reads_lines(self) -> bool:
        return self._backend.traits.line_size is not None

    def resolve_task(
        self, task: str | None = None, prompt: str | None = None, language: str | None = None
    ) -> ResolvedTask:
        """What a task asks this checkpoint; arguments as in `iter_pages`.

        Raises:
            TaskError: for a task, subject or language that the checkpoint does not know.
        """
        language = self.prompt_language(language)
        return resolve_task(task, self.tasks, language, prompt, self._backend.traits.prompts)

    def prompt_language(self, language: str | None = None) -> str:
        """The language of prompts that is meant: the one asked for, or the checkpoint's first.

        Raises:
            TaskError: for one that the checkpoint was not trained for.
        """
        known = self._backend.traits.languages
        if language is not None and language not in known:
            raise TaskError(
                f"this checkpoint was not trained for language '{language}'; it knows {', '.join(known)}"
            )
        language = language or known[0]
        return language if language in LANGUAGES else LANGUAGES[0]

    def _page_drafts(self, choice: DraftChoice | PageDrafts, task: ResolvedTask, beams: int) -> PageDrafts:
        """Where the drafts of a document's pages come from; see `iter_pages`."""
        if isinstance(choice, PageDrafts):
            return choice
        hindrance = f"{self.name}, which drafts its lines itself" if self._reads_lines else ""
        if beams > 1:
            hindrance = "several beams"
        weights = self._backend.traits.weights
        return choose_drafts(
            choice, self._read_with_nano, weights, reads_text=task.about_text, hindrance=hindrance
        )

    def _read_with_nano(self, page: PageImage) -> str:
        """A page's text by vary-nano, on the same device."""
        if self._nano is None:
            self._nano = Reader.load(device=self.device)
        return self._nano.read(page.image).text

    def _provenance(self, task: ResolvedTask, options: dict[str, Any]) -> Provenance:
        shown = {
            name: value
            for name, value in options.items()
            if name not in ("password", "limits", "task", "prompt", "draft")
        }
        return Provenance(
            name=self.name,
            version=self._backend.traits.version,
            vary_version=__version__,
            task=task.name,
            prompt="" if self._reads_lines else task.prompt,
            settings={**self._parts(options), **shown},
        )


def read(
    source: Source,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    dtype: torch.dtype | str | None = None,
    tokenizer: str | Path | None = None,
    quantize: str | None = None,
    offload: bool = False,
    **options: Any,
) -> Document:
    """Reads one document with the shipped vary-nano, or with the checkpoint `model`.

    The named options are those of `Reader.load`, the others those of `Reader.iter_pages`.  To read many
    documents, keep a `Reader`: it loads the model once.
    """
    reader = Reader.load(
        model, device=device, dtype=dtype, tokenizer=tokenizer, quantize=quantize, offload=offload
    )
    return reader.read(source, **options)

"""`vary predict`: MindOCR's command line and settings file, an answer to a query about an image."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vary.cli import console
from vary.configs import shipped_config
from vary.engine.devices import DEVICE_CHOICES
from vary.errors import ContextError, InputError

if TYPE_CHECKING:
    from vary.conversation import Conversation, Turn
    from vary.inputs.page_image import PageImage
    from vary.mindocr.predictor import Predictor
    from vary.mindocr.settings import Settings

__all__ = ["add_parser", "run"]

QUERY = "Provide the ocr results of this image."
"""What MindOCR asks without --query."""
SHIPPED = "vary_toy.yaml"
YES, NO = ("yes", "true", "1"), ("no", "false", "0")

DESCRIPTION = """\
Answers a query about an image as MindOCR's predict_llm.py does, with its options and its settings file.  The
answer goes to standard output and nothing else does; the number of tokens, the time and the speed go to
standard error.  With --chat_mode True further queries are read from standard input, one a line, until "exit".
"""

EPILOG = """\
examples:
  vary predict --image_dir page.png --model vary-toy
  vary predict --image_dir page.png --query "Describe this image in within 100 words." \\
      --config_path vary_toy.yaml --chat_mode False
  vary predict --image_dir=page.png --config_path=my_vary_toy.yaml --chat_mode=True
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = console.add_command(
        subparsers,
        "predict",
        help="answer a query about an image, with MindOCR's options and settings file",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    add = parser.add_argument
    add(
        "--image_dir",
        "--image-dir",
        required=True,
        metavar="IMAGE",
        help="an image or PDF, or a folder of them: every page is asked the same",
    )
    add("--query", default=QUERY, metavar="TEXT", help=f'default: "{QUERY}"')
    add(
        "--config_path",
        "--config-path",
        nargs="?",
        metavar="YAML",
        help=f"MindOCR's settings file (default: the {SHIPPED} that vary ships)",
    )
    add(
        "--chat_mode",
        "--chat-mode",
        type=yes_or_no,
        nargs="?",
        const=True,
        default=False,
        metavar="BOOL",
        help="True goes on asking about the same image until exit (default: False)",
    )
    add(
        "--model",
        metavar="CHECKPOINT",
        help="the weights, instead of checkpoint_name_or_path of the settings file",
    )
    add(
        "--tokenizer",
        metavar="FILE",
        help="the tokenizer (qwen.tiktoken), instead of vocab_file of the settings file",
    )
    add(
        "--dtype",
        choices=console.DTYPES,
        help="of the weights and the computation, instead of compute_dtype of the settings file",
    )
    add(
        "--device",
        type=console.device_name,
        default="auto",
        metavar="DEVICE",
        help=f"one of {', '.join(DEVICE_CHOICES)}; a device that is not there is an error (default: auto)",
    )
    console.add_memory_options(parser)
    add(
        "--layout",
        default="mindocr",
        metavar="NAME",
        help="prompt and preprocessing: mindocr's, or default for that of the authors (default: mindocr)",
    )
    add(
        "--seed",
        type=console.whole_number,
        default=0,
        metavar="N",
        help="of the draws with do_sample, set anew for every answer (default: 0)",
    )
    add("--json", action="store_true", help="print one JSON object a line for each answer")
    add("--password", metavar="TEXT", help="opens encrypted PDFs; other users of the machine may see it")


def yes_or_no(text: str) -> bool:
    """An argument that MindOCR takes for true or false."""
    if text.lower() in YES + NO:
        return text.lower() in YES
    raise argparse.ArgumentTypeError(f"expected True or False, found {text!r}")


def run(args: argparse.Namespace) -> int:
    """Answer the query about every page; the exit code says whether all were answered."""
    from vary.inputs.pages import expand_sources
    from vary.mindocr.settings import read_settings

    if not args.query.strip():
        raise console.UsageError("--query is empty; say what to answer")
    settings = read_settings(_config(args.config_path))
    sources = expand_sources(args.image_dir)
    several = len(sources) > 1 or _page_count(sources[0], args.password) > 1
    if args.chat_mode and several:
        raise console.UsageError(
            f"--chat_mode True asks about one image, but {args.image_dir} has several; name one of them"
        )
    for note in settings.notes:
        console.complain(f"note: {note}")
    answers = _Answers(several=several, as_json=args.json)
    predictor: Predictor | None = None
    all_good = True
    for page in _pages(sources, args.password):
        if page is None:
            all_good = False
            continue
        for note in page.notes:
            console.complain(f"{page.source}: {note}")
        if predictor is None:  # only now: what is wrong with a file is said without waiting for the weights
            predictor = _load(args, settings)
        conversation = predictor.conversation(page)
        try:
            answers.ask(conversation, page, args.query)
            if args.chat_mode:
                all_good &= _chat(conversation, page, answers)
        except ContextError as error:
            limit = f"{settings.longest_key} is {settings.longest} in {settings.source}"
            console.complain(f"{page.source}: {error}; {limit}")
            all_good = False
    return console.EXIT_OK if all_good else console.EXIT_FAILED


def _config(path: str | None) -> str | Path:
    """The settings file: the one that is named, else the shipped one; of that name, where none is here."""
    shipped = shipped_config(SHIPPED if path is None else path)
    if path is None:
        assert shipped is not None
        return shipped
    if shipped is None or Path(path).exists() or Path(path).name != path:
        return path
    console.complain(f"note: there is no {path} here; the one that vary ships is taken ({shipped})")
    return shipped


def _page_count(source: Path, password: str | None) -> int:
    from vary.inputs.pages import page_count

    try:
        return page_count(source, password=password)
    except InputError:  # is said when its turn has come
        return 0


def _pages(sources: list[Path], password: str | None) -> Iterator[PageImage | None]:
    """Every page; None where one cannot be read, which is said."""
    from vary.inputs.page_image import PageFailure
    from vary.inputs.pages import open_pages

    for source in sources:
        try:
            for page in open_pages(source, password=password):
                if isinstance(page, PageFailure):
                    console.complain(page.message)
                    yield None
                else:
                    yield page
        except InputError as error:
            console.complain(str(error))
            yield None


def _load(args: argparse.Namespace, settings: Settings) -> Predictor:
    console.quiet_libraries()
    from vary.mindocr.predictor import Predictor

    predictor = Predictor.load(
        settings,
        model=args.model,
        tokenizer=args.tokenizer,
        device=args.device,
        dtype=args.dtype,
        quantize=args.quantize,
        offload=args.offload,
        layout=args.layout,
        seed=args.seed,
    )
    for note in predictor.notes:
        console.complain(f"note: {note}")
    return predictor


def _chat(conversation: Conversation, page: PageImage, answers: _Answers) -> bool:
    """Answer what is asked on standard input, until "exit", its end, or the end of the context (False)."""
    console.prepare_stdin(sys.stdin.isatty())
    console.complain('go on asking, one query a line; "exit" ends')
    while True:
        if sys.stdin.isatty():
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = sys.stdin.readline()
        query = line.strip()
        if not line or query == "exit":
            return True
        if query:
            answers.ask(conversation, page, query)


class _Answers:
    """Where answers go: standard output, on a terminal while they grow; what they took: standard error."""

    def __init__(self, *, several: bool, as_json: bool) -> None:
        self.several, self.as_json = several, as_json

    def ask(self, conversation: Conversation, page: PageImage, query: str) -> None:
        """Ask and print the answer; where there are several pages, below a line with the page's name."""
        name = f"{page.source} page {page.index + 1}" if page.index else page.source
        if self.as_json:
            turn = conversation.ask(query)
            console.write_answer(json.dumps(_as_dict(page, turn), ensure_ascii=False) + "\n")
        else:
            console.write_answer(f"==> {name} <==\n" if self.several else "")
            live = sys.stdout.isatty()
            turn = conversation.ask(query, on_text=console.write_answer if live else None)
            console.write_answer("" if live else turn.text)
            console.write_answer("" if turn.text.endswith("\n") else "\n")
        if turn.message:
            console.complain(f"{name}: {turn.message}")
        console.complain(
            f"generated tokens: {turn.tokens}; total time: {turn.seconds:.2f} s; "
            f"speed: {_speed(turn):.2f} tokens/s"
        )


def _speed(turn: Turn) -> float:
    """Tokens per second."""
    return turn.tokens / turn.seconds if turn.seconds > 0 else 0.0


def _as_dict(page: PageImage, turn: Turn) -> dict[str, Any]:
    return {
        "image": page.source,
        "page": page.index + 1,
        "query": turn.question,
        "answer": turn.text,
        "tokens": turn.tokens,
        "seconds": round(turn.seconds, 3),
        "tokens_per_second": round(_speed(turn), 3),
        "finish_reason": turn.finish_reason,
    }

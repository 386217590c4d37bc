"""`vary chat`: questions about one page in the terminal, answers as they are written."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vary.cli import console, reading
from vary.errors import VaryError, did_you_mean
from vary.inputs.tasks import LANGUAGES

if TYPE_CHECKING:
    from vary.conversation import Conversation, Turn
    from vary.reader import Reader

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Answers questions about one page, with a checkpoint that was trained for it.  Questions come from the terminal
or, one a line, from standard input; answers go to standard output while they are written, everything else to
standard error.  Ctrl-C stops an answer, Ctrl-D or exit leaves.
"""

EPILOG = """\
in the conversation:
  /image PATH     turn to another image; the history goes
  /page N         turn to another page of the same file; the history goes
  /task NAME ...  ask with the exact words of a task: /task ocr, /task detect cat, dog
  /reset          forget questions and answers, keep the image
  /save FILE      write the conversation to a .md, .txt or .json file
  /help           list these
  exit, quit      leave

examples:
  vary chat page.png --model vary-toy
  vary chat report.pdf --page 3 --model vary-toy --temperature 0.7 --seed 1
  cat questions.txt | vary chat page.png --model vary-toy > answers.txt
"""

PROMPT = "> "


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = console.add_command(
        subparsers,
        "chat",
        help="ask questions about a page",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("image", metavar="IMAGE", help="an image or a PDF")
    add("--page", type=console.positive_int, default=1, metavar="N", help="of a file of several (default: 1)")
    add("--dpi", type=console.positive_number, metavar="N", help="resolution of a PDF page (default: 200)")
    console.add_model_options(parser)
    add(
        "--max-new-tokens",
        type=console.positive_int,
        metavar="N",
        help="longest answer (default: what fits)",
    )
    add("--language", choices=LANGUAGES, help="of the prompts of /task (default: the checkpoint's first)")
    console.add_sampling_options(parser)
    add("--password", metavar="TEXT", help="opens an encrypted PDF; other users of the machine may see it")


def run(args: argparse.Namespace) -> int:
    """Chat until the user leaves; with piped questions the exit code says whether all were answered whole."""
    chosen = console.sampling_options(args)
    from vary.inputs.pages import DEFAULT_DPI, open_page

    dpi = args.dpi or DEFAULT_DPI
    page = open_page(args.image, args.page, dpi=dpi, password=args.password)
    console.quiet_libraries()
    from vary.conversation import Conversation
    from vary.engine.sampling import Sampling

    reader = reading.load_reader(args, chosen)
    conversation = Conversation(
        reader,
        page,
        dpi=dpi,
        password=args.password,
        layout=args.layout,
        sampling=Sampling(**chosen),
        max_new_tokens=args.max_new_tokens,
    )
    return _Session(conversation, args.image, reader, reader.prompt_language(args.language)).run()


class _Session:
    """The loop of questions and commands.

    Attributes:
        interactive: whether a person types the questions; else they are piped in, and the first interruption
            ends the command.
    """

    def __init__(self, conversation: Conversation, source: str, reader: Reader, language: str) -> None:
        self._chat = conversation
        self._source = source
        self._reader = reader
        self._language = language
        self._all_good = True
        self._answers = 0
        self._commands: dict[str, Callable[[str], None]] = {
            "/image": self._image,
            "/page": self._page,
            "/task": self._task,
            "/reset": self._reset,
            "/save": self._save,
            "/help": self._help,
        }
        self.interactive = sys.stdin.isatty()

    def run(self) -> int:
        """Read and answer until the end of input; the exit code."""
        console.prepare_stdin(self.interactive)
        if self.interactive:
            self._greet()
        self._say_notes()
        while (line := self._next_line()) is not None:
            if line.strip().lower() in ("exit", "quit", "/exit", "/quit"):
                break
            try:
                if line.startswith("/"):
                    self._command(line)
                elif line.strip():
                    self._ask(line.strip())
            except VaryError as error:
                self._fail(str(error))
            except KeyboardInterrupt:
                if not self.interactive:
                    raise
                sys.stdout.write("\n")
                console.complain("stopped; neither the question nor what was answered is in the history")
        return console.EXIT_OK if self._all_good or self.interactive else console.EXIT_FAILED

    def _greet(self) -> None:
        page, name = self._chat.page, self._reader.name
        console.complain(
            f"{page.source}, page {page.index + 1}, with {name}; /help lists the commands, exit leaves"
        )

    def _say_notes(self) -> None:
        """What was odd about the file of the page."""
        for note in self._chat.page.notes:
            console.complain(f"{self._chat.page.source}: {note}")

    def _next_line(self) -> str | None:
        """What the user typed, or the next line of the input; None at its end."""
        while True:
            try:
                if not self.interactive:
                    line = sys.stdin.readline()
                    return line.rstrip("\r\n") if line else None
                if sys.stdout.isatty():
                    return input(PROMPT)
                sys.stderr.write(PROMPT)
                sys.stderr.flush()
                return input()
            except EOFError:
                sys.stderr.write("\n")
                return None
            except KeyboardInterrupt:
                if not self.interactive:
                    raise
                sys.stderr.write("\n")

    def _ask(self, question: str) -> None:
        """Write the answer while it comes; piped answers have a blank line between them."""
        between = "" if self.interactive or not self._answers else "\n"

        def show(piece: str) -> None:
            nonlocal between
            console.write_answer(between + piece)
            between = ""

        turn = self._chat.ask(question, show)
        self._answers += 1
        console.write_answer(between if turn.text.endswith("\n") else f"{between}\n")
        if turn.message:
            self._fail(turn.message)
        if self.interactive:
            self._account(turn)

    def _account(self, turn: Turn) -> None:
        limit = self._chat.context_length
        used = f"{self._chat.tokens} of {limit}" if limit else f"{self._chat.tokens}"
        sys.stderr.write(
            f"[{turn.tokens} tokens, {turn.seconds:.1f} s; the conversation has {used} tokens]\n"
        )
        sys.stderr.flush()

    def _fail(self, message: str) -> None:
        self._all_good = False
        console.complain(message)

    def _command(self, line: str) -> None:
        name, _, rest = line.strip().partition(" ")
        command = self._commands.get(name.lower())
        if command is None:
            self._fail(
                f"unknown command {name}{did_you_mean(name, self._commands)}; /help lists them; a question "
                "that begins with / needs a blank before it"
            )
        else:
            command(rest.strip())

    def _image(self, path: str) -> None:
        path = path.strip("'\"")
        if not path:
            raise console.UsageError("/image needs the path of an image or PDF")
        source = os.path.expanduser(path)
        self._chat.show(source)
        self._source = source
        console.complain(f"{source}, page 1; the history is empty")
        self._say_notes()

    def _page(self, number: str) -> None:
        if not number.isdecimal():
            raise console.UsageError("/page needs the number of a page, counted from 1")
        self._chat.show(self._source, page=int(number))
        console.complain(f"{self._source}, page {int(number)}; the history is empty")
        self._say_notes()

    def _task(self, rest: str) -> None:
        if not rest:
            raise console.UsageError(f"/task needs a name: {', '.join(self._reader.tasks)}")
        name, _, subject = rest.partition(" ")
        question = self._reader.resolve_task(name, subject, self._language).prompt
        console.complain(f"asking: {question}")
        self._ask(question)

    def _reset(self, rest: str) -> None:
        self._chat.reset()
        console.complain("the history is empty, the image is the same")

    def _save(self, path: str) -> None:
        path = path.strip("'\"")
        if not path:
            raise console.UsageError("/save needs the name of a .md, .txt or .json file")
        wanted = Path(os.path.expanduser(path))
        written = self._chat.save(wanted)
        taken = "" if written == wanted else f", because {wanted.name} was there already"
        console.complain(f"saved to {written}{taken}")

    def _help(self, rest: str) -> None:
        commands, _, _ = EPILOG.partition("\nexamples:")
        sys.stderr.write(commands)
        sys.stderr.flush()

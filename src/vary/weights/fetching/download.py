"""Downloading one file over HTTP so that it can be killed at any time and goes on where it stopped.

The only module of vary that opens a connection; its neighbours `hub` and `offers` are the only ones that use
it.  What has arrived lies in `NAME.part`; it becomes `NAME` when it is complete and has the right checksum,
never before.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from io import RawIOBase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vary import __version__
from vary.errors import DownloadError
from vary.weights.hashing import CHUNK, Advance, git_id

__all__ = ["Request", "StatusError", "Unreachable", "download", "head", "read_answer"]

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as lost."""
ATTEMPTS = 5
"""In a row without any new byte, before a download is given up."""
REPO_COMMIT = "X-Repo-Commit"
"""The hub's header that names the revision of what it serves; it may stand on the redirect alone."""
PASSING = (408, 429, 500, 502, 503, 504)
"""Statuses that may be others in a moment."""
LARGEST_ANSWER = 32 * 2**20
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Unreachable(DownloadError):
    """No connection came about, or it broke off again and again."""


class StatusError(DownloadError):
    """The server answered with a status that is no success."""

    def __init__(self, address: str, status: int, headers: Message) -> None:
        reason = headers.get("X-Error-Message") or http.client.responses.get(status, "")
        super().__init__(f"{address}: the server answers {status} {reason}".rstrip())
        self.status = status
        self.code = headers.get("X-Error-Code") or ""


@dataclass(frozen=True, slots=True)
class Request:
    """One file to download.

    Attributes:
        address: http or https.
        size: in bytes; None where it is not known before.
        sha256: the checksum that it must have; "" where none is known.
        git: the id of the git blob that it must be; "" where none is known.
        commit: the revision that the server must say it serves, where it says any; "" for none.
        token: for the server of the address alone; a redirect to another one does not carry it.
    """

    address: str
    size: int | None = None
    sha256: str = ""
    git: str = ""
    commit: str = ""
    token: str = field(default="", repr=False)

    @property
    def is_known(self) -> bool:
        """Whether it can be told from its bytes alone that they are the right ones."""
        return bool(self.sha256 or self.git)


def read_answer(address: str, token: str = "") -> bytes:
    """A small answer as a whole, such as a JSON object.

    Raises:
        Unreachable, StatusError: as the names say.
    """
    for attempt in range(ATTEMPTS):
        try:
            with _open(Request(address, token=token), {}) as answer:
                return _whole(answer)
        except StatusError as error:
            if error.status not in PASSING or attempt == ATTEMPTS - 1:
                raise
        except Unreachable:
            if attempt >= 1:  # a machine without a network is told so without a long wait
                raise
        time.sleep(_pause(attempt))
    raise AssertionError("unreachable")


def _whole(answer: _Answer) -> bytes:
    pieces: list[bytes] = []
    while piece := answer.read(CHUNK):
        pieces.append(piece)
        if sum(map(len, pieces)) > LARGEST_ANSWER:
            raise DownloadError(f"{answer.address}: answers with more than {LARGEST_ANSWER:,} bytes")
    return b"".join(pieces)


def head(request: Request) -> Mapping[str, str]:
    """The headers that come with a file."""
    with _open(request, {}, method="HEAD") as answer:
        return {name.lower(): value for name, value in answer.headers.items()}


def download(request: Request, target: Path, *, progress: Advance = lambda _: None) -> str:
    """Download a file to `target`, going on from `target.part` if there is one; returns its SHA-256.

    `progress` is called with a negative number where something that had arrived had to be thrown away.

    Raises:
        Unreachable: if no byte arrives any more; what has arrived is kept for the next call.
        StatusError: if the server refuses.
        DownloadError: if something else arrives than what was asked for; it is thrown away.
    """
    part = _Part(target, request, progress)
    attempt = 0
    while True:
        before = part.size
        try:
            if part.is_complete() or _receive(request, part):
                break
            problem: DownloadError = Unreachable(
                f"{request.address}: the connection broke off after {part.size:,} bytes"
            )
        except StatusError as error:
            if error.status not in PASSING:
                raise
            problem = error
        except Unreachable as error:
            problem = error
        attempt = 0 if part.size > before else attempt + 1
        if attempt >= ATTEMPTS:
            raise problem
        time.sleep(_pause(attempt))
    return part.finish()


class _Part:
    """What has arrived of a file so far, with its checksum, and the validator that the server gave for it."""

    def __init__(self, target: Path, request: Request, progress: Advance) -> None:
        self.target, self.request, self.progress = target, request, progress
        self.path = target.with_name(target.name + ".part")
        self.notes = target.with_name(target.name + ".part.json")
        self.size = 0
        self.expected = request.size
        self.validator = self._noted_validator()
        self._sha256 = hashlib.sha256()
        if not self.path.exists():
            return
        usable = request.is_known or self.validator
        if not usable or (request.size is not None and self.path.stat().st_size > request.size):
            self.restart()
            return
        with self.path.open("rb") as stream:
            while piece := stream.read(CHUNK):
                self._count(piece)

    def _noted_validator(self) -> str:
        try:
            noted = json.loads(self.notes.read_text(encoding="utf-8"))
            return str(noted["validator"]) if noted["address"] == self.request.address else ""
        except (OSError, ValueError, LookupError, TypeError):
            return ""

    def _count(self, piece: bytes) -> None:
        self._sha256.update(piece)
        self.size += len(piece)
        self.progress(len(piece))

    def note(self, validator: str) -> None:
        """Keep what tells whether the server still has the same file."""
        self.validator = validator
        self.notes.write_text(
            json.dumps({"address": self.request.address, "validator": validator}), encoding="utf-8"
        )

    def restart(self) -> None:
        """Throw away what has arrived."""
        self.progress(-self.size)
        self.path.unlink(missing_ok=True)
        self._sha256, self.size = hashlib.sha256(), 0

    def append(self, stream: RawIOBase, piece: bytes) -> None:
        """Write what has arrived; without a buffer, which would fail once more when it is closed."""
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[stream.write(rest) :]
        except OSError as error:
            raise DownloadError(
                f"{self.path}: cannot be written ({error.strerror}); what has arrived so far is kept"
            ) from error
        self._count(piece)

    def is_complete(self) -> bool:
        return self.expected is not None and self.size == self.expected and self.path.exists()

    def finish(self) -> str:
        """Check the whole file and give it its name."""
        found, wanted = self._sha256.hexdigest(), self.request.sha256
        if wanted and found != wanted:
            self._discard("SHA-256", found, wanted)
        if self.request.git and (found_id := git_id(self.path)) != self.request.git:
            self._discard("git id", found_id, self.request.git)
        with self.path.open("rb+") as stream:
            os.fsync(stream.fileno())
        self.path.replace(self.target)
        self.notes.unlink(missing_ok=True)
        return found

    def _discard(self, kind: str, found: str, wanted: str) -> None:
        size = self.size
        self.restart()
        self.notes.unlink(missing_ok=True)
        raise DownloadError(
            f"{self.request.address}: {size:,} bytes arrived with the {kind} {found}, expected {wanted}; "
            "they were thrown away: fetch again, and if it stays so, trust neither the source nor what lies "
            "between"
        )


def _receive(request: Request, part: _Part) -> bool:
    """One connection; True when the file is complete after it."""
    headers = {"Range": f"bytes={part.size}-"} if part.size else {}
    if part.size and not request.is_known:
        headers["If-Range"] = part.validator
    try:
        with _open(request, headers) as answer:
            _check_commit(request, answer)
            _check_range(request, part, answer)
            if not request.is_known:
                part.note(_validator(answer.headers))
            with part.path.open("ab", buffering=0) as stream:
                while piece := answer.read(CHUNK):
                    part.append(stream, piece)
    except StatusError as error:
        if error.status != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not part.size:
            raise
        part.restart()  # the file there is shorter than what is here: none of it can be right
        return False
    return part.expected is None or part.size == part.expected


def _check_commit(request: Request, answer: _Answer) -> None:
    if request.commit and answer.commit and answer.commit != request.commit:
        raise DownloadError(
            f"{request.address}: the server serves revision {answer.commit}, but {request.commit} was asked "
            "for; nothing was taken"
        )


def _check_range(request: Request, part: _Part, answer: _Answer) -> None:
    """Set what is to be expected, and start anew where the server sends the file from its beginning."""
    total: int | None = None
    if answer.status == http.client.PARTIAL_CONTENT:
        found = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range") or "")
        if found is None or int(found[1]) != part.size:
            raise DownloadError(
                f"{request.address}: asked for the bytes from {part.size:,} on, the server sends "
                f"'{answer.headers.get('Content-Range')}'"
            )
        total = None if found[2] == "*" else int(found[2])
    else:
        if part.size:
            part.restart()
        if (length := answer.headers.get("Content-Length") or "").isdigit():
            total = int(length)
    if request.size is not None and total is not None and total != request.size:
        raise DownloadError(
            f"{request.address}: the file there has {total:,} bytes, expected {request.size:,}; the source "
            "has changed it"
        )
    part.expected = request.size if request.size is not None else total


def _validator(headers: Message) -> str:
    """What an If-Range may say: a strong ETag, else the date; "" where the server gives neither."""
    etag = headers.get("ETag") or ""
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified") or ""


def _pause(attempt: int) -> float:
    """Seconds before the next attempt: 1, 2, 4, 8."""
    return float(2 ** max(0, attempt - 1))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects as urllib does, but carries a token to the same server only, and no https to http."""

    def __init__(self) -> None:
        self.commit = ""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        self.commit = headers.get(REPO_COMMIT) or self.commit
        if new is None:
            return None
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise DownloadError(f"{req.full_url}: sends on to {newurl}, which is not encrypted; not followed")
        if _server(req.full_url) == _server(newurl) and (token := req.unredirected_hdrs.get("Authorization")):
            new.add_unredirected_header("Authorization", token)
        return new


def _server(address: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a server answers with success; `commit` is the hub's revision, if it or a redirect names one."""

    address: str
    status: int
    headers: Message
    commit: str
    body: Any

    def read(self, size: int) -> bytes:
        """What has come of the body; b"" at its end, or where the connection was closed before."""
        try:
            return bytes(self.body.read1(size))
        except (http.client.HTTPException, OSError) as error:
            raise Unreachable(f"{self.address}: the connection broke off ({error})") from error


def _trust() -> ssl.SSLContext:
    """The system's certificates, or those of certifi where Python has been built without any."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or paths.capath or sys.platform == "win32":
        return ssl.create_default_context()
    try:
        import certifi  # comes with huggingface_hub
    except ImportError:
        return ssl.create_default_context()
    return ssl.create_default_context(cafile=certifi.where())


@contextmanager
def _open(request: Request, headers: Mapping[str, str], method: str = "GET") -> Iterator[_Answer]:
    """An answer with a success status; errors of the connection and of the server become ours."""
    if urlsplit(request.address).scheme not in ("http", "https"):
        raise DownloadError(f"{request.address}: expected an address that begins with https:// or http://")
    query = urllib.request.Request(request.address, method=method)
    query.add_header("User-Agent", f"vary/{__version__}")
    for name, value in headers.items():
        query.add_header(name, value)
    if request.token:
        query.add_unredirected_header("Authorization", f"Bearer {request.token}")
    redirects = _Redirects()
    try:
        encrypted = urllib.request.HTTPSHandler(context=_trust())
        response = urllib.request.build_opener(redirects, encrypted).open(query, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            raise StatusError(request.address, error.code, error.headers) from error
    except urllib.error.URLError as error:
        raise Unreachable(f"{request.address}: cannot be reached ({error.reason})") from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise Unreachable(f"{request.address}: cannot be reached ({error})") from error
    with response:
        commit = response.headers.get(REPO_COMMIT) or redirects.commit
        yield _Answer(request.address, response.status, response.headers, commit, response)

"""A server on 127.0.0.1 that speaks as much of the hub's protocol as fetching needs, and can misbehave.

Tests use `FakeHub` as a context manager.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 1000
"""Files of this many bytes and more are "large files": they have a SHA-256 and lie on another server."""


def commit_of(number: int) -> str:
    """A commit's id."""
    return hashlib.sha1(b"commit %d" % number).hexdigest()


class Repository:
    """A repository: its commits with their files, its branches, its card."""

    def __init__(self, files: dict[str, bytes], licence: str | None = None) -> None:
        self.commits: dict[str, dict[str, bytes]] = {commit_of(1): dict(files)}
        self.branches = {"main": commit_of(1)}
        self.card: dict[str, Any] = {"license": licence} if licence else {}
        self.gated = False

    def push(self, files: dict[str, bytes]) -> str:
        """A new commit on main, in which these files are changed or added."""
        before = self.commits[self.branches["main"]]
        commit = commit_of(len(self.commits) + 1)
        self.commits[commit] = {**before, **files}
        self.branches["main"] = commit
        return commit


class FakeHub:
    """The server; what it is asked is in `log`, how it misbehaves is set in its fields.

    Attributes:
        repositories: by `owner/name`.
        direct: files under /files/NAME, by name.
        cut: by file name, after how many bytes of the answer the connection is closed, answer by answer.
        held: by file name, after how many bytes an answer waits until `release` is set.
        corrupt: names of files in which a byte is wrong on the way.
        failing: by file name, statuses to answer first.
        no_ranges: ignores what part of a file was asked for, as some servers do.
        served_commit: what the header says instead of the true commit.
        no_head: refuses HEAD.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.direct: dict[str, bytes] = {}
        self.cut: dict[str, list[int]] = {}
        self.held: dict[str, int] = {}
        self.release = threading.Event()
        self.reached = threading.Event()
        self.corrupt: set[str] = set()
        self.failing: dict[str, list[int]] = {}
        self.no_ranges = False
        self.no_head = False
        self.served_commit: str | None = None
        self.log: list[tuple[str, str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> FakeHub:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release.set()
        self.stop()

    def stop(self) -> None:
        """Be down."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, part: str) -> list[dict[str, str]]:
        """The headers of the requests for bytes of files whose address holds this."""
        return [headers for method, path, headers in self.log if method == "GET" and part in path]


class _Handler(BaseHTTPRequestHandler):
    """One connection to the server."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        if self.hub.no_head:
            self.refuse(405)
        else:
            self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = urlsplit(self.path).path
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.log.append((self.command, unquote(path), headers))
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[:2] == ["api", "models"] and parts[4:5] == ["revision"]:
            self.describe("/".join(parts[2:4]), "/".join(parts[5:]))
        elif parts[2:3] == ["resolve"]:
            self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        elif parts[0] == "cdn":
            repository = self.hub.repositories["/".join(parts[1:3])]
            self.send_file(parts[-1], repository.commits[parts[3]]["/".join(parts[4:])])
        elif parts[0] == "files" and parts[1] in self.hub.direct:
            self.send_file(parts[1], self.hub.direct[parts[1]])
        else:
            self.refuse(404)

    def find(self, name: str, revision: str) -> tuple[Repository, str] | None:
        """The repository and the commit, or None after a refusal."""
        repository = self.hub.repositories.get(name)
        if repository is None:
            self.refuse(401, "RepoNotFound", "Invalid username or password.")
            return None
        if repository.gated and "Authorization" not in self.headers:
            self.refuse(401, "GatedRepo", f"Access to model {name} is restricted.")
            return None
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repository, commit

    def describe(self, name: str, revision: str) -> None:
        if (found := self.find(name, revision)) is None:
            return
        repository, commit = found
        siblings = [_sibling(path, data) for path, data in repository.commits[commit].items()]
        content = {
            "id": name,
            "sha": commit,
            "gated": repository.gated,
            "cardData": repository.card or None,
            "tags": [],
            "siblings": siblings,
        }
        self.send_bytes(json.dumps(content).encode(), {"Content-Type": "application/json"})

    def resolve(self, name: str, revision: str, path: str) -> None:
        if (found := self.find(name, revision)) is None:
            return
        repository, commit = found
        data = repository.commits[commit].get(path)
        if data is None:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        headers = {"X-Repo-Commit": self.hub.served_commit or commit}
        if len(data) >= LARGE:  # as the hub does: the bytes come from another host
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.hub.port}/cdn/{name}/{commit}/{path}")
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_file(path, data, headers)

    def send_file(self, name: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        name = name.rpartition("/")[2]
        if statuses := self.hub.failing.get(name):
            self.refuse(statuses.pop(0))
            return
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        start, asked = 0, self.headers.get("Range")
        if asked and not self.hub.no_ranges and self.headers.get("If-Range", etag) == etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self.refuse(416)
                return
        rest = bytearray(data[start:])
        if name in self.hub.corrupt and rest:
            rest[len(rest) // 2] ^= 1
        more = {"ETag": etag, **(headers or {})}
        if start:
            more["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.send_bytes(bytes(rest), more, 206 if start else 200, self.limits(name))

    def limits(self, name: str) -> Callable[[int], int] | None:
        """How many bytes of an answer may go out before the next thing happens."""
        if self.command == "HEAD":
            return None
        if cuts := self.hub.cut.get(name):
            limit = cuts.pop(0)
            return lambda size: min(limit, size)
        if (limit := self.hub.held.pop(name, -1)) >= 0:

            def hold(size: int) -> int:
                return -min(limit, size)

            return hold
        return None

    def send_bytes(
        self,
        data: bytes,
        headers: dict[str, str],
        status: int = 200,
        limit: Callable[[int], int] | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        sent = len(data) if limit is None else limit(len(data))
        self.wfile.write(data[: abs(sent)])
        self.wfile.flush()
        if sent < 0:
            self.hub.reached.set()
            self.hub.release.wait(60)
        if abs(sent) < len(data):
            self.close_connection = True

    def refuse(self, status: int, code: str = "", message: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _sibling(path: str, data: bytes) -> dict[str, Any]:
    """A file as the hub's interface lists it."""
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git}
    if len(data) >= LARGE:
        digest = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 135}
        entry["blobId"] = hashlib.sha1(digest.encode()).hexdigest()  # of the pointer, not of the file
    return entry

"""What a source of weights has, and whether it is what it had: a hub repository or a direct address."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from vary.errors import DownloadError
from vary.weights.fetching import download as transport
from vary.weights.fetching.registry import Part
from vary.weights.fetching.store import Held, Record, StoredFile

__all__ = ["Offer", "Wanted", "direct_offer", "hub_offer", "refused"]

DEFAULT_BRANCH = "main"

SAFE = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
TORCH = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json")
BESIDE = re.compile(
    r"(config|generation_config|preprocessor_config|processor_config|tokenizer|tokenizer_config"
    r"|special_tokens_map|added_tokens|vocab|chat_template|conversion|origin|manifest|fingerprint)\.json"
    r"|merges\.txt|[\w.-]+\.tiktoken|tokenizer\.model|chat_template\.jinja"
    r"|additional_chat_templates/[\w-]+\.jinja|(README|LICEN[CS]E|NOTICE)(\.md|\.txt)?",
    re.ASCII,
)
"""What is fetched of a repository, by its name there: one form of the weights, and what belongs to them.
Never code, and no other pickles, such as `training_args.bin`."""
PLAIN_NAME = re.compile(r"[\w-][\w.-]*", re.ASCII)
NO_HEAD = (400, 403, 405, 501)
"""How servers that answer GET alone refuse to say how large a file is."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch: its name in the checkpoint's folder, and what is asked of the server."""

    name: str
    request: transport.Request


@dataclass(frozen=True, slots=True)
class Offer:
    """What a source has: at which revision, under which licence, which files of it are wanted.

    Attributes:
        part: the source.
        asked: the branch or tag that was asked for and gave the revision; "" for a direct address, and where
            the revision of an earlier fetch was asked for.
        revision: the commit; "" for a direct address.
        licence: as the source shows it; "" if it shows none.
        server: the hub's address, or the direct one's.
        files: what is wanted of it.
    """

    part: Part
    asked: str
    revision: str
    licence: str
    server: str
    files: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class _Listed:
    """A file as the hub lists it: its SHA-256 where it is a large one, else the id of its git blob."""

    path: str
    size: int | None
    sha256: str
    git: str


def hub_offer(
    part: Part,
    record: Record,
    *,
    revision: str | None,
    placed: str | None,
    update: bool,
    endpoint: str | None,
) -> Offer:
    """What a repository of the hub has, checked against what it had at the first fetch.

    Args:
        part: the repository.
        record: of the first fetches.
        revision: what the user asked for, if anything.
        placed: the revision that lies, or lay, in the checkpoint's folder, if any.
        update: take what is there now.
        endpoint: the hub's address; None takes `huggingface_hub`'s.

    Raises:
        Unreachable: without a connection.
        DownloadError: if the hub refuses, or has something else than before.
    """
    from huggingface_hub import constants, get_token

    server = (endpoint or constants.ENDPOINT).rstrip("/")
    token = get_token() or ""
    asked = revision or DEFAULT_BRANCH
    restored = placed if revision is None and not update else None
    pinned = None if update else restored or record.revision(part.source, asked)
    info = _repository(part, server, pinned or asked, token)
    commit = str(info["sha"])
    if pinned and commit != pinned:
        raise DownloadError(
            f"{part.repository}: asked for revision {pinned}, which the first fetch recorded, {server} gives "
            f"{commit}; nothing was taken"
        )
    held = record.held(part.source, commit)
    trusted = {} if update or revision or held else part.sha256
    listed = dict(_listed(info, part.folder))
    files = []
    for name in _choose(part, list(listed)):
        found = listed[name]
        stored = held.files.get(name) if held else None
        _compare(f"{part.source}: {name} at revision {commit}", found, stored, trusted.get(name, ""))
        request = transport.Request(
            f"{server}/{part.repository}/resolve/{quote(commit, safe='')}/{quote(found.path)}",
            size=found.size,
            sha256=stored.sha256 if stored else found.sha256 or trusted.get(name, ""),
            git="" if found.sha256 or stored else found.git,
            commit=commit,
            token=token,
        )
        files.append(Wanted(name, request))
    return Offer(part, "" if restored else asked, commit, _licence(info), server, tuple(files))


def direct_offer(part: Part, record: Record, *, update: bool) -> Offer:
    """What lies at a direct address: its size is asked for, its bytes are known from the first fetch on.

    Raises:
        Unreachable: without a connection.
        DownloadError: if the server refuses, or the file has another size than before.
    """
    name = urlsplit(part.address).path.rpartition("/")[2]
    assert PLAIN_NAME.fullmatch(name), f"{part.address} ends in no name of a file"
    held: Held | None = None if update else record.held(part.address, "")
    stored = held.files.get(name) if held else None
    try:
        length = transport.head(transport.Request(part.address)).get("content-length", "")
    except transport.StatusError as error:
        if error.status not in NO_HEAD:
            raise
        length = ""
    size = int(length) if length.isdigit() else None
    if stored is not None and size is not None and size != stored.size:
        raise DownloadError(
            f"{part.address}: the file has {size:,} bytes now, at the first fetch it had {stored.size:,}; "
            "--update takes the new one; nothing was taken"
        )
    known = stored.sha256 if stored else "" if update else part.sha256.get(name, "")
    request = transport.Request(part.address, size=stored.size if stored else size, sha256=known)
    place = urlsplit(part.address)
    return Offer(part, "", "", "", f"{place.scheme}://{place.netloc}", (Wanted(name, request),))


def refused(part: Part, error: transport.StatusError, server: str, revision: str = "") -> DownloadError:
    """A server's refusal in words: gated, unknown, without the revision, or as it is."""
    page = f"{server}/{part.repository}"
    if not part.repository:
        return error
    if error.code == "GatedRepo" or error.status == 403:
        return DownloadError(
            f"{error}\n{part.repository} is gated: accept its terms at {page}, log in with `hf auth login` "
            "or set HF_TOKEN, and fetch again"
        )
    if error.code == "RevisionNotFound":
        return DownloadError(
            f"{error}\n{part.repository} has no revision {revision}; see {page}/commits/main, name another "
            "one with --revision, or take what is there now with --update"
        )
    if error.code == "RepoNotFound" or error.status == 401:
        return DownloadError(
            f"{error}\nthere is no public repository {part.repository} at {server}; for a private one log in "
            "with `hf auth login` or set HF_TOKEN"
        )
    return error


def _repository(part: Part, server: str, revision: str, token: str) -> dict[str, Any]:
    """What the hub's interface says of a repository at a revision."""
    address = f"{server}/api/models/{part.repository}/revision/{quote(revision, safe='')}?blobs=true"
    try:
        content = json.loads(transport.read_answer(address, token))
    except transport.StatusError as error:
        raise refused(part, error, server, revision) from error
    except ValueError as error:
        raise DownloadError(f"{address}: expected the hub's JSON, found something else ({error})") from error
    if not isinstance(content, dict) or not content.get("sha"):
        raise DownloadError(f"{address}: the answer names no revision; is this a server of the hub?")
    return content


def _listed(info: Mapping[str, Any], folder: str) -> Iterator[tuple[str, _Listed]]:
    """The files of a folder of the repository by their names in it."""
    prefix = f"{folder}/" if folder else ""
    for entry in info.get("siblings") or ():
        if not isinstance(entry, dict):
            continue
        path = str(entry.get("rfilename") or "")
        size, large = entry.get("size"), entry.get("lfs") or {}
        if path.startswith(prefix):
            yield (
                path.removeprefix(prefix),
                _Listed(
                    path,
                    size if isinstance(size, int) else None,
                    str(large.get("sha256") or ""),
                    str(entry.get("blobId") or ""),
                ),
            )


def _choose(part: Part, listed: list[str]) -> list[str]:
    """The names of the files that are wanted, in their order there."""
    if part.exact:
        if absent := [name for name in part.files if name not in listed]:
            raise DownloadError(f"{part.source} has no {', '.join(absent)} any more")
        return list(part.files)
    safe = [name for name in listed if SAFE.fullmatch(name)]
    weights = safe or [name for name in listed if TORCH.fullmatch(name)]
    if not any(name.endswith((".safetensors", ".bin")) for name in weights):
        raise DownloadError(
            f"{part.source} has no weights that vary knows (model.safetensors or pytorch_model.bin, or parts "
            f"of them with an index); it has {', '.join(sorted(listed)[:12]) or 'nothing'}"
        )
    return [name for name in listed if name in weights or BESIDE.fullmatch(name)]


def _compare(what: str, found: _Listed, stored: StoredFile | None, public: str) -> None:
    """Refuse a file that is announced with another size or checksum than it had, or is known to have."""
    has = f"{what} has {_bytes(found.size)} and the SHA-256 {found.sha256 or '(not stated)'}"
    if stored is not None:
        other_size = found.size is not None and found.size != stored.size
        if other_size or (found.sha256 and found.sha256 != stored.sha256):
            raise DownloadError(
                f"{has} now; at the first fetch it had {_bytes(stored.size)} and {stored.sha256}. A revision "
                "cannot change: do not trust this source; nothing was taken"
            )
    elif public and found.sha256 and found.sha256 != public:
        raise DownloadError(
            f"{has}, but {public} is the one that is publicly known (`vary weights list --json` says from "
            "where); if the authors have replaced it, --update takes the new one; nothing was taken"
        )


def _bytes(size: int | None) -> str:
    return "an unknown size" if size is None else f"{size:,} bytes"


def _licence(info: Mapping[str, Any]) -> str:
    """The licence that the repository's card states; "" where it states none."""
    card = info.get("cardData")
    card = card if isinstance(card, dict) else {}
    tags = [str(tag) for tag in info.get("tags") or ()]
    found = card.get("license") or [
        tag.removeprefix("license:") for tag in tags if tag.startswith("license:")
    ]
    text = ", ".join(map(str, found)) if isinstance(found, list) else str(found)
    named = [str(card[key]) for key in ("license_name", "license_link") if card.get(key)]
    return f"{text} ({', '.join(named)})" if named else text

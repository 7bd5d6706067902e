"""What a project's manifest must be, wherever it is made or read. Pure.

A project may come from any platform and be rendered on any other, so its paths are those that every
platform can hold, and no two of them are one file on a disk that ignores case.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

import msgspec

from renderonline import wire
from renderonline.names import BadName, checked
from renderonline.wire import Manifest, ProjectRef

MAX_FILES = 200_000
"""Most files of one project. A manifest of so many is about 30 MB."""

MAX_PATH_BYTES = 1000
"""Longest path, in UTF-8; what a platform bears of it besides is the renderer's trouble."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BadManifest(ValueError):
    """A manifest that cannot be used. Its text is a sentence that names the file."""


def check(manifest: Manifest) -> None:
    """Raises BadManifest: paths that leave the folder, names that some platform refuses, two files
    at one place, a main file that is not among the files."""
    if not manifest.files:
        raise BadManifest("The project has no files.")
    if len(manifest.files) > MAX_FILES:
        raise BadManifest(
            f"The project has {len(manifest.files)} files; at most {MAX_FILES} are taken. Leave out "
            "what it does not need, or pack it into fewer files."
        )
    for file in manifest.files:
        check_path(file.path)
        if not is_sha256(file.sha256):
            raise BadManifest(
                f"{_shown(file.path)} has a Sha256 that is not 64 hexadecimal digits."
            )
        if not 0 <= file.size < 2**63:
            raise BadManifest(f"{_shown(file.path)} has a Size that no file has.")
    _check_places([file.path for file in manifest.files])
    if manifest.main not in {file.path for file in manifest.files}:
        raise BadManifest(
            f"The main file {_shown(manifest.main)} is not among the project's files."
        )


def check_path(path: str) -> None:
    """Whether a file may lie at `path` below a folder of ours, on any platform. Raises BadManifest."""
    if len(path.encode("utf-8", "replace")) > MAX_PATH_BYTES:
        raise BadManifest(f"The path {_shown(path)} is longer than {MAX_PATH_BYTES} bytes.")
    if not path or path.startswith("/") or "\\" in path or re.match(r"[A-Za-z]:", path):
        raise BadManifest(
            f"The path {_shown(path)} is not relative to the project's folder, with / between its "
            "parts."
        )
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise BadManifest(f"The path {_shown(path)} has an empty part, or leads elsewhere.")
        try:
            checked(part)
        except BadName as error:
            raise BadManifest(f"{_shown(path)}: {error}") from None


def is_sha256(text: str) -> bool:
    """Whether `text` is a SHA-256 as we write it."""
    return _SHA256.fullmatch(text) is not None


def encode(manifest: Manifest) -> bytes:
    """The one spelling of a manifest: the same project has the same bytes, and so the same hash."""
    files = sorted(manifest.files, key=lambda file: file.path)
    return wire.encode(msgspec.structs.replace(manifest, files=files))


def ref(manifest: Manifest) -> ProjectRef:
    """How the project is named."""
    return ProjectRef(
        sha256=hashlib.sha256(encode(manifest)).hexdigest(),
        main=manifest.main,
        files=len(manifest.files),
        size_bytes=sum(file.size for file in manifest.files),
    )


def _check_places(paths: Iterable[str]) -> None:
    """No two files at one place, and none where another needs a folder, on a disk that folds case."""
    files: dict[str, str] = {}
    for path in paths:
        folded = _folded(path)
        if (other := files.get(folded)) is not None:
            raise BadManifest(
                f"{_shown(other)} and {_shown(path)} are one file on Windows and macOS. Rename one."
            )
        files[folded] = path
    for folded, path in files.items():
        parts = folded.split("/")
        for count in range(1, len(parts)):
            other = files.get("/".join(parts[:count]), "")
            if other:
                raise BadManifest(f"{_shown(other)} is a file, and {_shown(path)} lies in it.")


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _shown(path: str) -> str:
    text = path if len(path) <= 120 else f"{path[:50]}…{path[-60:]}"
    return repr(text)

"""Projects as they travel: what they are made of, and which of it the other side lacks."""

from __future__ import annotations

from renderonline.wire.message import Message


class ManifestFile(Message):
    """One file of a project."""

    path: str  # relative to the project's folder, "/" between its parts
    sha256: str  # of its bytes, 64 lower-case hexadecimal digits
    size: int  # in bytes
    mtime: float | None = None  # when it was changed last, in seconds since 1970
    executable: bool = False


class Manifest(Message):
    """A project: its files, and which of them the renderer opens."""

    main: str = ""  # the path of one of `files`
    files: list[ManifestFile] = []


class ProjectRef(Message):
    """A project by its manifest, whose JSON is kept and fetched like any file, by its hash."""

    sha256: str = ""
    main: str = ""
    files: int = 0  # how many
    size_bytes: int = 0  # all of them together


class Content(Message):
    """Bytes by what they are."""

    sha256: str = ""
    size: int = 0  # in bytes


class MissingRequest(Message):
    files: list[Content] = []


class MissingResponse(Message):
    missing: list[str] = []  # the SHA-256 of those that have to be sent


class OutputAnswer(Message):
    """What became of a result that a node sent."""

    accepted: bool  # True: it is on the disk. False: the attempt is not current; drop the file
    message: str = ""

"""What can go wrong between us and a farm: few kinds, told apart by what to do next."""

from __future__ import annotations

from pathlib import Path


class ClientError(Exception):
    """What was asked did not happen. The text says what went wrong, `hint` what to do now.

    `code` is for programs: the server's own where it gave one. Raised as itself where this machine
    is the reason (its disk is full).
    """

    code = "failed"

    def __init__(self, message: str, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        if code:
            self.code = code


class Unusable(ClientError):
    """What was asked for cannot be sent as it is; nothing was. Change it."""

    code = "unusable"


class Unreachable(ClientError):
    """There is no farm at that address that we can talk to. Later, or elsewhere, it may work."""

    code = "unreachable"


class NotAllowed(ClientError):
    """The farm does not know these credentials, or not for this. Sign in again."""

    code = "not_allowed"


class NotFound(ClientError):
    """The farm has no such thing, or it is somebody else's."""

    code = "not_found"


class Refused(ClientError):
    """The farm understood, and said no. The text is its own."""

    code = "refused"


def not_written(target: Path, error: OSError) -> ClientError:
    """What to say of a file that could not be written on this machine."""
    return ClientError(
        f"{error.filename or target} cannot be written: {error.strerror or error}.",
        "Make room there, or choose another folder.",
    )

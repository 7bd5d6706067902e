"""The error that a use case answers with."""

from __future__ import annotations


class Refused(Exception):
    """A request that cannot be carried out. `status` is HTTP's, the text a sentence."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint

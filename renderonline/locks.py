"""Locks between programs that share a folder, by number, in one file.

They are the system's own, on single bytes of the file: a program's end, however it comes, frees what
it had, and on a network's file system they hold between machines. Within one program they keep
nobody apart: that is for a lock of the program's own.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

log = logging.getLogger(__name__)

NUMBERS = 2**28
"""Numbers are below it: what Windows' call takes as a place in a file has 31 bits."""

_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class ByteLocks:
    """The locks of one file, which is made if need be. Safe from any thread.

    One object per file and program: on POSIX, closing one of two frees what the other holds.
    """

    def __init__(self, file: Path) -> None:
        """Raises OSError."""
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        self._file = file
        self._lock = threading.Lock()

    def take(self, number: int) -> bool:
        """Whether no other program has it; from now on it is this one's."""
        try:
            self._take(number)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            # A file system without locks: then no second program may use it, as ever.
            log.warning("%s cannot be locked: %s", self._file, error)
        return True

    def free(self, number: int) -> None:
        """Others may have it."""
        try:
            self._free(number)
        except OSError as error:
            log.warning("%s cannot be unlocked: %s", self._file, error)

    def close(self) -> None:
        """Free all. Idempotent."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1

    if sys.platform == "win32":

        def _take(self, number: int) -> None:
            with self._lock:
                os.lseek(self._descriptor, number, os.SEEK_SET)
                msvcrt.locking(self._descriptor, msvcrt.LK_NBLCK, 1)

        def _free(self, number: int) -> None:
            with self._lock:
                os.lseek(self._descriptor, number, os.SEEK_SET)
                msvcrt.locking(self._descriptor, msvcrt.LK_UNLCK, 1)

    else:

        def _take(self, number: int) -> None:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)

        def _free(self, number: int) -> None:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, number)

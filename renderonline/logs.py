"""Logging of the long-running modes: one format, to stderr. No secret is ever passed to a logger."""

from __future__ import annotations

import logging
import sys


def set_up(verbose: bool = False) -> None:
    """Configure the root logger. Called once, by a mode's command, on the main thread."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        force=True,
    )
    # Both log each connection, and urllib3 a retry per unreachable machine.
    for chatty in ("urllib3", "waitress.queue"):
        logging.getLogger(chatty).setLevel(logging.ERROR)

"""Why a node says no: the one exception between a request's handler and what carries it out."""

from __future__ import annotations


class Refusal(Exception):
    """A start or stop that cannot be done. Its text is a sentence for whoever asked."""

"""Tokens and keys: how they are made, kept and compared."""

from __future__ import annotations

import hashlib
import hmac
import secrets


def new_token() -> str:
    """A fresh token for a user: 256 random bits, 43 URL-safe characters. Shown once, never stored."""
    return secrets.token_urlsafe(32)


def new_key() -> str:
    """A fresh key for one attempt's reports: 192 random bits."""
    return secrets.token_urlsafe(24)


def digest(secret: str) -> str:
    """What is stored of a secret of ours: its SHA-256, 64 hex digits.

    A slow password hash would add nothing: our secrets are random and too long to guess.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, stored_digest: str) -> bool:
    """Whether `secret` is the one whose digest was stored; takes the same time either way."""
    return hmac.compare_digest(digest(secret), stored_digest)


def same(left: str, right: str) -> bool:
    """Whether two secrets are equal to the letter; takes the same time either way."""
    return hmac.compare_digest(left.encode(), right.encode())

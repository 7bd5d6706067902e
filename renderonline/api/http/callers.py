"""Who calls: the one place where a request becomes a user or an attempt of a node.

Signatures of joined nodes and the page's session cookie belong here too.
"""

from __future__ import annotations

from renderonline import serving
from renderonline.api.domain.model import Chunk, User
from renderonline.api.services import accounts
from renderonline.api.services.context import Context, Refused
from renderonline.serving import HttpError


def known_user(ctx: Context) -> User | None:
    """The user whose `email` and `token` headers the request carries, or None."""
    return accounts.authenticate(ctx, _header("email"), _header("token"))


def user(ctx: Context) -> User:
    """The same, or HttpError 401."""
    found = known_user(ctx)
    if found is None:
        raise HttpError(
            401,
            "unauthorized",
            "The email or the token is wrong, or the user is not active.",
            "Send the headers `email` and `token`. An admin issues a new token with "
            "`renderonline admin user token --email …`.",
        )
    return found


def attempt(ctx: Context, attempt_id: int) -> Chunk | None:
    """The attempt that a node reports on, None if it is gone; HttpError 401 if it is not theirs."""
    try:
        return accounts.attempt(ctx, attempt_id, _header("X-Attempt-Key"))
    except Refused as error:
        raise HttpError(error.status, error.code, error.message) from None


def _header(name: str) -> str:
    return serving.header(name) or ""

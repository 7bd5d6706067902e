"""Who a user is, by email and token, and whose report a node's is, by the attempt's key."""

from __future__ import annotations

from renderonline import security
from renderonline.api.db import catalog, chunks
from renderonline.api.domain.model import Chunk, User
from renderonline.api.services.context import Context, Refused

MAX_CREDENTIAL_CHARS = 1000


def authenticate(ctx: Context, email: str, token: str) -> User | None:
    """The active user whose token this is, or None.

    The email compares in any case, the token to the letter: a token of ours by its digest, a
    verbatim one (in rows made by the original or by hand) only where it is not empty.
    """
    if not email or not token or len(email) + len(token) > MAX_CREDENTIAL_CHARS:
        return None
    with ctx.database.reading():
        found = catalog.user_by_email(email)
        hashes = catalog.token_hashes(found[0].user_id) if found else []
    if found is None:
        security.matches(token, security.digest(""))  # an unknown email takes as long
        return None
    user, verbatim = found
    known = any(security.matches(token, stored) for stored in hashes)
    if verbatim and security.same(token, verbatim):
        known = True
    return user if known and user.is_active else None


def attempt(ctx: Context, attempt_id: int, key: str) -> Chunk | None:
    """The attempt whose key this is; None if it is gone. Raises Refused 401 for another key.

    The key was made for this attempt, sent with its start, and opens nothing else.
    """
    with ctx.database.reading():
        chunk = chunks.get(attempt_id)
    if chunk is None:
        return None
    if not chunk.key_hash or not security.matches(key, chunk.key_hash):
        raise Refused(401, "unauthorized", "This report does not carry the attempt's key.")
    return chunk

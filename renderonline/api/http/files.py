"""Routes of files on their way in: what the server lacks of a project."""

from __future__ import annotations

from renderonline import serving, wire
from renderonline.api.domain.model import User
from renderonline.api.http import uploads
from renderonline.api.http.handlers import as_user, body
from renderonline.api.services.context import Context, Refused
from renderonline.manifests import MAX_FILES, is_sha256

ROOT = "/renderapi/v1/files"


def routes(app: serving.JsonApp, ctx: Context) -> None:
    """Add the routes."""

    def missing(_user: User) -> wire.Message:
        asked = body(wire.MissingRequest, serving.LARGE_BODY_BYTES).files
        return wire.MissingResponse(missing=ctx.contents.missing(_hashes(asked), keep=True))

    uploads.routes(app, ctx)
    app.route(f"{ROOT}/missing", "POST", as_user(ctx, missing))


def _hashes(asked: list[wire.Content]) -> list[str]:
    """Raises Refused 400."""
    if len(asked) > MAX_FILES:
        raise Refused(400, "bad_request", f"These are more than {MAX_FILES} files.")
    for content in asked:
        if not is_sha256(content.sha256):
            raise Refused(
                400, "bad_request", f"{content.sha256[:70]!r} is not a SHA-256 in hexadecimal."
            )
    return [content.sha256 for content in asked]

"""tus 1.0 under files/uploads: resumable uploads for any tus client.

Core protocol and the extensions creation, creation-with-upload, checksum, termination, expiration:
https://tus.io/protocols/resumable-upload. Owns its headers; what they mean is `services.uploads`.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime
from functools import partial

import bottle

from renderonline import serving
from renderonline.api.domain.model import User
from renderonline.api.http import callers
from renderonline.api.services.context import Context, Refused
from renderonline.api.services.pieces import Piece, Read
from renderonline.api.services.uploads import ALGORITHMS, Status
from renderonline.api.storage.folders import is_disk_full
from renderonline.api.storage.uploads import Upload
from renderonline.manifests import is_sha256
from renderonline.serving import HttpError

ROOT = "/renderapi/v1/files/uploads"
VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,termination,expiration"
PIECE_TYPE = "application/offset+octet-stream"
MAX_METADATA_CHARS = 4096

HERE_BLOCK_BYTES = 1 << 20
"""Of a body that is here already: how much is written at once."""

Act = Callable[..., bottle.HTTPResponse]


def routes(app: serving.JsonApp, ctx: Context) -> None:
    """Add the routes."""
    own = {"HEAD": _status, "PATCH": _append, "DELETE": _drop}

    def overridden(user: User, upload_id: str) -> bottle.HTTPResponse:
        """For clients that can send nothing but POST."""
        method = (serving.header("X-HTTP-Method-Override") or "").upper()
        if method not in own:
            raise HttpError(405, "method_not_allowed", "An upload takes HEAD, PATCH and DELETE.")
        return own[method](ctx, user, upload_id)

    for path in (ROOT, f"{ROOT}/"):
        app.route(path, "OPTIONS", lambda: _answer(204, _abilities(ctx)))
        app.route(path, "POST", _tus(app, ctx, partial(_create, ctx)))
    app.route(f"{ROOT}/<upload_id>", "OPTIONS", lambda upload_id: _answer(204, _abilities(ctx)))
    for method, act in own.items():
        app.route(f"{ROOT}/<upload_id>", method, _tus(app, ctx, partial(act, ctx)))
    app.route(f"{ROOT}/<upload_id>", "POST", _tus(app, ctx, overridden))


def _tus(app: serving.JsonApp, ctx: Context, act: Act) -> Callable[..., bottle.HTTPResponse]:
    """What all but OPTIONS share: the protocol's version, who calls, and answers that carry it."""

    def handle(**arguments: str) -> bottle.HTTPResponse:
        try:
            if serving.header("Tus-Resumable") != VERSION:
                raise HttpError(412, "wrong_version", f"Tus-Resumable should be {VERSION}.")
            return act(callers.user(ctx), **arguments)
        except Exception as error:
            known = _known(app, error)
            if known is None:
                raise
            answer = serving.reply(known.body, known.status)
            answer.set_header("Tus-Resumable", VERSION)
            if known.status == 412:
                answer.set_header("Tus-Version", VERSION)
            return answer

    return handle


def _known(app: serving.JsonApp, error: Exception) -> HttpError | None:
    if isinstance(error, HttpError):
        return error
    if isinstance(error, Refused):
        return HttpError(error.status, error.code, error.message, error.hint)
    if isinstance(error, OSError) and is_disk_full(error):
        return HttpError(507, "disk_full", "The server's disk is full. What came before is kept.")
    return app.known(error)


# --------------------------------------------------------------------------- the verbs


def _create(ctx: Context, user: User) -> bottle.HTTPResponse:
    metadata = serving.header("Upload-Metadata") or ""
    upload = Upload(
        user_id=user.user_id,
        length=_number("Upload-Length"),
        sha256=_sha256(_metadata(metadata)),
        metadata=metadata,
    )
    ctx.uploads.check_length(upload.length)  # before its body is asked for, which is too large, too
    has_bytes = _content_type() == PIECE_TYPE and serving.body_length() != 0
    upload_id, offset = ctx.uploads.create(user, upload, _piece(0) if has_bytes else None)
    headers = {"Location": f"{ROOT}/{upload_id}"}
    if offset < upload.length:
        headers |= _expires(ctx.uploads.status(user, upload_id).expires_at)
    return _answer(201, headers | ({"Upload-Offset": str(offset)} if has_bytes else {}))


def _status(ctx: Context, user: User, upload_id: str) -> bottle.HTTPResponse:
    status = ctx.uploads.status(user, upload_id)
    headers = {"Upload-Length": str(status.upload.length), "Cache-Control": "no-store"}
    if status.upload.metadata:
        headers["Upload-Metadata"] = status.upload.metadata
    return _answer(200, headers | _progress(status))


def _append(ctx: Context, user: User, upload_id: str) -> bottle.HTTPResponse:
    if _content_type() != PIECE_TYPE:
        raise HttpError(415, "wrong_type", f"A piece's Content-Type is {PIECE_TYPE}.")
    piece = _piece(_number("Upload-Offset"))
    return _answer(204, _progress(ctx.uploads.append(user, upload_id, piece)))


def _drop(ctx: Context, user: User, upload_id: str) -> bottle.HTTPResponse:
    ctx.uploads.drop(user, upload_id)
    return _answer(204, {})


# --------------------------------------------------------------------------- headers


def _answer(status: int, headers: dict[str, str]) -> bottle.HTTPResponse:
    return bottle.HTTPResponse(b"", status, headers={"Tus-Resumable": VERSION, **headers})


def _abilities(ctx: Context) -> dict[str, str]:
    return {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(ctx.settings.upload_limit_bytes),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }


def _progress(status: Status) -> dict[str, str]:
    return {"Upload-Offset": str(status.offset)} | _expires(status.expires_at)


def _expires(moment: datetime | None) -> dict[str, str]:
    return {} if moment is None else {"Upload-Expires": format_datetime(moment, usegmt=True)}


def _piece(offset: int) -> Piece:
    """The request's body as a piece of an upload. Raises HttpError 400."""
    stream = bottle.request.environ["wsgi.input"]
    algorithm, digest = _checksum()
    length = serving.body_length()
    if isinstance(stream, io.BytesIO):
        return Piece(offset, length, _views(stream), algorithm, digest, HERE_BLOCK_BYTES)
    return Piece(offset, length, partial(serving.read_body, stream), algorithm, digest)


def _views(body: io.BytesIO) -> Read:
    """Reads a body that is in memory already, as waitress has it, without a copy of it."""
    whole, at = body.getbuffer(), 0

    def read(count: int) -> memoryview:
        nonlocal at
        block = whole[at : at + count]
        at += len(block)
        return block

    return read


def _content_type() -> str:
    return str(bottle.request.environ.get("CONTENT_TYPE") or "").partition(";")[0].strip().lower()


def _number(name: str) -> int:
    """Raises HttpError 400."""
    text = serving.header(name) or ""
    if not re.fullmatch("[0-9]{1,18}", text, re.ASCII):
        raise HttpError(400, "bad_request", f"{name} should be a number of bytes.")
    return int(text)


def _checksum() -> tuple[str, bytes]:
    """The algorithm and the digest; empty where none is sent. Raises HttpError 400."""
    text = serving.header("Upload-Checksum")
    if text is None:
        return "", b""
    algorithm, _, encoded = text.partition(" ")
    if algorithm not in ALGORITHMS:
        raise HttpError(
            400, "bad_request", f"Upload-Checksum takes one of {', '.join(ALGORITHMS)}."
        )
    return algorithm, _decoded(encoded, "Upload-Checksum")


def _metadata(text: str) -> dict[str, bytes]:
    """Upload-Metadata's pairs. Raises HttpError 400."""
    if len(text) > MAX_METADATA_CHARS:
        raise HttpError(400, "bad_request", "Upload-Metadata is too long.")
    found: dict[str, bytes] = {}
    for pair in text.split(",") if text.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not key.isascii() or not key.isprintable() or not key or key in found:
            raise HttpError(400, "bad_request", "Upload-Metadata has a key that cannot be.")
        found[key] = _decoded(value.strip(), "Upload-Metadata")
    return found


def _sha256(metadata: dict[str, bytes]) -> str | None:
    """What the whole must be; None where it is not said. Raises HttpError 400."""
    if "sha256" not in metadata:
        return None
    text = metadata["sha256"].decode("ascii", "replace").lower()
    if not is_sha256(text):
        raise HttpError(
            400, "bad_request", "The metadata sha256 should be 64 hexadecimal digits, in base64."
        )
    return text


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise HttpError(400, "bad_request", f"{name} has a value that is not base64.") from None

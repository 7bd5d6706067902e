"""Routes of results: the ZIP, the list of files, and the files themselves."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import quote

import bottle

from renderonline import serving, wire
from renderonline.api.domain.model import User
from renderonline.api.http import ranges
from renderonline.api.http.handlers import as_user, for_user, frame_number, number
from renderonline.api.services import results
from renderonline.api.services.context import Context
from renderonline.api.storage.archive import Archive
from renderonline.api.storage.plain_file import PlainFile
from renderonline.api.storage.trees import Changed

ROOT = "/renderapi/v1/tasks/<task_id>"

SHOWN_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}
"""What a browser may show by itself. Everything else is only saved: a renderer may have written a
page with a script in it, which would run as a page of ours."""

CAREFUL = {
    "Cache-Control": "private, no-cache",  # kept by the browser, and asked for again each time
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
}


def routes(app: serving.JsonApp, ctx: Context) -> None:
    """Add the routes."""

    def packed(user: User, task_id: str) -> bottle.HTTPResponse:
        query = bottle.request.query
        frames, only = query.frames or None, query.only or results.RESULTS
        found = results.packed(ctx, user, number(task_id), only, frames)
        headers = {
            **CAREFUL,
            "Content-Type": "application/zip",
            "Content-Disposition": attachment(f"task-{number(task_id)}.zip"),
        }
        if isinstance(found, Archive):
            return ranges.answer(found, headers)
        return bottle.HTTPResponse(found, 200, headers={**headers, "Accept-Ranges": "none"})

    def files(user: User, task_id: str) -> wire.Message:
        query = bottle.request.query
        limit = number(query.limit) if query.limit else 1000
        frames, after = query.frames or None, query.after or ""
        return results.files(ctx, user, number(task_id), frames, after, limit)

    def file(user: User, task_id: str, path: str) -> bottle.HTTPResponse:
        return _bytes_of(results.file(ctx, user, number(task_id), path))

    def frame_file(user: User, task_id: str, frame: str, path: str) -> bottle.HTTPResponse:
        found = results.frame_file(ctx, user, number(task_id), frame_number(frame), path)
        return _bytes_of(found)

    app.route(f"{ROOT}/results.zip", "GET", for_user(ctx, packed))
    app.route(f"{ROOT}/files", "GET", as_user(ctx, files))
    app.route(f"{ROOT}/files/<path:path>", "GET", for_user(ctx, file))
    app.route(f"{ROOT}/frames/<frame>/file/<path:path>", "GET", for_user(ctx, frame_file))


def _bytes_of(file: PlainFile) -> bottle.HTTPResponse:
    name = PurePosixPath(file.entry.name)
    content_type = SHOWN_TYPES.get(name.suffix.lower())
    headers = {**CAREFUL, "Content-Type": content_type or "application/octet-stream"}
    if content_type is None:
        headers["Content-Disposition"] = attachment(name.name)
    try:
        return ranges.answer(file, headers)
    except Changed:
        message = f"{name} has just been changed."
        raise serving.HttpError(409, "changed", message, "Ask again.") from None


def attachment(name: str) -> str:
    """A Content-Disposition that saves under `name`, whatever is in it (RFC 6266)."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"

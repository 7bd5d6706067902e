"""The original's five: info, enqueue, dequeue, download, delete, each in its own shape."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import bottle

from renderonline import serving, wire
from renderonline.api.domain.model import User
from renderonline.api.http import callers, multipart_body
from renderonline.api.services import enqueue, results, tasks
from renderonline.api.services.context import Context, Refused
from renderonline.api.storage.archive import Archive
from renderonline.api.storage.folders import is_disk_full

log = logging.getLogger(__name__)

ADDED = "Task successfully enqueued."
REMOVED = "Task successfully dequeued."
DELETED = "Task and associated render successfully deleted."

Failure = Callable[[str], wire.Message]


def routes(app: serving.JsonApp, ctx: Context) -> None:
    """Add the five routes."""
    app.route("/renderapi/v1/info", "GET", lambda: _info(ctx))
    posts: dict[str, tuple[Callable[[Context], Any], Failure]] = {
        "enqueue": (_enqueue, _not_added),
        "dequeue": (_dequeue, _not_removed),
        "download": (_download, _not_provided),
        "delete": (_delete, _not_deleted),
    }
    for name, (act, failure) in posts.items():
        app.route(f"/renderapi/v1/{name}", "POST", _in_shape(app, partial(act, ctx), failure))


def _in_shape(app: serving.JsonApp, act: Callable[[], Any], failure: Failure) -> Callable[[], Any]:
    """The same in the endpoint's own shape where the app has an answer to what went wrong."""

    def handle() -> Any:
        try:
            return act()
        except Exception as error:
            known = app.known(error)
            if known is None:
                raise
            return serving.reply(failure(known.body.error_message), known.status)

    return handle


def _not_added(message: str) -> wire.Message:
    return wire.EnqueueResponse(is_added=False, error_message=message)


def _not_removed(message: str) -> wire.Message:
    return wire.DequeueResponse(is_removed=False, error_message=message)


def _not_provided(message: str) -> wire.Message:
    return wire.DownloadResponse(download_provided=False, error_message=message)


def _not_deleted(message: str) -> wire.Message:
    return wire.DeleteResponse(is_deleted=False, error_message=message)


def _info(ctx: Context) -> Any:
    user = callers.known_user(ctx)
    if user is None:
        return bottle.HTTPResponse(b"", 401)
    return serving.reply(tasks.info(ctx, user))


def _enqueue(ctx: Context) -> Any:
    user = callers.known_user(ctx)
    if user is None:
        return serving.reply(
            _not_added("The email or the token is wrong, or the user is not active."), 401
        )
    target = ctx.folders.incoming_file()
    try:
        length = serving.body_length()
        ctx.room.check(user, length or 0)
        upload = multipart_body.receive(
            bottle.request.environ["wsgi.input"],
            bottle.request.environ.get("CONTENT_TYPE", ""),
            length,
            target,
            ctx.settings.upload_limit_bytes,
            _room_check(ctx, user, length),
        )
        if length is None:
            ctx.room.check(user, upload.size_bytes % multipart_body.CHECK_BYTES)
        task_id = enqueue.enqueue(ctx, user, upload)
    except (Refused, multipart_body.BadBody) as error:
        return serving.reply(_not_added(str(error)), error.status)
    except serving.HttpError as error:
        message = error.body.error_message
        if error.status == 413:
            message = multipart_body.too_large(ctx.settings.upload_limit_bytes)
        return serving.reply(_not_added(message), error.status)
    except OSError as error:
        if is_disk_full(error):
            return serving.reply(_not_added("The server's disk is full. Nothing was kept."), 507)
        log.warning("an upload broke off: %s", error)
        return serving.reply(_not_added("The upload broke off. Send it again."), 400)
    finally:
        target.unlink(missing_ok=True)
    return serving.reply(wire.EnqueueResponse(is_added=True, error_message=ADDED, task_id=task_id))


def _room_check(ctx: Context, user: User, length: int | None) -> Callable[[], None]:
    """What is asked again and again while a file comes. Where its length is known, there was room
    for all of it; else there must be for the next part."""
    if length is not None:
        return partial(ctx.room.check_disk, 0)
    return partial(ctx.room.check, user, multipart_body.CHECK_BYTES)


def _dequeue(ctx: Context) -> Any:
    def act(user: User, task_id: int) -> Any:
        tasks.dequeue(ctx, user, task_id)
        return serving.reply(wire.DequeueResponse(is_removed=True, error_message=REMOVED))

    return _on_task(ctx, _not_removed, act)


def _delete(ctx: Context) -> Any:
    def act(user: User, task_id: int) -> Any:
        tasks.delete(ctx, user, task_id)
        return serving.reply(wire.DeleteResponse(is_deleted=True, error_message=DELETED))

    return _on_task(ctx, _not_deleted, act)


def _download(ctx: Context) -> Any:
    def act(user: User, task_id: int) -> Any:
        packed = results.packed(ctx, user, task_id, missing=400)
        headers = {
            "Content-Type": "application/zip",
            # Unquoted, and no `filename*`: what the original's client reads.
            "Content-Disposition": f"attachment; filename={uuid.uuid4()}.zip",
        }
        if isinstance(packed, Archive):
            headers["Content-Length"] = str(packed.size_bytes)
            return bottle.HTTPResponse(packed.pieces(0, packed.size_bytes), 200, headers=headers)
        return bottle.HTTPResponse(packed, 200, headers=headers)

    return _on_task(ctx, _not_provided, act)


def _on_task(ctx: Context, failure: Failure, act: Callable[[User, int], Any]) -> Any:
    """What dequeue, download and delete share: a user, a body with a TaskId, the answer's shape."""
    user = callers.known_user(ctx)
    if user is None:
        return bottle.HTTPResponse(b"", 401)
    try:
        request = wire.decode(serving.small_body(), wire.TaskRequest)
        return act(user, request.task_id)
    except wire.WireError as error:
        return serving.reply(failure(str(error)), 400)
    except serving.HttpError as error:
        return serving.reply(failure(error.body.error_message), error.status)
    except Refused as error:
        return serving.reply(failure(error.message), error.status)

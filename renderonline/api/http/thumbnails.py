"""The route of thumbnails."""

from __future__ import annotations

from dataclasses import dataclass

import bottle

from renderonline import serving
from renderonline.api.domain.model import User
from renderonline.api.http import ranges
from renderonline.api.http.handlers import for_user, frame_number, number
from renderonline.api.http.results import CAREFUL, ROOT
from renderonline.api.services import thumbnails
from renderonline.api.services.context import Context
from renderonline.api.storage.plain_file import PlainFile
from renderonline.api.storage.thumbnails import Thumbnailer

WIDTH = 256


@dataclass(frozen=True, slots=True)
class _Bytes:
    """See ranges.Content."""

    content: bytes
    etag: str

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    def pieces(self, start: int, stop: int) -> list[bytes]:
        return [self.content[start:stop]]


def routes(app: serving.JsonApp, ctx: Context, thumbnailer: Thumbnailer) -> None:
    """Add the route."""

    def thumbnail(user: User, task_id: str, frame: str) -> bottle.HTTPResponse:
        query = bottle.request.query
        width = number(query.width) if query.width else WIDTH
        entry = thumbnails.source(ctx, user, number(task_id), frame_number(frame))
        etag = f"{PlainFile(entry).etag}-{width}"
        if ranges.is_known(serving.header("If-None-Match"), f'"{etag}"'):
            return ranges.unchanged(etag, CAREFUL)  # without making it
        made = thumbnails.make(thumbnailer, entry, width)
        headers = {**CAREFUL, "Content-Type": made.content_type}
        return ranges.answer(_Bytes(made.content, etag), headers)

    app.route(f"{ROOT}/frames/<frame>/thumbnail", "GET", for_user(ctx, thumbnail))

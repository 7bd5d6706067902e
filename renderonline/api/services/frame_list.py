"""The frames of a task, one by one, a page at a time."""

from __future__ import annotations

from renderonline import wire
from renderonline.api.db import chunks
from renderonline.api.domain import changes, frame_states
from renderonline.api.domain.model import User
from renderonline.api.services import results
from renderonline.api.services.context import Context
from renderonline.api.services.tasks import own
from renderonline.frames import MAX_FRAME, FrameSet

MAX_PAGE = 500
MAX_CHUNKS = 5000
"""How many of a task's attempts are looked through, the newest."""


def page(ctx: Context, user: User, task_id: int, first: int, limit: int) -> wire.FramesResponse:
    """At most `limit` frames from number `first` on; none where a task's are not known.

    Raises Refused.
    """
    limit = max(1, min(limit, MAX_PAGE))
    with ctx.database.reading():
        task = own(user, task_id).task
        wanted = changes.all_frames(task) & FrameSet.between(first, MAX_FRAME)
        shown = wanted.take(limit)
        attempts = chunks.of_task(task_id, MAX_CHUNKS) if shown.runs else []
    frames = frame_states.told(task, attempts, shown)
    files = results.files_of(ctx, user, task_id, shown)
    for frame in frames:
        frame.files = files.get(frame.frame, [])
    rest = wanted - shown
    return wire.FramesResponse(frames=frames, next=rest.first if rest.runs else None)

"""A picture of a frame, small: which of its files it is made of, and why there is none."""

from __future__ import annotations

from renderonline.api.domain.model import User
from renderonline.api.services import results
from renderonline.api.services.context import Context, Refused
from renderonline.api.storage.thumbnails import EXTENSIONS, Busy, Thumbnail, Thumbnailer
from renderonline.api.storage.trees import Changed, Entry

NARROWEST, WIDEST = 16, 1024


def source(ctx: Context, user: User, task_id: int, frame: int) -> Entry:
    """The file that shows a frame: of several the one that lies in the fewest folders (a compositor's
    passes have their own), of those the one that is opened quickest. Raises Refused."""
    entries = results.entries_of(ctx, user, task_id, frame)
    if not entries:
        raise Refused(404, "no_such_file", f"Nothing has been rendered of frame {frame} yet.")
    known = [entry for entry in entries if _rank(entry) is not None]
    if not known:
        raise _none(entries[0], f"is no picture that can be shown; those are {_kinds()}.")
    return min(known, key=lambda entry: (entry.name.count("/"), _rank(entry), entry.name))


def make(thumbnailer: Thumbnailer, entry: Entry, width: int) -> Thumbnail:
    """Its thumbnail. Takes up to 20 seconds. Raises Refused."""
    if not NARROWEST <= width <= WIDEST:
        raise Refused(400, "bad_request", f"`width` is from {NARROWEST} to {WIDEST} pixels.")
    try:
        made = thumbnailer.make(entry, width)
    except Busy:
        raise Refused(
            503, "busy", "Too many thumbnails are wanted just now.", "Ask again in a moment."
        ) from None
    except Changed:
        raise Refused(
            409, "changed", f"{entry.name} has just been changed.", "Ask again."
        ) from None
    if made.error is not None:
        raise _none(entry, made.error)
    return made


def _rank(entry: Entry) -> int | None:
    extension = entry.path.suffix.lower()
    return EXTENSIONS.index(extension) if extension in EXTENSIONS else None


def _kinds() -> str:
    return ", ".join(extension.removeprefix(".") for extension in EXTENSIONS)


def _none(entry: Entry, why: str) -> Refused:
    return Refused(415, "no_thumbnail", f"{entry.name[:200]} {why}")

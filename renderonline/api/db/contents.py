"""Reads and writes of what the content store holds, and of which project needs what.

Every function runs inside the caller's `Database.reading` or `Database.transact`. A content's file
is changed only by who holds its row (`lock`): on SQLite every transaction has the one write lock
already, on MySQL the row is locked, and made first where there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from renderonline.api.db import statements, tables
from renderonline.api.db.connection import is_mysql
from renderonline.wire import ProjectRef

_NOTHING = -1
"""Size in a row that only holds the place of one; no other transaction ever sees it."""

Known = tuple[int, int]
"""Size and time of a file, as it was taken in."""


def known(hashes: Sequence[str], lock: bool = False) -> dict[str, Known]:
    """Those of these contents that there are. `lock`: until the transaction ends they stay."""
    end = "FOR UPDATE" if lock and is_mysql() else ""
    columns = ("sha256", "size_bytes", "mtime_ns")
    # in order, so that two who lock many wait for each other instead of ending in a deadlock
    found = statements.rows_of(tables.Content, columns, "sha256", sorted(hashes), end)
    return {sha256: (size, mtime_ns) for sha256, size, mtime_ns in found}


def lock(sha256: str, now: datetime) -> Known | None:
    """The content, whose row and file nobody else changes until the transaction ends; None if there
    is none. Then `keep` or `forget` must follow."""
    if is_mysql():
        moment = tables.Content.stored_at.db_value(now)
        columns = ("sha256", "size_bytes", "mtime_ns", "stored_at")
        row = (sha256, _NOTHING, _NOTHING, moment)
        statements.insert_many(tables.Content, columns, [row])
    found = known([sha256], lock=True).get(sha256)
    return None if found is None or found[0] == _NOTHING else found


def keep(sha256: str, size: int, mtime_ns: int, now: datetime, stored_by: int | None) -> None:
    """It is there, and looks like this. After `lock`."""
    forget(sha256)
    columns = {
        "sha256": sha256,
        "size_bytes": size,
        "mtime_ns": mtime_ns,
        "stored_at": now,
        "stored_by": stored_by,
    }
    statements.insert(tables.Content, columns)


def forget(sha256: str) -> None:
    statements.delete(tables.Content, "`sha256` = ?", sha256)


def want(hashes: Sequence[str], until: datetime) -> None:
    """Somebody counts on these until then."""
    for batch in statements.batches(sorted(hashes)):
        places = ", ".join("?" * len(batch))
        where = f"`sha256` IN ({places})"
        statements.update(tables.Content, {"wanted_until": until}, where, *batch)


# --------------------------------------------------------------------------- projects


def manifest(sha256: str) -> ProjectRef | None:
    for row in statements.select(tables.Manifest, "WHERE `sha256` = ?", sha256):
        return ProjectRef(
            sha256=row.sha256, main=row.main, files=row.files, size_bytes=row.size_bytes
        )
    return None


def add_manifest(ref: ProjectRef, hashes: Iterable[str], now: datetime) -> None:
    """That the project needs these contents, if it is not known already. It stays until the
    transaction ends, at least."""
    if is_mysql():
        statements.lock(tables.Manifest, "sha256", ref.sha256)
    if manifest(ref.sha256) is not None:
        return
    columns = ("sha256", "main", "files", "size_bytes", "created_at")
    moment = tables.Manifest.created_at.db_value(now)
    row = (ref.sha256, ref.main, ref.files, ref.size_bytes, moment)
    statements.insert_many(tables.Manifest, columns, [row])
    needed = [(ref.sha256, sha256) for sha256 in sorted(set(hashes))]
    statements.insert_many(tables.ManifestFile, ("manifest", "sha256"), needed)


def is_part(manifest_sha256: str, sha256: str) -> bool:
    """Whether the project needs that content, which may be the manifest itself."""
    if sha256 == manifest_sha256:
        return True
    rest = "WHERE `manifest` = ? AND `sha256` = ?"
    return bool(statements.values(tables.ManifestFile, "sha256", rest, manifest_sha256, sha256))


def set_manifest(file_path: str, sha256: str) -> None:
    """The renders of this project that do not say which one it is do so now."""
    where = "`file_path` = ? AND `manifest` IS NULL"
    statements.update(tables.Render, {"manifest": sha256}, where, file_path)

"""The folders in which tasks are rendered whose project was fetched: made of the cache's files.

A task's chunks share one. It is made by links where the disk can, so that it costs no room; what a
renderer has changed in it is put back before the next chunk.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from renderonline import manifests, wire
from renderonline.node.cache import Cache
from renderonline.node.fetch import Fetcher, NotFetched
from renderonline.node.orders import Order, ReportTo
from renderonline.wire import Cause, Content, Manifest, ProjectRef

log = logging.getLogger(__name__)

KEPT = 8
"""Folders that stay for the next chunk of their task; the least recently used ones go."""

Stamp = tuple[int, int]
"""A file's size in bytes and its time of change in ns."""


@dataclass(slots=True)
class Tree:
    """One folder. `made` is what was put where, and how it looked then."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    made: dict[Path, tuple[str, Stamp]] | None = None  # None: not made by this node yet

    def changed(self) -> list[Path]:
        """Files that are not what they were when they were put there."""
        made = self.made or {}
        return [path for path, (_, stamp) in made.items() if _stamp(path) != stamp]


class Trees:
    """All of one node. Any thread."""

    def __init__(self, folder: Path, cache: Cache, fetcher: Fetcher) -> None:
        """What an earlier node has left in `folder` is removed: nobody knows what it was."""
        self._folder = folder
        self._cache = cache
        self._fetcher = fetcher
        self._lock = threading.Lock()
        self._trees: dict[Path, Tree] = {}  # the least recently used first
        _remove(folder)

    def is_ready(self, order: Order) -> bool:
        """Whether an attempt can begin at once. Looks at each file of its project."""
        tree = self._known(order.working_dir)
        return tree is not None and tree.made is not None and not tree.changed()

    def prepare(self, order: Order, stop: threading.Event) -> None:
        """Have the project in its folder. Blocks while it is fetched. Raises NotFetched."""
        project, to = order.place.project, order.report_to
        assert project is not None and to is not None
        tree = self._use(order.working_dir)
        with tree.lock:
            if tree.made is not None and not tree.changed():
                return
            manifest = self._manifest(project, to, stop)
            contents = [Content(sha256=f.sha256, size=f.size) for f in manifest.files]
            self._fetcher.fetch(to, contents, stop)
            try:
                tree.made = self._make(order.working_dir, manifest, tree)
            except OSError as error:
                tree.made = None
                raise NotFetched(
                    f"The project's folder {order.working_dir} cannot be made: "
                    f"{error.strerror or error}. Check the disk of this machine.",
                    Cause.MACHINE,
                ) from None
        self._thin_out(order.working_dir)

    def made(self, order: Order) -> Collection[Path]:
        """The project's own files, if it was fetched."""
        tree = self._known(order.working_dir)
        return (tree.made or {}) if tree is not None else ()

    def damaged(self, order: Order) -> list[str]:
        """Read all of the project's files again: the paths of those that are not what they should
        be. They are fetched again for the next attempt."""
        tree = self._known(order.working_dir)
        if tree is None or order.place.project is None:
            return []
        with tree.lock:
            made = tree.made or {}
            bad = [path for path, (sha256, _) in made.items() if not self._cache.is_intact(sha256)]
            if bad:
                tree.made = None
        return [path.relative_to(order.working_dir).as_posix() for path in bad]

    def _manifest(self, project: ProjectRef, to: ReportTo, stop: threading.Event) -> Manifest:
        self._fetcher.fetch_manifest(to, project.sha256, stop)
        file = self._cache.find(project.sha256)
        try:
            if file is None:
                raise NotFetched("The project's list of files is gone again.", Cause.MACHINE)
            manifest = wire.decode(file.read_bytes(), Manifest)
            manifests.check(manifest)
        except (wire.WireError, manifests.BadManifest, OSError) as error:
            raise NotFetched(
                f"The project's list of files cannot be used. {error}", Cause.SCENE
            ) from None
        return manifest

    def _make(self, root: Path, manifest: Manifest, tree: Tree) -> dict[Path, tuple[str, Stamp]]:
        """Put every file into its place that is not there already. Raises OSError, NotFetched."""
        made = dict(tree.made or {})
        for file in manifest.files:
            path = root.joinpath(*file.path.split("/"))
            if path in made and _stamp(path) == made[path][1]:
                continue
            source = self._cache.find(file.sha256)
            if source is None:
                raise NotFetched(
                    f"{file.path} was changed on this machine while it was rendered from.",
                    Cause.MACHINE,
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            place(source, path, file.executable)
            stamp = _stamp(path)
            assert stamp is not None
            made[path] = (file.sha256, stamp)
        return made

    def _known(self, root: Path) -> Tree | None:
        with self._lock:
            return self._trees.get(root)

    def _use(self, root: Path) -> Tree:
        """The tree, which is the most recently used one now. Others are made meanwhile."""
        with self._lock:
            tree = self._trees.pop(root, None) or Tree()
            self._trees[root] = tree
            return tree

    def _thin_out(self, but: Path) -> None:
        with self._lock:
            old = [root for root in list(self._trees)[:-KEPT] if root != but]
            for root in old:
                del self._trees[root]
        for root in old:
            _remove(root)


def place(source: Path, target: Path, is_executable: bool) -> None:
    """Put a file of the cache into a folder: as a link, or as a copy where the disk has none, or
    where it has to be executable (the cache's other users must not find it so). Raises OSError."""
    target.unlink(missing_ok=True)
    if not is_executable:
        try:
            os.link(source, target)
        except OSError:
            pass  # another disk, or a file system without links
        else:
            return
    shutil.copyfile(source, target)
    if is_executable:
        target.chmod(0o755)


def _remove(folder: Path) -> None:
    """What cannot be removed (Windows: somebody has it open) is tried again at the next start."""

    def make_writable(function: object, path: str, _error: object) -> None:
        assert callable(function)
        with contextlib.suppress(OSError):
            Path(path).chmod(0o700)
            function(path)

    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, onerror=make_writable)  # onexc comes with Python 3.12


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns

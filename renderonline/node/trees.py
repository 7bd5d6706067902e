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
from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from renderonline import manifests, wire
from renderonline.node.cache import Cache, digest, is_full
from renderonline.node.fetch import Fetcher, NotFetched, check_stop, no_room
from renderonline.node.orders import Order, ReportTo
from renderonline.wire import Cause, Content, Manifest, ProjectRef

log = logging.getLogger(__name__)

KEPT = 8
"""Folders that stay for the next chunk of their task; the least recently used ones go."""

Stamp = tuple[int, int]
"""A file's size in bytes and its time of change in ns."""


RENEWALS = 3
"""How often a project is looked through again when a file of it has gone from the cache meanwhile."""

LOCKED_S = 0.1
"""How long to wait for whoever makes a folder before looking whether one still has to."""


class _Gone(Exception):
    """A file that was fetched is not in the cache any more. Its text is the file's path."""


@dataclass(slots=True)
class Tree:
    """One folder. `made` is what was put where, and how it looked then."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    made: dict[Path, tuple[str, Stamp]] | None = None  # None: not made by this node yet
    users: int = 0  # who render in it or make it; it stays while there are any

    def changed(self) -> list[Path]:
        """Files that are not what they were when they were put there."""
        made = self.made or {}
        return [path for path, (_, stamp) in made.items() if _stamp(path) != stamp]

    @property
    def is_whole(self) -> bool:
        """Whether it can be rendered in. Looks at each file."""
        return self.made is not None and not self.changed()

    def has(self, hashes: Set[str]) -> bool:
        """Whether one of these files is in it."""
        return any(sha256 in hashes for sha256, _ in (self.made or {}).values())


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

    def hold(self, order: Order) -> None:
        """An attempt is going to be rendered in its folder, which stays until `let_go`."""
        self._use(order.working_dir)

    def let_go(self, order: Order) -> None:
        """It is over."""
        with self._lock:
            self._trees[order.working_dir].users -= 1

    def is_ready(self, order: Order) -> bool:
        """Whether an attempt can begin at once. Looks at each file of its project."""
        tree = self._known(order.working_dir)
        return tree is not None and tree.is_whole

    def prepare(self, order: Order, stop: threading.Event) -> None:
        """Have the project in its folder. Blocks while it is fetched. Raises NotFetched, also when
        `stop` is set."""
        tree = self._use(order.working_dir)
        try:
            with _held(tree.lock, stop):
                if not tree.is_whole:
                    self._renew(order, tree, stop)
        finally:
            self.let_go(order)
        self._thin_out()

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
            # In the folder, not in the cache: that may have dropped what it has had no room for.
            bad = [path for path, (sha256, _) in made.items() if not _is(path, sha256)]
            for path in bad:
                with contextlib.suppress(OSError):
                    self._cache.drop(made[path][0])
            if bad:
                tree.made = None
        return [path.relative_to(order.working_dir).as_posix() for path in bad]

    def _renew(self, order: Order, tree: Tree, stop: threading.Event) -> None:
        """Fetch what is missing and put it into place. Raises NotFetched."""
        project, to = order.place.project, order.report_to
        assert project is not None and to is not None
        for _ in range(RENEWALS):
            manifest = self._manifest(project, to, stop)
            contents = [Content(sha256=f.sha256, size=f.size) for f in manifest.files]
            self._fetcher.fetch(to, contents, stop, self._give_up)
            try:
                self._make_anyhow(order.working_dir, manifest, tree)
            except _Gone as gone:
                log.info("%s left the cache again; it is fetched once more", gone)
            else:
                return
        message = "Files of the project keep leaving the cache of this machine. Is `CacheBytes` large enough?"
        raise NotFetched(message, Cause.MACHINE)

    def _make_anyhow(self, root: Path, manifest: Manifest, tree: Tree) -> None:
        """A folder that cannot be put right is made anew: a renderer may have left anything in it.

        Raises NotFetched, _Gone.
        """
        try:
            tree.made = self._make(root, manifest, tree)
        except OSError:
            tree.made = None
            try:
                _remove(root)
                tree.made = self._make(root, manifest, tree)
            except OSError as error:
                raise _unusable(root, error) from None

    def _manifest(self, project: ProjectRef, to: ReportTo, stop: threading.Event) -> Manifest:
        self._fetcher.fetch_manifest(to, project.sha256, stop, self._give_up)
        try:
            file = self._cache.find(project.sha256)
            content = b"" if file is None else file.read_bytes()
        except OSError as error:
            raise _unusable(self._folder, error) from None
        if file is None:
            raise NotFetched("The project's list of files is gone again.", Cause.MACHINE)
        try:
            manifest = wire.decode(content, Manifest)
            manifests.check(manifest)
        except (wire.WireError, manifests.BadManifest) as error:
            raise NotFetched(
                f"The project's list of files cannot be used. {error}", Cause.SCENE
            ) from None
        return manifest

    def _make(self, root: Path, manifest: Manifest, tree: Tree) -> dict[Path, tuple[str, Stamp]]:
        """Put every file into its place that is not there already. Raises OSError, _Gone."""
        made = dict(tree.made or {})
        for file in manifest.files:
            path = root.joinpath(*file.path.split("/"))
            if path in made and _stamp(path) == made[path][1]:
                continue
            source = self._cache.find(file.sha256)
            if source is None:
                raise _Gone(file.path)
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
        """The tree, which is the most recently used one now; `let_go` follows."""
        with self._lock:
            tree = self._trees.pop(root, None) or Tree()
            tree.users += 1
            self._trees[root] = tree
            return tree

    def _thin_out(self) -> None:
        """Remove the folders that were not used for longest."""
        with self._lock:
            old = list(self._trees.items())[:-KEPT]
        self._remove_idle(old)

    def _give_up(self, dropped: Set[str]) -> None:
        """Remove the folders that have what the cache dropped: there alone does it still take room."""
        with self._lock:
            trees = list(self._trees.items()) if dropped else []
        self._remove_idle([(root, tree) for root, tree in trees if tree.has(dropped)])

    def _remove_idle(self, trees: Sequence[tuple[Path, Tree]]) -> None:
        """Those that nobody uses."""
        for root, tree in trees:
            if tree.users or not tree.lock.acquire(blocking=False):
                continue
            try:
                with self._lock:
                    if tree.users or self._trees.get(root) is not tree:  # or somebody has done so
                        continue
                    tree.made = None  # whoever wants it from now on waits, and makes it anew
                _remove(root)
                with self._lock:
                    if not tree.users:
                        del self._trees[root]
            finally:
                tree.lock.release()


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


@contextlib.contextmanager
def _held(lock: threading.Lock, stop: threading.Event) -> Iterator[None]:
    """The lock, as `with lock`. Raises NotFetched when `stop` is set before it is to be had."""
    while not lock.acquire(timeout=LOCKED_S):
        check_stop(stop)
    try:
        yield
    finally:
        lock.release()


def _is(path: Path, sha256: str) -> bool:
    try:
        return digest(path) == sha256
    except OSError:
        return False


def _unusable(root: Path, error: OSError) -> NotFetched:
    if is_full(error):
        return no_room()
    message = (
        f"The project's folder {root} cannot be made: {error.strerror or error}. Check the disk of "
        "this machine."
    )
    return NotFetched(message, Cause.MACHINE)


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns

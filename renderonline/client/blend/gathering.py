"""A .blend and all it needs, each file with its place in the bundle, and what is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from renderonline.client.blend import rewriting, tracing
from renderonline.client.blend.files import Finder, Found, absolute
from renderonline.client.blend.links import Link, Shape
from renderonline.client.blend.places import Places
from renderonline.client.errors import Unusable

_MARKS = ("<UDIM>", "<UVTILE>")
_OPAQUE = (".usd", ".usda", ".usdc")


@dataclass(slots=True)
class Gathered:
    """A scene's project. `missing`: what is not there → who uses it; `files`: place → where it is;
    `opaque`: files that may name others, which are not looked for."""

    main: str = ""
    files: dict[str, Path] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)
    opaque: list[Path] = field(default_factory=list)


class _Changed(Exception):
    """A .blend was saved while it was being read."""


def gather(main: Path, root: Path, copies: Path) -> Gathered:
    """What is needed to render `main` (absolute, below `root`, also absolute).

    Changed copies of .blend files are kept below `copies`. Raises Unusable, and OSError where a
    copy cannot be written.
    """
    for _ in range(2):
        try:
            return _Gathering(main, root, copies).run()
        except _Changed:
            continue
        except tracing.NotABlend as error:
            raise Unusable(
                f"{main} cannot be searched for what it links to: {error}.",
                "Save it again with Blender, or send it as it is (`--no-links`).",
            ) from None
    raise Unusable(f"{main} is being changed just now.", "Submit it once it is saved.")


class _Gathering:
    def __init__(self, main: Path, root: Path, copies: Path) -> None:
        self._main, self._root, self._copies = main, root, copies
        self._places, self._finder, self._result = Places(root), Finder(), Gathered()
        self._changes: dict[Path, list[rewriting.Patch]] = {}

    def run(self) -> Gathered:
        trace = tracing.trace(self._main)
        own = {blend: self._place(blend) for blend in trace.files}
        self._result.main = own[self._main]
        for blend, place in own.items():
            for link in trace.files[blend].links:
                self._follow(link, blend, place)
        for library, reason in trace.unreadable.items():
            self._result.missing.setdefault(str(library), []).append(reason)
        for blend, place in own.items():
            self._result.files[place] = self._copy(trace.files[blend])
        return self._result

    def _place(self, file: Path) -> str:
        return self._places.file(self._places.folder(file.parent), file.name, file)

    def _follow(self, link: Link, blend: Path, blend_place: str) -> None:
        home, home_place = blend, blend_place
        if link.library:
            home = absolute(link.library, blend)
            home_place = self._place(home)
        found = self._finder.find(link, home)
        self._note_lacking(link, found, blend)
        # What is not there stays as it is written, but for what the farm may write itself.
        is_placed = link.shape in (Shape.FOLDER, Shape.PACKED) and not link.is_required
        if not found.members and not is_placed:
            return
        target = self._target(link, found, home_place)
        for place, source in self._settled(link, found, target):
            if self._result.files.setdefault(place, source) is source:
                self._result.opaque += [source] if source.suffix.lower() in _OPAQUE else []
        if link.slot is not None and not rewriting.finds(link, home_place, target):
            changes = rewriting.patches(link, home_place, target, blend)
            self._changes.setdefault(blend, []).extend(changes)

    def _note_lacking(self, link: Link, found: Found, blend: Path) -> None:
        for path in found.lacking:
            shown = str(path) if link.path.startswith("//") else link.path
            users = self._result.missing.setdefault(shown, [])
            if (user := self._user(link, blend)) not in users:
                users.append(user)

    def _target(self, link: Link, found: Found, home_place: str) -> str:
        """The place of what the link names."""
        if link.shape is Shape.CACHE:  # Blender names the folder after the .blend
            folder, _, name = home_place.rpartition("/")
            stem = name.rpartition(".")[0] or name
            return f"{folder}/blendcache_{stem}".lstrip("/")
        if link.shape is Shape.FOLDER:
            return self._places.folder(found.anchor)
        folder = self._places.folder(found.anchor.parent)
        if link.shape in (Shape.FILE, Shape.LIBRARY, Shape.PACKED):
            return self._places.file(folder, found.anchor.name, found.anchor)
        return self._places.series(folder, found.anchor.name, _MARKS)

    def _settled(self, link: Link, found: Found, target: str) -> Iterator[tuple[str, Path]]:
        """The place of each file that the link means."""
        if link.shape in (Shape.FILE, Shape.LIBRARY):
            yield target, found.members[0][1]
            return
        is_inside = link.shape in (Shape.FOLDER, Shape.CACHE)
        folder = target if is_inside else target.rpartition("/")[0]
        for name, source in found.members:
            yield self._places.series(folder, name), source

    def _user(self, link: Link, blend: Path) -> str:
        if blend == self._main:
            return link.user
        inside = blend.is_relative_to(self._root)
        return f"{link.user} in {blend.relative_to(self._root).as_posix() if inside else blend}"

    def _copy(self, traced: tracing.Traced) -> Path:
        """The file itself, or its changed copy. Raises _Changed if it is not what was read."""
        changes = self._changes.get(traced.file)
        file = traced.file
        if changes:
            file = rewriting.copy_of(traced.file, traced.stamp, changes, self._copies)
        try:
            is_same = tracing.stamp(traced.file) == traced.stamp
        except OSError:
            is_same = False
        if not is_same:
            if file != traced.file:
                file.unlink(missing_ok=True)
            raise _Changed
        return file

"""What only the scene says: said by the command line, too, or held against what is rendered; and
which scene, camera and view layer that is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from renderonline.engines.base import CommandError
from renderonline.engines.blender_options import ACTIONS, SCRIPTS, option, parse, unparse


class Scene(Protocol):
    """What we ask of a scene."""

    @property
    def movie(self) -> str | None:
        """The format as `-F` takes it, where that is a movie's; None: it makes images."""
        ...

    @property
    def frame_size_px(self) -> tuple[int, int] | None:
        """Width and height of every frame; None where that is not to be told."""
        ...


SceneOf = Callable[[str | None], Scene | None]
"""The scene of a name; None as the name: the one that is rendered unless another is asked for."""

_SCENE = ("", "-S")
"""The options that bring a scene with a format of its own: a file, and the scene's name."""


def with_movie(argv: Sequence[str], scene_of: SceneOf) -> list[str]:
    """The command line with `-F` for a scene that itself makes a movie.

    So everybody who reads it knows, and Blender does what it would have done: the option comes
    first behind the scene, where a script can still change it. A format that is given counts, not
    the scene's; then `scene_of` is not asked. Raises CommandError.
    """
    line = parse(argv)
    given = {known.name: known for known in line.options}
    if "-F" in given or "" not in given or not given.keys() & ACTIONS:
        return list(argv)
    scene = scene_of(given["-S"].value if "-S" in given else None)
    if scene is None or scene.movie is None:
        return list(argv)
    at = 1 + max(i for i, known in enumerate(line.options) if known.name in _SCENE)
    return unparse(line, [*line.options[:at], option("-F", scene.movie), *line.options[at:]])


def frame_size(argv: Sequence[str], scene_of: SceneOf) -> tuple[int, int] | None:
    """Width and height in pixels that each frame will have; None where a script may change it, or
    nobody can tell. Raises CommandError."""
    given = {known.name: known for known in parse(argv).options}
    if "" not in given or SCRIPTS & given.keys():
        return None
    scene = scene_of(given["-S"].value if "-S" in given else None)
    return None if scene is None else scene.frame_size_px


_CAMERA = (
    "import bpy; s = bpy.context.scene; c = s.objects.get({name}); "
    "assert c and c.type == 'CAMERA', 'the scene has no camera ' + {name}; "
    "[setattr(m, 'camera', None) for m in s.timeline_markers]; s.camera = c"
)
"""Markers would bring their own cameras at their frames, so they let go of them."""

_VIEW_LAYER = (
    "import bpy; s = bpy.context.scene; "
    "assert {name} in s.view_layers, 'the scene has no view layer ' + {name}; "
    "[setattr(v, 'use', v.name == {name}) for v in s.view_layers]"
)


def with_scene(argv: Sequence[str], name: str | None) -> list[str]:
    """The command line with `-S` behind its file. Raises CommandError where it has a scene already."""
    if name is None:
        return list(argv)
    line = parse(argv)
    names = [given.name for given in line.options]
    if "-S" in names or "" not in names:
        raise CommandError("The engine's command line chooses the scene itself.")
    at = names.index("") + 1
    return unparse(line, [*line.options[:at], option("-S", name), *line.options[at:]])


def with_view(argv: Sequence[str], camera: str | None, view_layer: str | None) -> list[str]:
    """The command line with what chooses camera and view layer, right behind file and scene: in
    front of all that could be different in another chunk. Raises CommandError.

    The names become literals of Python in ASCII, so no name can be read as anything else.
    """
    chosen = ((_CAMERA, camera), (_VIEW_LAYER, view_layer))
    scripts = [script.format(name=ascii(name)) for script, name in chosen if name is not None]
    if not scripts:
        return list(argv)
    line = parse(argv)
    at = 1 + max((i for i, given in enumerate(line.options) if given.name in _SCENE), default=-1)
    added = [option("--python-expr", script) for script in scripts]
    return unparse(line, [*line.options[:at], *added, *line.options[at:]])

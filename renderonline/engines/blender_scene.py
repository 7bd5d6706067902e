"""What only the scene says, said by the command line, too. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from renderonline.engines.blender_options import ACTIONS, option, parse, unparse

_SCENE = ("", "-S")
"""The options that bring a scene with a format of its own: a file, and the scene's name."""


def with_movie(argv: Sequence[str], movie_of: Callable[[str | None], str | None]) -> list[str]:
    """The command line with `-F` for a scene that itself makes a movie.

    So everybody who reads it knows, and Blender does what it would have done: the option comes
    first behind the scene, where a script can still change it. A format that is given counts, not
    the scene's; then `movie_of` (the scene's name, None for the file's own → what `-F` takes, None
    for images) is not asked. Raises CommandError.
    """
    line = parse(argv)
    given = {known.name: known for known in line.options}
    if "-F" in given or "" not in given or not given.keys() & ACTIONS:
        return list(argv)
    movie = movie_of(given["-S"].value if "-S" in given else None)
    if movie is None:
        return list(argv)
    at = 1 + max(i for i, known in enumerate(line.options) if known.name in _SCENE)
    return unparse(line, [*line.options[:at], option("-F", movie), *line.options[at:]])

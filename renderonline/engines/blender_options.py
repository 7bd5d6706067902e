"""Blender's command line, taken apart: options with their values, project files, the rest.

Owns which options there are, how many words each takes and what they are called for short, and
the names of the output formats. Source: `blender --help` of 2.93 to 5.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from renderonline.engines.base import CommandError

MAX_FRAME = 1_048_574
"""Blender's MAXFRAME; it silently clamps what is beyond."""

ACTIONS = {"-a", "-f"}
SCRIPTS = {"-P", "--python-text", "--python-expr"}
SCENE_SETTINGS = {"-S", "-s", "-e", "-j", "-o", "-F", "-x", "-E"}
"""Options that change the scene: they do nothing before the file, nor after the last action."""

_SHORT = {
    "--background": "-b",
    "--disable-autoexec": "-Y",
    "--enable-autoexec": "-y",
    "--engine": "-E",
    "--frame-end": "-e",
    "--frame-jump": "-j",
    "--frame-start": "-s",
    "--python": "-P",
    "--render-anim": "-a",
    "--render-format": "-F",
    "--render-frame": "-f",
    "--render-output": "-o",
    "--scene": "-S",
    "--threads": "-t",
    "--use-extension": "-x",
}
_WORDS = {
    **dict.fromkeys(["-E", "-F", "-P", "-S", "-e", "-f", "-j", "-o", "-s", "-t", "-x"], 1),
    **dict.fromkeys(["--python-exit-code", "--python-expr", "--python-text", "--addons"], 1),
    **dict.fromkeys(["--log", "--log-file", "--log-level", "--verbose", "--debug-value"], 1),
    **dict.fromkeys(["--app-template", "--gpu-backend", "--gpu-vsync", "-setaudio"], 1),
    **dict.fromkeys(["--env-system-datafiles", "--env-system-scripts", "--env-system-python"], 1),
    "--window-geometry": 4,
    "-p": 4,
}
"""How many words follow an option. One that is not here takes none."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option with its values; `name` is its short form, "" for a project file."""

    name: str
    words: tuple[str, ...]

    @property
    def value(self) -> str:
        """The option's first value, or the file."""
        return self.words[-1] if not self.name else self.words[1]


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`leading` is the engine's name, if the line begins with it; `passed` begins with `--`."""

    leading: tuple[str, ...]
    options: tuple[Option, ...]
    passed: tuple[str, ...]


def parse(argv: Sequence[str]) -> CommandLine:
    """Take a command line apart. Raises CommandError where an option lacks its value."""
    words = list(argv)
    leading = tuple(words[:1]) if words and is_engine_name(words[0]) else ()
    end = words.index("--") if "--" in words else len(words)
    options: list[Option] = []
    at = len(leading)
    while at < end:
        count = 1 + _words_after(words[at])
        if at + count > end:
            raise CommandError(f"{words[at]} needs a value after it.")
        options.append(_option(words[at : at + count]))
        at += count
    return CommandLine(leading, tuple(options), tuple(words[end:]))


def is_engine_name(word: str) -> bool:
    """Whether a first word is a program's name, as the original's templates begin with it."""
    return bool(word) and not word.startswith("-") and not word.lower().endswith(".blend")


def unparse(line: CommandLine, options: Iterable[Option]) -> list[str]:
    """The argv of `line` with other options."""
    return [*line.leading, *(word for option in options for word in option.words), *line.passed]


def option(name: str, *values: str) -> Option:
    """An option as we write it."""
    return Option(name, (name, *values))


def _words_after(word: str) -> int:
    return _WORDS.get(_SHORT.get(word, word), 0)


def _option(words: Sequence[str]) -> Option:
    if not words[0].startswith("-"):
        return Option("", tuple(words))
    return Option(_SHORT.get(words[0], words[0]), tuple(words))


# --------------------------------------------------------------------------- formats


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """`name` as `-F` takes it; `video` what `render.ffmpeg` takes: container and codec."""

    name: str
    video: tuple[str, str] | None = None


MOVIES = {"AVIJPEG", "AVIRAW", "FFMPEG"}

_FORMATS = {
    "PNG": ("png",),
    "JPEG": ("jpeg", "jpg"),
    "BMP": ("bmp",),
    "HDR": ("hdr",),
    "OPEN_EXR": ("openexr", "exr"),
    "OPEN_EXR_MULTILAYER": ("openexrmultilayer", "exrmultilayer", "multilayer"),
    "TIFF": ("tiff", "tif"),
    "IRIS": ("iris", "rgb"),
    "IRIZ": ("iriz",),
    "TGA": ("tga", "targa"),
    "RAWTGA": ("rawtga", "targaraw"),
    "WEBP": ("webp",),
    "JP2": ("jp2", "jpeg2000"),
    "DPX": ("dpx",),
    "CINEON": ("cineon", "cin"),
    "AVIJPEG": ("avijpeg",),
    "AVIRAW": ("aviraw",),
    "FFMPEG": ("ffmpeg",),
}
_VIDEOS = {
    "mp4": ("MPEG4", "H264"),
    "mkv": ("MKV", "H264"),
    "mov": ("QUICKTIME", "H264"),
    "avi": ("AVI", "MPEG4"),
    "webm": ("WEBM", "WEBM"),
}
_BY_NAME = {
    **{alias: OutputFormat(name) for name, aliases in _FORMATS.items() for alias in aliases},
    **{extension: OutputFormat("FFMPEG", video) for extension, video in _VIDEOS.items()},
}


def output_format(text: str) -> OutputFormat:
    """The format that a name ("PNG", "OPEN_EXR") or an extension (".png", "mp4") means.

    In any case. Raises CommandError with the list of what there is.
    """
    found = _BY_NAME.get(text.strip().removeprefix(".").replace("_", "").lower())
    if found is None:
        names = ", ".join([*_FORMATS, *(f".{extension}" for extension in _VIDEOS)])
        raise CommandError(f"{text!r} is not an output format of Blender; it takes {names}.")
    return found

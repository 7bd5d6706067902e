"""What a Blender command line is made into, and what it will owe. Pure.

Blender carries its arguments out in order, so an option in the wrong place is silently without
effect. Owns the order (file, scene, settings, action), the checks of what Blender would clamp,
ignore or misread, and what we add: `-b`, `-Y`, `-o`, `-j`, `--python-exit-code`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from renderonline.engines.base import CommandError
from renderonline.engines.blender_options import (
    ACTIONS,
    MAX_FRAME,
    MOVIES,
    SCENE_SETTINGS,
    SCRIPTS,
    CommandLine,
    Option,
    OutputFormat,
    option,
    output_format,
    parse,
    unparse,
)
from renderonline.frames import FrameSet
from renderonline.wire import Owes

SCRIPT_FAILED = 70
"""Exit code that we ask Blender for when a `-P` script raises. EX_SOFTWARE of sysexits.h."""

_NUMBER = re.compile(r"([+-]?)([0-9]{1,10})")
_WINDOWS_ABSOLUTE = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def complete(argv: Sequence[str], output_dir: str, step: int | None = None) -> list[str]:
    """`Adapter.complete` for Blender. Completing a completed line changes nothing."""
    line = parse(argv)
    _check_renders(line)
    ordered = _in_order(line.options)
    options = [made for given in ordered for made in _translate(given, output_dir)]
    options = _with_absolute_ends(options)
    _check_ranges(options)
    options = _with_range_step(_with_output(options, output_dir), step)
    return unparse(line, [*_missing_front(options), *_with_exit_code(options)])


def owes(argv: Sequence[str], file_pattern: str | None) -> Owes:
    """`Adapter.owes` for Blender. Frames are None where they depend on the scene.

    Raises nothing: a line that never went through `complete` (a row of the original's) and that
    Blender would refuse owes what any other does.
    """
    try:
        frames, is_movie = _owed(parse(argv).options)
    except ValueError:
        frames, is_movie = None, False
    return Owes(frames=str(frames) if frames else None, movie=is_movie, pattern=file_pattern)


def _owed(options: Iterable[Option]) -> tuple[FrameSet | None, bool]:
    """The frames of all actions together, and whether one of them makes a movie."""
    frames: FrameSet | None = FrameSet()
    is_movie = to_movie = False
    state = FrameRange()
    for given in options:
        to_movie = _is_movie_after(given, to_movie)
        if given.name in ACTIONS:
            is_movie = is_movie or to_movie
            wanted = _frames_of(given, state)
            frames = None if frames is None or wanted is None else frames | wanted
        state = state.after(given)
    return frames, is_movie


def _is_movie_after(given: Option, before: bool) -> bool:
    """Whether the output is known to be a movie after this option; another scene has its own."""
    if given.name == "-F":
        return given.value.upper() in MOVIES
    return before and given.name not in ("", "-S")


# --------------------------------------------------------------------------- checks


def _check_renders(line: CommandLine) -> None:
    names = {given.name for given in line.options}
    if "" not in names and not names & SCRIPTS:
        raise CommandError("The command line names no .blend file for Blender to render.")
    if not names & ACTIONS and not names & SCRIPTS:
        raise CommandError(
            "The command line would render nothing: it has neither -a (the frame range) nor -f."
        )


def _check_ranges(options: Iterable[Option]) -> None:
    """Raise CommandError for frames that Blender would not render, or other ones instead."""
    state = FrameRange()
    for given in options:
        state = state.after(given)
        if given.name == "-a" and state.is_inverted:
            raise CommandError(
                f"The frame range is inverted: {state.first} to {state.last} renders nothing."
            )


@dataclass(frozen=True, slots=True)
class FrameRange:
    """What -s, -e and -j have set so far; None where the scene decides."""

    first: int | None = None
    last: int | None = None
    step: int | None = None

    def after(self, given: Option) -> FrameRange:
        """What holds behind this option. Raises ValueError for a step that is no number."""
        if given.name in ("", "-S"):
            return FrameRange()  # another file or scene has a range of its own
        if given.name == "-s":
            return replace(self, first=_end_after(self.first, given.value))
        if given.name == "-e":
            return replace(self, last=_end_after(self.last, given.value))
        if given.name == "-j":
            return replace(self, step=int(given.value))
        return self

    @property
    def is_inverted(self) -> bool:
        return self.first is not None and self.last is not None and self.first > self.last


def absolute(text: str) -> int | None:
    """The frame, or None for one relative to the scene's (+5)."""
    return int(text) if text.isascii() and text.isdigit() else None


def _end_after(before: int | None, text: str) -> int | None:
    """What -s or -e makes of the end that was known before: Blender counts a negative one from it."""
    if not text.startswith("-"):
        return absolute(text)
    return None if before is None else before + int(text)


def _frames_of(action: Option, state: FrameRange) -> FrameSet | None:
    if action.name == "-a":
        if state.first is None or state.last is None:
            return None
        return FrameSet.between(state.first, state.last, state.step or 1)
    frames = FrameSet()
    for item in action.value.split(","):
        first, _, last = item.partition("..")
        if absolute(first) is None or absolute(last or first) is None:
            return None
        frames |= FrameSet.between(int(first), int(last or first))
    return frames


# --------------------------------------------------------------------------- values


def _translate(given: Option, output_dir: str) -> list[Option]:
    """One option as Blender shall get it. Raises CommandError for a value it would not take."""
    if given.name == "-F":
        return _translate_format(given)
    if given.name == "-o":
        return [replace(given, words=(given.words[0], _inside(given.value, output_dir)))]
    if given.name in ("-s", "-e"):
        _check_range_end(given)
    elif given.name == "-f":
        _check_frame_list(given.value)
    elif given.name in ("-j", "-t"):
        _check_natural(given)
    return [given]


def _translate_format(given: Option) -> list[Option]:
    wanted = output_format(given.value)
    translated = replace(given, words=(given.words[0], wanted.name))
    return [translated, *_video_settings(wanted)]


def _video_settings(wanted: OutputFormat) -> list[Option]:
    """`-F` cannot say which container: a script can. Blender 5 wants the media type first."""
    if wanted.video is None:
        return []
    container, codec = wanted.video
    script = (
        "import bpy; r = bpy.context.scene.render; i = r.image_settings; "
        "hasattr(i, 'media_type') and setattr(i, 'media_type', 'VIDEO'); "
        f"i.file_format = 'FFMPEG'; r.ffmpeg.format = '{container}'; r.ffmpeg.codec = '{codec}'"
    )
    return [option("--python-expr", script)]


def _inside(path: str, output_dir: str) -> str:
    """Where results shall go: a path relative to anything is one below the output folder."""
    if _WINDOWS_ABSOLUTE.match(path) or (path.startswith("/") and not path.startswith("//")):
        return path
    relative = path.lstrip("/")
    if ".." in re.split(r"[\\/]", relative):
        raise CommandError(f"-o {path} would write outside of the task's results; leave out the ..")
    return _below(output_dir, relative or "frame_####")


def _below(folder: str, name: str) -> str:
    separator = "\\" if _WINDOWS_ABSOLUTE.match(folder) else "/"
    return folder.rstrip("\\/") + separator + name


def _check_range_end(given: Option) -> None:
    _frame_number(given.value, f"{given.value!r} is not a frame number for {given.words[0]}.")


def _check_frame_list(text: str) -> None:
    complaint = f"-f {text[:80]} would render nothing; it takes frames as in 7 or 1,3,5..9."
    for item in text.split(","):
        ends = [_frame_number(end, complaint) for end in item.split("..", 1)]
        are_absolute = not any(end[1] for end in ends)
        if are_absolute and int(ends[0][2]) > int(ends[-1][2]):
            raise CommandError(f"The frame range {item} is inverted and would render nothing.")


def _frame_number(text: str, complaint: str) -> re.Match[str]:
    """Sign and digits of a frame that Blender has. Raises CommandError, with `complaint` if it is none."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise CommandError(complaint)
    if int(match[2]) > MAX_FRAME:
        raise CommandError(
            f"Frame {text} is beyond Blender's last one, {MAX_FRAME}; it would render that."
        )
    return match


def _check_natural(given: Option) -> None:
    value = given.value
    smallest = 1 if given.name == "-j" else 0
    if not re.fullmatch(r"[0-9]{1,7}", value) or int(value) < smallest:
        raise CommandError(
            f"{given.words[0]} takes a whole number from {smallest}, it was given {value!r}."
        )


# --------------------------------------------------------------------------- order and additions


def _in_order(options: Sequence[Option]) -> list[Option]:
    """Settings that would have no effect where they stand are moved to where they have one.

    Those before the file go behind it (loading overwrites them), those after the last action in
    front of it, and those in front of -S behind it (they would change the scene that it leaves).
    """
    actions = [index for index, given in enumerate(options) if given.name in ACTIONS]
    if not actions:
        return _behind_file(options)
    first, last = actions[0], actions[-1]
    late = [given for given in options[last + 1 :] if given.name in SCENE_SETTINGS]
    after = [given for given in options[last + 1 :] if given.name not in SCENE_SETTINGS]
    early = _behind_scene(_behind_file(options[:first]))
    if first == last:
        return [*_behind_scene([*early, *late]), options[last], *after]
    return [*early, *options[first:last], *late, options[last], *after]


def _behind_file(options: Sequence[Option]) -> list[Option]:
    """Move settings that stand in front of the (first) file behind it."""
    at = next((index for index, given in enumerate(options) if given.name == ""), -1)
    return _move_behind(options, at, SCENE_SETTINGS)


def _behind_scene(options: Sequence[Option]) -> list[Option]:
    """Move settings that stand in front of the last -S behind it."""
    at = max((index for index, given in enumerate(options) if given.name == "-S"), default=-1)
    return _move_behind(options, at, SCENE_SETTINGS - {"-S"})


def _move_behind(options: Sequence[Option], at: int, names: set[str]) -> list[Option]:
    if at < 0:
        return list(options)
    moved = [given for given in options[:at] if given.name in names]
    rest = [given for given in options[:at] if given.name not in names]
    return [*rest, options[at], *moved, *options[at + 1 :]]


def _with_output(options: Sequence[Option], output_dir: str) -> list[Option]:
    """Put `-o` in front of each action (or the first script) whose scene has not been given one."""
    completed: list[Option] = []
    targets = ACTIONS if any(given.name in ACTIONS for given in options) else SCRIPTS
    has_output = to_movie = False
    for given in options:
        has_output = given.name == "-o" or (has_output and given.name not in ("", "-S"))
        to_movie = _is_movie_after(given, to_movie)
        if given.name in targets and not has_output:
            name = "movie_####" if to_movie else "frame_####"
            completed.append(option("-o", _below(output_dir, name)))
            has_output = True
        completed.append(given)
    return completed


def _with_absolute_ends(options: Iterable[Option]) -> list[Option]:
    """`-s -5` is frame -5 to us. Blender goes back 5 frames from the start that it has: from 0."""
    made: list[Option] = []
    for given in options:
        if given.name in ("-s", "-e") and given.value.startswith("-"):
            zero = replace(given, words=(given.words[0], "0"))
            made += [] if made[-1:] == [zero] else [zero]
        made.append(given)
    return made


def _with_range_step(options: Iterable[Option], step: int | None) -> list[Option]:
    """A range that the command line gives is rendered with the step that is asked for, else with
    its own, else whole; never with the scene's."""
    completed: list[Option] = []
    state = FrameRange()
    for given in options:
        if given.name == "-f" and step is not None:
            given = replace(given, words=(given.words[0], _every(given.value, step)))
        elif given.name == "-a" and state.first is not None and state.last is not None:
            wanted = step or state.step or 1
            if state.step != wanted:
                completed.append(option("-j", str(wanted)))
                state = replace(state, step=wanted)
        state = state.after(given)
        completed.append(given)
    return completed


def _every(frame_list: str, step: int) -> str:
    """A list for -f with only every so many-th frame of its ranges; -j means nothing to it."""
    items: list[str] = []
    for item in frame_list.split(","):
        first, _, last = item.partition("..")
        is_range = step > 1 and absolute(first) is not None and absolute(last) is not None
        items += map(str, range(int(first), int(last) + 1, step)) if is_range else [item]
    return ",".join(items)


def _missing_front(options: Iterable[Option]) -> list[Option]:
    """Without a window, and without the scripts that a file would start when it is loaded."""
    names = {given.name for given in options}
    front = [] if "-b" in names else [option("-b")]
    return front if names & {"-y", "-Y"} else [*front, option("-Y")]


def _with_exit_code(options: Sequence[Option]) -> list[Option]:
    """A script that raises ends Blender: otherwise it renders on and exits with 0."""
    for index, given in enumerate(options):
        if given.name == "--python-exit-code":
            break
        if given.name in SCRIPTS:
            asked = option("--python-exit-code", str(SCRIPT_FAILED))
            return [*options[:index], asked, *options[index:]]
    return list(options)

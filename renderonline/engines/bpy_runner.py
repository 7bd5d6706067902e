"""Blender's command line on the `bpy` module: `python bpy_runner.py -b scene.blend -s 1 -e 9 -a`.

Stands alone: it runs in any Python that has bpy, where the rest of our package may be missing.
Options are carried out in the order given, as Blender does, and print what Blender prints (bpy
itself prints the lines of progress). Exit codes: 0 rendered, 1 failed, 2 wrong usage, or what
`--python-exit-code` says when a script raises. Unlike Blender it ends with 1 where a scene or a
format is unknown and where nothing would be rendered.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_FRAME = 1_048_574
"""Blender's MAXFRAME, and with a minus its MINAFRAME."""

FLAGS = {
    **dict.fromkeys(["-b", "--background", "-noaudio", "--factory-startup"], "ignore"),
    **dict.fromkeys(["--python-use-system-env", "--offline-mode", "--online-mode"], "ignore"),
    **dict.fromkeys(["-y", "--enable-autoexec"], "allow_scripts"),
    **dict.fromkeys(["-Y", "--disable-autoexec"], "forbid_scripts"),
    **dict.fromkeys(["-a", "--render-anim"], "render_animation"),
}
VALUED = {
    **dict.fromkeys(["-S", "--scene"], "select_scene"),
    **dict.fromkeys(["-f", "--render-frame"], "render_frames"),
    **dict.fromkeys(["-s", "--frame-start"], "set_start"),
    **dict.fromkeys(["-e", "--frame-end"], "set_end"),
    **dict.fromkeys(["-j", "--frame-jump"], "set_step"),
    **dict.fromkeys(["-o", "--render-output"], "set_output"),
    **dict.fromkeys(["-F", "--render-format"], "set_format"),
    **dict.fromkeys(["-x", "--use-extension"], "set_extension"),
    **dict.fromkeys(["-E", "--engine"], "set_engine"),
    **dict.fromkeys(["-t", "--threads"], "set_threads"),
    **dict.fromkeys(["-P", "--python"], "run_script"),
    **dict.fromkeys(["-setaudio", "--addons", "--log", "--log-level"], "ignore"),
    "--python-exit-code": "set_exit_code",
    "--python-expr": "run_expression",
    "--python-text": "run_text",
}
"""Options and what carries each out: a method of Session, or "ignore" where bpy has no use for it."""

FORMATS = {
    "TGA": "TARGA",
    "RAWTGA": "TARGA_RAW",
    "IRIZ": "IRIS",
    "JP2": "JPEG2000",
    "EXR": "OPEN_EXR",
    "MULTILAYER": "OPEN_EXR_MULTILAYER",
    "AVIJPEG": "AVI_JPEG",
    "AVIRAW": "AVI_RAW",
}
"""What `-F` calls differently from Python."""


class UsageError(Exception):
    """A command line that this script does not understand: exit code 2."""


class RenderError(Exception):
    """Something that Blender itself would complain about: exit code 1."""


@dataclass(frozen=True)
class Step:
    """One thing to do; `action` is a name of the tables above, or "open" for a file."""

    action: str
    value: str = ""


def parse(argv: Sequence[str]) -> list[Step]:
    """The steps of a command line, in its order; what follows `--` is not ours.

    Raises UsageError for an unknown option or one without its value.
    """
    steps: list[Step] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            break
        if word in FLAGS:
            steps.append(Step(FLAGS[word]))
        elif word in VALUED:
            value = next(words, None)
            if value is None:
                raise UsageError(f"{word} needs a value after it.")
            steps.append(Step(VALUED[word], value))
        elif word.startswith("-"):
            raise UsageError(f"The option {word} is not known here.")
        else:
            steps.append(Step("open", word))
    return steps


def frame_list(text: str, first: int, last: int) -> list[tuple[int, int]]:
    """The ranges of `-f 1,3..5,+2,-1`: +N counts from the scene's first frame, -N from its end.

    Raises RenderError with Blender's words for what is no number.
    """
    ranges = []
    for item in text.split(","):
        start, _, end = item.partition("..")
        low = relative_frame(start, first, last)
        ranges.append((low, relative_frame(end, first, last) if end else low))
    return ranges


def relative_frame(text: str, plus_from: int, minus_from: int) -> int:
    """A frame as Blender reads it: 7, +2 (after `plus_from`) or -1 (`minus_from` itself)."""
    match = re.fullmatch(r"([+-]?)([0-9]{1,10})", text)
    if match is None:
        raise RenderError(f"not a number '{text}'")
    number = int(match[2])
    frame = {"": number, "+": plus_from + number, "-": minus_from - number + 1}[match[1]]
    return max(-MAX_FRAME, min(MAX_FRAME, frame))


@dataclass
class Session:
    """One run: carries out steps on bpy. Single-threaded, as bpy is."""

    bpy: Any
    scripts_allowed: bool = False
    exit_code: int = 0  # of a script that raises; 0: rendering goes on
    threads: int | None = None
    has_rendered: bool = False
    # What -s and -e asked for. bpy never lets a start lie behind the end, it moves the other one;
    # Blender's command line does, and then renders nothing.
    bounds: tuple[int, int] | None = None

    @property
    def scene(self) -> Any:
        return self.bpy.context.scene

    @property
    def render(self) -> Any:
        return self.bpy.context.scene.render

    def run(self, step: Step) -> None:
        """Carry out one step. Raises RenderError, SystemExit, or what bpy raises."""
        action: Callable[[str], None] = getattr(self, f"do_{step.action}")
        action(step.value)

    def do_ignore(self, _value: str) -> None:
        pass

    def do_allow_scripts(self, _value: str) -> None:
        self.scripts_allowed = True

    def do_forbid_scripts(self, _value: str) -> None:
        self.scripts_allowed = False

    def do_open(self, path: str) -> None:
        full = Path(path).absolute()
        if not full.is_file():
            raise RenderError(f"Cannot read file '{full}': No such file or directory")
        self.bpy.ops.wm.open_mainfile(
            filepath=str(full), load_ui=False, use_scripts=self.scripts_allowed
        )
        self.bounds = None

    def do_select_scene(self, name: str) -> None:
        scene = self.bpy.data.scenes.get(name)
        if scene is None:
            raise RenderError(f"Can't find scene: '{name}' in file: '{self.bpy.data.filepath}'")
        self.bpy.context.window.scene = scene
        self.bounds = None

    def do_set_start(self, text: str) -> None:
        start, end = self.bounds or (self.scene.frame_start, self.scene.frame_end)
        self.bounds = relative_frame(text, start, start - 1), end
        self.scene.frame_start = self.bounds[0]

    def do_set_end(self, text: str) -> None:
        start, end = self.bounds or (self.scene.frame_start, self.scene.frame_end)
        self.bounds = start, relative_frame(text, end, end - 1)
        self.scene.frame_end = self.bounds[1]

    def do_set_step(self, text: str) -> None:
        self.scene.frame_step = max(1, relative_frame(text, 0, 0))

    def do_set_output(self, path: str) -> None:
        self.render.filepath = path

    def do_set_format(self, name: str) -> None:
        wanted = FORMATS.get(name, name)
        settings = self.render.image_settings
        try:
            if hasattr(settings, "media_type"):  # Blender 5 sorts its formats by medium
                settings.media_type = _media_type(wanted)
            settings.file_format = wanted
        except TypeError:
            raise RenderError(
                "Format from '-F / --render-format' not known or not compiled in this release."
            ) from None

    def do_set_extension(self, text: str) -> None:
        if text.lower() not in ("0", "1", "true", "false"):
            raise UsageError(f"-x takes 0 or 1, not {text!r}.")
        self.render.use_file_extension = text.lower() in ("1", "true")

    def do_set_engine(self, name: str) -> None:
        try:
            self.render.engine = name
        except TypeError:
            raise RenderError(f"engine not found '{name}'") from None

    def do_set_threads(self, text: str) -> None:
        self.threads = relative_frame(text, 0, 0)

    def do_set_exit_code(self, text: str) -> None:
        self.exit_code = relative_frame(text, 0, 0) & 0xFF

    def do_run_script(self, path: str) -> None:
        try:
            source = Path(path).absolute().read_text(encoding="utf-8")
        except OSError as error:
            self._script_failed(path, f'Python file "{path}" could not be opened: {error.strerror}')
            return
        self._execute(source, path)

    def do_run_expression(self, source: str) -> None:
        self._execute(source, "<expression>")

    def do_run_text(self, name: str) -> None:
        text = self.bpy.data.texts.get(name)
        if text is None:
            self._script_failed(name, f"there is no text {name!r} in the project")
            return
        self._execute(text.as_string(), name)

    def do_render_animation(self, _value: str) -> None:
        first, last = self.bounds or (self.scene.frame_start, self.scene.frame_end)
        self._render_range(first, last, self.scene.frame_step)

    def do_render_frames(self, text: str) -> None:
        scene = self.scene
        for first, last in frame_list(text, scene.frame_start, scene.frame_end):
            for frame in range(first, last + 1):
                self._render_range(frame, frame, 1)

    def _render_range(self, first: int, last: int, step: int) -> None:
        """Render through the animation operator: it names and saves files as Blender's -a does."""
        if first > last:
            return
        self._apply_threads()
        frames = range(first, last + 1, step)
        for frame in (frame for frame in frames if frame < 0):
            self._render_below_zero(frame)
        begin = next((frame for frame in frames if frame >= 0), None)
        if begin is not None:
            self._render_animation(begin, last, step)
        self.has_rendered = True

    def _render_animation(self, first: int, last: int, step: int) -> None:
        scene = self.scene
        before = scene.frame_start, scene.frame_end, scene.frame_step
        try:
            _set_range(scene, first, last, step)
            self.bpy.ops.render.render(animation=True, scene=scene.name)
        finally:
            _set_range(scene, *before)

    def _render_below_zero(self, frame: int) -> None:
        """As a still under the frame's own name: a scene's range, as Python sets it, begins at 0."""
        scene, before = self.scene, self.render.filepath
        if self.render.is_movie_format:
            raise RenderError(
                f"bpy cannot put frame {frame} into a movie: the range of one begins at 0 there."
            )
        path = self.render.frame_path(frame=frame)
        if Path(path).exists() and not self.render.use_overwrite:
            print(f'skipping existing frame "{path}"', flush=True)
            return
        try:
            scene.frame_set(frame)
            self.render.filepath = path
            self.bpy.ops.render.render(write_still=True, scene=scene.name)
        finally:
            self.render.filepath = before

    def _apply_threads(self) -> None:
        if self.threads is not None:
            self.render.threads_mode = "FIXED" if self.threads else "AUTO"
            self.render.threads = max(1, self.threads)

    def _execute(self, source: str, name: str) -> None:
        """Run a script as Blender does: in a fresh `__main__`, with the whole command line."""
        self._apply_threads()  # the script may be one that renders
        names = {"__name__": "__main__", "__file__": name, "__builtins__": __builtins__}
        try:
            exec(compile(source, name, "exec"), names)
        except Exception:  # noqa: BLE001 - a script may raise anything, and Blender goes on
            self._script_failed(name, traceback.format_exc())
        self.bounds = None  # the script may have set a range of its own

    def _script_failed(self, name: str, reason: str) -> None:
        print(f"Error: Python: {reason}", file=sys.stderr)
        if self.exit_code:
            print(f"Error: script failed, file: '{name}', exiting.", file=sys.stderr)
            raise SystemExit(self.exit_code)


def _media_type(file_format: str) -> str:
    if file_format == "OPEN_EXR_MULTILAYER":
        return "MULTI_LAYER_IMAGE"
    return "VIDEO" if file_format in ("FFMPEG", "AVI_JPEG", "AVI_RAW") else "IMAGE"


def _set_range(scene: Any, first: int, last: int, step: int) -> None:
    """Bounds push each other along in Blender, so the one further out is set first."""
    if first > scene.frame_end:
        scene.frame_end, scene.frame_start = last, first
    else:
        scene.frame_start, scene.frame_end = first, last
    scene.frame_step = step


def _renders(steps: Iterable[Step]) -> bool:
    return any(
        step.action.startswith("render_") or step.action.startswith("run_") for step in steps
    )


def _import_bpy() -> Any:
    """Import bpy from the environment: started as a script, our own folder would come first."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    import bpy

    return bpy


def main(argv: Sequence[str]) -> int:
    """Carry out Blender's command line `argv` (without the program); the exit code."""
    try:
        steps = parse(argv)
        if not _renders(steps):
            raise UsageError("Nothing would be rendered: there is neither -a nor -f.")
        bpy = _import_bpy()
        print(f"Blender {bpy.app.version_string} (bpy)", flush=True)
        return _run(Session(bpy), steps)
    except UsageError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"Error: this Python cannot import bpy: {error}", file=sys.stderr)
        return 1


def _run(session: Session, steps: Sequence[Step]) -> int:
    try:
        for step in steps:
            session.run(step)
    except RenderError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        # bpy's own complaint; it begins with "Error: ", and most have been printed already
        print(str(error).strip(), file=sys.stderr)
        return 1
    if not session.has_rendered and any(step.action.startswith("render_") for step in steps):
        print("Error: nothing was rendered, the frame range is inverted.", file=sys.stderr)
        return 1
    print("\nBlender quit", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

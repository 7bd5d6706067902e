"""The quick start's renderer: the Blender of this machine, or Blender as a Python package.

Owns finding one that really runs, and the two things asked of it before the farm does: to build
the sample scene, and to say which frames a project has.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import debian_packages
import environment
import system_libraries

from renderonline import engines
from renderonline.frames import FrameSet

CHECKOUT = Path(__file__).resolve().parent.parent
SAMPLE_SCRIPT = CHECKOUT / "packaging" / "sample_scene.py"
OLDEST_BLENDER = (2, 93)
BPY_PYTHON = (3, 11)
"""The Python that setup.py's `bpy` extra has wheels for."""

TIMEOUT_S = 300.0
"""For a look at a project; a large one on a slow disk takes minutes to open."""

SAY_RANGE = "import bpy; s = bpy.context.scene; print('FRAMES', s.frame_start, s.frame_end)"


class RendererFailed(Exception):
    """There is nothing to render with, or it did not do as asked. Its text says what to do."""


@dataclass(frozen=True)
class Renderer:
    """`adapter` is "blender" or "bpy", `executable` a Blender or a Python that has `bpy`."""

    adapter: str
    executable: Path
    label: str
    library_path: str | None = None  # LD_LIBRARY_PATH, where the system lacks something

    @property
    def engine_entry(self) -> dict[str, object]:
        """Its entry in a node's RenderingEngines; "blender" is the engine that a new farm has."""
        return {
            "EngineId": "blender",
            "ExecutablePath": str(self.executable),
            "Adapter": self.adapter,
            "Environment": _variables(self.library_path),
        }

    def make_sample(self, target: Path) -> None:
        """Build the sample scene and save it as `target`. Raises RendererFailed."""
        script = [str(SAMPLE_SCRIPT), "--", str(target)]
        if self.adapter == "bpy":
            self._run(script)
        else:
            self._run(["-b", "--factory-startup", "--python-exit-code", "7", "-P", *script])
        if not target.is_file():
            raise RendererFailed(f"{self.label} made no sample scene, and did not say why.")

    def frames_of(self, project: Path) -> FrameSet:
        """The frame range that `project` (a .blend) says it has. Raises RendererFailed."""
        if self.adapter == "bpy":
            opened = (
                "import bpy, sys; bpy.ops.wm.open_mainfile(filepath=sys.argv[1], use_scripts=False)"
            )
            said = self._run(["-c", f"{opened}; {SAY_RANGE}", str(project)])
        else:
            said = self._run(
                ["-b", "-Y", str(project), "--python-exit-code", "7", "--python-expr", SAY_RANGE]
            )
        found = re.search(r"^FRAMES (-?\d+) (-?\d+)$", said, re.MULTILINE)
        if found is None:
            raise RendererFailed(
                f"{self.label} could not open {project}. Is it a .blend file, saved by this "
                "version of Blender or an older one?"
            )
        return FrameSet.between(int(found.group(1)), int(found.group(2)))

    def _run(self, arguments: Sequence[str]) -> str:
        done = _output([str(self.executable), *arguments], self.library_path)
        if done.returncode != 0:
            last_lines = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
            raise RendererFailed(
                f"{self.label} ended with exit code {done.returncode}. Its last lines:\n{last_lines}"
            )
        return done.stdout


def choose(wanted: str | None, say: Callable[[str], None]) -> Renderer:
    """The renderer: `wanted` ("bpy", or a Blender's path), else a Blender, else `bpy` installed now.

    Raises RendererFailed.
    """
    if wanted == "bpy":
        return _install_bpy(say)
    if wanted is not None:
        given = _blender(Path(wanted))
        if given is None:
            raise RendererFailed(f"{wanted} is not a Blender 2.93 or later that runs here.")
        return given
    for executable in engines.by_name("blender").find():
        found = _blender(executable)
        if found is not None:
            return found
        say(f"{executable} does not run, or is older than Blender 2.93; looking further.")
    say("There is no Blender on this machine that can be used.")
    return _install_bpy(say)


def _blender(executable: Path) -> Renderer | None:
    """`executable` as a renderer, if it is recent enough and really starts."""
    version = engines.by_name("blender").version(str(executable))
    if version is None or version_numbers(version) < OLDEST_BLENDER:
        return None
    try:
        started = _output([str(executable), "-b", "--factory-startup", "--python-expr", "pass"])
    except RendererFailed:
        return None
    if started.returncode != 0:
        return None
    return Renderer("blender", executable, f"Blender {version} ({executable})")


def version_numbers(version: str) -> tuple[int, ...]:
    """(4, 5, 1) of "4.5.1 LTS"."""
    return tuple(int(number) for number in re.findall(r"\d+", version.split()[0]))


def _install_bpy(say: Callable[[str], None]) -> Renderer:
    """Blender as a Python package, installed into this environment if it is not there yet."""
    python = Path(sys.executable)
    if not environment.has_package(python, "bpy"):
        if sys.version_info[:2] != BPY_PYTHON:
            raise RendererFailed(
                "There is no Blender on this machine, and Blender as a Python package needs Python "
                f"{'.'.join(map(str, BPY_PYTHON))} (this is {sys.version.split()[0]}). Install "
                "Blender 2.93 or later from blender.org, or start this with that Python."
            )
        say("Installing Blender as a Python package (it takes about 900 MB) …")
        environment.install_more(python, ["--editable", ".[bpy]"], CHECKOUT)
    return _loaded(python, say)


def _loaded(python: Path, say: Callable[[str], None]) -> Renderer:
    """The installed `bpy`, with the system libraries that it lacks here. Raises RendererFailed."""
    library_path = None
    done = _import_bpy(python, library_path)
    if ".so" in done.stderr and debian_packages.can_fetch():
        say("It needs libraries that this system lacks; they go into .venv …")
        try:
            library_path = system_libraries.search_path(python.parent.parent / "system-libraries")
        except debian_packages.PackagesFailed as error:
            raise RendererFailed(str(error)) from None
        done = _import_bpy(python, library_path)
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise RendererFailed(f"Blender as a Python package does not start: {why}")
    label = f"Blender {done.stdout.split()[-1]} (the Python package bpy)"
    return Renderer("bpy", python, label, library_path)


def _import_bpy(python: Path, library_path: str | None) -> subprocess.CompletedProcess[str]:
    script = "import bpy; print(*bpy.app.version, sep=chr(46))"
    return _output([str(python), "-c", script], library_path)


def _variables(library_path: str | None) -> dict[str, str]:
    return {} if library_path is None else {"LD_LIBRARY_PATH": library_path}


def _output(
    argv: Sequence[str], library_path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to the end, nothing shown. Raises RendererFailed if it cannot start or does not end."""
    try:
        return subprocess.run(
            argv,
            env={**os.environ, **_variables(library_path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        raise RendererFailed(f"{argv[0]} cannot be started: {error.strerror}.") from None
    except subprocess.TimeoutExpired:
        raise RendererFailed(f"{argv[0]} did not end within {TIMEOUT_S:.0f} s.") from None

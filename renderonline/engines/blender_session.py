"""Keeps a Blender (or bpy) open between the chunks of a task: renders what lines on a pipe ask for.

Runs inside Blender, where the rest of our package is missing: it stands alone. Its text is handed
over as an argument, because a Blender in a sandbox of its own (flatpak, snap) can read the
project's folder but not ours. A request is `{"token": …, "spans": [[first, last, step or null]]}`;
each is answered as session.ENDED says. After a chunk that failed no more are taken, and Blender
ends as it would have without us.
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any


def serve(bpy: Any, requests: Any) -> None:
    """Render what each line of `requests` (a binary file) asks for, until one fails or no more come."""
    exit_code = 0
    while not exit_code and (line := requests.readline()):
        request = json.loads(line)
        exit_code = render(bpy, request["spans"])
        answer(request["token"], exit_code)


def render(bpy: Any, spans: list[list[Any]]) -> int:
    """Render the frames of `spans`, each a range; the exit code that Blender ends with after them."""
    try:
        for span in spans:
            render_span(bpy, *span)
    except RuntimeError as error:  # what an operator reports as an error
        sys.stderr.write(f"{str(error).strip()}\n")
        return 1
    return 0


def render_span(bpy: Any, first: int, last: int, step: Any) -> None:
    """Render a range as -a does: same names, same lines. The scene's own range is put back."""
    scene = bpy.context.scene
    before = scene.frame_start, scene.frame_end, scene.frame_step
    frames = range(first, last + 1, step or scene.frame_step)
    for frame in (frame for frame in frames if frame < 0):
        render_still(bpy, scene, frame)
    begin = next((frame for frame in frames if frame >= 0), None)
    if begin is None:
        return
    try:
        set_range(scene, begin, last, frames.step)
        bpy.ops.render.render(animation=True)
    finally:
        set_range(scene, *before)


def render_still(bpy: Any, scene: Any, frame: int) -> None:
    """Render a frame below 0 under its own name: a scene's range, which Python sets, begins at 0."""
    path = scene.render.frame_path(frame=frame)
    if Path(path).exists() and not scene.render.use_overwrite:
        sys.stdout.write(f'skipping existing frame "{path}"\n')
        return
    before = scene.render.filepath
    try:
        scene.frame_set(frame)
        scene.render.filepath = path
        bpy.ops.render.render(write_still=True)
    finally:
        scene.render.filepath = before


def set_range(scene: Any, first: int, last: int, step: int) -> None:
    """Bounds push each other along in Blender, so the one further out is set first."""
    if first > scene.frame_end:
        scene.frame_end, scene.frame_start = last, first
    else:
        scene.frame_start, scene.frame_end = first, last
    scene.frame_step = step


def answer(token: str, exit_code: int) -> None:
    """Say that a chunk has ended, behind all that was printed in it, by Python and by Blender."""
    sys.stdout.flush()
    ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None).fflush(None)
    # Past sys.stdout, which a script may have replaced; the first line end is for a line begun.
    os.write(1, f"\nrenderonline: chunk {token} ended with {exit_code}\n".encode())


if __name__ == "__main__":
    import bpy as blender

    serve(blender, vars(sys).pop("renderonline_requests"))

"""`python packaging/quickstart.py [FILE.blend]`: a render farm on this machine, and rendered frames.

Owns the first step, which must run on any Python 3.11 or later with nothing installed: the
environment `.venv` beside setup.py. Everything after that is quick_farm.py, in that environment.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent


def parser() -> argparse.ArgumentParser:
    """The command line; quick_farm.py takes the same one."""
    made = argparse.ArgumentParser(
        prog="quickstart.py",
        description="Starts a render farm of two nodes on this machine, renders with it, and stops "
        "it. Needs no root and changes nothing outside this folder.",
    )
    made.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE.blend",
        help="what to render (default: a sample)",
    )
    made.add_argument("--frames", help="which frames, as in 1-24 (default: all of the file's)")
    made.add_argument(
        "--keep", action="store_true", help="leave the farm running and say how to use it"
    )
    made.add_argument("--stop", action="store_true", help="stop a farm that --keep left running")
    made.add_argument(
        "--renderer",
        metavar="BLENDER",
        help="path of the Blender to use, or bpy for the Python package (default: finds a Blender, "
        "or installs bpy)",
    )
    made.add_argument("--output", type=Path, help="folder for the frames (default: .quickstart/…)")
    return made


def main(argv: list[str]) -> int:
    """Make the environment, then hand over to quick_farm.py in it."""
    if sys.version_info < (3, 11):  # noqa: UP036  (here nobody has checked yet)
        found = ".".join(map(str, sys.version_info[:2]))
        print(f"This needs Python 3.11 or later; this is {found}.", file=sys.stderr)
        return 2
    options = parser().parse_args(argv)
    if options.file is not None and not options.file.is_file():
        print(f"There is no file {options.file}.", file=sys.stderr)
        return 2

    import environment  # beside this file; only now, as an older Python cannot even read it

    try:
        python = environment.prepare(CHECKOUT / ".venv", ["--editable", "."], CHECKOUT, say)
    except environment.EnvironmentFailed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; nothing is running.", file=sys.stderr)
        return 130
    return hand_over([str(python), str(HERE / "quick_farm.py"), *argv])


def hand_over(argv: list[str]) -> int:
    """Go on as another program, with our terminal and our signals."""
    sys.stderr.flush()
    if os.name != "nt":
        os.execv(argv[0], argv)
    # Windows has no exec, and sends Ctrl-C to every process of the console: leave it to the other.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return subprocess.run(argv, check=False).returncode


def say(line: str) -> None:
    """Tell the user what happens."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

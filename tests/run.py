"""`python3 tests/run.py`: everything that must be true of this checkout, in one command.

Owns getting from a bare machine to a verdict: system packages (on Debian and Ubuntu, as root), an
environment of its own in `.venv-tests`, the linters, and pytest over all cores. It needs nothing
but Python 3.11 or later. What is missing and cannot be installed fails the run; nothing is skipped.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
CHECKOUT = TESTS.parent
sys.path.insert(0, str(CHECKOUT / "packaging"))
import environment  # noqa: E402  (packaging/environment.py: the quick start makes its own with it)

ENVIRONMENT = CHECKOUT / ".venv-tests"
PLATFORMS = ("linux", "win32", "darwin")


# --------------------------------------------------------------------------- what the system must have


@dataclass(frozen=True)
class Need:
    """Something of the system's that tests use, and the Debian package that brings it."""

    package: str
    is_there: Callable[[], bool]


def _program(name: str) -> Callable[[], bool]:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    return lambda: shutil.which(name, path=path) is not None


def _library(pattern: str) -> Callable[[], bool]:
    """A shared library, where Debian's and Fedora's linkers look. Elsewhere it is not needed."""
    folders = (Path("/usr/lib"), Path("/usr/lib64"))
    return lambda: (
        not sys.platform.startswith("linux")
        or any(
            next(folder.glob(place), None) is not None
            for folder in folders
            if folder.is_dir()
            for place in (pattern, f"*/{pattern}")
        )
    )


NEEDS = (
    Need("git", _program("git")),
    Need("blender", _program("blender")),
    Need("povray", _program("povray")),
    Need("unzip", _program("unzip")),
    Need("libarchive-tools", _program("bsdtar")),
    Need("mariadb-server-core", _program("mariadbd")),
    Need("mariadb-client", _program("mariadb")),
    Need("iproute2", _program("ip")),
    # Blender and bpy draw through these where there is no display, and bpy links to the last four.
    Need("libegl1", _library("libEGL.so.1")),
    Need("libgl1-mesa-dri", _library("dri/swrast_dri.so")),
    Need("libgl1", _library("libGL.so.1")),
    Need("libsm6", _library("libSM.so.6")),
    Need("libxi6", _library("libXi.so.6")),
    Need("libxkbcommon0", _library("libxkbcommon.so.0")),
)


def missing_packages() -> list[str]:
    """The packages whose part is not there, in the order of NEEDS."""
    return [need.package for need in NEEDS if not need.is_there()]


def install_system_packages() -> str | None:
    """Install what is missing; a sentence when that cannot be done here."""
    missing = missing_packages()
    if not missing:
        return None
    names = " ".join(missing)
    if shutil.which("apt-get") is None or not _is_root():
        return (
            f"The tests need what the Debian packages {names} bring, and it is not here. Install "
            f"it (on Debian and Ubuntu: sudo apt-get install {names}) and start again."
        )
    say(f"installing {names}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600"]
    if not (
        succeeds([*apt, "update"], quiet)
        and succeeds([*apt, "install", "-y", "--no-install-recommends", *missing], quiet)
    ):
        return f"apt-get could not install {names}; what it said stands above."
    still = missing_packages()
    return f"{' '.join(still)} are installed, but what they bring is not there." if still else None


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


# --------------------------------------------------------------------------- the checks


def lint_commands(python: Path) -> list[list[str]]:
    """The linters, quickest first; mypy once for each platform, each with a cache of its own."""
    module = [str(python), "-m"]
    return [
        [*module, "ruff", "check", "."],
        [*module, "ruff", "format", "--check", "."],
        *(
            [*module, "mypy", "--platform", platform, "--cache-dir", f".mypy_cache/{platform}"]
            for platform in PLATFORMS
        ),
    ]


def pytest_command(python: Path, slow: bool, others: Sequence[str]) -> list[str]:
    """pytest over all cores; the slow tests only where asked. `others` come last, and so win."""
    return [
        *(str(python), "-m", "pytest", "-n", str(os.cpu_count() or 1), "--dist", "worksteal"),
        *(() if slow else ("-m", "not slow")),
        *others,
    ]


def run_linters(python: Path) -> list[str]:
    """Run them all; the names of those that failed."""
    failed = []
    for command in lint_commands(python):
        name = " ".join(command[2:])
        say(name)
        if not succeeds(command):
            failed.append(name)
    return failed


# --------------------------------------------------------------------------- running


def main(argv: Sequence[str]) -> int:
    """The verdict as an exit code: 0, or what failed first (linters 1, pytest its own)."""
    options, others = parser().parse_known_args(argv)
    problem = install_system_packages()
    if problem:
        return give_up(problem)
    wanted = ["--editable", ".[bpy,exr,test,lint]"]
    try:
        python = environment.prepare(ENVIRONMENT, wanted, CHECKOUT, say)
    except environment.EnvironmentFailed as error:
        return give_up(str(error))
    failed = [] if options.fast else run_linters(python)
    if failed:
        say(f"FAILED: {'; '.join(failed)}. The tests run all the same; the exit code will be 1.")
    say("pytest")
    outcome = subprocess.run(
        pytest_command(python, options.slow, others),
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        check=False,
    ).returncode
    return outcome or (1 if failed else 0)


def parser() -> argparse.ArgumentParser:
    """The command line; what it does not know goes to pytest."""
    made = argparse.ArgumentParser(
        description="Runs the linters and the tests. Other arguments go to pytest."
    )
    made.add_argument(
        "--slow", action="store_true", help="add faults, fuzzing, installing from scratch"
    )
    made.add_argument("--fast", action="store_true", help="leave the linters out")
    return made


STARTED = time.monotonic()


def say(what: str) -> None:
    """One line of progress, with the time since the start in seconds."""
    print(f"[{time.monotonic() - STARTED:4.0f} s] {what}", flush=True)


def give_up(why: str) -> int:
    """Nothing can be tested: say why, on stderr."""
    print(why, file=sys.stderr, flush=True)
    return 1


def succeeds(command: Sequence[str], variables: dict[str, str] | None = None) -> bool:
    """Run a command with our own output; whether it ended with 0."""
    done = subprocess.run(
        command, cwd=CHECKOUT, env=variables, stdin=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

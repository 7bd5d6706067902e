"""A virtual environment with pip in it, from any Python 3.11 or later, without root.

Owns how the quick start and the test runner get their Python packages. Uses the standard library
alone. Debian and Ubuntu ship Python without `ensurepip` (it is in python3-venv); there their own
wheel of pip is fetched with apt, without root, and installs itself.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import debian_packages

Say = Callable[[str], None]
"""Tells the user what happens, a line at a time."""


class EnvironmentFailed(Exception):
    """No environment could be made. Its text says why and what to do."""


def python_of(folder: Path) -> Path:
    """The interpreter inside the environment in `folder`."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def prepare(folder: Path, packages: Sequence[str], checkout: Path, say: Say) -> Path:
    """Make (or reuse) the environment in `folder` with `packages` installed; its interpreter.

    `packages` are pip's arguments, run in `checkout`. What was installed is remembered by the hash
    of what decides it, so a second call with the same setup.py does nothing. Raises
    EnvironmentFailed.
    """
    python = python_of(folder)
    stamp = folder / "renderonline-installed.txt"
    wanted = _fingerprint(packages, checkout)
    if _runs(python) and stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    stamp.unlink(missing_ok=True)
    if not _has_pip(python):
        say(f"Making a Python environment in {folder} …")
        _make(folder, say)
    say("Installing the Python packages (the first time this takes a minute or two) …")
    _pip(python, ["install", "--quiet", *packages], checkout)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def install_more(python: Path, packages: Sequence[str], checkout: Path) -> None:
    """Install `packages` too, into an environment that `prepare` made. Raises EnvironmentFailed."""
    _pip(python, ["install", "--quiet", *packages], checkout)


def has_package(python: Path, name: str) -> bool:
    """Whether the import package `name` is installed for `python`; it is not imported."""
    script = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    return _try([str(python), "-c", script])


def _fingerprint(packages: Sequence[str], checkout: Path) -> str:
    deciding = [
        sys.version,
        str(checkout.resolve()),
        *packages,
        *((checkout / name).read_text(encoding="utf-8") for name in ("setup.py", "pyproject.toml")),
    ]
    return hashlib.sha256("\0".join(deciding).encode()).hexdigest()


def _runs(python: Path) -> bool:
    return python.exists() and _try([str(python), "-c", ""])


def _has_pip(python: Path) -> bool:
    return python.exists() and _try([str(python), "-m", "pip", "--version"])


def _try(argv: Sequence[str]) -> bool:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _make(folder: Path, say: Say) -> None:
    """A fresh environment with pip, replacing whatever half of one is there."""
    shutil.rmtree(folder, ignore_errors=True)
    has_ensurepip = importlib.util.find_spec("ensurepip") is not None
    _venv(folder, [] if has_ensurepip else ["--without-pip"])
    if not has_ensurepip:
        say("This Python comes without pip; fetching Debian's …")
        bootstrap_pip(folder)


def _venv(folder: Path, options: Sequence[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "venv", *options, str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        why = (done.stderr or done.stdout).strip() or "it gave no reason"
        raise EnvironmentFailed(
            f"Python could not make a virtual environment in {folder}: {why}\n"
            "On Debian and Ubuntu, install the package python3-venv and try again."
        )


def _pip(python: Path, arguments: Sequence[str], checkout: Path) -> None:
    done = subprocess.run(
        [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments],
        cwd=checkout,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last_lines = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
        raise EnvironmentFailed(
            f"Installing Python packages failed. pip said:\n{last_lines}\n"
            "Is the package index reachable? PIP_INDEX_URL, HTTPS_PROXY and pip's own configuration "
            "are honoured."
        )


# --------------------------------------------------------------------------- pip without ensurepip


def bootstrap_pip(folder: Path) -> None:
    """Install pip into the environment in `folder` from Debian's own wheel of it.

    Raises EnvironmentFailed.
    """
    try:
        root = debian_packages.fetch(["python3-pip-whl"], folder / "system-pip")
    except debian_packages.PackagesFailed as error:
        raise EnvironmentFailed(
            f"{error}\nOr install python3-venv, which brings pip too."
        ) from None
    wheels = sorted((root / "usr/share/python-wheels").glob("pip-*.whl"))
    if not wheels:
        raise EnvironmentFailed(
            "This Python comes without pip. Install the package python3-venv and try again."
        )
    # A wheel is a ZIP, and Python runs a package inside a ZIP.
    _run_pip_wheel(python_of(folder), wheels[-1])


def _run_pip_wheel(python: Path, wheel: Path) -> None:
    done = subprocess.run(
        [str(python), str(wheel / "pip"), "install", "--quiet", "--no-index", str(wheel)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise EnvironmentFailed(f"pip could not install itself: {done.stderr.strip()}")

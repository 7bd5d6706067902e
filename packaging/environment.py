"""A virtual environment with pip in it, from any Python 3.11 or later, without root.

Owns how the quick start and the test runner get their Python packages. Uses the standard library
alone. Debian and Ubuntu ship Python without `ensurepip` (it is in python3-venv); there pip's own
wheel is fetched from the package index, checked against the index's hash, and installs itself.
"""

from __future__ import annotations

import hashlib
import html
import importlib.util
import os
import re
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urljoin, urlsplit

Say = Callable[[str], None]
"""Tells the user what happens, a line at a time."""

DEFAULT_INDEX = "https://pypi.org/simple"
TIMEOUT_S = 60


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
        say("This Python comes without pip; fetching it from the package index …")
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
    """Install pip into the environment in `folder` from its own wheel. Raises EnvironmentFailed."""
    index = os.environ.get("PIP_INDEX_URL") or DEFAULT_INDEX
    try:
        url, sha256 = newest_wheel(_fetch(f"{index.rstrip('/')}/pip/").decode(), index)
        content = _fetch(url)
    except (OSError, ValueError) as error:
        host = urlsplit(index).hostname
        raise EnvironmentFailed(
            f"pip could not be fetched from the package index at {host}: {error}.\n"
            "Install the package python3-venv (on Debian and Ubuntu), or set PIP_INDEX_URL to an "
            "index that this machine can reach, and try again."
        ) from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise EnvironmentFailed("The pip that was fetched is not what the index says it is.")
    wheel = folder / Path(urlsplit(url).path).name
    wheel.write_bytes(content)
    # A wheel is a ZIP, and Python runs a package inside a ZIP.
    _run_pip_wheel(python_of(folder), wheel)
    wheel.unlink()


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


def newest_wheel(page: str, index: str) -> tuple[str, str]:
    """Address and SHA-256 of pip's newest final release on an index's page for it.

    The page is PEP 503's: one link per file, the hash in its fragment. Raises ValueError.
    """
    base = f"{index.rstrip('/')}/pip/"
    found: dict[tuple[int, ...], tuple[str, str]] = {}
    for link in re.findall(r'<a\s[^>]*href="([^"]+)"', page):
        address = html.unescape(link)
        match = re.search(
            r"/?pip-(\d+(?:\.\d+)*)-py3-none-any\.whl#sha256=([0-9a-f]{64})$", address
        )
        if match:
            version = tuple(int(part) for part in match.group(1).split("."))
            found[version] = (urljoin(base, address).split("#")[0], match.group(2))
    if not found:
        raise ValueError("its page for pip lists no wheel with a SHA-256")
    return found[max(found)]


def _fetch(url: str) -> bytes:
    """The content at `url`. Raises OSError."""
    if urlsplit(url).scheme not in ("https", "http", "file"):
        raise OSError(f"{urlsplit(url).scheme or 'no'} is no scheme for a package index")
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or None)
    with urllib.request.urlopen(url, timeout=TIMEOUT_S, context=context) as answer:
        content: bytes = answer.read()
    return content

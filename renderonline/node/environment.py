"""The environment that a renderer gets: the node's own, without what is ours or secret.

A renderer runs what is in the scene, so nothing may be in reach there that a stranger must not
read. And a frozen program points its children at the libraries inside its bundle, which make
them crash.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

LIBRARY_PATHS = frozenset(
    {
        "LD_LIBRARY_PATH",
        "LIBPATH",
        "DYLD_LIBRARY_PATH",
        "DYLD_FRAMEWORK_PATH",
        "DYLD_FALLBACK_LIBRARY_PATH",
    }
)
"""Where loaders look first. PyInstaller overwrites them and keeps the old value in `<name>_ORIG`."""

BUNDLE_POINTERS = frozenset({"TCL_LIBRARY", "TK_LIBRARY", "TKPATH"})
"""Set by PyInstaller's hooks; foreign only when they point into the bundle."""

FOREIGN_PREFIXES = ("RENDERONLINE_", "_PYI_", "_MEIPASS2", "PYINSTALLER_")
FOREIGN_NAMES = frozenset({"PYTHONHOME", "PYTHONPATH"})  # our interpreter's, not the renderer's

SECRET_WORDS = (
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
)
SECRET_SUFFIXES = ("_PWD", "_PASS")  # MYSQL_PWD; PWD itself and OLDPWD are folders


def bundle_dir() -> Path | None:
    """The folder that a frozen program was extracted to; None when running from source."""
    folder = getattr(sys, "_MEIPASS", None) if getattr(sys, "frozen", False) else None
    return Path(folder) if folder else None


def child_environment(
    inherited: Mapping[str, str],
    engine: Iterable[tuple[str, str]],
    working_dir: Path,
    bundle: Path | None,
) -> dict[str, str]:
    """The environment for a renderer. Pure.

    `inherited` is the node's own, `engine` the `Environment` of the engine's entry in the settings
    (an admin's word: it is added whatever it is called), `bundle` what `bundle_dir` says. PWD names
    `working_dir`, because Blender resolves relative paths against it.
    """
    kept = {
        name: value for name, value in inherited.items() if not _is_dropped(name, value, bundle)
    }
    originals = {
        name.removesuffix("_ORIG"): kept.pop(name)
        for name in list(kept)
        if name.endswith("_ORIG") and name.removesuffix("_ORIG") in LIBRARY_PATHS
    }
    return {**kept, **originals, **dict(engine), "PWD": str(working_dir)}


def _is_dropped(name: str, value: str, bundle: Path | None) -> bool:
    upper = name.upper()  # Windows' names have no case
    if upper in FOREIGN_NAMES or upper.startswith(FOREIGN_PREFIXES) or looks_secret(upper):
        return True
    if bundle is None:
        return False
    if upper in BUNDLE_POINTERS:
        return Path(value).is_relative_to(bundle)
    return upper in LIBRARY_PATHS


def looks_secret(name: str) -> bool:
    """Whether a variable of this name is likely to hold a secret."""
    upper = name.upper()
    return any(word in upper for word in SECRET_WORDS) or upper.endswith(SECRET_SUFFIXES)

"""What a renderer finds in its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from renderonline.node.environment import child_environment, looks_secret

BUNDLE = Path("/bundle/_MEI1")
FOLDER = Path("/projects/7")


@pytest.mark.parametrize(
    ("inherited", "bundle", "expected"),
    [
        ({"PATH": "/bin", "HOME": "/h"}, None, {"PATH": "/bin", "HOME": "/h"}),
        ({"LD_LIBRARY_PATH": "/lib/mine"}, None, {"LD_LIBRARY_PATH": "/lib/mine"}),
        ({"LD_LIBRARY_PATH": str(BUNDLE)}, BUNDLE, {}),
        (
            {"LD_LIBRARY_PATH": str(BUNDLE), "LD_LIBRARY_PATH_ORIG": "/lib/mine"},
            BUNDLE,
            {"LD_LIBRARY_PATH": "/lib/mine"},
        ),
        (
            {"DYLD_LIBRARY_PATH": "x", "DYLD_LIBRARY_PATH_ORIG": "/lib"},
            None,
            {"DYLD_LIBRARY_PATH": "/lib"},
        ),
        ({"HOUDINI_PATH_ORIG": "kept"}, BUNDLE, {"HOUDINI_PATH_ORIG": "kept"}),
        ({"TCL_LIBRARY": str(BUNDLE / "tcl"), "TK_LIBRARY": "/usr/tk"}, BUNDLE, {"TK_LIBRARY": "/usr/tk"}),
        ({"TCL_LIBRARY": str(BUNDLE / "tcl")}, None, {"TCL_LIBRARY": str(BUNDLE / "tcl")}),
        ({"_PYI_ARCHIVE_FILE": "x", "_MEIPASS2": "x", "PYINSTALLER_RESET_ENVIRONMENT": "1"}, BUNDLE, {}),
        ({"RENDERONLINE_TOKEN_FILE": "x", "RENDERONLINE_SERVER": "x"}, None, {}),
        ({"PYTHONHOME": "x", "PYTHONPATH": "x", "PYTHONUTF8": "1"}, None, {"PYTHONUTF8": "1"}),
        ({"PWD": "/root", "OLDPWD": "/tmp", "MYSQL_PWD": "x"}, None, {"OLDPWD": "/tmp"}),
        ({"Db_Password": "x"}, None, {}),
    ],
)  # fmt: skip
def test_inherited(
    inherited: dict[str, str], bundle: Path | None, expected: dict[str, str]
) -> None:
    found = child_environment(inherited, (), FOLDER, bundle)
    assert found == {**expected, "PWD": str(FOLDER)}


@pytest.mark.parametrize(
    "name",
    ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "MYSQL_PWD", "GOOGLE_APPLICATION_CREDENTIALS",
     "OPENWEATHER_API_KEY", "SSH_PRIVATE_KEY", "PGPASSWORD", "npm_config_token"],
)  # fmt: skip
def test_secrets_stay_behind(name: str) -> None:
    assert looks_secret(name)
    assert name not in child_environment({name: "x"}, (), FOLDER, None)


@pytest.mark.parametrize("name", ["PATH", "PWD", "OLDPWD", "HOME", "OCIO", "DISPLAY", "XAUTHORITY"])
def test_ordinary_names_are_no_secrets(name: str) -> None:
    assert not looks_secret(name)


def test_the_engine_has_the_last_word() -> None:
    engine = (("LICENSE_TOKEN", "an admin wrote it"), ("LD_LIBRARY_PATH", "/opt/renderer/lib"))
    found = child_environment({"LD_LIBRARY_PATH": "/bundle/_MEI1"}, engine, FOLDER, BUNDLE)
    assert found == {**dict(engine), "PWD": str(FOLDER)}

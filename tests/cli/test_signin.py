"""Who we are and where: which source wins, and that a token never goes to another farm."""

from __future__ import annotations

import argparse
import stat
import sys
from pathlib import Path

import pytest

from renderonline.commands import signin
from renderonline.commands.edge import CommandError, UsageError
from renderonline.commands.signin import Given, SignIn

SAVED = SignIn(
    server="https://farm.example",
    email="artist@example.com",
    token="saved",
    certificate="farm.pem",
)
NOTHING = Given(None, None, None, None)


def options(**given: object) -> argparse.Namespace:
    names = dict.fromkeys(("server", "email", "token_file", "certificate", "fingerprint"))
    return argparse.Namespace(**{**names, **given})


def test_what_is_trusted_is_one_thing() -> None:
    pinned = SignIn(server="https://farm.example", email="a@b.c", token="t", fingerprint="ab" * 32)
    assert signin.resolve(NOTHING, pinned).fingerprint == "ab" * 32
    other = signin.resolve(Given(None, None, None, "farm.pem"), pinned)
    assert (other.certificate, other.fingerprint) == ("farm.pem", None)
    anew = signin.resolve(Given(None, None, None, None, "cd" * 32), SAVED)
    assert (anew.certificate, anew.fingerprint) == (None, "cd" * 32)
    elsewhere = signin.resolve(Given("https://other.example", "a@b.c", "t", None), pinned)
    assert elsewhere.fingerprint is None
    written = " ".join(["AB"] * 32)
    assert signin.given(options(fingerprint=written)).fingerprint == "ab" * 32
    for wrong in ("ab" * 31, "xy" * 32, "ab" * 33):
        with pytest.raises(UsageError, match="64 hexadecimal digits"):
            signin.given(options(fingerprint=wrong))
    with pytest.raises(UsageError, match="Choose one"):
        signin.given(options(fingerprint="ab" * 32, certificate=Path("farm.pem")))


def signed_in(asked: Given, saved: SignIn | None = SAVED) -> tuple[str, str, str, str | None]:
    found = signin.resolve(asked, saved)
    return (found.server, found.email, found.token, found.certificate)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (NOTHING, ("https://farm.example", "artist@example.com", "saved", "farm.pem")),
        (
            Given("https://Farm.Example/", None, None, None),
            ("https://farm.example", "artist@example.com", "saved", "farm.pem"),
        ),
        (
            Given(None, "ARTIST@example.com", None, None),
            ("https://farm.example", "ARTIST@example.com", "saved", "farm.pem"),
        ),
        (
            Given(None, "other@example.com", "given", None),
            ("https://farm.example", "other@example.com", "given", "farm.pem"),
        ),
        (
            Given("http://other", "other@example.com", "given", "other.pem"),
            ("http://other", "other@example.com", "given", "other.pem"),
        ),
        (
            Given("http://other", "artist@example.com", "given", None),
            ("http://other", "artist@example.com", "given", None),
        ),
    ],
)
def test_what_is_given_is_completed_by_what_is_saved_for_that_farm(
    asked: Given, expected: tuple[str, str, str, str | None]
) -> None:
    assert signed_in(asked) == expected


@pytest.mark.parametrize(
    ("asked", "saved", "says"),
    [
        (NOTHING, None, "which farm"),
        (Given("http://other", None, None, None), None, "who you are at http://other"),
        (Given("http://other", None, None, None), SAVED, "who you are at http://other"),
        (Given("http://other", "artist@example.com", None, None), SAVED, "no token"),
        (Given("https://farm.example:8443", "artist@example.com", None, None), SAVED, "no token"),
        (Given("http://farm.example", "artist@example.com", None, None), SAVED, "no token"),
        (Given(None, "other@example.com", None, None), SAVED, "no token for other@example.com"),
    ],
)
def test_a_saved_token_goes_to_no_other_farm_and_to_no_other_user(
    asked: Given, saved: SignIn | None, says: str
) -> None:
    with pytest.raises(UsageError, match=says) as raised:
        signin.resolve(asked, saved)
    for way in ("renderonline login", "--token-file", "RENDERONLINE_TOKEN"):
        assert way in raised.value.hint


def test_an_option_goes_before_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("  from-the-option\n", encoding="utf-8")
    (tmp_path / "other").write_text("from-the-other-file", encoding="utf-8")
    for name, value in (
        ("SERVER", "http://variable"),
        ("EMAIL", "variable@example.com"),
        ("TOKEN", "from-the-variable"),
        ("TOKEN_FILE", str(tmp_path / "other")),
    ):
        monkeypatch.setenv(f"RENDERONLINE_{name}", value)
    assert signin.given(options()) == Given(
        "http://variable", "variable@example.com", "from-the-variable", None
    )
    assert signin.given(
        options(server="http://option", email="o@example.com", token_file=file)
    ) == (Given("http://option", "o@example.com", "from-the-option", None))
    monkeypatch.delenv("RENDERONLINE_TOKEN")
    assert signin.given(options()).token == "from-the-other-file"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe\x00"])
def test_a_token_file_that_holds_none_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match="token file"):
        signin.given(options(token_file=file))


def test_a_sign_in_is_kept_for_its_owner_only_and_forgotten() -> None:
    assert signin.load() is None
    signin.save(SAVED)
    assert signin.load() == SAVED
    if sys.platform != "win32":  # there the folder's rights say it
        assert stat.S_IMODE(signin.file().stat().st_mode) == 0o600
    assert signin.forget() is True
    assert signin.load() is None
    assert signin.forget() is False


def test_a_saved_sign_in_that_is_broken_says_how_to_mend_it() -> None:
    signin.save(SAVED)
    signin.file().write_text('{"Server": ', encoding="utf-8")
    with pytest.raises(CommandError) as raised:
        signin.load()
    assert str(signin.file()) in str(raised.value)
    assert "renderonline login" in raised.value.hint


@pytest.mark.parametrize(
    ("server", "is_warned"),
    [
        ("http://127.0.0.1:5000", False),
        ("http://localhost:5000", False),
        ("http://[::1]:5000", False),
        ("https://farm.example", False),
        ("http://farm.example", True),
        ("http://192.168.1.5:5000", True),
    ],
)
def test_a_token_in_the_open_is_warned_of(
    server: str, is_warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    signin.open_client(SignIn(server=server, email="a@example.com", token="secret")).close()
    said = capsys.readouterr().err
    assert ("can read your token" in said) is is_warned
    assert "secret" not in said

"""An api with a certificate of its own making, and clients and nodes that know it by its fingerprint."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.farm import Farm
from support.processes import DEADLINE_S, command, private_environment, run_cli, service
from support.waiting import wait_until

from renderonline import pinning
from renderonline.api import certificates
from renderonline.config import ConfigError

NOW = datetime(2026, 6, 1, tzinfo=UTC)
AUTO = {"Certificate": "auto", "Host": "127.0.0.1"}


def fingerprint(farm: Farm) -> str:
    folder = farm.api_config.parent / "data" / "tls"
    return pinning.fingerprint_of(folder / certificates.CERTIFICATE)


def asks(farm: Farm, home: Path, *words: str | Path, expected_exit: int = 0, **more: str) -> str:
    """What the command line says as the farm's user, without any sign-in saved unless in `home`."""
    environment = {
        "RENDERONLINE_SERVER": farm.api.url,
        "RENDERONLINE_EMAIL": farm.user.email,
        "RENDERONLINE_TOKEN": farm.user.token,
        **more,
    }
    done = run_cli(*words, home=home, environment=environment, expected_exit=expected_exit)
    return done.stdout + done.stderr


# --------------------------------------------------------------------------- a farm


def test_a_farm_renders_over_its_own_certificate(
    start_farm: Callable[..., Farm], cube: Path, tmp_path: Path
) -> None:
    farm = start_farm(api_settings=AUTO, node_settings={"Storage": "transfer"})
    assert farm.api.url.startswith("https://")
    pin = pinning.shown(fingerprint(farm))
    submit = ("submit", cube, "--frames", "1-2", "--download", tmp_path / "out")
    said = asks(farm, tmp_path / "home", *submit, "--fingerprint", pin)
    assert "succeeded" in said
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "frame_0001.png",
        "frame_0002.png",
    }


def test_a_node_says_hello_to_the_farm_whose_fingerprint_it_was_told(
    start_farm: Callable[..., Farm],
) -> None:
    farm = start_farm(nodes=0, api_settings={**AUTO, "PollSeconds": 3600})
    right = farm.add_node(Api=farm.api.url, ApiFingerprint=pinning.shown(fingerprint(farm)))
    wrong = farm.add_node(Api=farm.api.url, ApiFingerprint="ab" * 32)
    wait_until(lambda: "does not answer (SSLError)" in wrong.stderr, "the wrong one is refused")
    assert "does not answer" not in right.stderr


# --------------------------------------------------------------------------- signing in


def test_a_stranger_is_not_trusted_and_is_named(
    start_farm: Callable[..., Farm], tmp_path: Path
) -> None:
    farm = start_farm(nodes=0, api_settings=AUTO)
    assert "is not trusted" in asks(farm, tmp_path / "home", "tasks", expected_exit=3)
    said = asks(farm, tmp_path / "home", "login", expected_exit=1)
    assert pinning.shown(fingerprint(farm)) in said
    assert "--fingerprint" in said
    assert "changed" not in said
    other = ("tasks", "--fingerprint", "ab" * 32)
    assert "another certificate" in asks(farm, tmp_path / "home", *other, expected_exit=3)


@pytest.mark.parametrize(("answer", "is_trusted"), [("y", True), ("n", False), ("", False)])
def test_whoever_signs_in_compares_the_fingerprint_once(
    answer: str, is_trusted: bool, start_farm: Callable[..., Farm], tmp_path: Path
) -> None:
    farm = start_farm(nodes=0, api_settings=AUTO)
    home = tmp_path / "home"
    shown, exit_code = on_a_terminal(farm, home, answer)
    assert pinning.shown(fingerprint(farm)) in shown
    assert (exit_code == 0) is is_trusted
    if is_trusted:
        assert asks(farm, home, "tasks") is not None
    else:
        asks(farm, home, "tasks", expected_exit=3)


def on_a_terminal(farm: Farm, home: Path, answer: str) -> tuple[str, int]:
    """`login`, whose question is answered; what it showed, and its exit code."""
    ours, theirs = os.openpty()
    environment = {
        "RENDERONLINE_SERVER": farm.api.url,
        "RENDERONLINE_EMAIL": farm.user.email,
        "RENDERONLINE_TOKEN": farm.user.token,
    }
    asking = subprocess.Popen(
        command("login"),
        env=private_environment(home, environment),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    try:
        os.write(ours, f"{answer}\n".encode())
        stdout, stderr = asking.communicate(timeout=DEADLINE_S)
    finally:
        os.close(ours)
    return stdout + stderr, asking.returncode


def test_another_certificate_is_refused_until_it_is_accepted_anew(
    start_farm: Callable[..., Farm], tmp_path: Path
) -> None:
    farm = start_farm(nodes=0, api_settings=AUTO)
    home = tmp_path / "home"
    before = fingerprint(farm)
    on_a_terminal(farm, home, "y")
    address = ("--server", farm.api.url)
    farm.api.terminate()
    assert fingerprint(farm) == before
    shutil.rmtree(farm.api_config.parent / "data" / "tls")
    port = farm.api.url.rsplit(":", 1)[1]
    with service("api", farm.api_config.parent, {**AUTO, "Port": port, "DataPath": "data"}):
        assert fingerprint(farm) != before
        for words in (("tasks",), ("login", *address, "--fingerprint", before)):
            said = asks(farm, home, *words, expected_exit=3)
            assert pinning.shown(before) in said
            assert "nothing was sent" in said
        after = fingerprint(farm)
        assert asks(farm, home, "login", "--fingerprint", after)
        assert asks(farm, home, "tasks") is not None


# --------------------------------------------------------------------------- the files


def test_it_is_made_once_and_only_its_owner_reads_the_key(tmp_path: Path) -> None:
    files = certificates.own(tmp_path / "tls", NOW)
    first = pinning.fingerprint_of(files.fullchain_pem_path)
    certificates.own(tmp_path / "tls", NOW + timedelta(days=3600))
    assert pinning.fingerprint_of(files.fullchain_pem_path) == first
    if sys.platform != "win32":
        assert stat.S_IMODE(files.priv_pem_path.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["tls"]


def test_one_that_ends_soon_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = certificates.own(tmp_path / "tls", NOW)
    first = pinning.fingerprint_of(files.fullchain_pem_path)
    certificates.own(tmp_path / "tls", NOW + timedelta(days=3640))
    assert pinning.fingerprint_of(files.fullchain_pem_path) != first
    assert pinning.shown(first) in caplog.text


def test_apis_that_start_at_once_show_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: certificates.own(tmp_path / "tls", NOW), range(8)))
    assert len({pinning.fingerprint_of(files.fullchain_pem_path) for files in made}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tls"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / certificates.KEY).unlink(),
        lambda folder: (folder / certificates.CERTIFICATE).write_text("nonsense"),
        lambda folder: (folder / certificates.KEY).write_text(""),
        lambda folder: shutil.copy(
            certificates.own(folder.with_name("other"), NOW).priv_pem_path, folder / "key.pem"
        ),
    ],
)
def test_a_damaged_one_is_a_sentence_and_stays(
    harm: Callable[[Path], None], tmp_path: Path
) -> None:
    certificates.own(tmp_path / "tls", NOW)
    harm(tmp_path / "tls")
    before = sorted((file.name, file.read_bytes()) for file in (tmp_path / "tls").iterdir())
    with pytest.raises(
        ConfigError, match=r"own certificate in .*cannot be used.*delete that folder"
    ):
        certificates.own(tmp_path / "tls", NOW)
    assert sorted((f.name, f.read_bytes()) for f in (tmp_path / "tls").iterdir()) == before

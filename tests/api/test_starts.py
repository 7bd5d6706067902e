"""What a start says of where the api is: beacons, addresses, fingerprints."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from renderonline.api.services.starts import BEACON_FILE, _light, address_towards


def test_all_who_start_at_once_name_the_same_beacon(tmp_path: Path) -> None:
    """Threads of one api, or several apis: a node that reads another word would copy everything."""
    for round_ in range(50):
        folder = tmp_path / str(round_)
        folder.mkdir()
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(_light, [folder / BEACON_FILE] * 8))
        assert {beacon.word for beacon in found} == {(folder / BEACON_FILE).read_text()}
        assert [file.name for file in folder.iterdir()] == [BEACON_FILE]


def test_a_beacon_that_cannot_be_made_is_seen_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert _light(tmp_path / "file" / BEACON_FILE).word == ""


def test_this_machine_is_reached_from_itself_by_loopback() -> None:
    assert address_towards("127.0.0.1") == "127.0.0.1"
    assert address_towards("no such host.invalid") is None

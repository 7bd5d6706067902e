"""RenderAPI.json and HPCServer.json: typed values, warnings for what is unknown, errors with the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from renderonline.config import (
    ApiSettings,
    CertificateFiles,
    ConfigError,
    EngineSetting,
    NodeSettings,
    load,
    parse,
)

API_MISTAKES: list[tuple[str, Any]] = [
    ("ConnectionString", 5),
    ("ConnectionString", ["sqlite:///x"]),
    ("Port", "x"),
    ("Port", ""),
    ("Port", -1),
    ("Port", 65536),
    ("Port", 5000.5),
    ("Port", True),
    ("Port", "٣"),
    ("Port", "9" * 5000),
    ("Port", []),
    ("Certificate", "automatic"),
    ("Certificate", {}),
    ("Certificate", {"FullchainPemPath": "a.pem"}),
    ("Certificate", {"FullchainPemPath": "a.pem", "PrivPemPath": "missing.pem"}),
    ("Certificate", {"FullchainPemPath": 1, "PrivPemPath": 2}),
    ("Host", 5),
    ("DataPath", 5),
    ("DataPath", ""),
    ("DataPath", "a\0b"),
    ("Storage", "nas"),
    ("Storage", True),
    ("PollSeconds", "15"),
    ("PollSeconds", 0),
    ("PollSeconds", -1),
    ("PollSeconds", 1e9),
    ("PollSeconds", float("nan")),
    ("QueueLimitDefault", 256),
    ("QueueLimitDefault", -1),
    ("UploadLimitBytes", 0),
    ("UploadLimitBytes", "1 GB"),
    ("PublicUrl", 5),
]
NODE_MISTAKES: list[tuple[str, Any]] = [
    ("Port", {}),
    ("RenderingEngines", {}),
    ("RenderingEngines", ["blender"]),
    ("RenderingEngines", [{}]),
    ("RenderingEngines", [{"EngineId": ""}]),
    ("RenderingEngines", [{"EngineId": "a", "ExecutablePath": 5}]),
    ("RenderingEngines", [{"EngineId": "a", "Adapter": "maya"}]),
    ("RenderingEngines", [{"EngineId": "a", "Environment": {"A": 1}}]),
    ("RenderingEngines", [{"EngineId": "a", "Warm": "yes"}]),
    ("RenderingEngines", [{"EngineId": "a"}, {"EngineId": "A"}]),
    ("WarmMemoryBytes", 0),
    ("RenderMemoryBytes", 0),
    ("Host", ""),
]


def test_originals_file(tmp_path: Path) -> None:
    raw = {"ConnectionString": "Server=db;", "Port": "5000", "Certificate": None}
    settings, warnings = parse(ApiSettings, raw, tmp_path)
    assert (settings.connection_string, settings.port) == ("Server=db;", 5000)
    assert settings.tls is None
    assert warnings == ()


def test_nothing_at_all_is_a_farm_on_this_machine(tmp_path: Path) -> None:
    settings, warnings = parse(ApiSettings, {}, tmp_path)
    assert (settings.listen_host, settings.port, settings.poll_seconds) == ("127.0.0.1", 5000, 15.0)
    assert settings.connection_string is None
    assert settings.data_path.is_absolute()
    assert warnings == ()


def test_with_a_certificate_it_listens_on_the_network(tmp_path: Path) -> None:
    for name in ("chain.pem", "key.pem"):
        (tmp_path / name).touch()
    raw = {"certificate": {"fullchainPEMpath": "chain.pem", "PrivPemPath": "key.pem"}}
    settings, _ = parse(ApiSettings, raw, tmp_path)
    assert isinstance(settings.tls, CertificateFiles)
    assert settings.tls.priv_pem_path == tmp_path / "key.pem"
    assert settings.listen_host == "0.0.0.0"
    at_home, _ = parse(ApiSettings, {**raw, "Host": "127.0.0.1"}, tmp_path)
    assert at_home.listen_host == "127.0.0.1"


@pytest.mark.parametrize(
    ("raw", "tls", "host"),
    [
        ({}, None, "127.0.0.1"),
        ({"Host": "localhost"}, None, "localhost"),
        ({"Host": "0.0.0.0"}, "auto", "0.0.0.0"),
        ({"Host": "192.168.1.10"}, "auto", "192.168.1.10"),
        ({"Host": "0.0.0.0", "Certificate": None}, None, "0.0.0.0"),
        ({"Certificate": None}, None, "127.0.0.1"),
        ({"Certificate": "auto"}, "auto", "0.0.0.0"),
        ({"Certificate": "Auto", "Host": "127.0.0.1"}, "auto", "127.0.0.1"),
    ],
)
def test_what_is_open_to_the_network_speaks_tls_unless_told_otherwise(
    raw: dict[str, Any], tls: str | None, host: str, tmp_path: Path
) -> None:
    settings, _ = parse(ApiSettings, raw, tmp_path)
    assert (settings.tls, settings.listen_host) == (tls, host)


def test_unknown_key_is_named_in_a_warning_and_costs_nothing_else(tmp_path: Path) -> None:
    raw = {"Prot": 1, "pollseconds": 3, "DATAPATH": "data"}
    settings, warnings = parse(ApiSettings, raw, tmp_path)
    assert (settings.poll_seconds, settings.data_path) == (3.0, tmp_path / "data")
    (warning,) = warnings
    assert "'Prot'" in warning
    assert "PollSeconds" in warning, "it says what there is instead"


def test_unknown_key_of_an_engine_costs_nothing_else(tmp_path: Path) -> None:
    raw = {"RenderingEngines": [{"EngineId": "a", "Executable": "x"}, {"EngineId": "b"}]}
    settings, warnings = parse(NodeSettings, raw, tmp_path, tmp_path / "node.json")
    assert settings.engines == (EngineSetting("a", None), EngineSetting("b", None))
    assert warnings == (
        f"{tmp_path / 'node.json'}: RenderingEngines: unknown key 'Executable' is ignored. "
        "Known: EngineId, ExecutablePath, Adapter, Environment, Warm.",
    )


def test_unknown_key_of_a_certificate_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.pem").touch()
    certificate = {"FullchainPemPath": "a.pem", "PrivPemPath": "a.pem", "Chain": 1}
    settings, warnings = parse(ApiSettings, {"Certificate": certificate}, tmp_path)
    assert settings.certificate is not None
    (warning,) = warnings
    assert "Certificate: unknown key 'Chain'" in warning


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"Port": "55200", "port": "1"}, "'Port' is ignored, because 'port' follows"),
        ({"RenderingEngines": [{"engineid": "a", "EngineId": "b"}], "port": 1},
         "RenderingEngines: 'engineid' is ignored, because 'EngineId' follows"),
    ],
)  # fmt: skip
def test_key_that_is_there_twice_is_said(tmp_path: Path, raw: dict[str, Any], says: str) -> None:
    settings, warnings = parse(NodeSettings, raw, tmp_path)
    assert settings.port == 1
    assert settings.engines in (None, (EngineSetting("b", None),))
    (warning,) = warnings
    assert says in warning


@pytest.mark.parametrize(("key", "value"), API_MISTAKES)
def test_wrong_value_names_the_key_and_what_it_takes(tmp_path: Path, key: str, value: Any) -> None:
    (tmp_path / "a.pem").touch()
    with pytest.raises(ConfigError, match=rf"RenderAPI\.json: {key} (takes|has|names) "):
        parse(ApiSettings, {key: value}, tmp_path)


@pytest.mark.parametrize(("key", "value"), NODE_MISTAKES)
def test_wrong_value_of_a_node(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"HPCServer\.json: {key} (takes|has|names) "):
        parse(NodeSettings, {key: value}, tmp_path)


def test_engines_of_a_node(tmp_path: Path) -> None:
    engines = [
        {"EngineId": "blender", "ExecutablePath": "/usr/bin/blender"},
        {"engineid": "pov", "executablepath": "povray", "ADAPTER": "Generic"},
        {"EngineId": "own", "ExecutablePath": "bin/own", "Environment": {"A": "b"}},
        {"EngineId": "found", "warm": False},
    ]
    settings, warnings = parse(NodeSettings, {"RenderingEngines": engines}, tmp_path)
    assert warnings == ()
    assert settings.engines is not None
    blender, pov, own, found = settings.engines
    assert blender.executable_path == str(Path("/usr/bin/blender").absolute())
    assert (pov.executable_path, pov.adapter) == ("povray", "generic")
    assert own.executable_path == str(tmp_path / "bin" / "own")
    assert own.environment == (("A", "b"),)
    assert found.executable_path is None
    assert [engine.warm for engine in settings.engines] == [True, True, True, False]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not valid JSON at line 1"),
        (b'{"Port": 1,\n}', "not valid JSON at line 2"),
        (b"[]", "one JSON object"),
        (b"\xff\xff", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
    ],
)
def test_file_that_is_no_configuration(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "RenderAPI.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as refusal:
        load(ApiSettings, file)
    assert str(file) in str(refusal.value)


def test_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no configuration file"):
        load(ApiSettings, tmp_path / "RenderAPI.json")


def test_notepads_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "RenderAPI.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps({"Port": 7}).encode())
    settings, loaded = load(ApiSettings, file)
    assert (settings.port, loaded.source) == (7, file)


def test_file_of_the_working_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "RenderAPI.json").write_text('{"Port": 7, "DataPath": "below"}')
    monkeypatch.chdir(tmp_path)
    settings, loaded = load(ApiSettings, None)
    assert settings.port == 7
    assert settings.data_path == tmp_path / "below", "relative to the file's folder"
    assert loaded.source == tmp_path / "RenderAPI.json"

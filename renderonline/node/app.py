"""The node, put together: settings in, a running HTTP server with a machine behind it out."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from renderonline import paths
from renderonline.config import ConfigError, Loaded, NodeSettings
from renderonline.lifecycle import Clock, StopFlag, SystemClock, stop_on_signals, wait_for_stop
from renderonline.node import renderers
from renderonline.node.api_client import Api, ApiClient
from renderonline.node.cache import Cache
from renderonline.node.callers import Callers
from renderonline.node.equipment import Equipment
from renderonline.node.fetch import Fetcher
from renderonline.node.hello import Hello
from renderonline.node.http import hpc_app
from renderonline.node.inputs import NodeInputs
from renderonline.node.journal import Journal
from renderonline.node.machine import Machine
from renderonline.node.parcels import Parcels
from renderonline.node.process import system_spawner
from renderonline.node.returns import Returns
from renderonline.node.trees import Trees
from renderonline.node.warm import WarmRenderers, machine_bounds
from renderonline.node.worker import Workplace
from renderonline.serving import Server

log = logging.getLogger(__name__)

DONE, UNUSABLE = 0, 2  # exit codes, see docs/api.md


@dataclass(frozen=True, slots=True)
class NodeApp:
    """A node that is bound to its port. `start` and `close` belong to the main thread."""

    machine: Machine
    server: Server
    equipment: Equipment
    hello: Hello

    @property
    def url(self) -> str:
        """The address under which this machine reaches the node."""
        return self.server.url

    def start(self) -> None:
        """Clear up after an earlier node, then serve, on threads of its own, until `close`."""
        self.hello.greet(self.machine.recover())
        self.server.start()
        self.hello.start()
        self.equipment.ask_versions(self.hello.again)

    def close(self) -> None:
        """End the running render and its tree, then the server. Idempotent; takes seconds."""
        self.hello.close()
        self.machine.close()  # first, so that the node answers for as long as it renders
        self.server.close()


def build(settings: NodeSettings, clock: Clock) -> NodeApp:
    """A node from its settings, listening but not yet serving.

    Raises ConfigError for an engine that is not there, and OSError with a sentence for a port that
    is taken or a data folder that cannot be written.
    """
    engines = renderers.resolve(settings.engines)
    try:
        data_dir = paths.private_dir(settings.data_path)
    except OSError as error:
        raise OSError(
            f"DataPath: the folder {settings.data_path} cannot be used: {error.strerror}."
        ) from None
    equipment = Equipment(engines, settings.tags, data_dir, clock)
    client = ApiClient()
    workplace = _workplace(settings, data_dir, clock, client)
    inputs = NodeInputs(data_dir, always_copies=settings.storage == "transfer")
    machine = Machine(equipment, inputs, workplace, Journal(data_dir / "journal"), client)
    try:
        server = Server(hpc_app(machine, Callers(settings.host)), settings.host, settings.port)
    except OSError:
        machine.close()
        raise
    api = Api(settings.api, settings.api_fingerprint) if settings.api else None
    hello = Hello(client, api, server.port, machine)
    return NodeApp(machine, server, equipment, hello)


def _workplace(
    settings: NodeSettings, data_dir: Path, clock: Clock, client: ApiClient
) -> Workplace:
    """Raises OSError with a sentence."""
    try:
        cache = Cache(data_dir / "cache", settings.cache_bytes)
        parcels = Parcels(data_dir / "returns")
    except OSError as error:
        raise OSError(f"DataPath: {data_dir} cannot be used: {error.strerror or error}.") from None
    return Workplace(
        spawner=system_spawner(),
        clock=clock,
        log_dir=data_dir / "logs",
        warm=WarmRenderers(machine_bounds(settings.warm_memory_bytes)),
        trees=Trees(data_dir / "work", cache, Fetcher(client, cache, clock)),
        returns=Returns(parcels, client),
        render_memory_bytes=settings.render_memory_bytes,
    )


def run(settings: NodeSettings, loaded: Loaded) -> int:
    """`renderonline node`: serve until SIGTERM or Ctrl-C. The exit code. Main thread only."""
    stop = StopFlag()
    stop_on_signals(stop)
    for warning in (*loaded.warnings, *_dangers(settings)):
        log.warning(warning)
    try:
        node = build(settings, SystemClock())
    except ConfigError as error:
        print(f"{loaded.source or NodeSettings.FILE_NAME}: {error}", file=sys.stderr)
        return UNUSABLE
    except OSError as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    node.start()
    print(f"listening on {node.url}", flush=True)
    wait_for_stop(stop)
    node.close()
    return DONE


def _dangers(settings: NodeSettings) -> list[str]:
    if _is_loopback(settings.host):
        return []
    return [
        f"OPEN TO THE NETWORK: Host is {settings.host}. Whoever reaches port {settings.port} of "
        "this machine can run its renderers, and a renderer runs what is in the scene. Allow only "
        "the api's machine to reach that port, in this machine's firewall."
    ]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"

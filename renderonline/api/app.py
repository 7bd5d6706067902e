"""The api's composition root: builds everything from the settings, starts it, ends it."""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path

from renderonline import lifecycle, paths, pinning
from renderonline.api import certificates
from renderonline.api.db import tasks
from renderonline.api.db.connection import Database, DatabaseError, DatabaseFull
from renderonline.api.db.connection_string import parse
from renderonline.api.domain.model import Chunk
from renderonline.api.hpc_client import HpcClient
from renderonline.api.http import nodes, original, ours, thumbnails
from renderonline.api.http.cors import Cors
from renderonline.api.http.multipart_body import OVERHEAD_BYTES
from renderonline.api.loops import Background, Loops
from renderonline.api.services import setup
from renderonline.api.services.board import Board
from renderonline.api.services.checksumming import Checksumming
from renderonline.api.services.context import Context
from renderonline.api.services.dispatch import Dispatcher
from renderonline.api.services.fleet import Fleet
from renderonline.api.services.forecasts import Forecasts
from renderonline.api.services.starts import Addresses, Starts
from renderonline.api.services.stop import Stopper
from renderonline.api.services.storekeeping import Storekeeper
from renderonline.api.services.stores import open_stores
from renderonline.api.services.watch import Watch
from renderonline.api.storage.thumbnails import Thumbnailer
from renderonline.config import LOOPBACK, OWN, ApiSettings, ConfigError, Loaded
from renderonline.serving import LARGE_BODY_BYTES, HttpError, JsonApp, Server

log = logging.getLogger(__name__)

VISITORS, STARTERS = 32, 16
ADMIN_TOKEN_FILE = "admin-token.txt"


def open_database(settings: ApiSettings) -> Database:
    """The database, brought up to this version. Raises DatabaseError, ConfigError."""
    database = Database(parse(settings.connection_string, settings.data_path))
    try:
        setup.bring_up(database, settings)
    except BaseException:
        database.close()
        raise
    return database


class Api:
    """A running api. Built listening, so `url` is true; `start` begins to serve."""

    def __init__(self, settings: ApiSettings, clock: lifecycle.Clock) -> None:
        self.database = open_database(settings)
        self._loops = Loops(outage=DatabaseError)
        self._background = Background(STARTERS, "start")
        self._visitors = Background(VISITORS, "visit")
        fleet, hpc = Fleet(settings.poll_seconds, clock), HpcClient()
        board = Board(self.database, fleet, clock)
        self._stores = stores = open_stores(settings, self.database, clock)
        self._checksumming = Checksumming(self.database, stores.folders, clock)
        self.ctx = Context(
            database=self.database,
            folders=stores.folders,
            contents=stores.contents,
            uploads=stores.uploads,
            room=stores.room,
            storekeeper=Storekeeper(stores),
            settings=settings,
            clock=clock,
            fleet=fleet,
            wake=self._loops.wake,
            changed=partial(_changed, board, self._loops),
            chunk_changed=partial(_chunk_changed, board, self._checksumming),
            forecast=Forecasts(self.database, board, fleet, clock).of,
            used=board.used,
            machine_free=partial(_machine_free, fleet, self._loops),
            stop_render=Stopper(self.database, fleet, hpc, clock),
            background=self._background,
        )
        self.ctx.folders.repair(partial(_is_wanted, self.database))
        app = JsonApp(_unavailable)
        original.routes(app, self.ctx)
        ours.routes(app, self.ctx)
        self._thumbnailer = Thumbnailer()
        thumbnails.routes(app, self.ctx, self._thumbnailer)
        certificate = certificates.of(settings, clock.now())
        self._server = Server(
            Cors(app),
            settings.listen_host,
            settings.port,
            certificate,
            max_body_bytes=partial(_body_limit, settings.upload_limit_bytes),
        )
        self.fingerprint = certificate and pinning.fingerprint_of(certificate.fullchain_pem_path)
        addresses = Addresses(self.url, settings.public_url, certificate)
        starts = Starts(self.ctx, addresses)
        self._dispatcher = Dispatcher(self.ctx, board, hpc, self._background.pool, starts)
        nodes.routes(app, self.ctx, self._dispatcher)
        self._watch = Watch(self.ctx, fleet, hpc, self._visitors.pool, addresses)

    @property
    def url(self) -> str:
        """Where this machine reaches the api."""
        return self._server.url

    def start(self) -> None:
        self._loops.start(self._dispatcher, self._watch, self._keep_store, self._checksumming.step)
        self._server.start()

    def _keep_store(self) -> None:
        self.ctx.storekeeper.step(self.ctx.clock.now())

    def close(self) -> None:
        """End everything; what was in flight is picked up by the next start."""
        self._server.close()
        self._checksumming.close()
        self._loops.close()
        self._background.close()
        self._visitors.close()
        self._thumbnailer.close()
        self._stores.close()
        self.database.close()


def run(settings: ApiSettings, loaded: Loaded) -> int:
    """`renderonline api`: serve until a signal. Main thread. The exit code."""
    for warning in loaded.warnings:
        log.warning("%s", warning)
    stop = lifecycle.StopFlag()
    lifecycle.stop_on_signals(stop)
    clock = lifecycle.SystemClock()
    try:
        paths.private_dir(settings.data_path)
    except OSError as error:
        return _fail(f"DataPath: {settings.data_path} cannot be used: {error.strerror}.")
    try:
        api = Api(settings, clock)
    except (ConfigError, DatabaseError, OSError) as error:
        return _fail(str(error))
    _introduce_admin(api, settings, clock)
    api.start()
    if not settings.tls and settings.listen_host not in LOOPBACK:
        log.warning(
            "listening on %s without TLS: tokens and projects cross the network readable. "
            'Set `Certificate` to "auto", or take it out.',
            settings.listen_host,
        )
    print(f"listening on {api.url}", flush=True)
    if settings.tls == OWN and api.fingerprint:
        print(f"fingerprint {pinning.shown(api.fingerprint)}", flush=True)
    lifecycle.wait_for_stop(stop)
    api.close()
    return 0


def _introduce_admin(api: Api, settings: ApiSettings, clock: lifecycle.Clock) -> None:
    """The first admin's token: once to the terminal, or without one to a file only we can read."""
    token = setup.first_admin(api.database, clock.now())
    if token is None:
        return
    if sys.stderr is not None and sys.stderr.isatty():
        print(
            f"First start. Sign in as {setup.ADMIN_EMAIL} with this token, which is shown only "
            f"now:\n\n    {token}\n",
            file=sys.stderr,
            flush=True,
        )
        return
    file = settings.data_path / ADMIN_TOKEN_FILE
    paths.write_private(file, token + "\n")
    log.warning(
        "first start: the token of %s is in %s; move it to a safe place", setup.ADMIN_EMAIL, file
    )


def _unavailable(error: Exception) -> HttpError | None:
    if not isinstance(error, DatabaseError):
        return None
    log.error("a request failed: %s", error)
    if isinstance(error, DatabaseFull):
        return HttpError(507, "disk_full", "The disk of the server's database is full.")
    return HttpError(
        503,
        "database",
        "The server's database cannot be reached just now.",
        "Try again in a moment; the server's log says more.",
    )


def _body_limit(upload_limit_bytes: int, path: str) -> int:
    """The largest body for a path: what limits projects limits neither results nor lists of files."""
    if path.startswith(nodes.ATTEMPTS):
        return max(upload_limit_bytes, nodes.LARGEST_RESULT_BYTES)
    return max(upload_limit_bytes + OVERHEAD_BYTES, LARGE_BODY_BYTES)


def _changed(board: Board, loops: Loops, task_id: int) -> None:
    board.changed(task_id)
    loops.wake()


def _chunk_changed(board: Board, checksumming: Checksumming, chunk: Chunk) -> None:
    board.chunk_changed(chunk)
    checksumming.note(chunk)


def _machine_free(fleet: Fleet, loops: Loops, machine_id: int, attempt_id: int) -> None:
    fleet.freed(machine_id, attempt_id)
    loops.wake()


def _is_wanted(database: Database, folder: Path) -> bool:
    with database.reading():
        return tasks.has_render_in(str(folder))


def _fail(message: str) -> int:
    print(f"renderonline api: {message}", file=sys.stderr)
    return 2

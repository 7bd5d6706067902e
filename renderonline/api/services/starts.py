"""What a start tells a machine besides the chunk: where the api is from there, how it is known, and
where the project is to be had."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from renderonline import paths, pinning, wire
from renderonline.api.domain.model import Job, Machine
from renderonline.api.services import projects
from renderonline.api.services.commands import seen_by
from renderonline.api.services.context import Context
from renderonline.config import CertificateFiles
from renderonline.wire import Beacon, ProjectRef

BEACON_FILE = ".renderonline-beacon"
EVERYWHERE = ("0.0.0.0", "::")
"""Addresses to listen on that are no address to call."""

MAX_KNOWN = 1000
"""Projects that are remembered; a start of one that is not costs a look into the database."""


class Addresses:
    """Where nodes reach this api. Any thread."""

    def __init__(
        self,
        own: str | None,
        public: str | None = None,
        certificate: CertificateFiles | None = None,
    ) -> None:
        """`own`: where this machine reaches it; None: nobody does, machines are asked instead.
        `public`: where all machines do, by the settings."""
        self._own = own
        self._public = public
        self.fingerprint = (
            None if certificate is None else pinning.fingerprint_of(certificate.fullchain_pem_path)
        )

    def towards(self, machine: Machine, listen_host: str) -> str | None:
        """The address that a machine can call: the one of ours from which it is reached."""
        if self._public is not None or self._own is None or listen_host not in EVERYWHERE:
            return self._public or self._own
        here = address_towards(machine.ip_address)
        if here is None:
            return self._own
        parts = urlsplit(self._own)
        host = f"[{here}]" if ":" in here else here
        return f"{parts.scheme}://{host}:{parts.port}"

    def introduction(self, machine: Machine, listen_host: str) -> dict[str, str]:
        """The headers by which a machine that keeps something for us knows us again, also after our
        certificate was renewed. None over HTTP, where there is nothing to be known by."""
        if self.fingerprint is None or (url := self.towards(machine, listen_host)) is None:
            return {}
        return {wire.API_URL: url, wire.API_FINGERPRINT: self.fingerprint}


def address_towards(host: str) -> str | None:
    """This machine's address on the way to `host`; None if there is no way. Sends nothing."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return None


class Starts:
    """Completes start messages. Any thread."""

    def __init__(self, ctx: Context, addresses: Addresses) -> None:
        self._ctx = ctx
        self._addresses = addresses
        self._projects: dict[str, ProjectRef] = {}  # by the manifest's SHA-256
        self._beacons: dict[Path, Beacon] = {}

    def complete(self, start: wire.HpcStart, job: Job, machine: Machine) -> wire.HpcStart:
        """The start as this machine has to have it. Raises DatabaseError."""
        start = msgspec.structs.replace(
            start,
            api_url=self._addresses.towards(machine, self._ctx.settings.listen_host),
            fingerprint=self._addresses.fingerprint,
        )
        if self._ctx.settings.storage == "shared" or machine.path_map:
            return seen_by(start, machine.path_map)
        project = self._project(job) if start.api_url is not None else None
        if project is None:
            return start  # there is nothing to fetch, or nobody to fetch it from
        return msgspec.structs.replace(
            start, manifest=project, beacon=self._beacon(job.render.task_dir)
        )

    def _project(self, job: Job) -> ProjectRef | None:
        known = self._projects.get(job.render.manifest or "")
        if known is None:
            known = projects.ref_of(self._ctx, job.render)
            if known is not None:
                if len(self._projects) >= MAX_KNOWN:
                    self._projects.clear()
                self._projects[known.sha256] = known
        return known

    def _beacon(self, task_dir: Path) -> Beacon:
        """Beside the users' folders: it proves that this very disk is seen, also where the engine's
        `download_path` is on another one than our own data."""
        root = task_dir.parent.parent
        if root not in self._beacons:
            self._beacons[root] = _light(root / BEACON_FILE)
        return self._beacons[root]


def _light(file: Path) -> Beacon:
    """The beacon in `file`, made if there is none: once, whoever comes first, since what another
    start has named must stay what it is. One that nobody can read if that fails."""
    try:
        if not file.is_file():
            new = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
            paths.write_private(new, secrets.token_hex(16))
            try:
                os.link(new, file)
            except FileExistsError:
                pass
            except OSError:  # a disk without links
                new.replace(file)
            new.unlink(missing_ok=True)
        word = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        word = ""
    return Beacon(path=str(file), word=word)

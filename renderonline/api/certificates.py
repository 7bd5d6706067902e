"""The certificate that an api makes for itself: a key and a self-signed certificate in DataPath/tls.

Clients and nodes trust it by its fingerprint, not by who has signed it nor by its names; so it is
made once, and stays: a new one has to be accepted anew everywhere.
"""

from __future__ import annotations

import ipaddress
import logging
import shutil
import socket
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from renderonline import paths
from renderonline.config import ApiSettings, CertificateFiles, ConfigError
from renderonline.pinning import fingerprint_of, shown

log = logging.getLogger(__name__)

VALID_FOR = timedelta(days=3650)
RENEWED_BEFORE = timedelta(days=30)
"""A new one is made at a start this long before the old one ends, when clients refuse it anyway."""

BACKDATED = timedelta(days=2)
"""Clocks of artists' machines are wrong by a time zone and more."""

CERTIFICATE, KEY = "certificate.pem", "key.pem"


def of(settings: ApiSettings, now: datetime) -> CertificateFiles | None:
    """What the api shall show over TLS; None: it speaks plain HTTP. Makes its own if it is to have
    one and has none. Raises ConfigError, OSError."""
    files = settings.tls
    if files is None or isinstance(files, CertificateFiles):
        return files
    return own(settings.data_path / "tls", now)


def own(folder: Path, now: datetime) -> CertificateFiles:
    """The certificate in `folder`, made if there is none, and anew when it ends soon. Raises
    ConfigError where what is there cannot be used, OSError."""
    files = CertificateFiles(folder / CERTIFICATE, folder / KEY)
    if not folder.is_dir():
        _make(folder, now)
        return files
    ends_at = _end(files)
    if ends_at - now < RENEWED_BEFORE:
        old = shown(fingerprint_of(files.fullchain_pem_path))
        shutil.rmtree(folder)
        _make(folder, now)
        log.warning(
            "the api's certificate (%s) ended: it has a new one. Everybody signs in again", old
        )
    return files


def _end(files: CertificateFiles) -> datetime:
    """When it ends. Raises ConfigError where it is not there, or is none."""
    try:
        certificate = x509.load_pem_x509_certificate(files.fullchain_pem_path.read_bytes())
        key = serialization.load_pem_private_key(files.priv_pem_path.read_bytes(), None)
        is_pair = certificate.public_key() == key.public_key()
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise ConfigError(_broken(files, str(reason))) from None
    if not is_pair:
        raise ConfigError(_broken(files, "its two files do not belong together"))
    return certificate.not_valid_after_utc


def _broken(files: CertificateFiles, reason: str) -> str:
    folder = files.priv_pem_path.parent
    return (
        f"The api's own certificate in {folder} cannot be used: {reason}. Bring it back from a backup, or "
        "delete that folder: a new one is made then, and everybody has to sign in again."
    )


def _make(folder: Path, now: datetime) -> None:
    """Both files, or none: two apis that start at once end up with the same."""
    paths.private_dir(folder.parent)
    made = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        key = ec.generate_private_key(ec.SECP256R1())
        paths.write_private(
            made / KEY,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode("ascii"),
        )
        pem = _certificate(key, now).public_bytes(serialization.Encoding.PEM)
        paths.write_private(made / CERTIFICATE, pem.decode("ascii"))
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another api has been quicker
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _certificate(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "RenderOnline")])
    # Names for browsers; our own clients go by the fingerprint.
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        *(x509.DNSName(host) for host in [socket.gethostname()] if _is_dns_name(host)),
    ]
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - BACKDATED)
        .not_valid_after(now.astimezone(UTC) + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )


def _is_dns_name(host: str) -> bool:
    return host.isascii() and 0 < len(host) <= 253 and host.lower() != "localhost"

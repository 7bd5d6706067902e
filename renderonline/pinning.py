"""Trust in one certificate, by its fingerprint: whoever has signed it, and whatever its name.

A fingerprint is the SHA-256 of the certificate in DER, 64 hexadecimal digits in lower case.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
from pathlib import Path

_HEX = re.compile("[0-9a-f]{64}", re.ASCII)


def parse(text: str) -> str:
    """A fingerprint as people write it (in any case, with colons or spaces). Raises ValueError."""
    found = re.sub("[: -]", "", text.strip()).lower()
    if not _HEX.fullmatch(found):
        raise ValueError(f"{text[:100]!r} is no fingerprint: that has 64 hexadecimal digits.")
    return found


def shown(fingerprint: str) -> str:
    """As browsers show it: `AB:CD:…`."""
    return ":".join(fingerprint[at : at + 2] for at in range(0, len(fingerprint), 2)).upper()


def fingerprint_of(pem: Path) -> str:
    """Of the first certificate in a file, which is the one that a server shows. Raises OSError,
    ValueError."""
    text = pem.read_text(encoding="ascii", errors="replace")
    begin, end = text.index(ssl.PEM_HEADER), text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[begin:end])).hexdigest()


def shown_by(host: str, port: int, timeout_s: float) -> str:
    """The fingerprint of what a server shows; nothing is sent to it. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout_s) as connection,
        context.wrap_socket(connection, server_hostname=host) as secured,
    ):
        der = secured.getpeercert(binary_form=True)
    if not der:
        raise OSError("It shows no certificate.")
    return hashlib.sha256(der).hexdigest()

"""Who we are, and on which farm: from the options, the environment, or the saved sign-in.

A token is sent only to the farm, and as the user, that it was saved for. It is never an argument of
a command line, where every user of the machine could read it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from renderonline import config, paths, pinning, wire
from renderonline.client import Client, server_address
from renderonline.commands import output
from renderonline.commands.edge import CommandError, UsageError

THREE_WAYS = (
    "Sign in once (`renderonline login`), or give `--server`, `--email` and `--token-file`, or set "
    "RENDERONLINE_SERVER, RENDERONLINE_EMAIL and RENDERONLINE_TOKEN (or RENDERONLINE_TOKEN_FILE)."
)
TOKEN_FILE_LIMIT_BYTES = 4096


class SignIn(wire.Message):
    """A complete sign-in, as it is saved."""

    server: str
    email: str
    token: str
    certificate: str | None = None  # path of a PEM file
    fingerprint: str | None = None  # of the certificate that is trusted, see pinning


@dataclass(frozen=True, slots=True)
class Given:
    """What the options and the environment say; None where they say nothing."""

    server: str | None
    email: str | None
    token: str | None
    certificate: str | None
    fingerprint: str | None = None


def connect(args: argparse.Namespace) -> Client:
    """The client that the options, the environment or the saved sign-in lead to. Raises UsageError."""
    return open_client(resolve(given(args), load()))


def open_client(signin: SignIn) -> Client:
    """A client for a sign-in; warns of a token that would travel in the open."""
    address = urlsplit(signin.server)
    if address.scheme == "http" and not _is_this_machine(address.hostname or ""):
        output.say(
            f"Warning: {signin.server} is not HTTPS; whoever is on the way can read your token."
        )
    certificate = Path(signin.certificate) if signin.certificate else None
    return Client(
        signin.server,
        signin.email,
        signin.token,
        certificate,
        notice=output.say,
        fingerprint=signin.fingerprint,
    )


def _is_this_machine(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.")


def given(args: argparse.Namespace) -> Given:
    """Read options and environment; an option goes before its variable. Raises UsageError."""
    token_file = args.token_file or None
    token = None if token_file else config.environment("TOKEN")
    if token is None and (file := token_file or config.environment("TOKEN_FILE")):
        token = _read_token(Path(file))
    fingerprint = args.fingerprint or config.environment("FINGERPRINT")
    if fingerprint and args.certificate:
        raise UsageError("`--fingerprint` and `--certificate` both say what to trust. Choose one.")
    return Given(
        server=args.server or config.environment("SERVER"),
        email=args.email or config.environment("EMAIL"),
        token=token,
        certificate=str(args.certificate.absolute()) if args.certificate else None,
        fingerprint=None if fingerprint is None else _fingerprint(fingerprint),
    )


def _fingerprint(text: str) -> str:
    try:
        return pinning.parse(text)
    except ValueError as error:
        raise UsageError(
            str(error), "The server says its fingerprint when it starts; it may have colons in it."
        ) from None


def _read_token(file: Path) -> str:
    try:
        with file.open(encoding="utf-8-sig") as opened:
            token = opened.read(TOKEN_FILE_LIMIT_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text"
        raise UsageError(f"The token file {file} cannot be read: {reason}.") from None
    if not token:
        raise UsageError(f"The token file {file} is empty.")
    return token


def resolve(asked: Given, saved: SignIn | None) -> SignIn:
    """What was asked for, completed by what is saved for that farm and user. Raises UsageError."""
    server = asked.server or (saved.server if saved else None)
    if server is None:
        raise UsageError("It is not known which farm to talk to.", THREE_WAYS)
    server = server_address(server)
    if saved is not None and saved.server != server:
        saved = None
    email = asked.email or (saved.email if saved else None)
    if email is None:
        raise UsageError(f"It is not known who you are at {server}.", THREE_WAYS)
    token = asked.token
    if token is None and saved is not None and saved.email.lower() == email.lower():
        token = saved.token
    if token is None:
        raise UsageError(f"There is no token for {email} at {server}.", THREE_WAYS)
    trusted = saved if saved and not (asked.certificate or asked.fingerprint) else asked
    return SignIn(
        server=server,
        email=email,
        token=token,
        certificate=trusted.certificate,
        fingerprint=trusted.fingerprint,
    )


# --------------------------------------------------------------------------- the saved one


def file() -> Path:
    """Where the sign-in is saved."""
    return paths.config_dir() / "signin.json"


def load() -> SignIn | None:
    """The saved sign-in; None if there is none. Raises CommandError if it cannot be read."""
    try:
        return wire.decode(file().read_bytes(), SignIn)
    except FileNotFoundError:
        return None
    except (OSError, wire.WireError) as error:
        raise CommandError(
            f"The saved sign-in {file()} cannot be used: {error}",
            "Sign in again: `renderonline login`.",
        ) from None


def save(signin: SignIn) -> None:
    """Keep a sign-in, in a file that only its owner can read. Raises OSError."""
    paths.write_private(file(), wire.encode(signin).decode())


def forget() -> bool:
    """Delete the saved sign-in; whether there was one. Raises OSError."""
    try:
        file().unlink()
    except FileNotFoundError:
        return False
    return True

"""`renderonline login` and `logout`: keeping a sign-in that works, and forgetting it."""

from __future__ import annotations

import argparse
import getpass
import sys
from dataclasses import replace
from urllib.parse import urlsplit

import msgspec

from renderonline import pinning
from renderonline.client import Unreachable
from renderonline.commands import output, signin
from renderonline.commands.edge import CommandError, UsageError

LOOK_S = 10.0
YES = ("y", "yes", "j", "ja")

DEFAULT_SERVER = "http://127.0.0.1:5000"
"""Where an api listens that was started without any configuration."""


def run(args: argparse.Namespace) -> int:
    """Ask for what is missing, try it, save it."""
    asked = _complete(signin.given(args))
    wanted = signin.resolve(asked, saved=None)
    wanted = _trusting(wanted)
    with signin.open_client(wanted) as client:
        user = client.info().user
    signin.save(wanted)
    if args.json:
        output.emit({"Server": wanted.server, "Email": user.email, "UserId": user.user_id})
    else:
        output.result(f"Signed in at {wanted.server} as {user.email}; kept in {signin.file()}.")
    return 0


def logout(args: argparse.Namespace) -> int:
    was_there = signin.forget()
    if args.json:
        output.emit({"WasSignedIn": was_there})
    else:
        output.result("Signed out." if was_there else "There was no saved sign-in.")
    return 0


def _trusting(wanted: signin.SignIn) -> signin.SignIn:
    """The sign-in, with the server's certificate in it if that is one that only the user can trust:
    is asked before anything is sent. Raises CommandError, Unreachable."""
    if not wanted.server.startswith("https://") or wanted.certificate or wanted.fingerprint:
        return wanted
    with signin.open_client(wanted) as client:
        try:
            client.health()
            return wanted
        except Unreachable as error:
            if error.code != "untrusted":
                raise
    address = urlsplit(wanted.server)
    try:
        found = pinning.shown_by(address.hostname or "", address.port or 443, LOOK_S)
    except OSError as error:
        raise CommandError(f"{wanted.server} does not show its certificate: {error}.") from None
    told = (
        f"{wanted.server} shows a certificate that only it vouches for. Its fingerprint is\n\n    "
        f"{pinning.shown(found)}\n\n"
    )
    if not sys.stdin.isatty():
        raise CommandError(
            f"{told}There is no terminal to ask whether you trust it.",
            "Compare it with what the server says when it starts, and give it: `--fingerprint`.",
        )
    print(f"{told}The server says its own when it starts.", file=sys.stderr)
    if _ask("Are they the same, and do you trust it from now on? [y/N]: ").lower() not in YES:
        raise CommandError("Not signed in; nothing was sent.")
    return msgspec.structs.replace(wanted, fingerprint=found)


def _complete(asked: signin.Given) -> signin.Given:
    """Ask for what neither options nor environment say. Raises UsageError without a terminal."""
    if asked.server and asked.email and asked.token:
        return asked
    if not sys.stdin.isatty():
        raise UsageError(
            "There is no terminal to ask for the rest of the sign-in.",
            "Give `--server`, `--email` and `--token-file`, or the token in RENDERONLINE_TOKEN.",
        )
    return replace(
        asked,
        server=asked.server or _ask(f"Server [{DEFAULT_SERVER}]: ") or DEFAULT_SERVER,
        email=asked.email or _ask("E-mail: "),
        token=asked.token or getpass.getpass("Token (not shown): ").strip(),
    )


def _ask(prompt: str) -> str:
    print(prompt, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()

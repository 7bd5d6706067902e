"""What a start message means on this machine: from the wire's fields to an order to carry out."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from renderonline import manifests, security
from renderonline.engines import commandline
from renderonline.frames import FrameError, FrameSet
from renderonline.node.api_client import Api
from renderonline.node.inputs import Inputs, Place, folder_of_first_file
from renderonline.node.refusal import Refusal
from renderonline.node.renderers import Renderer, by_engine_id
from renderonline.wire import MAX_ID, HpcStart, Limits, Owes

NODE_ROOT = "/renderapi/v1/node"


@dataclass(frozen=True, slots=True)
class ReportTo:
    """Where an attempt's events and results go, and the key that proves whose they are."""

    api: Api
    attempt_id: int
    key: str

    @property
    def events(self) -> str:
        """The path to which events are posted."""
        return f"{NODE_ROOT}/attempts/{self.attempt_id}/events"

    def output(self, path: str) -> str:
        """The path to which a result is put; `path` is relative to the output folder."""
        return f"{NODE_ROOT}/attempts/{self.attempt_id}/outputs/{urllib.parse.quote(path)}"

    def content(self, sha256: str) -> str:
        """The path from which a file of the project is fetched."""
        return f"{NODE_ROOT}/files/{sha256}?attempt={self.attempt_id}"


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt, understood and complete; nothing has been started yet."""

    task_id: int
    attempt_id: int | None  # None: an original RenderAPI's start
    renderer: Renderer
    command: tuple[str, ...]  # the argv of the process, executable first
    place: Place
    owes: Owes
    limits: Limits
    report_to: ReportTo | None
    start: HpcStart  # what this was understood from

    @property
    def working_dir(self) -> Path:
        return self.place.working_dir

    def is_repeated_by(self, start: HpcStart) -> bool:
        """Whether `start` asks for this very attempt again, because its answer was lost.

        Numbers alone do not tell: a fresh database counts its attempts from 1 again.
        """
        mine = self.start
        if start.attempt_id is None or (start.attempt_id, start.task_id) != (
            mine.attempt_id,
            mine.task_id,
        ):
            return False
        if start.report_key or mine.report_key:
            return security.same(start.report_key or "", mine.report_key or "")
        return (start.argv, start.task_dir) == (mine.argv, mine.task_dir)


def understand(start: HpcStart, renderers: Sequence[Renderer], inputs: Inputs) -> Order:
    """The order that `start` gives. Raises Refusal with a sentence for its sender."""
    _check(start)
    renderer = by_engine_id(renderers, start.engine_id)
    if renderer is None:
        known = ", ".join(r.engine_id for r in renderers) or "none"
        raise Refusal(
            f"This node has no engine with the identifier {start.engine_id!r}; it has: {known}."
        )
    argv = start.argv if start.argv is not None else commandline.split(start.arguments)
    to = report_to(start)
    place = inputs.place(start)
    if place.project is not None and to is None:
        raise Refusal(
            "The project is to be fetched, and the start names no ApiUrl to fetch it from."
        )
    moved = place.relocated(argv)
    if place.output_dir is not None and moved == argv:
        place = replace(place, desk=place.output_dir)
    argv = moved
    if start.task_dir is None:
        place = replace(place, working_dir=folder_of_first_file(argv) or place.working_dir)
    return Order(
        task_id=start.task_id,
        attempt_id=start.attempt_id,
        renderer=renderer,
        command=tuple(_command(renderer, argv)),
        place=place,
        owes=start.owes or Owes(),
        limits=start.limits or Limits(),
        report_to=to,
        start=start,
    )


def _check(start: HpcStart) -> None:
    for name, number in (
        ("TaskId", start.task_id),
        ("AttemptId", start.attempt_id),
        ("After", start.after),
    ):
        if number is not None and not 0 <= number <= MAX_ID:
            raise Refusal(f"{name} is {number}; it takes a whole number from 0 to {MAX_ID}.")
    texts = [start.arguments, start.task_dir or "", start.output_dir or "", *(start.argv or ())]
    if any("\0" in text for text in texts):
        raise Refusal("The arguments hold a NUL character, which no program can be given.")
    if start.argv is None and not start.arguments.strip():
        raise Refusal("Arguments is empty: there is nothing to render.")
    if start.argv == []:
        raise Refusal("Argv is empty: there is nothing to render.")
    if start.owes is not None and start.owes.frames:
        _check_frames(start.owes.frames)
    if start.limits is not None:
        _check_limits(start.limits)


def _check_frames(text: str) -> None:
    try:
        FrameSet.parse(text)
    except FrameError as error:
        raise Refusal(f"Owes.Frames: {error}") from None


def _check_limits(limits: Limits) -> None:
    for field in msgspec.structs.fields(limits):
        value = getattr(limits, field.name)
        if value is not None and not value > 0:
            raise Refusal(f"Limits.{field.encode_name} is {value}; it takes a number above 0.")


def _command(renderer: Renderer, argv: list[str]) -> list[str]:
    """The original's templates begin with the engine's name, which no renderer takes as argument."""
    named = bool(argv) and argv[0].lower() == renderer.engine_id.lower()
    return renderer.adapter.command(renderer.executable, argv[1:] if named else argv)


def report_to(start: HpcStart) -> ReportTo | None:
    """Where the reports of `start` go; None: the api will ask. Raises Refusal."""
    if start.api_url is None or start.attempt_id is None:
        return None
    key = start.report_key or ""
    if not key.isascii() or not key.isprintable():
        raise Refusal("ReportKey holds characters that no HTTP header can carry.")
    return ReportTo(api_at(start.api_url, start.fingerprint), start.attempt_id, key)


def api_at(url: str, fingerprint: str | None) -> Api:
    """The api that somebody names. Raises Refusal."""
    if not _is_web_address(url):
        raise Refusal(f"ApiUrl is {url!r}; it takes an address that begins with http.")
    if fingerprint is not None and not manifests.is_sha256(fingerprint):
        raise Refusal("Fingerprint is not 64 hexadecimal digits.")
    return Api(url.rstrip("/"), fingerprint)


def _is_web_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a broken IPv6 address, a port that is no number
        return False

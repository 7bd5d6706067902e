"""The quick start's second step, in the environment that has our packages: farm, render, frames.

Owns the order of things: choose a renderer, start the farm, submit the project, follow it on the two
nodes, fetch the frames, draw the contact sheet, and end all that was started, whatever
happens on the way.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import contact_sheet
import environment
import quick_renderer
from quick_renderer import Renderer
from quick_services import ServiceFailed, Services, clean_environment, command
from quickstart import parser, say

from renderonline import paths
from renderonline.client import Client, ClientError
from renderonline.commands import waiting
from renderonline.frames import FrameError, FrameSet
from renderonline.wire import TaskDetail, TaskState

FOLDER = Path(__file__).resolve().parent.parent / ".quickstart"
EMAIL = "admin@localhost"
NODES = 2


class QuickstartFailed(Exception):
    """It did not work. Its text says why and what to do."""


@dataclass(frozen=True)
class Job:
    """What is rendered, with what, and where the frames go."""

    renderer: Renderer
    project: Path
    frames: FrameSet
    output: Path


def main(argv: list[str]) -> int:
    """The whole of it; the exit code: 0 with all frames there, 1 without, 130 when interrupted."""
    options = parser().parse_args(argv)
    services = Services(FOLDER / "farm")
    try:
        with interruptible():
            if options.stop:
                return stop(services)
            clear_the_way(services)
            return render(prepare(options), services, options.keep)
    except ClientError as error:
        print(f"{error} {error.hint}".rstrip(), file=sys.stderr)
    except (
        QuickstartFailed,
        ServiceFailed,
        quick_renderer.RendererFailed,
        environment.EnvironmentFailed,
        FrameError,
        OSError,
    ) as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted; everything that was started has been stopped.", file=sys.stderr)
        return 130
    return 1


@contextmanager
def interruptible() -> Iterator[None]:
    """Make every way of being asked to end a KeyboardInterrupt, once: cleaning up is not interrupted."""
    numbers = [
        number
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
        if (number := getattr(signal, name, None)) is not None
    ]

    def interrupt(_number: int, _frame: object) -> NoReturn:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# --------------------------------------------------------------------------- before the farm


def stop(services: Services) -> int:
    """`--stop`."""
    count = services.stop_recorded()
    print("The farm is stopped." if count else "No farm of the quick start is running.")
    return 0


def clear_the_way(services: Services) -> None:
    """End what a crashed run has left. Raises QuickstartFailed where a farm was left on purpose."""
    processes, urls, kept = services.recorded()
    if processes and kept:
        raise QuickstartFailed(
            f"The farm that --keep left is still running ({urls.get('api')}). Stop it first:\n"
            f"    {python_command()} --stop"
        )
    services.stop_recorded()
    shutil.rmtree(services.folder, ignore_errors=True)
    services.folder.mkdir(parents=True)


def prepare(options: Namespace) -> Job:
    """Find out what is to be done, as far as that needs no farm."""
    asked = FrameSet.parse(options.frames) if options.frames else None
    renderer = quick_renderer.choose(options.renderer, say)
    say(f"Rendering with {renderer.label}.")
    project: Path = options.file or FOLDER / "sample.blend"
    if options.file is None:
        say("Making the sample scene …")
        project.unlink(missing_ok=True)  # Blender would keep the old one beside it
        renderer.make_sample(project)
    frames = asked or renderer.frames_of(project)
    return Job(renderer, project, frames, options.output or fresh_folder(project.stem))


def fresh_folder(stem: str) -> Path:
    """A folder for frames that is not there yet: earlier frames are not overwritten."""
    number = 1
    while (folder := FOLDER / "frames" / (stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return folder


# --------------------------------------------------------------------------- with the farm


def render(job: Job, services: Services, keep: bool) -> int:
    """Start the farm, have it render, and end it (or, if all went well, keep it)."""
    kept = False
    try:
        with start_farm(job.renderer, services) as client:
            details = submit_and_wait(client, job)
            files = [file for detail in details for file in fetch(client, detail, job.output)]
        report(job, files, details)
        succeeded = all(detail.task.state is TaskState.SUCCEEDED for detail in details)
        if keep and succeeded:
            services.keep()
            kept = True
            explain_kept(services)
        return 0 if succeeded else 1
    finally:
        if not kept:
            services.stop()


def start_farm(renderer: Renderer, services: Services) -> Client:
    """An api with an administrator, two nodes that it knows; a client signed in as the former."""
    say(f"Starting the farm: an api and {NODES} nodes …")
    folder = services.folder
    config = services.configure("api", "api", on_loopback(folder / "api"))
    # Before the api's first start, which would make an administrator of its own.
    user = admin(config, "user", "add", "--email", EMAIL, "--role", "admin")
    paths.write_private(token_file(services), user["Token"])
    api = services.start("api", config)
    for number in range(1, NODES + 1):
        name = f"node{number}"
        settings = {**on_loopback(folder / name), "RenderingEngines": [renderer.engine_entry]}
        node = services.start("node", services.configure("node", name, settings))
        admin(config, "machine", "add", "--host", "127.0.0.1", "--port", str(node.port))
    return Client(api.url, EMAIL, user["Token"])


def on_loopback(folder: Path) -> dict[str, Any]:
    """The settings that api and nodes share: a free port, data below `folder`."""
    return {"Host": "127.0.0.1", "Port": "0", "DataPath": str(folder / "data")}


def admin(config: Path, *arguments: str) -> dict[str, Any]:
    """`renderonline admin …`; what it answers. Raises QuickstartFailed."""
    done = subprocess.run(
        command("admin", *arguments, "--config", str(config), "--json"),
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise QuickstartFailed(f"Setting up the farm failed: {done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def token_file(services: Services) -> Path:
    """Where the administrator's token is kept; only its owner can read it."""
    return services.folder / "token.txt"


def submit_and_wait(client: Client, job: Job) -> list[TaskDetail]:
    """One task, on which both nodes work; how it ended, in a list that may be empty."""
    task_id = client.enqueue(job.project, frames=job.frames)
    say(f"Rendering {count(len(job.frames), 'frame')} of {job.project.name} …")
    ended = dict(waiting.ends(client, {task_id: job.project.name}))
    return [detail for detail in ended.values() if isinstance(detail, TaskDetail)]


def fetch(client: Client, detail: TaskDetail, output: Path) -> list[Path]:
    """The files that a task has rendered, also of one that failed half-way."""
    try:
        return client.results(detail.task.task_id, output)
    except ClientError as error:
        print(error, file=sys.stderr)
        return []


# --------------------------------------------------------------------------- after the farm


def report(job: Job, files: list[Path], details: list[TaskDetail]) -> None:
    """Draw the contact sheet, and say what came out."""
    for detail in details:
        if detail.task.state is not TaskState.SUCCEEDED:
            cause = detail.task.cause or "the farm does not know why"
            print(f"Task {detail.task.task_id} {detail.task.state}: {cause}", file=sys.stderr)
    if not files:
        raise QuickstartFailed("Nothing was rendered. The farm's logs are in .quickstart/farm.")
    sheet = job.output / "contact-sheet.png"
    print(f"{count(len(files), 'file')} in {job.output}")
    if contact_sheet.make(sorted(files), sheet):
        print(f"all at a glance: {sheet}")


def count(number: int, what: str) -> str:
    """A number of things, in words for people: 1 frame, 24 frames."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def explain_kept(services: Services) -> None:
    """Say how to use the farm that is left running, and how to stop it."""
    url = next(service.url for service in services.running if service.name == "api")
    executable = command()[0]
    print(
        f"\nThe farm is still running at {url}. You are {EMAIL}; the token is in\n"
        f"    {token_file(services)}\n"
        "Render something else with it:\n"
        f'    "{executable}" -m renderonline submit FILE.blend --frames 1-10 --download frames '
        f'--server {url} --email {EMAIL} --token-file "{token_file(services)}"\n'
        "Stop it:\n"
        f"    {python_command()} --stop"
    )


def python_command() -> str:
    """How the user calls the quick start."""
    return f'"{sys.executable}" "{Path(__file__).with_name("quickstart.py")}"'


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

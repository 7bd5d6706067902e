"""argv → one command. The options of every command, and nothing of what it does.

A command's module is imported when it is chosen: `renderonline --help` loads no web server, and a
render node no client.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from renderonline import __version__
from renderonline.commands import admin_options, task_options
from renderonline.commands.edge import UsageError, at_edge
from renderonline.wire import TaskState


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (without the program's name) asks for; its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # A name that the console's encoding lacks is no reason to fail (code pages of Windows).
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")

    def command() -> int:
        args = _understood(words)
        module, name = args.command.split(":")
        run: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), name)
        return run(args)

    return at_edge(command, as_json="--json" in words, verbose="--verbose" in words)


def _understood(words: list[str]) -> argparse.Namespace:
    if words == ["node-guard"]:
        # Started by a node (the next one by an api), never by a person: neither the help nor an
        # error offers it.
        return argparse.Namespace(command="renderonline.commands.serve:guard")
    if words == ["thumbnailer"]:
        return argparse.Namespace(command="renderonline.commands.serve:thumbnailer")
    return parser().parse_args(words)


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as every other error of ours is reported."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", f"`{self.prog} --help` shows how.")


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="renderonline",
        description="A render farm in one file.",
        epilog="`renderonline COMMAND --help` explains a command.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"RenderOnline {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    _add_modes(commands)
    _add_submit(commands)
    _add_task_commands(commands)
    _add_control(commands)
    _command(
        commands, "machines", "machines:run", "Show the farm's machines.", _connection(), _json()
    )
    _add_sign_in(commands)
    _add_admin(commands)
    return top


def _command(commands: Any, name: str, target: str, help_text: str, *parents: Parser) -> Parser:
    """A subcommand that calls `target`, "module:function" below renderonline.commands."""
    added: Parser = commands.add_parser(
        name, help=help_text, description=help_text, parents=parents, allow_abbrev=False
    )
    added.add_argument("--verbose", action="store_true", help="show what happens in detail")
    added.set_defaults(command=f"renderonline.commands.{target}")
    return added


def _add_modes(commands: Any) -> None:
    for name, file, help_text in (
        ("api", "RenderAPI.json", "Run the farm's server."),
        ("node", "HPCServer.json", "Run a render node on this machine."),
    ):
        mode = _command(commands, name, f"serve:{name}", help_text)
        _add_config(mode, file)


def _add_submit(commands: Any) -> None:
    help_text = "Send projects to the farm, and fetch what it renders of them."
    submit = _command(commands, "submit", "submit:run", help_text, _connection(), _json())
    submit.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a project to render")
    _add_project(submit)
    submit.add_argument(
        "--engine", metavar="NAME|ID", help="the engine; by default told from the file's extension"
    )
    submit.add_argument(
        "--frames",
        metavar="FRAMES",
        help="as 1-250, 7 or 1-250x2,300; negative as --frames=-10-5",
    )
    submit.add_argument(
        "--arg",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a value for an argument of the engine; may be repeated",
    )
    submit.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME:KEY=VALUE,…",
        help="one of several outputs, in a folder NAME of the results; keys: the engine's arguments, "
        "frames, engine, version; may be repeated",
    )
    task_options.add_common(submit)
    task_options.add_submission(submit)
    submit.add_argument("--wait", action="store_true", help="wait until it is rendered")
    submit.add_argument(
        "--download", type=Path, metavar="DIR", help="wait, then put the results into this folder"
    )
    submit.add_argument(
        "--sync", type=Path, metavar="DIR", help="wait, and put each result there as it appears"
    )


def _add_project(submit: Parser) -> None:
    """What a project is made of."""
    submit.add_argument(
        "--main", metavar="NAME", help="of a folder or a ZIP: the file in it that is rendered"
    )
    submit.add_argument(
        "--project", type=Path, metavar="DIR", help="the folder of the project that the file is in"
    )
    submit.add_argument(
        "--allow-missing", action="store_true", help="render without files that are not there"
    )
    submit.add_argument(
        "--no-links", action="store_true", help="send the file alone, not what it links to"
    )
    submit.add_argument(
        "--dry-run", action="store_true", help="only show what would be sent, and what is missing"
    )


def _add_task_commands(commands: Any) -> None:
    shared = (_connection(), _json())
    tasks = _command(commands, "tasks", "tasks:run", "Show your tasks, or one of them.", *shared)
    tasks.add_argument(
        "task", nargs="?", type=task_options.task_id, metavar="TASK", help="show this one"
    )
    tasks.add_argument("--state", choices=[state.value for state in TaskState])
    tasks.add_argument("--limit", type=_count, metavar="N", help="show at most so many")

    download = _command(
        commands, "download", "download:run", "Fetch what a task has rendered.", *shared
    )
    download.add_argument("task", type=task_options.task_id, metavar="TASK")
    download.add_argument(
        "target", type=Path, metavar="DIR", help="a folder, or FILE.zip for the whole as an archive"
    )
    download.add_argument("--whole", action="store_true", help="the project too, not only results")
    download.add_argument("--frames", metavar="FRAMES", help="only these, as 1-9,20")
    download.add_argument(
        "--zip", action="store_true", help="as an archive, TASK's name in DIR or FILE.zip"
    )

    sync = _command(
        commands,
        "sync",
        "sync:run",
        "Fetch what a task renders, file by file as it appears, until the task is over.",
        *shared,
    )
    sync.add_argument("task", type=task_options.task_id, metavar="TASK")
    sync.add_argument("folder", type=Path, metavar="DIR")
    sync.add_argument("--once", action="store_true", help="fetch what there is, and end")

    delete = _command(
        commands, "delete", "tasks:delete", "Delete a task, its project and its results.", *shared
    )
    delete.add_argument("task", type=task_options.task_id, metavar="TASK")
    delete.add_argument("--yes", action="store_true", help="do not ask")


def _add_control(commands: Any) -> None:
    def add(name: str, target: str, help_text: str) -> Parser:
        added = _command(commands, name, target, help_text, _connection(), _json())
        added.add_argument("task", type=task_options.task_id, metavar="TASK")
        return added

    pause = add("pause", "control:pause", "Let machines end their frame of a task, then no more.")
    pause.add_argument("--now", action="store_true", help="do not wait for the frames at hand")
    add("resume", "control:resume", "Give a paused task to machines again.")
    add("cancel", "control:cancel", "Take a task out of the queue.")
    requeue = add("requeue", "control:requeue", "Render frames of a task again.")
    requeue.add_argument(
        "--frames",
        default="failed",
        metavar="all|failed|FRAMES",
        help="all, these, or (without it) the failed ones and what is missing",
    )
    forgive = add(
        "forgive", "control:forgive", "Let machines that have failed a task try it again at once."
    )
    forgive.add_argument(
        "machine", nargs="?", metavar="MACHINE", help="only this one, by its id or name"
    )
    change = add("set", "control:change", "Change a task, also while it is rendered.")
    change.add_argument(
        "--frames", default=argparse.SUPPRESS, metavar="FRAMES", help="what it is to consist of"
    )
    task_options.add_common(change)


def _add_sign_in(commands: Any) -> None:
    _command(
        commands,
        "login",
        "login:run",
        "Sign in and keep it. The token comes from RENDERONLINE_TOKEN, a file, or is asked for.",
        _connection(),
        _json(),
    )
    _command(commands, "logout", "login:logout", "Forget the saved sign-in.", _json())


def _add_admin(commands: Any) -> None:
    help_text = "Set up users, engines, machines, subscriptions and argument types."

    def add(verbs: Any, name: str, target: str, text: str) -> Parser:
        added = _command(verbs, name, target, text, _json())
        _add_config(added, "RenderAPI.json")
        return added

    admin_options.add_kinds(
        commands.add_parser("admin", help=help_text, description=help_text), add
    )


def _add_config(parser: Parser, file: str) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"the {file} to use")


def _connection() -> Parser:
    options = Parser(add_help=False)
    group = options.add_argument_group("which farm, and who you are")
    group.add_argument("--server", metavar="URL", help="or RENDERONLINE_SERVER")
    group.add_argument("--email", metavar="E-MAIL", help="or RENDERONLINE_EMAIL")
    group.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="a file with the token in it; or RENDERONLINE_TOKEN_FILE, or RENDERONLINE_TOKEN",
    )
    group.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE",
        help="trust this certificate (PEM) and no other",
    )
    group.add_argument(
        "--fingerprint",
        metavar="SHA256",
        help="trust the certificate with this fingerprint and no other; or RENDERONLINE_FINGERPRINT",
    )
    return options


def _json() -> Parser:
    options = Parser(add_help=False)
    options.add_argument(
        "--json", action="store_true", help="print the result as one JSON value on stdout"
    )
    return options


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return int(text)

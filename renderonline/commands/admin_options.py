"""The options of `renderonline admin`: for each kind of thing, what can be set of it.

One option for one column of its table (an engine's limits are one column there). A test holds this to the columns that
`renderonline.api.services.admin` takes; it is written down here so that the command line can be read
without loading a database.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PREFIX = "set_"
"""Before a column's name in the parsed arguments; only options that were given are there."""

AddCommand = Callable[[Any, str, str, str], argparse.ArgumentParser]
"""Adds a command to subparsers: (subparsers, name, target, help text)."""


@dataclass(frozen=True, slots=True)
class Option:
    """`--flag METAVAR`, setting `column`."""

    column: str
    metavar: str
    help: str
    flag: str = ""  # by default the column's name
    may_repeat: bool = False  # the column gets a list

    @property
    def flags(self) -> list[str]:
        return [f"--{self.flag or self.column.replace('_', '-')}"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing. `name` is the column that identifies one to people, besides its id."""

    help: str
    name: str | None
    options: tuple[Option, ...]


KINDS: dict[str, Kind] = {
    "user": Kind(
        "who may use the farm",
        "email",
        (
            Option("user_id", "ID", "the id; by default the next free one"),
            Option("email", "E-MAIL", "what the user signs in with"),
            Option("first_name", "NAME", "first name"),
            Option("last_name", "NAME", "last name"),
            Option("subscription_id", "ID", "the subscription; by default the first"),
            Option("is_active", "YES|NO", "whether the user may do anything at all"),
            Option("role", "ROLE", "artist or admin"),
        ),
    ),
    "engine": Kind(
        "what the farm renders with",
        "name",
        (
            Option("engine_id", "ID", "the id; by default the next free one"),
            Option("name", "NAME", "the EngineId in the nodes' HPCServer.json"),
            Option("extension", ".EXT", "the extension of its project files, with the dot"),
            Option("render_argument", "TEMPLATE", "the command line, with its placeholders"),
            Option("download_path", "FOLDER", "where projects are kept; by default in DataPath"),
            Option("adapter", "NAME", "blender, bpy or generic; by default told from the name"),
            Option("file_pattern", "PATTERN", "names of files that a render must have made"),
            Option("chunk_frames", "N|auto|all", "frames that a machine gets at once"),
            Option("machine_limit", "N|none", "most machines at once, for licences"),
            Option("version", "X.Y|any", "the version that a machine must have"),
            Option("start_limit", "TIME|none", "a render is hung that has not begun after it"),
            Option("silence_limit", "TIME|none", "or that has printed nothing for so long"),
            Option("progress_limit", "TIME|none", "or has got no further"),
            Option("frame_limit", "TIME|none", "or has saved no frame"),
            Option("memory_limit", "SIZE|none", "a render is ended that takes more, such as 8G"),
        ),
    ),
    "machine": Kind(
        "a render node",
        "name",
        (
            Option("machine_id", "ID", "the id; by default the next free one"),
            Option("ip_address", "HOST", "its address or host name", "host"),
            Option("port", "PORT", "the Port of its HPCServer.json"),
            Option("name", "NAME", "what people call it"),
            Option("tags", "TAG,…", "tags of it, besides those of its HPCServer.json"),
            Option("only_engines", "ENGINE,…", "the engines it is for; empty: all that it has"),
            Option(
                "path_map",
                "FROM=TO",
                "where it has a folder of the farm's server: /mnt/farm=Z:\\farm; may be repeated; "
                "none takes all away",
                "map",
                may_repeat=True,
            ),
            Option("hours", "HOURS|none", 'when it takes work, as "mon-fri 19:00-07:00, sat-sun"'),
            Option("only_users", "E-MAIL,…|none", "whose tasks alone it renders"),
            Option("reserve", "TAG|none", "a tag; other tasks get it where none that asks waits"),
        ),
    ),
    "subscription": Kind(
        "how much users may queue",
        "name",
        (
            Option("subscription_id", "ID", "the id; by default the next free one"),
            Option("name", "NAME", "what it is called"),
            Option("queue_limit", "N", "how many tasks of one user may be queued or running"),
            Option("weight", "NUMBER", "its users' share of the machines; 1 is the usual one"),
            Option("quota_bytes", "SIZE|none", "what a user's files may take, as 500G", "quota"),
            Option("retention_days_results", "DAYS|none", "how long results stay after the end"),
            Option("retention_days_projects", "DAYS|none", "how long projects stay after the end"),
        ),
    ),
    "argtype": Kind(
        "an argument that a template may have",
        None,
        (
            Option("argtype_id", "NAME", "its name, as in $RENDERONLINE:NAME"),
            Option(
                "type",
                "TYPE",
                "file, path, extension, word, sentence, natural, integer or real",
            ),
            Option("regex", "REGEX", "what a value must match as a whole, in place of the type's"),
            Option("default_value", "VALUE", "what it is where a submission leaves it out"),
        ),
    ),
}


def add_kinds(admin: argparse.ArgumentParser, add_command: AddCommand) -> None:
    """Add `KIND add|list|set|remove`, `user token`, what is done to a machine, and `storage`."""
    kinds = admin.add_subparsers(metavar="KIND", required=True)
    for name, kind in KINDS.items():
        of_kind = kinds.add_parser(name, help=kind.help, description=kind.help)
        of_kind.set_defaults(kind=name)
        verbs = of_kind.add_subparsers(metavar="VERB", required=True)
        add_command(verbs, "list", "admin:show", f"List every {name}.")
        _add_columns(add_command(verbs, "add", "admin:add", f"Add a {name}."), kind)
        change = add_command(verbs, "set", "admin:change", f"Change a {name}.")
        _add_row(change, name, kind)
        _add_columns(change, kind)
        remove = add_command(verbs, "remove", "admin:remove", f"Remove a {name} not in use.")
        _add_row(remove, name, kind)
        _add_columns(remove, kind, identifying=True)
        if name == "machine":
            _add_machine_verbs(verbs, kind, add_command)
        if name == "user":
            _add_token(add_command(verbs, "token", "admin:token", "Issue a new token."), kind)
    _add_storage(kinds, add_command)


def _add_storage(kinds: Any, add_command: AddCommand) -> None:
    help_text = "Show who uses what of the farm's disk, or clean up."
    storage = add_command(kinds, "storage", "storage:run", help_text)
    storage.add_argument(
        "verb",
        nargs="?",
        choices=["clean"],
        help="remove what no task needs any more, and what is older than subscriptions keep it",
    )


MACHINE_VERBS = {
    "drain": "Let a machine end what it renders, and give it nothing more.",
    "disable": "Take everything away from a machine at once.",
    "enable": "Give a machine work again.",
    "forgive": "Give a machine work again, and forget all that it has failed.",
}


def _add_machine_verbs(verbs: Any, kind: Kind, add_command: AddCommand) -> None:
    for verb, help_text in MACHINE_VERBS.items():
        added = add_command(verbs, verb, "admin:machine", help_text)
        added.set_defaults(verb=verb)
        _add_row(added, "machine", kind)
        _add_columns(added, kind, identifying=True)


def _add_token(parser: argparse.ArgumentParser, kind: Kind) -> None:
    _add_row(parser, "user", kind)
    _add_columns(parser, kind, identifying=True)
    parser.add_argument("--label", default="admin", metavar="TEXT", help="what it is for")
    parser.add_argument(
        "--revoke", action="store_true", help="end every earlier token of this user"
    )


def _add_row(parser: argparse.ArgumentParser, name: str, kind: Kind) -> None:
    by = f"id or {kind.name}" if kind.name else "id"
    parser.add_argument(
        "row", nargs="?", metavar=name.upper(), help=f"its {by}; may also be given as an option"
    )


def _add_columns(parser: argparse.ArgumentParser, kind: Kind, identifying: bool = False) -> None:
    for index, option in enumerate(kind.options):
        if identifying and index > 0 and option.column != kind.name:
            continue
        parser.add_argument(
            *option.flags,
            dest=PREFIX + option.column,
            action="append" if option.may_repeat else "store",
            default=argparse.SUPPRESS,
            metavar=option.metavar,
            help=option.help,
        )

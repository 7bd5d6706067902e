"""The tables: the original's eight with the columns we add, and ours.

A column of ours has a default, so that rows the original inserts, columns named, stay valid.
`queue_time`, `start_time` and `end_time` are the server's local time in whole seconds, as the
original has them; every time column of ours is UTC. schema.sql is these tables for MySQL, and a
test holds the two together.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import peewee
from peewee import SQL, Node

from renderonline.api.db.connection import proxy


class UInt(peewee.IntegerField):
    """An unsigned number up to 2^32; the original's ids of one and two bytes are widened to it."""

    field_type = "UINT"


class UBigInt(peewee.BigIntegerField):
    field_type = "UBIGINT"


class _Auto(peewee.AutoField):
    def ddl(self, ctx: Any) -> Any:
        nodes = super().ddl(ctx)
        if "AUTO_INCREMENT" not in ctx.state.field_types[self.field_type]:
            # SQLite would give a deleted row's id to the next one; an id must stay one thing.
            nodes.nodes = (*nodes.nodes, SQL("AUTOINCREMENT"))
        return nodes


class UAuto(_Auto):
    field_type = "UAUTO"


class UBigAuto(_Auto):
    field_type = "UBIGAUTO"


class Flag(peewee.Field):
    """0 or 1; also reads a BIT(1), which comes as bytes."""

    field_type = "FLAG"

    def db_value(self, value: Any) -> int | None:
        return None if value is None else int(bool(value))

    def python_value(self, value: Any) -> bool:
        return bool(int.from_bytes(value)) if isinstance(value, bytes) else bool(value)


class Folded(peewee.CharField):
    """A text that compares regardless of case, on SQLite as on MySQL."""

    field_type = "FOLDED"

    def ddl_datatype(self, ctx: Any) -> Any:
        column_type = ctx.state.field_types[self.field_type]
        return SQL(column_type if "COLLATE" in column_type else f"{column_type}({self.max_length})")


class Sha256(peewee.Field):
    """64 lower-case hexadecimal digits."""

    field_type = "SHA256"


class Utc(peewee.Field):
    """An aware UTC datetime, microseconds, as text that sorts."""

    field_type = "UTC"
    FORMAT = "%Y-%m-%d %H:%M:%S.%f"

    def db_value(self, value: datetime | None) -> str | None:
        return None if value is None else value.astimezone(UTC).strftime(self.FORMAT)

    def python_value(self, value: str | datetime | None) -> datetime | None:
        if isinstance(value, str):
            value = datetime.strptime(value, self.FORMAT)
        return None if value is None else value.replace(tzinfo=UTC)


def _default(value: str) -> list[Node]:
    return [SQL(f"DEFAULT {value}")]


def _belongs_to(table: str, key: str) -> list[SQL]:
    """A row of ours goes with the row it is about."""
    return [SQL(f"FOREIGN KEY ({key}) REFERENCES {table} ({key}) ON DELETE CASCADE")]


class Table(peewee.Model):
    class Meta:
        database = proxy
        legacy_table_names = False


class Subscription(Table):
    subscription_id = UAuto()
    name = peewee.CharField(max_length=50)
    queue_limit = UInt()
    # Of a user's share of the machines, against others of the same priority.
    weight = peewee.DoubleField(constraints=_default("1"), default=1.0)
    quota_bytes = peewee.BigIntegerField(null=True)  # of one user's files; NULL: no limit
    # How long after a task's end its files stay; NULL: until it is deleted.
    retention_days_results = UInt(null=True)
    retention_days_projects = UInt(null=True)

    class Meta:
        table_name = "subscriptions"


class User(Table):
    user_id = UAuto()
    first_name = peewee.CharField(max_length=50)
    last_name = peewee.CharField(max_length=50)
    email = Folded(max_length=255)
    subscription_id = UInt()
    is_active = Flag()
    # Verbatim, and only in rows made by the original or by hand: ours are hashed, in `tokens`.
    token = peewee.TextField()
    userscol = peewee.CharField(max_length=45, null=True)  # the original's, unused there too
    role = peewee.CharField(max_length=16, constraints=_default("'artist'"), default="artist")

    class Meta:
        table_name = "users"


class Engine(Table):
    engine_id = UAuto()
    name = peewee.CharField(max_length=50)
    extension = peewee.CharField(max_length=50)
    download_path = peewee.TextField()  # empty: the `projects` folder in DataPath
    render_argument = peewee.TextField()
    # Empty: told from the name and the template.
    adapter = peewee.CharField(max_length=16, constraints=_default("''"), default="")
    file_pattern = peewee.CharField(max_length=255, null=True)
    chunk_frames = UInt(null=True)  # NULL: as many as suits
    machine_limit = UInt(null=True)  # licences: most machines at once
    version = peewee.CharField(max_length=16, null=True)  # "4.5"; NULL: any
    limits = peewee.TextField(null=True)  # wire.Limits as JSON

    class Meta:
        table_name = "engines"


class ArgType(Table):
    argtype_id = Folded(max_length=50, primary_key=True)
    type = peewee.CharField(max_length=50)
    regex = peewee.TextField(null=True)
    default_value = peewee.CharField(max_length=255, null=True)

    class Meta:
        table_name = "argtypes"


class Machine(Table):
    machine_id = UAuto()
    ip_address = peewee.CharField(max_length=45)
    port = UInt()
    name = peewee.CharField(max_length=100, constraints=_default("''"), default="")
    state = peewee.CharField(max_length=16, constraints=_default("'enabled'"), default="enabled")
    reason = peewee.TextField(null=True)  # why it is not enabled
    tags = peewee.CharField(max_length=255, constraints=_default("''"), default="")
    # Engines that it may be used for, by name; empty: all that it has.
    only_engines = peewee.CharField(max_length=255, constraints=_default("''"), default="")
    forgiven = UBigInt(constraints=_default("0"), default=0)  # attempts up to this do not count
    path_map = peewee.TextField(null=True)  # JSON: ["/mnt/farm=Z:\\farm"], paths here and there
    hours = peewee.CharField(
        max_length=255, constraints=_default("''"), default=""
    )  # empty: always
    only_users = peewee.CharField(max_length=255, constraints=_default("''"), default="")  # ids
    # A tag: what does not ask for it gets the machine only where nothing waits that does.
    reserve = peewee.CharField(max_length=40, constraints=_default("''"), default="")

    class Meta:
        table_name = "machines"


class Render(Table):
    render_id = UBigAuto()
    file_name = peewee.CharField(max_length=255)
    file_path = peewee.TextField()
    file_size = peewee.BigIntegerField()
    arguments = peewee.TextField()
    engine_id = UInt()
    # The project. NULL: it has none yet; empty: its files were deleted.
    manifest = Sha256(null=True)
    folder = peewee.TextField(null=True)  # the task's; NULL: the one that file_path lies in

    class Meta:
        table_name = "renders"
        indexes = ((("manifest",), False),)


class Task(Table):
    task_id = UBigAuto()
    user_id = UInt()
    queue_time = peewee.DateTimeField()
    start_time = peewee.DateTimeField(null=True)
    end_time = peewee.DateTimeField(null=True)
    is_running = Flag()
    is_success = Flag()
    render_id = UBigInt()
    machine_id = UInt(null=True)
    state = peewee.CharField(max_length=16, constraints=_default("'queued'"), default="queued")
    # Raised by every change of state; a change names the one it read, and its row count decides.
    version = UInt(constraints=_default("0"), default=0)
    frames = peewee.TextField(null=True)  # "1-250"; NULL where they are not known
    cause = peewee.CharField(max_length=16, null=True)
    message = peewee.TextField(null=True)
    # Frames that nobody works on; NULL: the task is one piece.
    todo = peewee.TextField(null=True)
    done = peewee.TextField(null=True)
    failed = peewee.TextField(null=True)  # given up
    preview = peewee.TextField(null=True)  # of todo: to be rendered before the rest
    # The template and its values as JSON, from which a chunk's command line is made.
    command = peewee.TextField(null=True)
    priority = UInt(constraints=_default("50"), default=50)
    chunk_frames = UInt(null=True)
    machine_limit = UInt(null=True)
    engine_version = peewee.CharField(max_length=16, null=True)
    tags = peewee.CharField(max_length=255, constraints=_default("''"), default="")
    notes = peewee.TextField(null=True)
    after_tasks = peewee.CharField(max_length=255, constraints=_default("''"), default="")
    start_at = Utc(null=True)
    limits = peewee.TextField(null=True)
    forgiven = UBigInt(constraints=_default("0"), default=0)  # attempts up to this do not count
    parent_id = UBigInt(null=True)  # of a variant: the task that the user sees
    # Its name; empty: the task has variants, and is never on a machine itself.
    variant = peewee.CharField(max_length=50, null=True)

    class Meta:
        table_name = "tasks"
        indexes = ((("parent_id",), False),)


class Queue(Table):
    queue_id = UBigAuto()
    task_id = UBigInt()

    class Meta:
        table_name = "queue"


class Token(Table):
    """A token of ours. The token itself is shown once and kept nowhere."""

    token_id = UAuto()
    user_id = UInt(index=True)
    name = peewee.CharField(max_length=50)
    hash = peewee.CharField(max_length=64, unique=True)  # SHA-256, hex
    created_at = Utc()

    class Meta:
        table_name = "tokens"
        constraints = _belongs_to("users", "user_id")


class Chunk(Table):
    """A frame range on one machine, with its attempt; made when it is claimed."""

    attempt_id = UBigAuto()
    task_id = UBigInt(index=True)
    machine_id = UInt()
    state = peewee.CharField(max_length=16, index=True)
    frames = peewee.TextField(null=True)
    key_hash = peewee.CharField(max_length=64)  # SHA-256 of the key its reports carry
    sequence = UInt(default=0)  # of the last report that was taken
    progress = peewee.DoubleField(default=0.0)
    frames_done = UInt(default=0)
    assigned_at = Utc()
    started_at = Utc(null=True)
    ended_at = Utc(null=True)
    exit_code = peewee.IntegerField(null=True)
    cause = peewee.CharField(max_length=16, null=True)
    message = peewee.TextField(null=True)
    done = peewee.TextField(null=True)  # of frames: saved and checked
    reason = peewee.CharField(max_length=16, null=True)
    culprit = peewee.IntegerField(null=True)  # the frame that it failed at
    copy_of = UBigInt(null=True)  # the attempt whose last frames this one renders, too
    after = UBigInt(null=True)  # handed over ahead of time, behind this attempt
    memory_bytes = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "chunks"
        constraints = _belongs_to("tasks", "task_id")
        indexes = (
            (("machine_id", "state"), False),
            (("task_id", "state"), False),
            (("copy_of",), False),
        )


class Record(Table):
    """What one machine did with one task: its pace, and whether it should try again."""

    task_id = UBigInt()
    machine_id = UInt()
    frames = UInt(default=0)  # rendered here
    render_s = peewee.DoubleField(default=0.0)  # all of them together
    startup_s = peewee.DoubleField(null=True)  # of the last start of the renderer
    is_warm = Flag(default=False)  # the renderer is still open
    failures = UInt(default=0)  # since the last success
    not_before = Utc(null=True)  # after a failure
    is_avoided = Flag(default=False)  # others first
    memory_bytes = peewee.BigIntegerField(null=True)  # it ran out of memory, having so much
    peak_bytes = peewee.BigIntegerField(null=True)  # the most that an attempt used

    class Meta:
        table_name = "records"
        primary_key = peewee.CompositeKey("task_id", "machine_id")
        constraints = _belongs_to("tasks", "task_id")


class TaskWarning(Table):
    """A sentence about a task that its owner should read."""

    warning_id = UBigAuto()
    task_id = UBigInt(index=True)
    text = peewee.CharField(max_length=500)
    created_at = Utc()

    class Meta:
        table_name = "task_warnings"
        constraints = _belongs_to("tasks", "task_id")


class Content(Table):
    """A file of the content store. One whose size or time is another by now is not there."""

    sha256 = Sha256(primary_key=True)
    size_bytes = peewee.BigIntegerField()
    mtime_ns = peewee.BigIntegerField()
    stored_at = Utc()
    stored_by = UInt(null=True)  # the user who sent it; theirs until a project has it
    wanted_until = Utc(null=True)  # somebody asked whether it is there, and counts on it

    class Meta:
        table_name = "contents"


class Manifest(Table):
    """A project: what files it has. The manifest itself is kept as a content, by this hash."""

    sha256 = Sha256(primary_key=True)
    main = peewee.TextField()  # the path of the file that the renderer opens
    files = UInt()
    size_bytes = peewee.BigIntegerField()
    created_at = Utc()

    class Meta:
        table_name = "manifests"


class ManifestFile(Table):
    """That a project needs a content. Two files that are equal are one row."""

    manifest = Sha256()
    sha256 = Sha256()

    class Meta:
        table_name = "manifest_files"
        primary_key = peewee.CompositeKey("manifest", "sha256")
        indexes = ((("sha256",), False),)


class SchemaVersion(Table):
    """One row: the version that the data was last brought to."""

    version = UInt(primary_key=True)

    class Meta:
        table_name = "schema_version"


ORIGINAL: tuple[type[Table], ...] = (
    Subscription,
    User,
    Engine,
    ArgType,
    Machine,
    Render,
    Task,
    Queue,
)
OURS: tuple[type[Table], ...] = (
    Token,
    Chunk,
    Record,
    TaskWarning,
    Content,
    Manifest,
    ManifestFile,
    SchemaVersion,
)
ALL = ORIGINAL + OURS

"""What an empty database gets, so that a first start is a farm: engine, types, subscription, admin."""

from __future__ import annotations

from datetime import datetime

from renderonline import security
from renderonline.api.db import catalog, migrations
from renderonline.api.db.connection import Database, Transaction
from renderonline.api.domain.model import Role
from renderonline.config import ApiSettings

BLENDER_TEMPLATE = (
    "blender -b $RENDERONLINE:@uploaded_file -o $RENDERONLINE:@output_dir/frame_#### "
    "-F $RENDERONLINE:output_format -x 1 "
    "-s $RENDERONLINE:start_frame -e $RENDERONLINE:end_frame -a"
)
"""Renders into the task's own folder. The order matters to Blender: each option acts when it is
read, and `-a` renders with what was set before it."""

FORMAT_REGEX = r"\.?[A-Za-z0-9_]{1,20}"
"""Blender's own names (PNG) and extensions (.png): the original's client sends the one, its README
shows the other. Which of them Blender knows, the adapter says."""

ADMIN_EMAIL = "admin@renderonline.local"

ARGTYPES = (
    {"argtype_id": "start_frame", "type": "natural", "regex": None, "default_value": None},
    {"argtype_id": "end_frame", "type": "natural", "regex": None, "default_value": None},
    {
        "argtype_id": "output_format",
        "type": "extension",
        "regex": FORMAT_REGEX,
        "default_value": "PNG",
    },
)


def bring_up(database: Database, settings: ApiSettings) -> None:
    """Migrate; fill a database without any row that an admin could have made. Raises DatabaseError."""
    with database.alone():
        migrations.bring_up(database)
        database.transact(lambda _tx: _fill(settings))


def first_admin(database: Database, now: datetime) -> str | None:
    """Where there is no user at all, an admin; their token, to be shown once. Else None."""
    token = security.new_token()

    def write(_tx: Transaction) -> bool:
        if catalog.has_users():
            return False
        subscriptions = catalog.all_rows("subscription")
        user_id = catalog.insert_row(
            "user",
            {
                "first_name": "Farm",
                "last_name": "Admin",
                "email": ADMIN_EMAIL,
                "subscription_id": subscriptions[0]["subscription_id"] if subscriptions else 1,
                "is_active": True,
                "token": "",
                "role": Role.ADMIN.value,
            },
        )
        assert isinstance(user_id, int)
        catalog.add_token(user_id, "first start", security.digest(token), now)
        return True

    return token if database.transact(write) else None


def _fill(settings: ApiSettings) -> None:
    if any(catalog.all_rows(kind) for kind in catalog.KINDS):
        return
    catalog.insert_row(
        "subscription", {"name": "Default", "queue_limit": settings.queue_limit_default}
    )
    catalog.insert_row(
        "engine",
        {
            "name": "blender",
            "extension": ".blend",
            "download_path": "",
            "render_argument": BLENDER_TEMPLATE,
        },
    )
    for argtype in ARGTYPES:
        catalog.insert_row("argtype", argtype)

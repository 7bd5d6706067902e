"""The Python client of /renderapi: the tray, the command line and the tests all go through it.

`Client` is one user's connection to one farm; `choose_engine` and `prepare` check a project before
anything is sent; the errors say what to do next.
"""

from renderonline.client.errors import (
    ClientError,
    NotAllowed,
    NotFound,
    Refused,
    Unreachable,
    Unusable,
)
from renderonline.client.farm import Client
from renderonline.client.submission import (
    Submission,
    Wishes,
    check_file,
    choose_engine,
    prepare,
)
from renderonline.client.transport import server_address
from renderonline.client.upload import Progress
from renderonline.client.variants import Variant, prepare_variants

__all__ = [
    "Client",
    "ClientError",
    "NotAllowed",
    "NotFound",
    "Progress",
    "Refused",
    "Submission",
    "Unreachable",
    "Unusable",
    "Variant",
    "Wishes",
    "check_file",
    "choose_engine",
    "prepare",
    "prepare_variants",
    "server_address",
]

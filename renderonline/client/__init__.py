"""The Python client of /renderapi: the tray, the command line and the tests all go through it.

`Client` is one user's connection to one farm; `bundle.of` finds out what a project is made of,
`choose_engine` and `prepare` check it before anything is sent; the errors say what to do next.
"""

from renderonline.blendfile import BlendFacts, Choices, SceneFacts, View
from renderonline.client import bundle
from renderonline.client.bundle import Bundle, Missing, check_file, complete, warnings
from renderonline.client.errors import (
    ClientError,
    NotAllowed,
    NotFound,
    Refused,
    Unreachable,
    Unusable,
)
from renderonline.client.farm import Client
from renderonline.client.mirror import Mirror
from renderonline.client.sending import SendProgress
from renderonline.client.submission import Submission, Wishes, choose_engine, prepare
from renderonline.client.transport import server_address
from renderonline.client.upload import Progress
from renderonline.client.variants import Variant, prepare_variants

__all__ = [
    "BlendFacts",
    "Bundle",
    "Choices",
    "Client",
    "ClientError",
    "Mirror",
    "Missing",
    "NotAllowed",
    "NotFound",
    "Progress",
    "Refused",
    "SceneFacts",
    "SendProgress",
    "Submission",
    "Unreachable",
    "Unusable",
    "Variant",
    "View",
    "Wishes",
    "bundle",
    "check_file",
    "choose_engine",
    "complete",
    "prepare",
    "prepare_variants",
    "server_address",
    "warnings",
]

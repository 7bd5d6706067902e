"""`renderonline api` and `renderonline node`: the long-running modes, and the node's guard."""

from __future__ import annotations

import argparse

from renderonline import config, logs


def api(args: argparse.Namespace) -> int:
    from renderonline.api import app

    logs.set_up(args.verbose)
    return app.run(*config.load(config.ApiSettings, args.config))


def node(args: argparse.Namespace) -> int:
    from renderonline.node import app

    logs.set_up(args.verbose)
    return app.run(*config.load(config.NodeSettings, args.config))


def guard(_args: argparse.Namespace) -> int:
    """The small process that ends a dead node's renderers; started by the node itself."""
    from renderonline.node import guard

    return guard.main()


def thumbnailer(_args: argparse.Namespace) -> int:
    """The small process that opens pictures for the api; started by the api itself."""
    from renderonline import thumbnailer

    return thumbnailer.main()

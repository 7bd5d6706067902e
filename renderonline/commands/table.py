"""Tables on stdout: as wide as the terminal, or as they need to be where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from renderonline.commands import output

PIPE_WIDTH = 1000
"""Columns where nobody's screen limits them: nothing is cut short or wrapped for a script."""


def print_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below their columns' names; without a line of names where all are empty."""
    table = Table(box=None, pad_edge=False, show_header=any(names), header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(output.plain(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)

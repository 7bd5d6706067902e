"""Tables on stdout: as wide as the terminal, or as they need to be where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleRenderable
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from renderonline.commands import output

PIPE_WIDTH = 1000
"""Columns where nobody's screen limits them: nothing is cut short or wrapped for a script."""


BAR_WIDTH = 12

Cell = str | ConsoleRenderable
"""What stands in a table. A text may come from anywhere; anything else is ours."""


def bar(fraction: float) -> Cell:
    """How much is done: a bar and a percentage on a terminal, the latter elsewhere."""
    percent = f"{fraction:4.0%}"
    if not sys.stdout.isatty():
        return percent.strip()
    both = Table.grid(padding=(0, 1))
    both.add_row(ProgressBar(total=1.0, completed=fraction, width=BAR_WIDTH), percent)
    return both


def print_table(names: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print rows below their columns' names; without a line of names where all are empty."""
    table = Table(box=None, pad_edge=False, show_header=any(names), header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        cells = (Text(output.plain(cell)) if isinstance(cell, str) else cell for cell in row)
        table.add_row(*cells)
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)

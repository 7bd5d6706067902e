"""The guard: a small process beside each node that ends its renderers when the node is killed.

A killed node runs no code any more, and no signal of Linux or macOS reaches a whole tree by
itself. So the node keeps a pipe to this process and writes to it which trees there are; the pipe
closes when the node is gone, in whatever way, and the guard kills what is left. On Windows a Job
Object does that, and no guard is started.

Lines on stdin, words separated by spaces: `expect MARK` before a process is started, `root MARK
PID` once it is, `forget MARK` when its tree has ended.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable

from renderonline.node.posix_tree import PosixTree


def main() -> int:
    """`renderonline node-guard`, or `python -m renderonline.node.guard`: run until stdin ends."""
    if sys.platform == "win32":
        sys.stderr.write("There is no node-guard on Windows: a Job Object does its work.\n")
        return 2
    # Whoever stops the node, by Ctrl-C or as a service, often signals us as well. The pipe's end
    # is what counts.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch(sys.stdin.buffer)
    return 0


def watch(lines: Iterable[bytes]) -> None:
    """Follow the node's `lines`; after the last one end every tree that is not forgotten."""
    trees: dict[str, PosixTree] = {}
    for line in lines:
        match line.decode().split():
            case ["expect", mark]:
                trees[mark] = PosixTree(mark)
            case ["root", mark, pid] if mark in trees:
                trees[mark].adopt(int(pid))
            case ["forget", mark]:
                trees.pop(mark, None)
    for tree in trees.values():
        tree.end(grace_s=0)


if __name__ == "__main__":
    sys.exit(main())

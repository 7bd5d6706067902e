"""Small real programs that stand in for renderers, and what the tests ask of the system."""

from __future__ import annotations

import os
import re
from pathlib import Path

import psutil
from support.waiting import wait_until

SLEEPER = "import time; time.sleep(600)"

TREE = f'''
"""A renderer with a family: argv[1] is the file that gets all their pids."""
import os, subprocess, sys, time
from pathlib import Path

SLEEPER = {SLEEPER!r}
NESTED = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", sys.argv[1]]).pid, flush=True)
time.sleep(600)
"""
DAEMON = """
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True,
                       stdout=subprocess.DEVNULL).pid, flush=True)
"""

def start(code, **options):
    return subprocess.Popen([sys.executable, "-c", code, SLEEPER],
                            stdout=subprocess.PIPE, text=True, **options)

nested = start(NESTED)
daemon = start(DAEMON)
left = start(SLEEPER, start_new_session=True)
pids = [os.getpid(), nested.pid, int(nested.stdout.readline()), left.pid,
        int(daemon.stdout.readline())]
daemon.wait()
file = Path(sys.argv[1])
part = file.with_suffix(".part")
part.write_text(" ".join(map(str, pids)))
part.replace(file)
print("ready", flush=True)
time.sleep(600)
'''

DEAF = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path(sys.argv[1]).write_text("deaf")
print("ready", flush=True)
time.sleep(600)
"""

FRAMES = """
import sys, time
from pathlib import Path
folder, count, code = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for number in range(1, count + 1):
    (folder / f"frame_{number:04}.txt").write_text("pixels")
    print(f"Progress: {100 * number // count}%", flush=True)
sys.exit(code)
"""

PATIENT = """
import sys, time
from pathlib import Path
Path(sys.argv[1]).write_text("begun")
while not Path(sys.argv[2]).exists():
    time.sleep(0.02)
"""


def write_script(folder: Path, code: str, name: str = "render.py") -> str:
    """The path of a script with this code."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(code, encoding="utf-8")
    return str(file)


def is_alive(pid: int) -> bool:
    """Whether a process with this id runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(file: Path) -> list[int]:
    """The pids that TREE has written, once it has."""
    wait_until(file.is_file, "the renderer has started its children")
    pids = [int(word) for word in re.findall(r"\d+", file.read_text())]
    assert len(pids) == 5
    assert all(is_alive(pid) for pid in pids)
    return pids


def wait_until_gone(pids: list[int]) -> None:
    """Fail the test if one of these is still there at the deadline; then end it."""
    try:
        wait_until(lambda: not any(map(is_alive, pids)), f"all of {pids} have ended")
    except AssertionError:
        for pid in filter(is_alive, pids):
            os.kill(pid, 9)
        raise


BLENDER = '''
"""Stands in for Blender: argv is the output folder, a folder of files to wait for, and frames.

Says what Blender says and writes real images. Before frame N it waits for the file `N`, if the
folder is not "-".
"""
import struct, sys, time, zlib
from pathlib import Path

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

PNG = (b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
       + chunk(b"IDAT", zlib.compress(b"\\0\\0")) + chunk(b"IEND", b""))
output, gates, *frames = sys.argv[1:]
for frame in map(int, frames):
    print(f"Fra:{frame} Mem:9.91M (Peak 10.83M) | Time:00:00.07 | Sample 1/2", flush=True)
    while gates != "-" and not Path(gates, str(frame)).exists():
        time.sleep(0.02)
    file = Path(output, f"{frame:04}.png")
    file.write_bytes(PNG)
    print(f"Saved: '{file}'", flush=True)
print("Blender quit", flush=True)
'''

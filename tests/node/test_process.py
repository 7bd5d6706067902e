"""A renderer's process: its output, its end, and the end of all that it has started."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from renderonline.node import process as process_module
from renderonline.node.process import (
    MAX_LINE_BYTES,
    LineSplitter,
    RenderProcess,
    Spawner,
    Tree,
)
from renderonline.node.refusal import Refusal

from .renderers import (
    DEAF,
    SLEEPER,
    TREE,
    family,
    is_alive,
    wait_until_gone,
    write_script,
)


def run(spawner: Spawner, folder: Path, code: str, *arguments: str) -> RenderProcess:
    argv = [sys.executable, write_script(folder, code), *arguments]
    return RenderProcess(spawner, argv, folder, dict(os.environ))


def test_output_and_exit_code(spawner: Spawner, tmp_path: Path) -> None:
    code = """
import os, sys
print("one"); sys.stdout.flush()
print("two", file=sys.stderr)
os.write(1, b"10%\\r20%\\r\\n\\nb\\xffd\\nno newline")
print(os.getcwd(), file=sys.stderr)
print(repr(sys.stdin.read()), file=sys.stderr)
sys.exit(7)
"""
    process = run(spawner, tmp_path, code)
    assert list(process.lines()) == [
        "one", "two", "10%", "20%", "b�d", f"no newline{tmp_path}", "''",
    ]  # fmt: skip
    assert process.wait() == 7


def test_words_arrive_as_they_are(spawner: Spawner, tmp_path: Path) -> None:
    words = ["a b", '"', "\\", "$(id)", "; exit", "*", "", "ü", "%PATH%", "&"]
    process = run(spawner, tmp_path, "import sys; print(ascii(sys.argv[1:]))", *words)
    assert list(process.lines()) == [ascii(words)]
    assert process.wait() == 0


def test_an_endless_line_takes_no_memory(spawner: Spawner, tmp_path: Path) -> None:
    code = "import os\nfor _ in range(1600): os.write(1, b'x' * 65536)\nos.write(1, b'\\nend')"
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    process = run(spawner, tmp_path, code)
    long, end = list(process.lines())
    assert process.wait() == 0
    assert long == "x" * MAX_LINE_BYTES + " [line cut]"
    assert end == "end"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 30 * 1024


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_do_not_depend_on_how_they_arrive(size: int) -> None:
    text = "ä\r\n\r\nb\rc\n\nlast".encode()
    splitter = LineSplitter()
    lines = [
        line for at in range(0, len(text), size) for line in splitter.feed(text[at : at + size])
    ]
    assert [*lines, *splitter.rest()] == ["ä", "b", "c", "last"]
    assert list(splitter.rest()) == []


def test_a_cut_line_does_not_cut_the_next() -> None:
    splitter = LineSplitter()
    lines = list(
        splitter.feed(b"x" * MAX_LINE_BYTES + b"\n" + b"y" * (MAX_LINE_BYTES + 1) + b"\nz\n")
    )
    assert [len(line) for line in lines] == [MAX_LINE_BYTES, MAX_LINE_BYTES + 11, 1]


def test_stop_ends_the_whole_tree(spawner: Spawner, tmp_path: Path) -> None:
    process = run(spawner, tmp_path, TREE, str(tmp_path / "pids"))
    pids = family(tmp_path / "pids")
    assert process.stop(grace_s=30)
    assert not any(map(is_alive, pids))
    assert list(process.lines()) == ["ready"]
    assert process.wait() != 0


def test_a_deaf_renderer_is_killed(spawner: Spawner, tmp_path: Path) -> None:
    process = run(spawner, tmp_path, DEAF, str(tmp_path / "deaf"))
    assert next(process.lines()) == "ready"
    assert process.stop(grace_s=0.2)
    assert process.wait() == -9


HOLDERS = f"""
import subprocess, sys
sleeper = [sys.executable, "-c", {SLEEPER!r}]
print(subprocess.Popen(sleeper).pid, subprocess.Popen(sleeper, start_new_session=True).pid)
"""


def test_whoever_holds_stdout_holds_up_nobody(
    spawner: Spawner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "DRAIN_S", 600.0)  # the holders are ended, not waited out
    process = run(spawner, tmp_path, HOLDERS)
    begun = time.monotonic()
    (line,) = list(process.lines())
    assert time.monotonic() - begun < 300
    assert process.wait() == 0
    wait_until_gone([int(word) for word in line.split()])


def test_a_holder_that_cannot_be_ended_is_left_behind(
    spawner: Spawner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a set-uid program would be, or one that is stuck in the kernel."""

    class Powerless:
        def end(self, grace_s: float) -> bool:
            return False

        def close(self) -> None: ...

    class PowerlessSpawner:
        def spawn(
            self,
            argv: list[str],
            working_dir: Path,
            environment: dict[str, str],
            stdin: int = subprocess.DEVNULL,
        ) -> tuple[subprocess.Popen[bytes], Tree]:
            return spawner.spawn(argv, working_dir, environment, stdin)[0], Powerless()

        def close(self) -> None: ...

    monkeypatch.setattr(process_module, "DRAIN_S", 1.0)
    process = run(PowerlessSpawner(), tmp_path, HOLDERS)
    (line,) = list(process.lines())
    assert process.wait() == 0
    pids = [int(word) for word in line.split()]
    assert all(map(is_alive, pids))
    spawner.close()  # its guard has not been told that the tree is gone
    wait_until_gone(pids)


def test_a_renderer_that_closes_its_output_is_waited_for(spawner: Spawner, tmp_path: Path) -> None:
    code = "import os, time; os.close(1); os.close(2); time.sleep(0.3); os._exit(5)"
    process = run(spawner, tmp_path, code)
    assert list(process.lines()) == []
    assert process.wait() == 5


def test_a_fast_talker_waits_for_its_reader(spawner: Spawner, tmp_path: Path) -> None:
    code = "for n in range(2_000_000): print(n)"
    process = run(spawner, tmp_path, code)
    assert sum(1 for _ in process.lines()) == 2_000_000
    assert process.wait() == 0


def test_what_cannot_be_started_is_refused(spawner: Spawner, tmp_path: Path) -> None:
    def refusal(argv: list[str], folder: Path = tmp_path) -> str:
        with pytest.raises(Refusal) as caught:
            RenderProcess(spawner, argv, folder, dict(os.environ))
        return str(caught.value)

    text = tmp_path / "text"
    text.write_text("no program")
    text.chmod(0o755)
    assert refusal(["/no/blender"]).startswith("There is no renderer /no/blender")
    assert "NUL" in refusal([sys.executable, "a\0b"])
    assert "working folder" in refusal([sys.executable], tmp_path / "none")
    assert "cannot be started" in refusal([str(text)])
    assert "cannot be started" in refusal([str(tmp_path)])

"""The keeper of the renderer that stays open: when it goes on with a chunk, and when it ends."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import ROOT
from support.waiting import wait_until

from renderonline.node.warm import Bounds, WarmRenderers, machine_bounds

from .renderers import is_alive, wait_until_gone
from .warm_kit import DIES, FAILS, HANGS, STAYS_OPEN, Kit, finish, warm_kit

GIB = 2**30
ROOMY = Bounds(memory_bytes=64 * GIB)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with warm_kit(tmp_path, WarmRenderers(ROOMY)) as kit:
        yield kit


def test_chunks_of_a_task_share_one_process(kit: Kit) -> None:
    first = kit.frame(1)
    lines, exit_code = finish(first)
    assert lines == ["loaded scene", "frame 1", "renderonline: chunk 0000 ended with 0"]
    assert (exit_code, first.is_warm) == (0, True)
    second = kit.frame(2, attempt_id=2)
    assert finish(second) == (["frame 2", "renderonline: chunk 0000 ended with 0"], 0)
    assert second.pid == first.pid
    assert len(kit.started) == 1


def test_another_task_ends_it_before_its_own_starts(kit: Kit) -> None:
    first = kit.frame(1)
    finish(first)
    other = kit.frame(2, task_id=2)
    assert not is_alive(first.pid)
    assert is_alive(other.pid)
    assert finish(other)[0][0] == "loaded scene"


def test_a_cold_render_ends_it_first(kit: Kit) -> None:
    first = kit.frame(1)
    finish(first)
    cold = kit.frame(2, is_warm=False)
    assert not is_alive(first.pid)
    assert finish(cold)[1] == 0


@pytest.mark.parametrize("order", [{"attempt_id": None}, {"is_warm": False}])
def test_who_may_not_stay_open_has_no_requests(kit: Kit, order: dict[str, object]) -> None:
    """An original api's start, and an engine whose setting says so."""
    chunk = kit.frame(1, **order)
    assert finish(chunk) == (["loaded scene", "quit"], 0)
    assert not chunk.is_warm
    assert not is_alive(chunk.pid)


def test_a_project_that_has_changed_is_loaded_again(kit: Kit) -> None:
    finish(kit.frame(1))
    (kit.folder / "project").write_text("another scene")
    assert finish(kit.frame(2))[0][0] == "loaded another scene"
    assert len(kit.started) == 2


def test_a_project_that_is_gone_is_not_rendered_from_memory(kit: Kit) -> None:
    finish(kit.frame(1))
    (kit.folder / "project").unlink()
    chunk = kit.frame(2)
    _lines, exit_code = finish(chunk)
    assert exit_code != 0


def test_what_nobody_could_see_change_is_not_kept(kit: Kit) -> None:
    kit.frame(1).abandon()
    (kit.folder / "project").unlink()
    (kit.folder / "open.py").write_text("print('needs no project')")
    chunk = kit.frame(2)
    assert finish(chunk) == (["needs no project"], 0)
    assert not chunk.is_warm
    assert kit.requests == [True, False]


def test_after_a_failure_the_next_chunk_starts_afresh(kit: Kit) -> None:
    chunk = kit.frame(FAILS)
    assert finish(chunk)[1] == 1
    assert not chunk.is_warm
    assert not is_alive(chunk.pid)
    assert finish(kit.frame(2))[0][0] == "loaded scene"


def test_a_death_in_a_chunk_is_the_chunks(kit: Kit) -> None:
    finish(kit.frame(1))
    chunk = kit.frame(DIES)
    assert finish(chunk) == ([f"frame {DIES}"], 9)
    assert not chunk.is_warm
    assert finish(kit.frame(2))[1] == 0


def test_a_death_between_chunks_is_nobodys(kit: Kit) -> None:
    first = kit.frame(1)
    finish(first)
    assert kit.started[0].stop(grace_s=0)
    second = kit.frame(2)
    assert finish(second)[0][0] == "loaded scene"
    assert finish(kit.frame(3))[1] == 0
    assert len(kit.started) == 2


def test_a_renderer_that_cannot_start_says_so_by_its_exit_code(kit: Kit) -> None:
    kit.frame(1).abandon()
    (kit.folder / "open.py").write_text("import sys; sys.exit(5)")
    assert finish(kit.frame(2))[1] == 5


def test_a_stop_ends_it(kit: Kit) -> None:
    finish(kit.frame(1))
    chunk = kit.frame(HANGS)
    assert next(iter(chunk.lines())) == f"frame {HANGS}"
    assert chunk.stop(grace_s=30)
    assert list(chunk.lines()) == []
    assert chunk.wait() != 0
    assert not chunk.is_warm
    assert not is_alive(chunk.pid)


def test_a_stop_that_comes_late_does_not_hit_the_next_chunk(kit: Kit) -> None:
    first = kit.frame(1)
    finish(first)
    second = kit.frame(2)
    assert first.stop(grace_s=0)
    first.abandon()
    assert finish(second)[1] == 0
    assert second.is_warm


def test_a_stop_between_the_last_line_and_the_wait_counts(kit: Kit) -> None:
    chunk = kit.frame(1)
    list(chunk.lines())
    assert chunk.stop(grace_s=0)
    chunk.wait()
    assert not chunk.is_warm
    assert finish(kit.frame(2))[0][0] == "loaded scene"


def test_nobody_needs_it_and_it_ends(tmp_path: Path) -> None:
    with warm_kit(tmp_path, WarmRenderers(Bounds(64 * GIB, idle_s=0.2))) as kit:
        chunk = kit.frame(1)
        finish(chunk)
        assert chunk.is_warm
        wait_until_gone([chunk.pid])
        assert finish(kit.frame(2))[1] == 0


def test_one_that_holds_too_much_ends_with_its_chunk(tmp_path: Path) -> None:
    with warm_kit(tmp_path, WarmRenderers(Bounds(memory_bytes=1))) as kit:
        chunk = kit.frame(1)
        assert finish(chunk)[1] == 0
        assert not chunk.is_warm
        assert not is_alive(chunk.pid)


@pytest.mark.parametrize(
    ("first", "now", "is_too_large"),
    [
        (GIB, GIB, False),
        (GIB, 2 * GIB, False),
        (GIB, 2 * GIB + 1, True),  # it leaks
        (GIB // 4, GIB, False),  # four times as much of little is little
        (GIB // 4, GIB + 1, True),
        (8 * GIB, 8 * GIB, False),
        (8 * GIB, 8 * GIB + 1, True),
        (9 * GIB, 9 * GIB, True),
    ],
)
def test_too_large(first: int, now: int, is_too_large: bool) -> None:
    assert Bounds(memory_bytes=8 * GIB).is_too_large(first, now) is is_too_large


def test_the_settings_limit_counts() -> None:
    assert machine_bounds(5).memory_bytes == 5
    assert machine_bounds().memory_bytes > GIB // 4


def test_close_ends_it_and_keeps_none_any_more(kit: Kit) -> None:
    kept = kit.frame(1)
    finish(kept)
    kit.warm.close()
    assert not is_alive(kept.pid)
    rendering = kit.frame(2)
    kit.warm.close()
    assert finish(rendering)[1] == 0
    assert not rendering.is_warm
    assert not is_alive(rendering.pid)


NODE = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, "tests")
    from node.warm_kit import finish, warm_kit
    from renderonline.node.warm import WarmRenderers
    with warm_kit(Path(sys.argv[1]), WarmRenderers()) as kit:
        chunk = kit.frame(1)
        finish(chunk)
        print(chunk.pid, flush=True)
        time.sleep(600)
    """
)


def test_it_ends_with_a_killed_node(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", NODE, str(tmp_path)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        pid = int(node.stdout.readline())
        assert is_alive(pid)
        node.kill()
        node.wait()
        wait_until_gone([pid])


def test_the_stand_in_quits_when_no_more_requests_come(kit: Kit) -> None:
    """What the other tests see die was not killed: it had time to clean up."""
    chunk = kit.frame(1)
    assert "quit" in STAYS_OPEN
    finish(chunk)
    process = kit.started[0]
    process.finish(grace_s=600)
    wait_until(lambda: not is_alive(chunk.pid), "it has ended by itself")
    assert process.wait() == 0

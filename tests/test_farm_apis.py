"""Several apis and nodes at once, under load and under fire."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from support.drawing import DrawFarm, Plan, draw_farm
from support.mariadb import Database
from support.waiting import wait_until

pytestmark = pytest.mark.slow


def test_two_apis_on_one_mariadb_render_no_frame_twice(
    tmp_path: Path, mariadb_database: Database
) -> None:
    """Several tasks at once, a frame a chunk: every claim is a chance to take another's."""
    with draw_farm(
        tmp_path, "a", "b", "c", apis=2, connection_string=mariadb_database.connection_string
    ) as farm:
        drawings = [farm.submit("1-15", ChunkFrames=1, at=number % 2) for number in range(4)]
        for drawing in drawings:
            drawing.assert_rendered_once()
        for house in farm.houses:
            house.assert_quiet()


def test_one_of_two_apis_dies(tmp_path: Path, connection_string: str) -> None:
    """The other one goes on with what it has begun, and renders nothing of it again."""
    with draw_farm(tmp_path, "a", "b", apis=2, connection_string=connection_string) as farm:
        held = (3, 8, 13, 18)
        drawing = farm.submit("1-20", Plan(held=held), ChunkFrames=5)

        def at_held() -> set[str]:
            return {note.who for note in drawing.notes("begun") if note.number in held}

        wait_until(lambda: at_held() == {"a", "b"}, "both have come to a frame that waits")
        drawing.wait_for_done(4)
        farm.houses[1].service.kill()
        drawing.let_go()
        drawing.assert_rendered_once()
        farm.house.assert_quiet()


@pytest.mark.parametrize("seed", range(3))
def test_whatever_dies_every_frame_comes(tmp_path: Path, connection_string: str, seed: int) -> None:
    """Nodes and the api are killed, some ended in good order, again and again."""
    chance = random.Random(seed)
    with draw_farm(tmp_path, "a", "b", connection_string=connection_string) as farm:
        plan = Plan(frame_s={"": 0.1}, fails_at=(17, 33), goes_wrong_once=True)
        drawing = farm.submit("1-60", plan)
        for _ in range(6):
            time.sleep(chance.uniform(0.0, 1.0))
            strike(farm, chance)
        drawing.assert_whole()
        farm.house.assert_quiet()


def strike(farm: DrawFarm, chance: random.Random) -> None:
    """End something, and start it again, at once or a moment later."""
    victim = chance.choice([*farm.nodes.values(), farm.house.service])
    chance.choice([victim.kill, victim.terminate])()
    time.sleep(chance.choice([0.0, 0.5]))
    victim.restart()

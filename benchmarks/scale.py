"""How far the farm scales: `python benchmarks/scale.py [--quick] [--machines N --tasks N --frames N]`.

The real api (planner, dispatcher, states, routes, database) and simulated machines, in virtual time:
see simulated_api.py and simulated_nodes.py. Of each run are printed:

- the api's CPU per chunk, with all the reports that belong to it (a frame of 5 s is a report), and
  by kind of work. To be held: 10 ms with 1,000 machines, whatever waits behind them;
- how busy the api's one process was, of virtual time: near 100 % it does not follow any more;
- how long a machine waits between two chunks;
- efficiency, of a run to its end: the ideal makespan (no start-up, all machines at work to the end)
  over the actual one; and how many frames were rendered twice;
- the database's size, and its growth per chunk.

With `--real` the api is a process of its own, and the machines talk to it over HTTP in real time: see
real_time.py. Needs the package installed. Everything runs on this machine and ends with the program.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import real_time
from scenario import Scenario, database_bytes, fill
from simulated_api import Cost, VirtualFarm
from simulated_nodes import Behaviour, Node, Tally

from renderonline.api.db import tasks
from renderonline.config import ApiSettings

CALM = Behaviour()
ROUGH = replace(CALM, fails=0.02, lost=0.005)
ASKING = ("first visits", "watch")
"""Work of the api's that comes with time and machines, not with chunks."""
CUT = 4_000
"""Chunks after which a run that only asks for the api's cost is stopped."""

SCENARIOS = (
    Scenario("10 machines, 1,000 frames", 10, 1, 1_000, CALM),
    Scenario("100 machines, 10,000 frames", 100, 1, 10_000, CALM),
    Scenario("1,000 machines, 50,000 frames", 1_000, 1, 50_000, CALM),
    Scenario("1,000 machines, 500 tasks of 100 frames", 1_000, 500, 100, CALM),
    Scenario("the same, 2 % of chunks fail, 0.5 % lose their machine", 1_000, 500, 100, ROUGH),
    Scenario("1,000 machines, 5,000 chunks of a frame wait", 1_000, 100, 50, CALM, 1, CUT),
    Scenario("1,000 machines, 100,000 chunks of a frame wait", 1_000, 2_000, 50, CALM, 1, CUT),
    Scenario("1,000 machines, one task of 1,000,000 frames", 1_000, 1, 1_000_000, CALM, 1, CUT),
    Scenario("1,000 machines, 20,000 tasks of 50 frames", 1_000, 20_000, 50, CALM, 1, CUT),
)
QUICK = (
    Scenario("10 machines, 300 frames", 10, 1, 300, CALM),
    Scenario("50 machines, 20 tasks of 50 frames, failures", 50, 20, 50, ROUGH),
)
REAL = (
    Scenario(
        "100 machines, 20 tasks of 100 frames of 1 s", 100, 20, 100, replace(CALM, frame_s=1.0)
    ),
    Scenario("1,000 machines, 500 tasks of 50 frames", 1_000, 500, 50, CALM),
)


def main() -> int:
    """Simulate and print. The exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two small runs")
    parser.add_argument("--free", action="store_true", help="an api that costs no time")
    parser.add_argument("--machines", type=int, help="one run with so many machines")
    parser.add_argument("--tasks", type=int, default=1, help="of that run (default 1)")
    parser.add_argument("--frames", type=int, default=1000, help="of each task (default 1000)")
    parser.add_argument("--frame-seconds", type=float, default=CALM.frame_s, help="default 5")
    parser.add_argument("--chunk-frames", type=int, help="default: as the farm sizes them")
    parser.add_argument("--stop-after", type=int, metavar="CHUNKS", help="default: to the end")
    parser.add_argument("--real", action="store_true", help="over HTTP, in real time")
    options = parser.parse_args()
    for scenario in chosen(options):
        with tempfile.TemporaryDirectory(prefix="renderonline-") as folder:
            if options.real:
                run_real(scenario, Path(folder)).show()
            else:
                run(scenario, Path(folder), not options.free).show()
    return 0


def chosen(options: argparse.Namespace) -> Sequence[Scenario]:
    """The runs that were asked for."""
    if options.machines is None:
        return REAL if options.real else QUICK if options.quick else SCENARIOS
    name = f"{options.machines} machines, {options.tasks} tasks of {options.frames} frames"
    size = (options.machines, options.tasks, options.frames)
    behaviour = replace(CALM, frame_s=options.frame_seconds)
    return [Scenario(name, *size, behaviour, options.chunk_frames, options.stop_after)]


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    scenario: Scenario
    tally: Tally
    costs: dict[str, Cost]
    virtual_s: float
    wall_s: float
    ideal_s: float
    bytes_before: int
    bytes_after: int

    def show(self) -> None:
        """Print it."""
        chunks = self.tally.ended
        cpu_s = {kind: cost.cpu_s for kind, cost in self.costs.items()}
        asking_s = sum(cpu_s.get(kind, 0.0) for kind in ASKING)
        busy = sum(cpu_s.values()) / self.virtual_s
        print(
            f"\n{self.scenario.name}\n"
            f"  {chunks} chunks, {self.tally.reports} reports, {self.tally.failed} failed, "
            f"{self.tally.given_back} given back, "
            f"{self.tally.lost} machines lost; {self.virtual_s:.0f} s in {self.wall_s:.0f} s"
        )
        print(
            f"  api: {(sum(cpu_s.values()) - asking_s) / chunks * 1e3:.2f} ms of CPU per chunk; "
            f"busy {busy:.1%} of the time, {asking_s / self.virtual_s:.1%} with asking machines"
        )
        for kind, cost in sorted(self.costs.items(), key=lambda item: -item[1].cpu_s):
            print(
                f"    {kind:<14} {cost.cpu_s / chunks * 1e3:6.2f} ms per chunk"
                f"   {cost.calls:7} times {cost.cpu_s / cost.calls * 1e3:7.2f} ms,"
                f" at most {cost.largest_s * 1e3:7.1f} ms"
            )
        self._show_gaps()
        if self.scenario.stop_after is None:
            twice = self.tally.frames - sum(map(len, self.tally.seen.values()))
            print(
                f"  efficiency {self.ideal_s / self.virtual_s:.1%}; {twice} frames rendered twice"
            )
        growth = (self.bytes_after - self.bytes_before) / chunks
        print(
            f"  database: {self.bytes_after / 2**20:.1f} MiB, {growth:.0f} bytes per chunk",
            flush=True,
        )

    def _show_gaps(self) -> None:
        gaps_ms = sorted(gap * 1e3 for gap in self.tally.gaps_s) or [0.0]
        at = {share: gaps_ms[int((len(gaps_ms) - 1) * share)] for share in (0.5, 0.9, 0.99)}
        print(
            f"  between two chunks of a machine: median {at[0.5]:.1f} ms, 90 % {at[0.9]:.1f} ms, "
            f"99 % {at[0.99]:.1f} ms"
        )


def run(scenario: Scenario, folder: Path, is_charged: bool = True) -> Result:
    """Simulate a scenario. `is_charged` False: the api costs no time."""
    settings = ApiSettings(data_path=folder)
    addresses = [scenario.address(number) for number in range(scenario.machines)]
    fill(settings, scenario, addresses)
    bytes_before = database_bytes(settings)
    farm, tally = VirtualFarm(settings, is_charged), Tally()
    nodes = [
        Node(number, at, scenario.behaviour, farm, tally) for number, at in enumerate(addresses)
    ]
    for node in nodes:
        farm.add(node)
    ideal_s = ideal(scenario, nodes)
    began = time.perf_counter()
    farm.api.start()
    virtual_s = live(farm, scenario, tally, nodes, limit_s=600 + 20 * ideal_s)
    wall_s = time.perf_counter() - began
    farm.api.close()
    sizes = bytes_before, database_bytes(settings)
    return Result(scenario, tally, farm.busy.costs, virtual_s, wall_s, ideal_s, *sizes)


def run_real(scenario: Scenario, folder: Path) -> Result:
    """Render a scenario in real time, with a real api process; its CPU cannot be told apart."""
    tally = Tally()
    began = time.perf_counter()
    seconds, cpu_s, nodes = real_time.run(scenario, folder, tally)
    wall_s = time.perf_counter() - began
    costs = {"the process": Cost(1, cpu_s, cpu_s)}
    size = database_bytes(ApiSettings(data_path=folder))
    return Result(scenario, tally, costs, seconds, wall_s, ideal(scenario, nodes), 0, size)


def ideal(scenario: Scenario, nodes: Sequence[Node]) -> float:
    """Seconds until all is rendered by machines that all work to the end and start up at once."""
    work_s = scenario.tasks * scenario.frames * scenario.behaviour.frame_s
    return work_s / sum(node.pace for node in nodes)


def live(
    farm: VirtualFarm, scenario: Scenario, tally: Tally, nodes: Sequence[Node], limit_s: float
) -> float:
    """Let time pass until the run is over; how many virtual seconds that took."""
    look_at_s, ended, over_at_s = 1.0, 0, 0.0
    while farm.now_s() < limit_s:
        farm.timeline.step()
        if tally.ended != ended:
            ended, over_at_s = tally.ended, farm.now_s()
        if scenario.stop_after is not None:
            if ended >= scenario.stop_after:
                return over_at_s
        elif farm.now_s() >= look_at_s:
            look_at_s = farm.now_s() + 1.0
            if all(node.is_idle for node in nodes) and not open_tasks(farm):
                return over_at_s
    raise SystemExit(f"{scenario.name}: not over after {limit_s:.0f} virtual seconds.")


def open_tasks(farm: VirtualFarm) -> int:
    """How many tasks have not ended."""
    with farm.api.database.reading():
        return len(tasks.versions())


if __name__ == "__main__":
    sys.exit(main())

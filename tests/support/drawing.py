"""A farm of real processes whose renderer a test holds in its hand, frame by frame.

Owns the engine `draw`: its project is a Python script that takes Blender's arguments, says what
Blender says and writes real images. It notes down which frames it renders, and where and how often
it fails, hangs, waits or eats memory is written at its top (`Plan`). And what is asked of its tasks.
"""

from __future__ import annotations

import json
import socket
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
from api.house import House, Person, fill, person
from api.workshop import Cable, cable

from renderonline.api.app import open_database
from renderonline.api.services import admin
from renderonline.config import ApiSettings, parse
from renderonline.frames import FrameSet

from .processes import DEADLINE_S, Service, end_all, service, write_config
from .waiting import wait_until

Json = dict[str, Any]

DRAW = '''
"""argv as Blender's: -o NAME_####, -s FIRST, -e LAST, -j STEP. In the environment, DRAWN_BY: the machine;
DRAWN_IN: where notes are taken, if not beside this file."""
import json, os, struct, subprocess, sys, time, zlib
from pathlib import Path

PLAN = json.loads(PLAN_AS_JSON)
FILE, WHO = Path(__file__), os.environ.get("DRAWN_BY", "")
HERE = Path(os.environ["DRAWN_IN"], FILE.stem) if "DRAWN_IN" in os.environ else FILE.parent


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = (b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
       + chunk(b"IDAT", zlib.compress(b"\\0\\0"))
       + chunk(b"teXt", (WHO + " ").encode().ljust(PLAN["frame_bytes"], b" ")) + chunk(b"IEND", b""))


def note(word, number):
    with open(HERE / "notes.txt", "ab", buffering=0) as notes:
        notes.write(f"{word} {number} {os.getpid()} {WHO}\\n".encode())


def value(flag, default=None):
    """The last one counts: a negative end has a 0 in front, from which Blender counts it."""
    given = [after for word, after in zip(sys.argv, sys.argv[1:]) if word == flag]
    return given[-1] if given else default


def is_first_time(frame):
    try:
        (HERE / f"tried-{frame}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def may_go_wrong(frame):
    return not PLAN["goes_wrong_once"] or is_first_time(frame)


def go_wrong(frame):
    if (HERE / "mended").exists():
        return
    if WHO in PLAN["fails_on"] or (frame in PLAN["fails_at"] and may_go_wrong(frame)):
        note("failed", frame)
        print("this cannot be drawn", flush=True)
        sys.exit(3)
    if frame in PLAN["hangs_at"] and may_go_wrong(frame):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note("child", child.pid)
        time.sleep(600)
    if frame in PLAN["eats_at"] and may_go_wrong(frame):
        eaten = b"x" * PLAN["eats_bytes"]
        time.sleep(600)


def wait(frame):
    if frame in PLAN["held"]:
        while not (HERE / f"go-{frame}").exists() and not (HERE / "go").exists():
            time.sleep(0.02)
    time.sleep(PLAN["frame_s"].get(WHO, PLAN["frame_s"].get("", 0)))


for frame in range(int(value("-s")), int(value("-e")) + 1, int(value("-j", 1))):
    note("begun", frame)
    print(f"Fra:{frame} Mem:9.91M (Peak 10.83M) | Time:00:00.07 | Sample 1/2", flush=True)
    go_wrong(frame)
    wait(frame)
    file = Path(value("-o").replace("####", f"{frame:04}") + ".png")
    if frame in PLAN["half_at"] and is_first_time(frame):
        file.write_bytes(PNG[: len(PNG) // 2])
        note("half", frame)
        os.kill(os.getpid(), 9)
    file.write_bytes(PNG)
    note("saved", frame)
    print(f"Saved: '{file}'", flush=True)
print("Blender quit", flush=True)
'''

ENGINE = {
    "name": "draw",
    "extension": ".draw",
    "render_argument": "draw $RENDERONLINE:@uploaded_file -b -y "
    "-o $RENDERONLINE:@output_dir/frame_#### "
    "-s $RENDERONLINE:start_frame -e $RENDERONLINE:end_frame -a",
    "adapter": "blender",
}
"""`-y` and `-b` behind the file, since Python is the program that gets them first."""


@dataclass(frozen=True)
class Plan:
    """How the renders of a task go. `*_at` are frames, `fails_on` machines by their names."""

    held: Sequence[int] = ()  # wait before these until they are let go
    frame_s: Mapping[str, float] = field(default_factory=dict)  # by machine; "" is any other
    fails_at: Sequence[int] = ()
    fails_on: Sequence[str] = ()
    hangs_at: Sequence[int] = ()  # without a word, with a child
    eats_at: Sequence[int] = ()
    eats_bytes: int = 0
    half_at: Sequence[int] = ()  # the first time, it is killed when half of the file is written
    frame_bytes: int = 0  # how large a frame is, at least
    project_bytes: int = 0  # how large the project is, at least
    goes_wrong_once: bool = False  # what goes wrong at a frame, does so only the first time

    @property
    def project(self) -> bytes:
        script = DRAW.replace("PLAN_AS_JSON", repr(json.dumps(asdict(self), default=list)))
        return script.encode() + b"#".ljust(self.project_bytes, b"-")


@dataclass(frozen=True)
class Note:
    """What a renderer wrote down. `word`: begun, saved, failed (of a frame), child (a pid)."""

    word: str
    number: int
    pid: int
    who: str


@dataclass(frozen=True)
class Drawing:
    """A task of the engine `draw`."""

    house: House
    task_id: int
    folder: Path  # the project's, on the api's disk
    notebook: Path  # where its renderers take their notes; the same, where they see that disk

    @property
    def detail(self) -> Json:
        found: Json = self.house.get(f"tasks/{self.task_id}")
        return found

    @property
    def task(self) -> Json:
        found: Json = self.detail["Task"]
        return found

    @property
    def chunks(self) -> list[Json]:
        found: list[Json] = self.detail["Chunks"]
        return found

    def notes(self, *words: str) -> list[Note]:
        """In their order; all of them, or only those with one of these words."""
        file = self.notebook / "notes.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        fields = [line.split(maxsplit=3) for line in lines]
        notes = [Note(f[0], int(f[1]), int(f[2]), f[3] if len(f) > 3 else "") for f in fields]
        return [note for note in notes if not words or note.word in words]

    def saved(self) -> Counter[int]:
        """How often each frame was rendered."""
        return Counter(note.number for note in self.notes("saved"))

    def let_go(self, *frames: int) -> None:
        """Let renderers go on that wait before these frames; without any, before all."""
        for name in [f"go-{frame}" for frame in frames] or ["go"]:
            (self.notebook / name).touch()

    def mend(self) -> None:
        """From now on nothing goes wrong at any frame."""
        (self.notebook / "mended").touch()

    def wait_for_begun(self, *frames: int) -> list[Note]:
        """Wait until these frames are being rendered; the notes about them, by frame."""
        wanted = set(frames)

        def begun() -> list[Note]:
            notes = [note for note in self.notes("begun") if note.number in wanted]
            return notes if {note.number for note in notes} == wanted else []

        found = wait_until(begun, f"frames {frames} of task {self.task_id} are rendered")
        return sorted(found, key=lambda note: note.number)

    def wait_for_done(self, count: int) -> None:
        """Wait until the api knows of so many frames."""
        wait_until(lambda: self.task["FramesDone"] >= count, f"{count} frames are there")

    def wait_for(self, state: str) -> Json:
        """Wait until the task is over, in this state; it then."""
        over = ("succeeded", "failed", "cancelled")
        task: Json = wait_until(
            lambda: (found := self.task)["State"] in over and found,
            f"task {self.task_id} is over",
            DEADLINE_S * 2,
        )
        assert task["State"] == state, self.detail
        return task

    def assert_whole(self) -> None:
        """Every frame is there, and in no succeeded chunk twice."""
        task = self.wait_for("succeeded")
        frames = FrameSet.parse(task["Frames"])
        assert (task["FramesDone"], task["FramesFailed"]) == (len(frames), 0)
        files = {file.name for file in (self.folder / "output").glob("*.png")}
        wanted = {f"frame_{frame:04}.png" for frame in frames}
        assert files == wanted, f"too many or too few: {sorted(files ^ wanted)}"
        chunks = [c for c in self.chunks if c["State"] == "succeeded"]
        parts = Counter(frame for chunk in chunks for frame in FrameSet.parse(chunk["Frames"]))
        assert set(parts) <= set(frames)
        states = {chunk["State"] for chunk in self.chunks}
        assert not states & {"assigned", "running"}, self.chunks

    def assert_rendered_once(self) -> None:
        """Every frame is there, and was rendered once; last frames where one helped another, twice.

        (Which a test cannot rule out: a machine may be slow by chance.)
        """
        self.assert_whole()
        saved = self.saved()
        assert set(saved) == set(FrameSet.parse(self.task["Frames"]))
        good = [c for c in self.chunks if c["State"] in ("succeeded", "interrupted")]
        given = Counter(frame for chunk in good for frame in FrameSet.parse(chunk["Frames"]))
        assert not {f for f, times in saved.items() if times > max(given[f], 1)}, self.chunks


@dataclass
class DrawFarm:
    """Running apis over one database, and nodes by the name that DRAWN_BY gives them."""

    houses: list[House]
    nodes: dict[str, Service]
    machine_ids: dict[str, int]
    cables: dict[str, Cable]  # to nodes by their names, and to the api
    notebooks: Path | None = None  # where renderers take notes that do not see the api's disk

    def cut(self, name: str) -> None:
        """Neither the api nor this node can reach the other; nor can other nodes reach the api."""
        self.cables[name].cut()
        self.cables["api"].cut()

    def mend(self, name: str) -> None:
        """Undo `cut`."""
        self.cables[name].mend()
        self.cables["api"].mend()

    @property
    def house(self) -> House:
        return self.houses[0]

    def submit(
        self,
        frames: str,
        plan: Plan | None = None,
        who: Person | None = None,
        at: int = 0,
        **fields: Any,
    ) -> Drawing:
        """A task in the queue of the api `at`, of the user `who` or the artist.

        `fields` as in EnqueueRequest.
        """
        name = f"{uuid.uuid4().hex}.draw"  # by which its folder is found
        plan = plan or Plan()
        house = self.houses[at]
        if self.notebooks is not None:
            (self.notebooks / Path(name).stem).mkdir(parents=True)
        answer = house.enqueue(name, plan.project, {}, who, Frames=frames, **fields)
        assert answer.status_code == 200, answer.text
        (project,) = house.data.glob(f"projects/*/*/{name}")
        house = replace(house, people={**house.people, "artist": who or house.artist})
        notebook = self.notebooks and self.notebooks / project.stem
        return Drawing(
            house, int(answer.json()["TaskId"]), project.parent, notebook or project.parent
        )

    def machine(self, name: str) -> Json:
        """A node as GET machines shows it to an admin."""
        shown = self.house.get("machines", self.house.people["admin"])["Machines"]
        number = self.machine_ids[name]
        found: Json = next(machine for machine in shown if machine["MachineId"] == number)
        return found


def offered(name: str, notebooks: Path | None = None, **more: Any) -> Json:
    """The engine as a node of this name has it in its settings."""
    environment = {"DRAWN_BY": name, **({"DRAWN_IN": str(notebooks)} if notebooks else {})}
    return {
        "EngineId": "draw",
        "ExecutablePath": sys.executable,
        "Adapter": "blender",
        "Environment": environment,
        "Warm": False,
        **more,
    }


@contextmanager
def draw_farm(
    folder: Path,
    *nodes: str,
    connection_string: str | None = None,
    apis: int = 1,
    engine: Mapping[str, Any] | None = None,
    node_settings: Mapping[str, Mapping[str, Any]] | None = None,
    cabled: Sequence[str] = (),
    others: Mapping[str, int] | None = None,
    apart: bool = False,
    environments: Mapping[str, Mapping[str, str]] | None = None,
    public: Callable[[int], str] | None = None,
    **settings: Any,
) -> Iterator[DrawFarm]:
    """A farm with these nodes, ended with the block.

    `engine`: further columns of `draw`; `node_settings`: of HPCServer.json, by node; `cabled`:
    nodes that the api reaches by a cable which can be cut, as is then the way back; `others`: ports
    of machines that are there already; `apart`: nodes see nothing of the api's disk; `environments`:
    of nodes, by name; `public`: given the api's port, the address that nodes know it by; `settings`:
    of RenderAPI.json.
    """
    raw = {
        "ConnectionString": connection_string or f"sqlite:///{(folder / 'f.sqlite3').as_posix()}",
        "Port": "0",
        "Host": "127.0.0.1",
        "PollSeconds": 0.5,
        **settings,
    }
    with ExitStack() as stack:
        notebooks = folder / "notebooks" if apart else None
        running = _start_nodes(
            stack, folder, nodes, node_settings or {}, notebooks, environments or {}
        )
        cables = {name: stack.enter_context(cable(running[name].port)) for name in cabled}
        ports = {name: node.port for name, node in running.items()}
        ports |= {name: laid.port for name, laid in cables.items()} | dict(others or {})
        if cabled:
            raw["Port"] = str(free_port())
            cables["api"] = stack.enter_context(cable(int(raw["Port"])))
            raw["PublicUrl"] = f"http://127.0.0.1:{cables['api'].port}"
        if public is not None:
            raw["Port"] = str(free_port())
            raw["PublicUrl"] = public(int(raw["Port"]))
        people, machine_ids = _fill(raw, folder, {**ENGINE, **(engine or {})}, ports)
        houses = []
        for number in range(1, apis + 1):
            data = folder / "data"  # which several apis share
            config = write_config(
                folder / f"api{number}" / "RenderAPI.json", {**raw, "DataPath": str(data)}
            )
            api = Service("api", config)
            stack.callback(end_all, [api])
            houses.append(House(folder, api, folder / "f.sqlite3", data, None, people))
        yield DrawFarm(houses, running, machine_ids, cables, notebooks)


def _start_nodes(
    stack: ExitStack,
    folder: Path,
    names: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]],
    notebooks: Path | None,
    environments: Mapping[str, Mapping[str, str]],
) -> dict[str, Service]:
    """All at once: a start takes about a second."""

    def start(name: str) -> Service:
        own = {"RenderingEngines": [offered(name, notebooks)], **settings.get(name, {})}
        if notebooks is not None:
            own["Storage"] = "transfer"
        started = service("node", folder / name, own, environments.get(name))
        return stack.enter_context(started)

    with ThreadPoolExecutor(max(len(names), 1)) as pool:
        return dict(zip(names, pool.map(start, names), strict=True))


def _fill(
    raw: Json, folder: Path, engine: Json, ports: Mapping[str, int]
) -> tuple[dict[str, Person], dict[str, int]]:
    """The people and the machines, put into an empty database."""
    settings = parse(ApiSettings, {**raw, "DataPath": str(folder / "data")}, folder)[0]
    database = open_database(settings)
    try:
        people = fill(database) | {"third": person(database, "third@example.com")}
        admin.add(database, "engine", engine)
        for bound in ("start_frame", "end_frame"):
            admin.change(database, "argtype", bound, {"type": "integer"})  # below 0, too
        machine_ids = {
            name: admin.add(database, "machine", {"ip_address": "127.0.0.1", "port": port})
            for name, port in ports.items()
        }
    finally:
        database.close()
    return people, {name: int(row["machine_id"]) for name, row in machine_ids.items()}


def free_port() -> int:
    """One that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_alive(pid: int) -> bool:
    """Whether a process with this id runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

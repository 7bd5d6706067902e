"""The quick start, run for real in a copy of the checkout: frames come out, and nothing stays behind."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests
from PIL import Image
from support.processes import DEADLINE_S, ROOT, private_environment
from support.waiting import wait_until

sys.path.insert(0, str(ROOT / "packaging"))
import contact_sheet
import debian_packages
import environment
import quick_farm
import quick_renderer
import quick_services

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".quickstart", ".hypothesis", "__pycache__", "*.egg-info"
)


@dataclass(frozen=True)
class Checkout:
    """A copy of this checkout, and how the quick start is run in it."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / ".quickstart"

    def start(self, *arguments: str | Path, script: str = "quick_farm.py") -> subprocess.Popen[str]:
        """Start the quick start; `quick_farm.py` is its second step, with the tests' own packages."""
        home = self.root.parent / "home"
        own_code = {"PYTHONPATH": str(self.root)} if script == "quick_farm.py" else {}
        variables = private_environment(home, own_code)
        if not own_code:
            variables.pop("PYTHONPATH")
        return subprocess.Popen(
            [sys.executable, str(self.root / "packaging" / script), *map(str, arguments)],
            env=variables,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run(
        self,
        *arguments: str | Path,
        script: str = "quick_farm.py",
        deadline_s: float = DEADLINE_S * 5,
    ) -> tuple[int, str, str]:
        """Run it to its end: exit code, stdout, stderr."""
        process = self.start(*arguments, script=script)
        stdout, stderr = process.communicate(timeout=deadline_s)
        print(stdout, stderr)
        return process.returncode, stdout, stderr

    def run_as_printed(self, line: str) -> Path:
        """Run a `submit` that was shown to the user; where it puts its frames."""
        words = shlex.split(line)
        home = self.root.parent / "home"
        variables = private_environment(home, {"PYTHONPATH": str(self.root)})
        subprocess.run(words, cwd=home, env=variables, check=True, timeout=DEADLINE_S)
        return home / words[words.index("--download") + 1]

    def processes(self) -> list[str]:
        """The command lines of all that runs and has to do with this copy."""
        return [" ".join(process.info["cmdline"]) for process in self._running()]

    def end_all(self) -> None:
        """End what a failed test has left running."""
        for process in self._running():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _running(self) -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if str(self.root) in " ".join(process.info["cmdline"] or [])
        ]


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    root = tmp_path / "a checkout"  # a space, as in many people's folders
    shutil.copytree(ROOT, root, ignore=LEFT_OUT)
    copy = Checkout(root)
    yield copy
    copy.end_all()


def pictures(folder: Path) -> set[bytes]:
    """The distinct pixels of all frames in a folder, each of which must open."""
    found = set()
    for file in folder.glob("frame_*.png"):
        with Image.open(file) as image:
            found.add(image.convert("RGB").tobytes())
    return found


@pytest.mark.parametrize("renderer", ["blender", "bpy"])
def test_frames_come_out_of_a_farm_of_two(
    checkout: Checkout, cube: Path, tmp_path: Path, renderer: str
) -> None:
    output = tmp_path / "frames"
    choice = ["--renderer", "bpy"] if renderer == "bpy" else []
    code, stdout, stderr = checkout.run(cube, "--frames", "1-4", "--output", output, *choice)
    assert code == 0
    assert f"4 files in {output}" in stdout
    assert len(pictures(output)) == 4
    with Image.open(output / "contact-sheet.png") as sheet:
        assert sheet.width > 2 * contact_sheet.THUMBNAIL_WIDTH_PX
    assert "an api and 2 nodes" in stderr
    # Which of the two renders how much is theirs to find out: four frames are quickly done.
    at_work = {
        number
        for line in re.findall(r"machines? ([\d, ]+)", stderr)
        for number in re.findall(r"\d+", line)
    }
    assert at_work and at_work <= {"1", "2"}
    assert checkout.processes() == []
    assert not (checkout.state / "farm.json").exists()


def test_a_file_that_is_no_project_is_a_sentence(checkout: Checkout, tmp_path: Path) -> None:
    broken = tmp_path / "broken.blend"
    broken.write_bytes(b"BLENDER-v304 and then nothing")
    code, _stdout, stderr = checkout.run(broken)
    assert code == 1
    assert "broken.blend" in stderr
    assert "Traceback" not in stderr
    assert checkout.processes() == []


def test_a_render_that_fails_says_why(checkout: Checkout, blend: Callable[[str], Path]) -> None:
    code, _stdout, stderr = checkout.run(blend("no_camera"), "--frames", "1-2")
    assert code == 1
    assert "camera" in stderr.lower()
    assert "Traceback" not in stderr
    assert checkout.processes() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_what_it_started(
    checkout: Checkout, blend: Callable[[str], Path], number: signal.Signals
) -> None:
    process = checkout.start(blend("slow"), "--frames", "1-2")
    assert process.stderr is not None
    seen = next((line for line in process.stderr if "running" in line), None)
    assert seen is not None, "it ended before anything was rendered"
    assert len(checkout.processes()) >= 4  # itself, the api, two nodes
    process.send_signal(number)
    _stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert "Interrupted" in stderr
    wait_until(lambda: checkout.processes() == [], "everything it started has ended")


def test_kept_farm_takes_more_work_and_is_stopped(checkout: Checkout, cube: Path) -> None:
    try:
        code, stdout, _stderr = checkout.run(cube, "--frames", "1", "--keep")
        assert code == 0
        url = json.loads((checkout.state / "farm.json").read_text())["Urls"]["api"]
        token = (checkout.state / "farm" / "token.txt").read_text().strip()
        assert url in stdout
        assert token not in stdout
        headers = {"email": quick_farm.EMAIL, "token": token}
        assert requests.get(f"{url}/renderapi/v1/info", headers=headers, timeout=60).ok
        submit = next(line for line in stdout.splitlines() if "FILE.blend" in line)
        frames = checkout.run_as_printed(submit.replace("FILE.blend", str(cube)))
        assert len(pictures(frames)) == 10
        again, _stdout, stderr = checkout.run(cube, "--frames", "1")
        assert again == 1
        assert "--stop" in stderr
        assert requests.get(f"{url}/renderapi/v1/info", headers=headers, timeout=60).ok
    finally:
        code, stdout, _stderr = checkout.run("--stop")
    assert (code, stdout) == (0, "The farm is stopped.\n")
    assert checkout.processes() == []


def test_what_a_killed_run_leaves_is_ended_by_the_next(
    checkout: Checkout, blend: Callable[[str], Path], cube: Path
) -> None:
    process = checkout.start(blend("slow"), "--frames", "1-2")
    assert process.stderr is not None
    assert any("running" in line for line in process.stderr)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    assert checkout.processes() != []
    code, _stdout, _stderr = checkout.run(cube, "--frames", "1")
    assert code == 0
    wait_until(lambda: checkout.processes() == [], "the killed run's farm has ended")


@pytest.mark.slow
def test_from_nothing_to_the_sample_and_quickly_again(checkout: Checkout) -> None:
    code, _stdout, stderr = checkout.run(script="quickstart.py", deadline_s=3600)
    assert code == 0
    assert "Installing" in stderr
    frames = checkout.state / "frames" / "sample"
    assert len(pictures(frames)) == 24
    code, _stdout, stderr = checkout.run("--frames", "1", script="quickstart.py", deadline_s=3600)
    assert code == 0
    assert "Installing" not in stderr
    assert len(pictures(frames)) == 24  # the first ones are still there
    assert len(pictures(checkout.state / "frames" / "sample-2")) == 1


@pytest.mark.slow
def test_pip_comes_from_debian_where_python_has_none(tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    environment.bootstrap_pip(folder)
    subprocess.run([environment.python_of(folder), "-m", "pip", "--version"], check=True)


def test_no_pip_and_no_apt_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(environment.EnvironmentFailed, match="python3-venv"):
        environment.bootstrap_pip(tmp_path)


@pytest.mark.slow
def test_package_is_unpacked_without_touching_the_system(tmp_path: Path) -> None:
    root = debian_packages.fetch(["libxxf86vm1"], tmp_path / "packages")
    assert list(root.rglob("libXxf86vm.so.1"))
    assert debian_packages.fetch(["libxxf86vm1"], tmp_path / "packages") == root


def test_package_that_cannot_be_had_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(debian_packages.PackagesFailed, match="apt-get install libgl1"):
        debian_packages.fetch(["libgl1"], tmp_path / "packages")


def test_a_long_animation_is_thinned_out_for_the_contact_sheet() -> None:
    frames = [Path(f"frame_{number:04}.png") for number in range(1, 1001)]
    chosen = contact_sheet.thinned(frames, 60)
    assert (len(chosen), chosen[0], chosen[-1]) == (60, frames[0], frames[-1])


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 2), (10, 5), (24, 6), (25, 5)])
def test_contact_sheet_is_about_square(count: int, columns: int) -> None:
    assert contact_sheet.column_count(count) == columns


def test_contact_sheet_leaves_out_what_does_not_open(tmp_path: Path) -> None:
    good, bad = tmp_path / "f_1.png", tmp_path / "f_2.exr"
    Image.new("RGB", (64, 32), "red").save(good)
    bad.write_bytes(b"no picture")
    assert contact_sheet.make([good, bad], tmp_path / "sheet.png") == 1
    assert contact_sheet.make([bad], tmp_path / "none.png") == 0
    assert not (tmp_path / "none.png").exists()


def test_blender_versions_are_compared_as_numbers() -> None:
    assert quick_renderer.version_numbers("2.93.0 LTS") >= quick_renderer.OLDEST_BLENDER
    assert quick_renderer.version_numbers("2.79") < quick_renderer.OLDEST_BLENDER


def test_another_process_with_a_remembered_number_is_left_alone(tmp_path: Path) -> None:
    own = psutil.Process()
    record = {"Kept": False, "Urls": {}, "Processes": [{"Pid": own.pid, "Created": 1.0}]}
    (tmp_path / "farm.json").write_text(json.dumps(record))
    assert quick_services.Services(tmp_path / "farm").recorded()[0] == []

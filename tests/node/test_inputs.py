"""Where an attempt is rendered: beacons, and folders of the api's that are named on a command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from renderonline.node.inputs import NodeInputs, Place
from renderonline.node.refusal import Refusal
from renderonline.wire import Beacon, HpcStart, ProjectRef

PROJECT = ProjectRef(sha256="ab" * 32, main="a.blend", files=1, size_bytes=1)
HERE = Path("/here/work/1") if os.sep == "/" else Path("C:\\here\\work\\1")


@pytest.mark.parametrize(
    ("word", "folder", "expected"),
    [
        ("/srv/1/9/a.blend", "/srv/1/9", "{here}/a.blend"),
        ("/srv/1/9", "/srv/1/9", "{here}"),
        ("/srv/1/9/", "/srv/1/9", "{here}/"),
        ("--out=/srv/1/9/output/f_", "/srv/1/9", "--out={here}/output/f_"),
        ("+I/srv/1/9/a.pov", "/srv/1/9", "+I{here}/a.pov"),
        ("/srv/1/9/a;/srv/1/9/b", "/srv/1/9", "{here}/a;{here}/b"),
        ("/srv/1/99/a.blend", "/srv/1/9", "/srv/1/99/a.blend"),
        ("/srv/1/9.old/a.blend", "/srv/1/9", "/srv/1/9.old/a.blend"),
        ("a.blend", "/srv/1/9", "a.blend"),
        ("-f", "/srv/1/9", "-f"),
        ("/srv/(1)/+9/a", "/srv/(1)/+9", "{here}/a"),
        ("C:\\farm\\1\\9\\in ü\\a.blend", "C:\\farm\\1\\9", "{here}/in ü/a.blend"),
        ("--out=C:\\farm\\1\\9\\output\\f_", "C:\\farm\\1\\9", "--out={here}/output/f_"),
        ("\\\\nas\\farm\\9\\a.blend", "\\\\nas\\farm\\9", "{here}/a.blend"),
        ("C:\\farm\\1\\99\\a.blend", "C:\\farm\\1\\9", "C:\\farm\\1\\99\\a.blend"),
    ],
)
def test_words_that_name_the_apis_folder(word: str, folder: str, expected: str) -> None:
    place = Place(HERE, moved=((folder, HERE),))
    wanted = expected
    if "{here}" in expected:
        wanted = expected.replace("/", os.sep).format(here=HERE)
    assert place.relocated([word]) == [wanted]


def start(task_dir: Path | str, beacon: Beacon | None, output: str | None = None) -> HpcStart:
    return HpcStart(
        task_id=1,
        task_dir=str(task_dir),
        output_dir=output or str(Path(task_dir, "output")),
        manifest=PROJECT,
        beacon=beacon,
    )


@pytest.mark.parametrize(
    ("content", "word", "is_seen"),
    [
        ("word", "word", True),
        ("word\n", "word", True),
        ("other", "word", False),
        ("", "", False),
        (None, "word", False),
        ("folder", "word", False),
        ("wörd", "wörd", False),
    ],
)
def test_a_disk_is_shared_where_its_beacon_is_seen(
    tmp_path: Path, content: str | None, word: str, is_seen: bool
) -> None:
    file, task_dir = tmp_path / "beacon", tmp_path / "task"
    task_dir.mkdir()
    if content == "folder":
        file.mkdir()
    elif content is not None:
        file.write_text(content, encoding="utf-8")
    beacon = Beacon(path=str(file), word=word)
    place = NodeInputs(tmp_path / "data").place(start(task_dir, beacon))
    assert (place.project is None) == is_seen
    assert (place.working_dir == task_dir) == is_seen
    far = NodeInputs(tmp_path / "data", always_copies=True).place(start(task_dir, beacon))
    assert far.project == PROJECT and far.working_dir.is_relative_to(tmp_path / "data")


@pytest.mark.parametrize("path", ["x\0y", "n" * 5000, ""])
def test_a_beacon_that_nobody_can_ask_for(tmp_path: Path, path: str) -> None:
    place = NodeInputs(tmp_path).place(start(tmp_path / "t", Beacon(path=path, word="word")))
    assert place.project == PROJECT


@pytest.mark.parametrize(
    ("task_dir", "output", "below"),
    [
        ("/srv/1/9", "/srv/1/9/output", "output"),
        ("/srv/1/9", "/srv/1/9/output/v1", "output/v1"),
        ("C:\\farm\\9", "C:\\farm\\9\\output", "output"),
        ("\\\\nas\\farm\\9", "\\\\nas\\farm\\9\\output", "output"),
    ],
)
def test_the_desk_is_where_the_output_is_in_the_project(
    tmp_path: Path, task_dir: str, output: str, below: str
) -> None:
    place = NodeInputs(tmp_path).place(start(task_dir, None, output))
    assert place.desk == place.working_dir / below


@pytest.mark.parametrize("output", ["/srv/1/9", "/srv/1/10/o", "/srv/1/9/../x", "o", "C:\\x"])
def test_an_output_folder_outside_the_project_is_refused(tmp_path: Path, output: str) -> None:
    with pytest.raises(Refusal, match="not inside the project"):
        NodeInputs(tmp_path).place(start("/srv/1/9", None, output))


@pytest.mark.parametrize(
    "project",
    [
        ProjectRef(sha256="../../x", main="a.blend", files=1, size_bytes=1),
        ProjectRef(sha256="AB" * 32, main="a.blend", files=1, size_bytes=1),
        ProjectRef(sha256="ab" * 32, main="../a.blend", files=1, size_bytes=1),
    ],
)
def test_a_project_with_a_bad_name_is_refused(tmp_path: Path, project: ProjectRef) -> None:
    with pytest.raises(Refusal, match="Manifest"):
        NodeInputs(tmp_path).place(
            HpcStart(task_id=1, task_dir="/srv/9", output_dir="/srv/9/o", manifest=project)
        )

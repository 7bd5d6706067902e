"""Variants on the command line: what the words mean, what is checked, and a farm that renders them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support.farm import Farm
from support.processes import run_cli

from renderonline import wire
from renderonline.client import Unusable, Variant, Wishes, prepare_variants
from renderonline.commands.edge import UsageError
from renderonline.commands.submit import parse_variant
from renderonline.frames import FrameError, FrameSet

from .test_submission import ENGINES, engine

BLENDER = engine(1, "blender", ".blend", start_frame=None, end_frame=None, output_format=None)
VIEWER = engine(7, "viewer", ".blend", quality="1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exr", Variant("exr")),
        ("exr:output_format=OPEN_EXR", Variant("exr", arguments={"output_format": "OPEN_EXR"})),
        (
            "proxy:output_format=JPEG,frames=1-10x5",
            Variant("proxy", arguments={"output_format": "JPEG"}, frames=FrameSet.parse("1-10x5")),
        ),
        (
            "a b:frames=1-9,20,30-40,engine=viewer,version=4.5",
            Variant(
                "a b", engine="viewer", frames=FrameSet.parse("1-9,20,30-40"), engine_version="4.5"
            ),
        ),
        ("x:note=a=b,c", Variant("x", arguments={"note": "a=b,c"})),
        ("x:", Variant("x")),
    ],
)
def test_the_words_of_a_variant(text: str, expected: Variant) -> None:
    assert parse_variant(text) == expected


@pytest.mark.parametrize("text", ["", ":output_format=PNG", " :a=b", "x:y", "x:=y", "x:a=1,a=2"])
def test_a_variant_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_variant(text)
    with pytest.raises(FrameError):
        parse_variant("x:frames=1-")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    file = tmp_path / "scene.blend"
    file.write_bytes(b"BLENDER")
    return file


def prepared(
    project: Path, *variants: Variant, frames: str | None = "1-10", **arguments: str
) -> wire.EnqueueRequest:
    wanted = None if frames is None else FrameSet.parse(frames)
    engines = [*ENGINES, VIEWER]
    submission = prepare_variants(
        project, engines, BLENDER, arguments, wanted, Wishes(), list(variants)
    )
    return submission.request()


def values(variant: wire.Variant) -> Mapping[str, str]:
    return {argument.arg_type_id: argument.value for argument in variant.arguments}


def test_a_variant_is_sent_with_what_is_its_own(project: Path) -> None:
    own = Variant("exr", arguments={"OUTPUT_format": "OPEN_EXR"})
    proxy = Variant("proxy", frames=FrameSet.parse("1-10x5"), engine_version="4.5")
    request = prepared(project, own, proxy, output_format="JPEG")
    assert (request.frames, request.engine_id) == ("1-10", "1")
    assert [variant.name for variant in request.variants] == ["exr", "proxy"]
    exr, small = request.variants
    assert (values(exr), exr.frames, exr.engine_id) == ({"output_format": "OPEN_EXR"}, None, "")
    assert (values(small), small.frames, small.engine_version) == ({}, "1,6", "4.5")


def test_a_variant_may_have_frames_by_argument_and_an_engine_without(project: Path) -> None:
    ends = {"start_frame": "3", "end_frame": "4", "output_format": "PNG"}
    look = Variant("look", engine="viewer", arguments={"quality": "9"})
    one, other = prepared(project, Variant("a", arguments=ends), look, frames=None).variants
    assert values(one) == ends
    assert (other.engine_id, values(other)) == ("7", {"quality": "9"})


@pytest.mark.parametrize(
    ("variant", "frames", "says"),
    [
        (Variant("a"), "1-3", "Variant a: blender needs a value for output_format"),
        (Variant("a", arguments={"output_format": "PNG"}), None, "which frames to render"),
        (Variant("a", arguments={"colour": "red"}), "1-3", "has no argument 'colour'"),
        (Variant("a", engine="maya"), "1-3", "Variant a: The farm has no engine 'maya'"),
        (Variant("a", engine="povray"), "1-3", "takes .pov files"),
        (Variant("a", engine="viewer"), "1-3", "takes no range of frames"),
    ],
)
def test_a_variant_that_the_farm_would_refuse_is_named(
    project: Path, variant: Variant, frames: str | None, says: str
) -> None:
    with pytest.raises(Unusable, match=says):
        prepared(project, variant, frames=frames)


def test_a_project_is_rendered_in_two_formats_into_two_folders(
    start_farm: Callable[..., Farm], cube: Path, tmp_path: Path
) -> None:
    farm = start_farm()
    environment = {
        "RENDERONLINE_SERVER": farm.api.url,
        "RENDERONLINE_EMAIL": farm.user.email,
        "RENDERONLINE_TOKEN": farm.user.token,
    }

    def run(*words: str | Path) -> str:
        done = run_cli(*words, home=tmp_path / "home", environment=environment)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    target = tmp_path / "frames"
    wanted = ("--variant", "exr:output_format=OPEN_EXR", "--variant", "proxy:frames=1,3")
    fetched = ("--download", target, "--json")
    told = json.loads(run("submit", cube, "--frames", "1-2", *wanted, *fetched))
    assert told["State"] == "succeeded"
    found = sorted(file.relative_to(target).as_posix() for file in target.rglob("*.*"))
    exr, proxy = ("exr/frame_0001.exr", "exr/frame_0002.exr"), ("proxy/frame_0001.png",)
    assert found == [*exr, *proxy, "proxy/frame_0003.png"]
    shown = run("tasks", str(told["TaskId"]))
    assert all(word in shown for word in ("exr: 1", "proxy: 3", "4/4 frames", "1,3"))
    (variant,) = (v for v in farm.task(told["TaskId"])["Variants"] if v["Name"] == "proxy")
    assert f"proxy, of task {told['TaskId']}" in run("tasks", str(variant["TaskId"]))
    run("download", str(variant["TaskId"]), tmp_path / "one")
    one = sorted(file.name for file in (tmp_path / "one").rglob("*.png"))
    assert one == ["frame_0001.png", "frame_0003.png"]
    run("delete", str(told["TaskId"]), "--yes")
    assert json.loads(run("tasks", "--json"))["Tasks"] == []

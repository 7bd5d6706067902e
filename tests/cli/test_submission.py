"""Choosing an engine and checking a submission, before anything is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from renderonline import blendfile, wire
from renderonline.api.services.setup import FORMAT_REGEX
from renderonline.client import Unusable, Wishes, check_file, choose_engine, prepare
from renderonline.engines.blender_options import output_format
from renderonline.frames import FrameSet


def engine(engine_id: int, name: str, extension: str, **arguments: str | None) -> wire.EngineDetail:
    return wire.EngineDetail(
        engine_id=engine_id,
        name=name,
        extension=extension,
        adapter="generic",
        arguments=[
            wire.EngineArgument(arg_type_id=name, type="word", default=default)
            for name, default in arguments.items()
        ],
    )


BLENDER = engine(1, "blender", ".blend", start_frame=None, end_frame=None, output_format=".png")
POVRAY = engine(2, "povray", ".pov", quality=None)
MEGAPOV = engine(3, "MegaPOV", ".pov")
ENGINES = [BLENDER, POVRAY, MEGAPOV]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    file = tmp_path / "scene.blend"
    file.write_bytes(b"BLENDER")
    return file


@pytest.mark.parametrize(
    ("file", "wanted", "expected"),
    [
        ("scene.blend", None, BLENDER),
        ("SCENE.BLEND", None, BLENDER),
        ("scene.blend", "Blender", BLENDER),
        ("scene.blend", "1", BLENDER),
        ("scene.pov", "megapov", MEGAPOV),
        ("scene.pov", "2", POVRAY),
    ],
)
def test_the_engine_is_told_from_the_file_or_named(
    file: str, wanted: str | None, expected: wire.EngineDetail
) -> None:
    assert choose_engine(ENGINES, Path(file), wanted) is expected


@pytest.mark.parametrize(
    ("file", "wanted", "says"),
    [
        ("scene.pov", None, "More than one engine takes .pov files: povray, MegaPOV."),
        ("scene.ma", None, "No engine of this farm takes a file like scene.ma."),
        ("scene", None, "No engine of this farm takes a file like scene."),
        ("scene.blend", "maya", "The farm has no engine 'maya'."),
        ("scene.blend", "povray", "povray takes .pov files, not scene.blend."),
    ],
)
def test_an_engine_that_cannot_be_told_is_a_question(
    file: str, wanted: str | None, says: str
) -> None:
    with pytest.raises(Unusable) as raised:
        choose_engine(ENGINES, Path(file), wanted)
    assert str(raised.value) == says


def test_a_range_is_also_sent_as_the_arguments_that_the_original_knows(project: Path) -> None:
    request = prepare(project, BLENDER, {}, FrameSet.parse("3-7")).request()
    assert request.engine_id == "1"
    assert request.frames == "3-7"
    assert {a.arg_type_id: a.value for a in request.arguments} == {
        "start_frame": "3",
        "end_frame": "7",
    }


@pytest.mark.parametrize(
    ("frames", "ends"), [("1-9x2", ("1", "9")), ("1,5,10-20", ("1", "20")), ("7", ("7", "7"))]
)
def test_frames_with_gaps_are_sent_as_they_are_with_the_first_and_the_last(
    project: Path, frames: str, ends: tuple[str, str]
) -> None:
    request = prepare(project, BLENDER, {}, FrameSet.parse(frames)).request()
    values = {a.arg_type_id: a.value for a in request.arguments}
    assert (request.frames, values["start_frame"], values["end_frame"]) == (frames, *ends)


def test_wishes_are_sent_and_what_is_not_wished_for_is_the_farms(project: Path) -> None:
    wishes = Wishes(
        priority=90, chunk_frames=0, machine_limit=3, engine_version="4.5", tags=["gpu"],
        after=[7], start_at="2030-01-01T00:00:00Z", preview_first=True, notes="x",
    )  # fmt: skip
    request = prepare(project, BLENDER, {}, FrameSet.parse("1"), wishes).request()
    for name in Wishes.__dataclass_fields__:
        assert getattr(request, name) == getattr(wishes, name)
    bare = prepare(project, BLENDER, {}, FrameSet.parse("1")).request()
    default = wire.EnqueueRequest()
    for name in Wishes.__dataclass_fields__:
        assert getattr(bare, name) == getattr(default, name)


def test_frames_that_only_look_like_several_ranges_are_one(project: Path) -> None:
    assert prepare(project, BLENDER, {}, FrameSet.parse("4-6,1,2-3")).request().frames == "1-6"


@pytest.mark.parametrize(("kind", "regex"), [("integer", None), ("natural", r"-?\d+")])
def test_negative_frames_are_for_engines_that_take_them(
    project: Path, kind: str, regex: str | None
) -> None:
    def takes(kind: str, regex: str | None = None) -> wire.EngineDetail:
        ends = [wire.EngineArgument(name, kind, regex) for name in ("start_frame", "end_frame")]
        return wire.EngineDetail(4, "blender", ".blend", "blender", ends)

    frames = FrameSet.parse("-5-10")
    request = prepare(project, takes(kind, regex), {}, frames).request()
    assert {a.value for a in request.arguments} == {"-5", "10"}
    with pytest.raises(Unusable, match="takes no negative frames, as in -5-10") as raised:
        prepare(project, takes("natural"), {}, frames)
    assert "start_frame" in raised.value.hint


def test_the_step_is_filled_in_by_the_farm(project: Path) -> None:
    kinds = {"start_frame": "integer", "end_frame": "integer", "Frame_Step": "natural"}
    ends = [wire.EngineArgument(name, kind) for name, kind in kinds.items()]
    stepped = wire.EngineDetail(4, "blender", ".blend", "blender", ends)
    frames = FrameSet.parse("1-9x2")
    request = prepare(project, stepped, {}, frames).request()
    assert {a.arg_type_id for a in request.arguments} == {"start_frame", "end_frame"}
    assert request.frames == "1-9x2"
    assert prepare(project, stepped, {"start_frame": "1", "end_frame": "9"}).frames is None
    with pytest.raises(Unusable, match="given twice: as a range and as frame_step"):
        prepare(project, stepped, {"frame_step": "3"}, frames)


def test_arguments_by_hand_take_the_spelling_of_the_engine(project: Path) -> None:
    given = {"Start_Frame": "1", "end_frame": "2", "OUTPUT_FORMAT": ".jpg"}
    request = prepare(project, BLENDER, given).request()
    assert request.frames is None
    assert {a.arg_type_id: a.value for a in request.arguments} == {
        "start_frame": "1",
        "end_frame": "2",
        "output_format": ".jpg",
    }


@pytest.mark.parametrize(
    ("which", "arguments", "frames", "says"),
    [
        (BLENDER, {}, None, "blender needs to know which frames to render."),
        (BLENDER, {"start_frame": "1"}, None, "blender needs to know which frames to render."),
        (BLENDER, {"start_frame": "1"}, "1-3", "The frames are given twice"),
        (BLENDER, {"samples": "1"}, "1-3", "blender has no argument 'samples'."),
        (POVRAY, {}, None, "povray needs a value for quality."),
        (POVRAY, {"quality": "9"}, "1-3", "povray takes no range of frames."),
    ],
)
def test_what_is_missing_or_too_much_is_named(
    project: Path,
    which: wire.EngineDetail,
    arguments: dict[str, str],
    frames: str | None,
    says: str,
) -> None:
    parsed = None if frames is None else FrameSet.parse(frames)
    with pytest.raises(Unusable, match=says) as raised:
        prepare(project, which, arguments, parsed)
    assert raised.value.hint


def test_a_file_that_is_not_there_or_empty_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "empty.blend").touch()
    for name, says in (
        ("none.blend", "no file"),
        ("empty.blend", "is empty"),
        (".", "no file"),
        ("nul\0.blend", "blend"),
        ("x" * 400, "cannot be read|no file"),
    ):
        with pytest.raises(Unusable, match=says):
            check_file(tmp_path / name)


def test_a_folder_without_a_trailing_file_is_refused_by_prepare_too(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="no file"):
        prepare(tmp_path / f"gone{os.sep}", BLENDER, {}, FrameSet.parse("1"))


@pytest.mark.parametrize(
    ("kind", "regex", "given", "sent"),
    [
        ("movie", FORMAT_REGEX, {}, "AVI_JPEG"),
        ("cube", FORMAT_REGEX, {}, "PNG"),
        ("movie", FORMAT_REGEX, {"Output_Format": "PNG"}, "PNG"),
        ("movie", None, {}, None),  # a database of the original, which takes `.png` and its like
        ("movie", r"\.[a-z]+", {}, None),
    ],
)
def test_the_output_is_in_the_format_that_the_scene_says(
    blend: Callable[[str], Path],
    kind: str,
    regex: str | None,
    given: dict[str, str],
    sent: str | None,
) -> None:
    argument = wire.EngineArgument("output_format", "extension", regex, "PNG")
    engine = wire.EngineDetail(4, "blender", ".blend", "blender", [argument])
    submission = prepare(blend(kind), engine, given)
    assert submission.format == sent


@pytest.mark.parametrize("name", sorted(blendfile.FORMATS.values()))
def test_what_a_scene_says_is_a_format_that_the_engine_takes(name: str) -> None:
    assert re.fullmatch(FORMAT_REGEX, name)
    assert output_format(name).video is None

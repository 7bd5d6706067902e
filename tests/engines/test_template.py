"""Templates: which value goes where, and that no value becomes more than one argument."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderonline.engines.template import TemplateError, expand, is_splittable, placeholders

README = (
    "blender -b $RENDERONLINE:@uploaded_file -s $RENDERONLINE:start_frame "
    "-e $RENDERONLINE:end_frame -a"
)
SPECIALS = {"@uploaded_file": "/farm/my scene.blend", "@output_dir": "/farm/output"}


def test_the_readmes_template() -> None:
    argv = expand(README, {"start_frame": "1", "end_frame": "100"}, SPECIALS)
    assert argv == ["blender", "-b", "/farm/my scene.blend", "-s", "1", "-e", "100", "-a"]


@pytest.mark.parametrize(
    ("template", "values", "argv"),
    [
        ("$RENDERONLINE:START", {"start": "1"}, ["1"]),
        ("$RENDERONLINE:start", {"START": "1"}, ["1"]),
        ("$RENDERONLINE:start_frame", {"start": "1", "start_frame": "2"}, ["2"]),
        ("f_$RENDERONLINE:a.png", {"a": "1"}, ["f_1.png"]),
        ("f_$RENDERONLINE:a.png", {"a": "1", "a.png": "2"}, ["f_2"]),
        ("$RENDERONLINE:a-$RENDERONLINE:b", {"a": "1", "b": "2"}, ["1-2"]),
        ("$RENDERONLINE:a..$RENDERONLINE:b", {"a": "1", "b": "2"}, ["1..2"]),
        ("$RENDERONLINE:a", {"a": "x y"}, ["x y"]),
        ('"in $RENDERONLINE:a"', {"a": "x"}, ["in x"]),
        ("$RENDERONLINE:a", {"a": '" -P /etc/x "'}, ['" -P /etc/x "']),
        ("$RENDERONLINE:a", {"a": "$RENDERONLINE:b", "b": "2"}, ["$RENDERONLINE:b"]),
        ("$RENDERONLINE:a", {"a": "\\1\\g<0>"}, ["\\1\\g<0>"]),
        ("$RENDERONLINE:a", {"a": "-5"}, ["-5"]),
        ("$RENDERONLINE:a", {"a": "-0.5"}, ["-0.5"]),
        ("--out=$RENDERONLINE:a", {"a": "-x"}, ["--out=-x"]),
        ("-F $RENDERONLINE:a", {"a": ""}, ["-F", ""]),
        ("$RENDERONLINE:@OUTPUT_DIR/x", {}, ["/farm/output/x"]),
        ("no placeholder $HOME", {}, ["no", "placeholder", "$HOME"]),
    ],
)
def test_expands(template: str, values: dict[str, str], argv: list[str]) -> None:
    assert expand(template, values, SPECIALS) == argv


@pytest.mark.parametrize(
    ("template", "values", "named"),
    [
        ("$RENDERONLINE:start_frame", {"start": "1"}, "start_frame"),
        ("$RENDERONLINE:nope", {}, "nope"),
        ("$RENDERONLINE:@nope", {}, "@nope"),
        ("$RENDERONLINE:", {}, "$RENDERONLINE:"),
        ("$RENDERONLINE:a", {"a": "-P"}, "-P"),
        ("$RENDERONLINE:a", {"a": "-5x"}, "-5x"),
        ("$RENDERONLINE:a", {"a": "-1\n"}, "-1"),
        ("$RENDERONLINE:a.png", {"a": "--python"}, "--python.png"),
        ("$RENDERONLINE:a$RENDERONLINE:b", {"a": "", "b": "-P"}, "-P"),
    ],
)
def test_refuses_with_a_sentence_that_names_it(
    template: str, values: dict[str, str], named: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        expand(template, values, SPECIALS)
    assert named in str(caught.value)
    assert str(caught.value).endswith(".")


@given(st.dictionaries(st.sampled_from(["start", "start_frame", "end_frame"]), st.text()))
def test_a_value_is_always_one_argument(values: dict[str, str]) -> None:
    safe = {name: f"x{value}" for name, value in values.items()}
    template = " ".join(f"-o $RENDERONLINE:{name}" for name in safe)
    expected = [word for value in safe.values() for word in ("-o", value)]
    assert expand(template, safe, {}) == expected


def test_which_argument_types_a_template_may_mean() -> None:
    assert placeholders(README) == {"start_frame", "end_frame"}
    assert placeholders("$RENDERONLINE:A.b-c $RENDERONLINE:@task_dir") == {"a.b-c", "a.b", "a"}


def test_a_template_with_both_frames_can_be_cut() -> None:
    assert is_splittable(README)
    assert is_splittable("x_$RENDERONLINE:start_frame-$RENDERONLINE:END_FRAME.png")
    assert not is_splittable("blender -f $RENDERONLINE:start_frame")

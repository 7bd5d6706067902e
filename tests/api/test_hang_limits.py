"""When a render counts as hung where nobody has said."""

from __future__ import annotations

import pytest

from renderonline.api.domain.hang_limits import LEAST_FRAME_S, SIBLINGS, SILENCE_S, limits
from renderonline.wire import Limits


def test_what_is_given_counts() -> None:
    given = Limits(silence_seconds=5, frame_seconds=7, memory_bytes=9)
    assert limits(given, 100.0, 3) == given


def test_unmeasured_frames_have_no_limit() -> None:
    assert limits(None, None, 0) == Limits(silence_seconds=SILENCE_S)


@pytest.mark.parametrize(
    ("frame_s", "timeouts", "expected"),
    [
        (0.5, 0, LEAST_FRAME_S),
        (600.0, 0, SIBLINGS * 600.0),
        (600.0, 1, SIBLINGS * 1200.0),
        (0.5, 2, 4 * LEAST_FRAME_S),
    ],
)
def test_frames_are_measured_by_their_siblings(
    frame_s: float, timeouts: int, expected: float
) -> None:
    found = limits(Limits(start_seconds=60), frame_s, timeouts)
    assert found.frame_seconds == expected
    assert found.start_seconds == 60
    assert found.silence_seconds == SILENCE_S * 2**timeouts

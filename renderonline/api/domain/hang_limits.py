"""When a render counts as hung, where nobody has said: by what its siblings took. Pure."""

from __future__ import annotations

import msgspec

from renderonline.wire import Limits

SIBLINGS = 10
"""A frame may take so many times what the task's frames take on the mean: the heaviest frame of a
shot that is not hung stays below."""

LEAST_FRAME_S = 15 * 60.0
"""And at least so long: of frames of seconds, one that first compiles its shaders is no hang."""

SILENCE_S = 2 * 3600.0
"""How long a renderer may print nothing that prints something at every sample. Blender is silent
while it builds what it renders from, minutes with a heavy scene."""


def limits(given: Limits | None, frame_s: float | None, timeouts: int) -> Limits:
    """The limits of an attempt of a renderer that tells its frames: those `given`, else our own.

    `frame_s`: the task's mean, if it has been measured. `timeouts`: attempts of the task that were
    ended for having hung; each doubles our own limits, so that a slow frame is not tried for ever.
    """
    known = given or Limits()
    patience = 2.0 ** min(timeouts, 10)
    if known.silence_seconds is None:
        known = msgspec.structs.replace(known, silence_seconds=SILENCE_S * patience)
    if known.frame_seconds is None and frame_s is not None:
        frame_limit_s = max(SIBLINGS * frame_s, LEAST_FRAME_S) * patience
        known = msgspec.structs.replace(known, frame_seconds=frame_limit_s)
    return known

"""What a .blend file says, read without Blender: its scenes (`facts`), and the names that a
submission may choose among (`choices`)."""

from renderonline.blendfile.choices import WHOLE, Choices, View, choices_in, complaint
from renderonline.blendfile.facts import (
    FORMATS,
    UNKNOWN,
    BlendFacts,
    SceneFacts,
    is_blend,
    read,
    read_from,
)

__all__ = [
    "FORMATS",
    "UNKNOWN",
    "WHOLE",
    "BlendFacts",
    "Choices",
    "SceneFacts",
    "View",
    "choices_in",
    "complaint",
    "is_blend",
    "read",
    "read_from",
]

"""Lines of any renderer's output that tell of the machine: memory, disk, GPU, libraries. Pure.

The forms for GPUs are those of Cycles (intern/cycles/device in Blender's sources: `set_error` and
`cuda_assert` of CUDA, OptiX, HIP, oneAPI and Metal), of Vulkan, and of the CUDA library's error
names, which other renderers print too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from renderonline.wire import Reason

QUOTED_CHARS = 160
"""How much of a line a sentence quotes."""

LOOKED_AT_CHARS = 500
"""How much of a line is searched: no complaint is longer, and a search costs more than its length."""


@dataclass(frozen=True, slots=True)
class MachineFault:
    """What a line says that the machine lacks, or failed of; `message` is for the submitter."""

    reason: Reason | None
    message: str


@dataclass(frozen=True, slots=True)
class _Sign:
    """A form found anywhere in a line; in the message `{0}` is its first group, or the line."""

    form: re.Pattern[str]
    reason: Reason | None
    message: str


def _sign(form: str, reason: Reason | None, message: str) -> _Sign:
    return _Sign(re.compile(form, re.IGNORECASE), reason, message)


_SIGNS = (
    _sign(
        r"no space left on device|not enough space on the disk|disk quota exceeded|"
        r"\bdisk (?:is )?full\b",
        Reason.DISK_FULL,
        "The disk of the machine is full. Free some space there.",
    ),
    _sign(
        r"out of (?:gpu|device|video|graphics)\b[a-z ]*\bmemory|not enough video memory|"
        r"lack of available memory space on the device|"
        r"out of memory in (?:cu|hip|optix)|(?:CUDA|HIP|OptiX|Metal|Vulkan)\b.*\bout of memory|"
        r"(?:CUDA|OPTIX|VK)_ERROR_(?:HOST_)?OUT_OF_(?:DEVICE_|HOST_)?MEMORY|"
        r"(?:cuda|hip)Error(?:MemoryAllocation|OutOfMemory)",
        Reason.OUT_OF_MEMORY,
        "The graphics card ran out of memory. Render it on a machine whose card has more, render "
        "it on the CPU, or make the scene smaller.",
    ),
    _sign(
        r"error while loading shared libraries: (\S+?): cannot open|"
        r"dyld.*\blibrary not loaded: (\S+)|version `(\S+)' not found|"
        r"symbol lookup error: (\S+?):|cannot allocate memory in static TLS block",
        None,
        "The renderer cannot start on this machine: {0} is missing there or does not fit. Install "
        "it, or install the renderer again.",
    ),
    _sign(
        r"out[ _]?of[ _]?memory|alloc returns null|bad_alloc|cannot allocate memory|"
        r"not enough (?:free )?memory|MemoryError\b|paging file is too small|thread creation failed|"
        r"failed to map segment from shared object$",
        Reason.OUT_OF_MEMORY,
        "The machine ran out of memory. Render it on one with more, or make the scene smaller.",
    ),
    _sign(
        r"not supported on this cpu|unsupported cpu\b|cpu with (?:support for )?sse",
        None,
        "The processor of this machine is too old for this version of the renderer ({0}). Install "
        "an older version there, or leave that machine out.",
    ),
    _sign(
        r"failed to [a-z ]+\b(?:CUDA|HIP|OptiX|hiprt)\b|"
        r"(?-i:\bin (?:cu|hip|optix)[A-Z]\w+ ?\()|\bin (?:CUDA|HIP) queue\b|"
        r"\b(?:CUDA|OPTIX|HIP)_ERROR_\w+|\b(?:CUDA|HIP) error\b|\b(?:cuda|hip)Error\w+|"
        r"\b(?:CUDA|HIP) backend requires|graphics card\b.*\b(?:not found|no longer supported)|"
        r"graphics card and driver with support for|optix initialization failed|"
        r"\boneAPI\b.*\b(?:error|exception)\b|No MetalKernelPipeline|CommandBuffer Failed|"
        r"driver (?:is|version) too old|"
        r"VK_ERROR_(?:DEVICE_LOST|INITIALIZATION_FAILED|INCOMPATIBLE_DRIVER)|"
        r"\b(?:device|gpu|context)(?: was| is)? lost\b|\bdevice (?:was )?removed\b",
        Reason.GPU,
        "The graphics card of the machine, or its driver, gave up ({0}). Restart that machine or "
        "update its driver; others can render on.",
    ),
)


def read(line: str) -> MachineFault | None:
    """What a line says of the machine; None for nearly all. The first sign in the table counts."""
    start = line[:LOOKED_AT_CHARS]
    for sign in _SIGNS:
        match = sign.form.search(start)
        if match:
            told = next((group for group in match.groups() if group), _quote(line))
            return MachineFault(sign.reason, sign.message.format(told))
    return None


def _quote(line: str) -> str:
    text = line.strip().removeprefix("Error: ").rstrip(".")
    return text if len(text) <= QUOTED_CHARS else f"{text[:QUOTED_CHARS]}…"

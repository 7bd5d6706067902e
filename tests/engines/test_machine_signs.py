"""Lines that tell of the machine, as the programs print them.

Those of CUDA, OptiX, HIP, oneAPI and Metal are from Cycles' sources (intern/cycles/device/*) and, as
printed, from reports: the thread is named beside each that has one.
"""

from __future__ import annotations

import pytest

from renderonline.engines.machine_signs import LOOKED_AT_CHARS, QUOTED_CHARS, read
from renderonline.wire import Reason

MEMORY, DISK, GPU = Reason.OUT_OF_MEMORY, Reason.DISK_FULL, Reason.GPU


@pytest.mark.parametrize(
    ("line", "reason", "says"),
    [
        ("/o/f.bmp: No space left on device", DISK, "disk of the machine"),
        (
            "Error: Render error (No space left on device) cannot save: '/o/f.jpg'",
            DISK,
            "disk of the machine",
        ),
        (
            'OpenEXR-writePixels: ERROR: Failed to write pixel data to image file "/o/f.exr". No '
            "space left on device.",
            DISK,
            "disk of the machine",
        ),
        ("OSError: [WinError 112] There is not enough space on the disk", DISK, "Free some space"),
        ("Disk quota exceeded", DISK, "Free some space"),
        # Blender 3.4 and 4.5 under a limit of memory
        ("Calloc returns null: len=402653216 in CDMVert, total 9286740", MEMORY, "The machine"),
        ("Malloc returns null: len=402653184 in CDPoint, total 437583132", MEMORY, "The machine"),
        ("aligned_malloc returns null: len=9 in x, total 1", MEMORY, "The machine"),
        (
            "terminate called after throwing an instance of 'std::bad_alloc'",
            MEMORY,
            "The machine",
        ),
        (
            "blender: error while loading shared libraries: librsvg-2.so.2: failed to map segment "
            "from shared object",
            MEMORY,
            "The machine",
        ),
        ("Parse Error: Out of memory.", MEMORY, "The machine"),
        ("java.lang.OutOfMemoryError: Java heap space", MEMORY, "The machine"),
        (
            "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 9 GiB",
            MEMORY,
            "The machine",
        ),
        ("MemoryError", MEMORY, "The machine"),
        ("fork: Cannot allocate memory", MEMORY, "The machine"),
        (
            "The paging file is too small for this operation to complete.",
            MEMORY,
            "The machine",
        ),
        # device_impl.cpp of CUDA, HIP and Metal
        ("Error: System is out of GPU memory", MEMORY, "graphics card"),
        # github.com/princeton-vl/infinigen/issues/68
        ("Error: System is out of GPU and shared host memory", MEMORY, "graphics card"),
        # github.com/vosen/ZLUDA/issues/223
        (
            "Out of memory in cuStreamCreate(&cuda_stream_, CU_STREAM_NON_BLOCKING) "
            "(intern\\cycles\\device\\cuda\\queue.cpp:21)",
            MEMORY,
            "graphics card",
        ),
        ("Failed to create CUDA context (Out of memory)", MEMORY, "graphics card"),
        ("Out of memory in CUDA queue enqueue (integrator_reset)", MEMORY, "graphics card"),
        ("CUDA_ERROR_OUT_OF_MEMORY: out of memory", MEMORY, "graphics card"),
        ("VK_ERROR_OUT_OF_DEVICE_MEMORY", MEMORY, "graphics card"),
        # gpu_texture.c to 2.9x, and EEVEE's shadows in 4.x
        ("GPUTexture: texture alloc failed. Likely not enough Video Memory.", MEMORY, "card"),
        (
            "Error: Could not allocate shadow atlas. Most likely out of GPU memory.",
            MEMORY,
            "graphics card",
        ),
        # oneapi/device_impl.cpp
        (
            "Error: oneAPI kernel - device memory allocation error for 2.1G, possibly caused by "
            "lack of available memory space on the device: 7.9G of 8.0G is already allocated",
            MEMORY,
            "graphics card",
        ),
        (
            'Error: oneAPI kernel "integrator_shade_surface" execution error: got runtime '
            'exception "Native API failed"',
            GPU,
            "Native API failed",
        ),
        # github.com/modal-labs/modal-examples/pull/45
        ("Error: Failed to create CUDA context (Not permitted)", GPU, "(Not permitted)"),
        ("Invalid value in cuCtxDestroy(cuContext) (device_cuda_impl.cpp:252)", GPU, "gave up"),
        # github.com/vosen/ZLUDA/issues/186
        ("Failed to configure CUDA context (Invalid context)", GPU, "gave up"),
        # github.com/boberfly/GafferCycles/issues/50, Blender 2.83
        ("CUDA error at cuCtxCreate: Illegal address", GPU, "Illegal address"),
        # github.com/KillzXGaming/Switch-Toolbox/issues/657
        ("Illegal address in CUDA queue copy_from_device (prefix_sum)", GPU, "gave up"),
        # github.com/allenai/objaverse-rendering/issues/5
        (
            "Failed to load CUDA kernel from '/b/lib/kernel_compute_75.ptx' (Unsupported PTX)",
            GPU,
            "gave up",
        ),
        # github.com/princeton-vl/infinigen/issues/154
        ("Failed to create OptiX denoiser", GPU, "OptiX denoiser"),
        # github.com/DLR-RM/BlenderProc/issues/365
        (
            "OPTIX_ERROR_PIPELINE_LINK_ERROR in optixPipelineCreate(context, &pipeline_options)",
            GPU,
            "OPTIX_ERROR_PIPELINE_LINK_ERROR",
        ),
        # github.com/LuxCoreRender/LuxCore/issues/288
        ("Failed to build OptiX acceleration structure", GPU, "acceleration structure"),
        (
            "OptiX initialization failed because the installed NVIDIA driver is too old. Please "
            "update to the latest driver first!",
            GPU,
            "driver is too old",
        ),
        (
            "HIPEW initialization failed: Driver version too old, requires AMD Radeon Pro 21.Q4",
            GPU,
            "too old",
        ),
        ("Failed to create HIP context (Unknown HIP error value)", GPU, "HIP context"),
        (
            "HIP backend requires AMD RDNA graphics card or up, but found gfx900.",
            GPU,
            "but found gfx900)",
        ),
        (
            "CUDA binary kernel for this graphics card compute capability (3.0) not found.",
            GPU,
            "compute capability",
        ),
        ("Error: CommandBuffer Failed: integrator_intersect_closest", GPU, "CommandBuffer"),
        ("vkQueueSubmit: VK_ERROR_DEVICE_LOST", GPU, "VK_ERROR_DEVICE_LOST"),
        (
            "A graphics card and driver with support for OpenGL 4.3 or higher is required.",
            GPU,
            "OpenGL 4.3",
        ),
        # ld.so, dyld
        (
            "blender: error while loading shared libraries: libXi.so.6: cannot open shared object "
            "file: No such file or directory",
            None,
            "libXi.so.6 is missing",
        ),
        (
            "blender: /lib/libc.so.6: version `GLIBC_2.34' not found (required by blender)",
            None,
            "GLIBC_2.34 is missing",
        ),
        (
            "dyld[123]: Library not loaded: @rpath/libtbb.dylib",
            None,
            "@rpath/libtbb.dylib is missing",
        ),
        # github.com/INTI-CMNB/KiBot/issues/539
        (
            "OpenImageDenoiser is not supported on this CPU: missing SSE 4.1 support",
            None,
            "processor of this machine is too old",
        ),
    ],
)
def test_lines_that_tell_of_the_machine(line: str, reason: Reason | None, says: str) -> None:
    fault = read(line)
    assert fault is not None
    assert fault.reason is reason
    assert says in fault.message


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Fra:1 Mem:9.90M (Peak 10.83M) | Time:00:00.00 | Scene, ViewLayer | Sample 4/16",
        "Device NVIDIA GeForce GTX 1660 Ti of type OPTIX found and used.",
        "Syncing objects in cubes (3) and hips (2)",
        "OptiX headers were found",
        "memory used: 12.3 MB, out of 64 MB",
        "Saved: '/o/gpu_0001.png'",
        "Output file write error --- out of disk space?",  # libjpeg's, of any failure to write
    ],
)
def test_lines_that_do_not(line: str) -> None:
    assert read(line) is None


def test_a_quoted_line_is_bounded() -> None:
    fault = read("CUDA error: " + "x" * 10_000)
    assert fault is not None
    assert len(fault.message) < QUOTED_CHARS + 200


def test_only_the_beginning_of_a_long_line_is_looked_at() -> None:
    """A scene can print what it likes, and the node reads it on the thread of the attempt."""
    assert read("x" * (LOOKED_AT_CHARS - 20) + " out of memory") is not None
    assert read("x" * LOOKED_AT_CHARS + " out of memory") is None

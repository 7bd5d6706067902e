"""Packaging of RenderOnline. The version lives in renderonline/__init__.py and nowhere else."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "([^"]+)"',
    (HERE / "renderonline" / "__init__.py").read_text(encoding="utf-8"),
    re.MULTILINE,
)
assert VERSION is not None

# docs/dependencies.md says what each of these saves us.
CORE = [
    "bottle>=0.13,<0.14",
    "waitress>=3.0,<4",
    "cheroot>=11,<12",
    "peewee>=4.5,<5",
    "pymysql>=1.1,<2",
    "requests>=2.32,<3",
    "urllib3>=2.3,<3",
    "platformdirs>=4.2,<5",
    "msgspec>=0.20,<1",
    "multipart>=1.2,<3",
    "psutil>=6,<8",
    'pywin32>=306; sys_platform == "win32"',  # Job Objects, so that renderers end with their node
    "Pillow>=11,<14",
    "rich>=13.9,<16",
    "zstandard>=0.22,<1",
    "cryptography>=42,<60",
    "blender-asset-tracer>=1.23,<2",  # 2.x needs Python 3.13
]
TESTS = [
    "pytest>=8,<10",
    "pytest-xdist>=3.6,<4",
    "hypothesis>=6.100,<7",
    "tuspy>=1.1,<2",
]
LINT = [
    "mypy>=1.11,<3",
    "ruff>=0.6,<1",
    "types-requests",
    "types-PyMySQL",
    "types-psutil",
]

setup(
    name="renderonline",
    version=VERSION.group(1),
    description="A self-hosted render farm in one file",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["renderonline", "renderonline.*"]),
    package_data={"renderonline": ["py.typed"]},
    install_requires=CORE,
    extras_require={
        # Thumbnails of OpenEXR pictures. Where there is no wheel it wants a compiler.
        "exr": ["OpenEXR>=3.3,<4"],
        # A Blender for machines that have none. The wheels are made for one Python version
        # each: 4.5 LTS is the one for 3.11.
        "bpy": ['bpy>=4.5,<4.6; python_version == "3.11"'],
        "test": TESTS,
        "lint": LINT,
        "dev": TESTS + LINT,
    },
    entry_points={"console_scripts": ["renderonline = renderonline.cli:main"]},
)

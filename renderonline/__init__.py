"""RenderOnline: a render farm in one file.

Owns the version, the one place it is written.
"""

__version__ = "0.1.0"

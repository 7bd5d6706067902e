"""The bytes of a ZIP around its files: headers, descriptors, the directory at its end. Pure.

Members are stored, so that the place of every byte follows from names and sizes alone. A member's
checksum stands behind it (a data descriptor) and in the directory: nothing before a file's content
depends on the content. Layout: PKWARE's APPNOTE.TXT 6.3.10, whose sections the constants name.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass

_LIMIT_32, _LIMIT_16 = 0xFFFFFFFF, 0xFFFF
"""What stands in a field whose number is in the Zip64 one (4.4.1.4)."""

_STORED = 0
_FLAGS = 0x0808  # 4.4.4: a descriptor follows; the name is UTF-8
_VERSION, _VERSION_64 = 20, 45  # 4.4.3.2
_UNIX = 3 << 8  # 4.4.2: what the external attributes mean
_PLAIN_FILE = 0o100644 << 16
_ZIP64_ID, _TIME_ID = 0x0001, 0x5455  # 4.5.3; Info-ZIP's extended timestamp: UTC

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_DESCRIPTOR, _DESCRIPTOR_64 = struct.Struct("<4s3L"), struct.Struct("<4sL2Q")
_TIME = struct.Struct("<2HBl")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")

MAX_NAME_BYTES = 0xFFFF - 64


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the archive. `name`: relative, "/" between its parts, in UTF-8."""

    name: bytes
    size_bytes: int
    mtime_s: int  # since 1970, UTC

    @property
    def is_large(self) -> bool:
        """Whether its sizes need 8 bytes each."""
        return self.size_bytes >= _LIMIT_32


def local_header(member: Member) -> bytes:
    """What stands before the content. Its sizes are in the descriptor."""
    extra = _time_field(member)
    version, size = _VERSION, 0
    if member.is_large:
        # That this field is there says that the descriptor's sizes have 8 bytes (4.3.9.2).
        extra = struct.pack("<2H2Q", _ZIP64_ID, 16, 0, 0) + extra
        version, size = _VERSION_64, _LIMIT_32
    clock, day = _dos_time(member.mtime_s)
    return (
        _LOCAL.pack(
            *(b"PK\3\4", version, _FLAGS, _STORED, clock, day),
            *(0, size, size, len(member.name), len(extra)),
        )
        + member.name
        + extra
    )


def descriptor(member: Member, crc: int) -> bytes:
    """What stands behind the content."""
    form = _DESCRIPTOR_64 if member.is_large else _DESCRIPTOR
    return form.pack(b"PK\7\x08", crc, member.size_bytes, member.size_bytes)


def descriptor_size(member: Member) -> int:
    return (_DESCRIPTOR_64 if member.is_large else _DESCRIPTOR).size


def directory_entry(member: Member, crc: int, offset: int) -> bytes:
    """The member in the directory. `offset`: where its local header begins."""
    large = [member.size_bytes] * 2 if member.is_large else []
    large += [offset] if offset >= _LIMIT_32 else []
    extra = _time_field(member)
    if large:
        extra = struct.pack(f"<2H{len(large)}Q", _ZIP64_ID, 8 * len(large), *large) + extra
    version = _VERSION_64 if large else _VERSION
    size = min(member.size_bytes, _LIMIT_32)
    clock, day = _dos_time(member.mtime_s)
    return (
        _CENTRAL.pack(
            *(b"PK\1\2", _UNIX | _VERSION_64, version, _FLAGS, _STORED, clock, day),
            *(crc, size, size, len(member.name), len(extra)),
            *(0, 0, 0, _PLAIN_FILE, min(offset, _LIMIT_32)),
        )
        + member.name
        + extra
    )


def directory_entry_size(member: Member, offset: int) -> int:
    return len(directory_entry(member, 0, offset))


def ending(count: int, start: int, size_bytes: int) -> bytes:
    """What follows the directory of `count` members that begins at `start`."""
    is_large = count >= _LIMIT_16 or start >= _LIMIT_32 or size_bytes >= _LIMIT_32
    end = _END.pack(
        *(b"PK\5\6", 0, 0, min(count, _LIMIT_16), min(count, _LIMIT_16)),
        *(min(size_bytes, _LIMIT_32), min(start, _LIMIT_32), 0),
    )
    if not is_large:
        return end
    end_64 = _END_64.pack(
        *(b"PK\6\6", _END_64.size - 12, _UNIX | _VERSION_64, _VERSION_64, 0, 0),
        *(count, count, size_bytes, start),
    )
    return end_64 + _LOCATOR_64.pack(b"PK\6\7", 0, start + size_bytes, 1) + end


def _time_field(member: Member) -> bytes:
    """When it was changed last, in UTC: what is before the name has the server's local time."""
    if not -(2**31) <= member.mtime_s < 2**31:
        return b""
    return _TIME.pack(_TIME_ID, 5, 1, member.mtime_s)


def _dos_time(mtime_s: int) -> tuple[int, int]:
    """Time and date as 4.4.6 has them: local, in steps of two seconds, from 1980 to 2107."""
    try:
        year, month, day, hour, minute, second = time.localtime(mtime_s)[:6]
    except (OverflowError, OSError, ValueError):
        year = 0
    if not 1980 <= year <= 2107:
        year, month, day, hour, minute, second = 1980, 1, 1, 0, 0, 0
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day

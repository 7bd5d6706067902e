"""What the client remembers between submissions: hashes of files that stay as they are."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from renderonline.client.hashing import Content, content_of
from renderonline.client.memory import Memory
from renderonline.client.sources import DiskFile

LONG_AGO_S = 1_700_000_000


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    opened = Memory(tmp_path / "cache" / "files.sqlite")
    yield opened
    opened.close()


def file_of(folder: Path, content: bytes, changed_s: float = LONG_AGO_S) -> DiskFile:
    file = folder / "file"
    file.write_bytes(content)
    os.utime(file, (changed_s, changed_s))
    return DiskFile(file)


def read(source: DiskFile, memory: Memory) -> tuple[Content, int]:
    """What it holds, and how many bytes had to be read for that: told or not, all are."""
    told: list[int] = []
    content = content_of(source, memory, lambda count, _: told.append(count), threading.Event())
    assert sum(told) == content.size_bytes
    return content, len(told)


def test_a_hash_is_remembered_as_long_as_the_file_stays(tmp_path: Path, memory: Memory) -> None:
    source = file_of(tmp_path, b"a" * 3_000_000)
    expected = Content(hashlib.sha256(b"a" * 3_000_000).hexdigest(), 3_000_000)
    assert read(source, memory) == (expected, 3)
    assert read(source, memory) == (expected, 1)
    again = Memory(tmp_path / "cache" / "files.sqlite")
    assert read(source, again) == (expected, 1)
    again.close()


@pytest.mark.parametrize("changed_s", [LONG_AGO_S + 1, LONG_AGO_S])
def test_another_time_or_another_size_is_another_file(
    tmp_path: Path, memory: Memory, changed_s: int
) -> None:
    before, _ = read(file_of(tmp_path, b"before"), memory)
    after, _ = read(
        file_of(tmp_path, b"after!" + b"!" * (LONG_AGO_S + 1 - changed_s), changed_s), memory
    )
    assert before.sha256 != after.sha256
    assert after.sha256 == hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()


def test_another_file_at_its_place_is_another_file(tmp_path: Path, memory: Memory) -> None:
    """Same size and time, as when a copy that keeps times is moved there."""
    read(file_of(tmp_path, b"before"), memory)
    (tmp_path / "file").rename(tmp_path / "kept")
    after, _ = read(file_of(tmp_path, b"after!"), memory)
    assert after.sha256 == hashlib.sha256(b"after!").hexdigest()


def test_a_file_that_was_changed_just_now_is_not_trusted(tmp_path: Path, memory: Memory) -> None:
    """A second change within the same tick of the disk's clock would go unseen."""
    now_s = time.time()
    read(file_of(tmp_path, b"before", now_s), memory)
    after, _ = read(file_of(tmp_path, b"after!", now_s), memory)
    assert after.sha256 == hashlib.sha256(b"after!").hexdigest()


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(5000), b""])
def test_a_broken_memory_costs_time_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    source = file_of(tmp_path, b"content")
    place = tmp_path / "files.sqlite"
    place.write_bytes(content)
    for _ in range(2):
        memory = Memory(place)
        assert read(source, memory)[0].sha256 == hashlib.sha256(b"content").hexdigest()
        memory.close()
    with sqlite3.connect(place) as connection:
        assert connection.execute("SELECT count(*) FROM hashes").fetchone() == (1,)


def test_a_memory_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_bytes(b"a file where a folder should be")
    memory = Memory(tmp_path / "occupied" / "files.sqlite")
    content, _ = read(file_of(tmp_path, b"content"), memory)
    assert content.size_bytes == 7


def test_an_upload_is_remembered_for_its_farm(memory: Memory) -> None:
    memory.keep_upload("https://one ada", "ab", "/uploads/1")
    assert memory.upload_of("https://one ada", "ab") == "/uploads/1"
    assert memory.upload_of("https://two ada", "ab") is None
    memory.forget_upload("https://one ada", "ab")
    assert memory.upload_of("https://one ada", "ab") is None


def test_names_that_are_no_text_are_remembered(tmp_path: Path, memory: Memory) -> None:
    stamp = (os.fsdecode(b"/tmp/\xff"), 1, LONG_AGO_S * 10**9, 2**70)
    memory.keep_hash(stamp, "ab")
    assert memory.hash_of(stamp) == "ab"

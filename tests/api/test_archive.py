"""The ZIP of a folder: read by other programs, the same in every part, and never wrong but whole."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from renderonline.api.storage import archive, trees, zip_format
from renderonline.api.storage.archive import Archive
from renderonline.api.storage.checksums import Book, Checksums
from renderonline.api.storage.trees import PIECE_BYTES, Changed

SIZES = {
    "output/frame_0001.png": 3 * PIECE_BYTES + 7,
    "output/empty.txt": 0,
    "output/ü/日本 語.exr": 100_000,
    "output/frame_0002.png": PIECE_BYTES,
    "scene.blend": 12,
}

UTF8 = {**os.environ, "LC_ALL": "C.UTF-8"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("task")
    for name, size in SIZES.items():
        file = made / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(size))
    return made


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return everything(packed(folder, tmp_path_factory.mktemp("book") / "book"))


def packed(folder: Path, book: Path) -> Archive:
    return Archive(trees.entries(folder), Book(book))


def everything(content: Archive) -> bytes:
    found = b"".join(content.pieces(0, content.size_bytes))
    assert len(found) == content.size_bytes
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in SIZES}


# --------------------------------------------------------------------------- read by others


def test_python_reads_it(whole: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(whole)) as opened:
        assert opened.namelist() == sorted(SIZES)
        assert {name: opened.read(name) for name in SIZES} == contents(folder)
        assert {info.compress_type for info in opened.infolist()} == {zipfile.ZIP_STORED}


@pytest.mark.parametrize(
    "words",
    [["unzip", "-q", "a.zip", "-d", "unpacked"], ["bsdtar", "-xf", "a.zip", "-C", "unpacked"]],
)
def test_other_programs_unpack_it(
    words: list[str], whole: bytes, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.zip").write_bytes(whole)
    target = tmp_path / "unpacked"
    target.mkdir()
    subprocess.run(words, cwd=tmp_path, check=True, env=UTF8)
    assert contents(target) == contents(folder)
    name = "output/frame_0001.png"
    assert (target / name).stat().st_mtime == int((folder / name).stat().st_mtime)


def test_it_is_unpacked_while_it_arrives(whole: bytes, folder: Path, tmp_path: Path) -> None:
    words = ["bsdtar", "-x", "-f", "-", "-C", str(tmp_path)]
    subprocess.run(words, input=whole, check=True, env=UTF8)
    assert contents(tmp_path) == contents(folder)


def test_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    with zipfile.ZipFile(io.BytesIO(everything(packed(tmp_path / "task", tmp_path / "b")))) as z:
        assert z.namelist() == []


# --------------------------------------------------------------------------- every part is the same


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_part_is_that_part_of_the_whole(
    data: st.DataObject, whole: bytes, folder: Path, tmp_path: Path
) -> None:
    """Whatever is known of the checksums: nothing, or what earlier parts have left."""
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    name = data.draw(st.sampled_from(["kept", "new"]))
    if name == "new":
        (tmp_path / "new").unlink(missing_ok=True)
    content = packed(folder, tmp_path / name)
    assert b"".join(content.pieces(start, stop)) == whole[start:stop]


def test_the_edges_of_all_that_it_is_made_of(whole: bytes, folder: Path, tmp_path: Path) -> None:
    marks = [whole.index(b"PK\7\x08"), whole.index(b"PK\1\2"), whole.index(b"PK\5\6"), len(whole)]
    for mark in marks:
        for start in range(max(0, mark - 2), min(len(whole), mark + 3)):
            content = packed(folder, tmp_path / f"{mark}-{start}")
            assert b"".join(content.pieces(start, len(whole))) == whole[start:]
            assert b"".join(content.pieces(0, start)) == whole[:start]


def test_its_name_is_that_of_its_bytes(folder: Path, tmp_path: Path) -> None:
    etag = packed(folder, tmp_path / "a").etag
    assert packed(folder, tmp_path / "b").etag == etag
    file = folder / "output" / "frame_0002.png"
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert packed(folder, tmp_path / "c").etag != etag
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert packed(folder, tmp_path / "d").etag == etag


# --------------------------------------------------------------------------- checksums are kept


def test_what_was_sent_is_not_read_again_even_after_a_restart(tmp_path: Path) -> None:
    """It could not be: it is not there any more."""
    task = tmp_path / "task"
    task.mkdir()
    for name in ("a", "b", "c"):
        (task / name).write_bytes(os.urandom(300_000))
    entries, place = trees.entries(task), tmp_path / "books"
    place.mkdir()
    before = Archive(entries, Checksums(place).book(task))
    half = 500_000  # in the midst of b
    sent = b"".join(before.pieces(0, half))
    (task / "a").unlink()
    after = Archive(entries, Checksums(place).book(task))
    rest = b"".join(after.pieces(half, after.size_bytes))
    with zipfile.ZipFile(io.BytesIO(sent + rest)) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == ["a", "b", "c"]


def test_in_a_large_file_little_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MARK_EVERY_BYTES", 2 * PIECE_BYTES)
    task = tmp_path / "task"
    task.mkdir()
    (task / "movie.mp4").write_bytes(os.urandom(9 * PIECE_BYTES))
    content = packed(task, tmp_path / "book")
    reading = content.pieces(0, content.size_bytes)
    got = 0
    while got < 5 * PIECE_BYTES:
        got += len(next(reading))
    reading.close()  # the connection broke
    (entry,) = trees.entries(task)
    assert Book(tmp_path / "book").nearest(entry, got)[0] == 4 * PIECE_BYTES
    rest = b"".join(packed(task, tmp_path / "book").pieces(got, content.size_bytes))
    assert rest == everything(packed(task, tmp_path / "other"))[got:]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b'["/x/a", 1, 2',
        b'["a"]\n5\nnull\n{"a": 1}\n["a", "b", "c", "d", "e"]\n\xff',
        b"\n" * 10,
    ],
)
def test_a_book_that_was_cut_off_or_damaged_costs_nothing_but_reading(
    damage: bytes, folder: Path, whole: bytes, tmp_path: Path
) -> None:
    (tmp_path / "book").write_bytes(damage)
    assert everything(packed(folder, tmp_path / "book")) == whole
    again = Book(tmp_path / "book")
    assert all(again.whole(e) is not None for e in trees.entries(folder)) == (b"\xff" not in damage)


def test_a_book_goes_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    books, task = Checksums(tmp_path / "books"), tmp_path / "task"
    task.mkdir()
    (task / "a").write_bytes(b"a")
    everything(Archive(trees.entries(task), books.book(task)))
    assert len(list((tmp_path / "books").iterdir())) == 1
    books.forget(task)
    assert list((tmp_path / "books").iterdir()) == []


def test_a_start_forgets_the_books_of_folders_that_are_gone(tmp_path: Path) -> None:
    place = tmp_path / "books"
    place.mkdir()
    for name in ("kept", "gone"):
        task = tmp_path / name
        task.mkdir()
        (task / "a").write_bytes(b"a")
        everything(Archive(trees.entries(task), Checksums(place).book(task)))
    (place / "damaged").write_bytes(b"\xff")
    (tmp_path / "gone" / "a").unlink()
    (tmp_path / "gone").rmdir()
    Checksums(place).repair()
    assert len(list(place.iterdir())) == 1
    (entry,) = trees.entries(tmp_path / "kept")
    assert Checksums(place).book(tmp_path / "kept").whole(entry) is not None


# --------------------------------------------------------------------------- what changes meanwhile


def rewritten(file: Path) -> None:
    file.write_bytes(b"another frame")


def replaced(file: Path) -> None:
    other = file.with_suffix(".new")
    other.write_bytes(b"x" * file.stat().st_size)
    os.utime(other, ns=(0, 0))
    other.replace(file)


def removed(file: Path) -> None:
    file.unlink()


def made_a_link(file: Path) -> None:
    file.rename(file.with_suffix(".moved"))
    file.symlink_to(file.with_suffix(".moved"))


def made_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("change", [rewritten, replaced, removed, made_a_link, made_a_pipe])
def test_a_file_that_changes_before_its_turn_breaks_it_off(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    task = tmp_path / "task"
    task.mkdir()
    for name in ("a.png", "b.png"):
        (task / name).write_bytes(os.urandom(PIECE_BYTES * 2))
    content = packed(task, tmp_path / "book")
    reading = content.pieces(0, content.size_bytes)
    got = [next(reading)]
    change(task / "b.png")
    with pytest.raises(Changed):
        got.extend(reading)
    assert sum(map(len, got)) < content.size_bytes


def test_a_link_is_found_where_the_system_cannot_refuse_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, or when it came and went while the file was opened."""
    monkeypatch.setattr(trees, "_OPEN", os.O_RDONLY)
    task, secret = tmp_path / "task", tmp_path / "secret"
    task.mkdir()
    (task / "a.png").write_bytes(b"mine")
    (entry,) = trees.entries(task)
    (task / "a.png").rename(secret)  # the same file, its time and all
    (task / "a.png").symlink_to(secret)
    with pytest.raises(Changed):
        trees.opened(entry)
    (task / "a.png").unlink()
    (task / "a.png").write_bytes(b"mine")
    os.utime(task / "a.png", ns=(entry.mtime_ns, entry.mtime_ns))
    trees.opened(entry).close()


def test_a_file_that_is_written_to_while_it_is_sent_breaks_it_off(tmp_path: Path) -> None:
    task = tmp_path / "task"
    task.mkdir()
    (task / "a.png").write_bytes(os.urandom(PIECE_BYTES * 4))
    content = packed(task, tmp_path / "book")
    reading = content.pieces(0, content.size_bytes)
    next(reading)
    with (task / "a.png").open("r+b") as file:
        file.write(b"other bytes at the same place")
    with pytest.raises(Changed):
        list(reading)
    assert packed(task, tmp_path / "book").etag != content.etag


def test_a_folder_on_the_way_that_becomes_a_link_breaks_it_off(tmp_path: Path) -> None:
    task, secret = tmp_path / "task", tmp_path / "secret"
    (task / "output").mkdir(parents=True)
    (task / "output" / "a.png").write_bytes(b"mine")
    secret.mkdir()
    content = packed(task, tmp_path / "book")
    (task / "output" / "a.png").rename(secret / "a.png")  # the same file, its time and all
    (task / "output").rmdir()
    (task / "output").symlink_to(secret)
    with pytest.raises(Changed):
        everything(content)


def test_while_a_task_renders_each_file_is_as_it_is_when_its_turn_comes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png", "d.png"):
        (tmp_path / name).write_bytes(os.urandom(PIECE_BYTES))
    reading = archive.live(trees.entries(tmp_path))
    got = [next(reading)]
    (tmp_path / "b.png").unlink()
    (tmp_path / "c.png").write_bytes(b"rendered again")
    with zipfile.ZipFile(io.BytesIO(b"".join([*got, *reading]))) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == ["a.png", "c.png", "d.png"]
        assert opened.read("c.png") == b"rendered again"


# --------------------------------------------------------------------------- large ones


class Parts(io.RawIOBase):
    """An archive as a file that can be sought in, made of parts as they are asked for."""

    def __init__(self, content: Archive) -> None:
        self._content = content
        self._place = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + (0, self._place, self._content.size_bytes)[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, count: int = -1) -> bytes:
        end = self._content.size_bytes
        stop = end if count < 0 else min(self._place + count, end)
        found = b"".join(self._content.pieces(self._place, max(stop, self._place)))
        self._place += len(found)
        return found


def sparse(file: Path, size_bytes: int, end: bytes) -> None:
    with file.open("wb") as opened:
        opened.truncate(size_bytes - len(end))
        opened.seek(0, os.SEEK_END)
        opened.write(end)


GIB_4 = 1 << 32


@pytest.mark.parametrize("size", [GIB_4 - 2, GIB_4 - 1, GIB_4 + 5])
def test_a_member_around_4_gib_and_one_behind_it(size: int, tmp_path: Path) -> None:
    task = tmp_path / "task"
    task.mkdir()
    sparse(task / "a.exr", size, b"the end of a")
    (task / "b.png").write_bytes(b"behind it")
    book = Book(tmp_path / "book")
    book.note(
        trees.entries(task)[0], size, 0
    )  # as if it had been read: only its place matters here
    content = Archive(trees.entries(task), book)
    assert content.size_bytes > size
    with zipfile.ZipFile(Parts(content)) as opened:  # type: ignore[call-overload]
        assert [info.file_size for info in opened.infolist()] == [size, 9]
        assert opened.read("b.png") == b"behind it"
    tail = Parts(content)
    first = zip_format.Member(b"a.exr", size, 0)
    tail.seek(len(zip_format.local_header(first)) + size - 12)
    assert tail.read(12) == b"the end of a"
    form = struct.Struct("<4sL2Q" if size >= GIB_4 - 1 else "<4s3L")
    assert form.unpack(tail.read(form.size)) == (b"PK\7\x08", 0, size, size)
    assert tail.read(4) == b"PK\3\4", "the next one follows"


@pytest.mark.slow
def test_other_programs_read_6_gib(tmp_path: Path) -> None:
    task = tmp_path / "task"
    task.mkdir()
    sparse(task / "a.exr", GIB_4 + 5, b"the end of a")
    sparse(task / "b.exr", 2 << 30, b"the end of b")
    content = packed(task, tmp_path / "book")
    with (tmp_path / "a.zip").open("wb") as file:
        for piece in content.pieces(0, content.size_bytes):
            file.seek(len(piece), 1) if piece.count(0) == len(piece) else file.write(piece)
    subprocess.run(["unzip", "-t", "-q", "a.zip"], cwd=tmp_path, check=True)
    words = ["bsdtar", "-x", "-O", "-f", "a.zip", "b.exr"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE) as unpacking:
        assert unpacking.stdout is not None
        last = b""
        for block in iter(lambda: unpacking.stdout.read(1 << 20), b""):  # type: ignore[union-attr]
            last = (last + block)[-12:]
    assert (unpacking.returncode, last) == (0, b"the end of b")


def test_more_members_than_16_bits_count(tmp_path: Path) -> None:
    task = tmp_path / "task"
    task.mkdir()
    for number in range(66_000):
        (task / f"{number:06}").touch()
    content = packed(task, tmp_path / "book")
    whole = everything(content)
    (tmp_path / "a.zip").write_bytes(whole)
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        assert len(opened.namelist()) == 66_000
    done = subprocess.run(
        ["bsdtar", "-t", "-f", "a.zip"], cwd=tmp_path, check=True, capture_output=True
    )
    assert len(done.stdout.splitlines()) == 66_000
    record = whole[-98:-42]  # before the locator of 20 bytes and the end of 22
    assert record[:4] == b"PK\6\6"
    assert struct.unpack("<2Q", record[24:40]) == (66_000, 66_000)
    assert b"".join(content.pieces(len(whole) - 5_000_000, len(whole))) == whole[-5_000_000:]


def test_it_comes_in_pieces_that_a_server_keeps_in_memory(folder: Path, tmp_path: Path) -> None:
    content = packed(folder, tmp_path / "book")
    sizes = [len(piece) for piece in content.pieces(0, content.size_bytes)]
    assert max(sizes) <= PIECE_BYTES + archive.SMALL_BYTES


# --------------------------------------------------------------------------- checksums beforehand


def test_an_archive_of_what_is_learnt_reads_each_file_once(folder: Path, tmp_path: Path) -> None:
    book = Book(tmp_path / "book")
    found = trees.entries(folder)
    archive.learn(found, book, lambda: False)
    assert {entry.name: book.whole(entry) for entry in found} == {
        name: zlib.crc32(content) for name, content in contents(folder).items()
    }
    book.save()
    again = Book(tmp_path / "book")
    assert all(again.whole(entry) is not None for entry in found)


def test_what_is_not_what_it_was_is_not_learnt(tmp_path: Path) -> None:
    made = tmp_path / "task"
    made.mkdir()
    for name in ("gone", "grown", "same"):
        (made / name).write_bytes(b"x" * 10)
    found = trees.entries(made)
    (made / "gone").unlink()
    (made / "grown").write_bytes(b"y" * 11)
    book = Book(tmp_path / "book")
    archive.learn(found, book, lambda: False)
    assert [entry.name for entry in found if book.whole(entry) is not None] == ["same"]


def test_an_api_that_ends_reads_no_further(folder: Path, tmp_path: Path) -> None:
    book = Book(tmp_path / "book")
    archive.learn(trees.entries(folder), book, lambda: True)
    assert [e.name for e in trees.entries(folder) if book.whole(e) is not None] == [
        "output/empty.txt"
    ]

"""Paths between platforms, as a table: prefix, separators, case, and where in a word a path is."""

from __future__ import annotations

import pytest

from renderonline.api.domain.path_map import BadMapping, of, parse

NAS = ["/mnt/farm=Z:\\farm"]
SHARE = ["/mnt/farm=\\\\nas\\farm"]
BACK = ["Z:\\farm=/mnt/farm", "\\\\nas\\tex=/Volumes/tex"]
SAME = ["/mnt/farm=/Volumes/Farm"]


@pytest.mark.parametrize(
    ("maps", "word", "expected"),
    [
        # whole prefixes only
        (NAS, "/mnt/farm", "Z:\\farm"),
        (NAS, "/mnt/farm/", "Z:\\farm\\"),
        (NAS, "/mnt/farm/7/scene.blend", "Z:\\farm\\7\\scene.blend"),
        (NAS, "/mnt/farmhouse/scene.blend", "/mnt/farmhouse/scene.blend"),
        (NAS, "/mnt/farm.old/a", "/mnt/farm.old/a"),
        (NAS, "/data/mnt/farm/a", "/data/mnt/farm/a"),
        (NAS, "mnt/farm/a", "mnt/farm/a"),
        (NAS, "", ""),
        (NAS, "-b", "-b"),
        # no regular expression, no escape
        (["/a+b(c)=/x\\1"], "/a+b(c)/d", "/x\\1/d"),
        (["/a.b=/x"], "/aXb/c", "/aXb/c"),
        # the case of here's platform
        (NAS, "/MNT/farm/a", "/MNT/farm/a"),
        (BACK, "z:\\FARM\\a\\b.png", "/mnt/farm/a/b.png"),
        (BACK, "Z:/Farm/a/b.png", "/mnt/farm/a/b.png"),
        (BACK, "Z:\\farmhouse\\a", "Z:\\farmhouse\\a"),
        (["D:\\Löwe=/l"], "d:\\LÖWE\\a", "/l/a"),
        # shares
        (SHARE, "/mnt/farm/a/b", "\\\\nas\\farm\\a\\b"),
        (BACK, "\\\\NAS\\tex\\wood\\a.png", "/Volumes/tex/wood/a.png"),
        (BACK, "//nas/tex/wood/a.png", "/Volumes/tex/wood/a.png"),
        (["//nas/tex=/t"], "\\\\nas\\tex\\a", "/t/a"),
        (["/mnt/farm=//nas/farm/"], "/mnt/farm/a/b", "\\\\nas\\farm\\a\\b"),
        # separators stay where both sides have the same
        (SAME, "/mnt/farm/a\\b/c", "/Volumes/Farm/a\\b/c"),
        (["C:\\a=D:\\b"], "C:\\a\\x/y", "D:\\b\\x/y"),
        # roots
        (["/mnt/farm=Z:\\"], "/mnt/farm", "Z:\\"),
        (["/mnt/farm=Z:"], "/mnt/farm/a", "Z:\\a"),
        (["D:\\=/mnt/d/"], "D:\\a\\b", "/mnt/d/a/b"),
        (["D:=/mnt/d"], "d:\\", "/mnt/d/"),
        (["/mnt/farm=/"], "/mnt/farm", "/"),
        (["/mnt/farm=/"], "/mnt/farm/a", "/a"),
        # the longest first, however they are ordered
        (["/mnt=Y:\\", "/mnt/farm=Z:\\farm"], "/mnt/farm/a", "Z:\\farm\\a"),
        (["/mnt/farm=Z:\\farm", "/mnt=Y:\\"], "/mnt/other/a", "Y:\\other\\a"),
        # inside words
        (NAS, "--out=/mnt/farm/x/y", "--out=Z:\\farm\\x\\y"),
        (NAS, "--out=/mnt/farm", "--out=Z:\\farm"),
        (NAS, "-o/mnt/farm/x", "-oZ:\\farm\\x"),
        (NAS, "+O/mnt/farm/x.png", "+OZ:\\farm\\x.png"),
        (["Z:\\farm=/mnt/farm"], "-oZ:\\farm\\x", "-o/mnt/farm/x"),
        (NAS, "A=/mnt/farm/x,B=/mnt/farm/y/z", "A=Z:\\farm\\x,B=Z:\\farm\\y\\z"),
        (NAS, "/mnt/farm/x;/mnt/farm/y", "Z:\\farm\\x;Z:\\farm\\y"),
        (["/a=X:\\a", "/b=Y:\\b"], "p=/a/1,/b/2", "p=X:\\a\\1,Y:\\b\\2"),
        (NAS, "x=/data/mnt/farm/y", "x=/data/mnt/farm/y"),
        (NAS, "name/mnt/farm/y", "name/mnt/farm/y"),
        # what the renderer is told besides paths
        (NAS, "/mnt/farm/out/frame_####", "Z:\\farm\\out\\frame_####"),
        (NAS, "/mnt/farm/a b/ü,c/d.png", "Z:\\farm\\a b\\ü,c\\d.png"),
        (NAS, "//render/", "//render/"),
        ([], "/mnt/farm/a", "/mnt/farm/a"),
    ],
)
def test_a_word(maps: list[str], word: str, expected: str) -> None:
    assert of(maps).word(word) == expected


def test_there_and_back_again() -> None:
    path = "/mnt/farm/7/output/frame_0001.png"
    there = of(["/mnt/farm=\\\\nas\\farm"]).word(path)
    assert of(["\\\\nas\\farm=/mnt/farm"]).word(there) == path


@pytest.mark.parametrize(
    ("text", "here", "there"),
    [
        ("/mnt/farm=Z:\\farm", "/mnt/farm", "Z:\\farm"),
        (" /mnt/farm/ = Z:/farm/ ", "/mnt/farm", "Z:\\farm"),
        ("/mnt/a=b=/c", "/mnt/a=b", "/c"),
        ("//nas/x=/c", "\\\\nas\\x", "/c"),
    ],
)
def test_how_one_is_written(text: str, here: str, there: str) -> None:
    mapping = parse(text)
    assert (mapping.here, mapping.there) == (here, there)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["/mnt/farm"], "FROM=TO"),
        (["farm=Z:\\farm"], "FROM=TO"),
        (["/mnt/farm=farm"], "FROM=TO"),
        (["=Z:\\farm"], "FROM=TO"),
        (["/=Z:\\"], "everything"),
        (["/a=/b\n"], "FROM=TO|control"),
        (["/a\x07=/b"], "control"),
        (["/a=/b", "/a/=/c"], "twice"),
        (["C:\\a=/b", "c:/A=/c"], "twice"),
        ([f"/a{number}=/b" for number in range(51)], "more than 50"),
    ],
)
def test_what_is_none(texts: list[str], says: str) -> None:
    with pytest.raises(BadMapping, match=says):
        of(texts)


def test_a_long_word_is_no_long_wait() -> None:
    word = ",".join(["/mnt/far"] * 10_000)
    assert of([f"/mnt/farm{number}=/x" for number in range(50)]).word(word) == word

"""The file name in what a client sends: the last component by every platform's rules, or nothing."""

from __future__ import annotations

import base64

import pytest

from renderonline.api.domain.names import usable_name
from renderonline.names import BadName


def word(text: str) -> str:
    """RFC 2047, as .NET sends what is not ASCII."""
    return f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?="


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("scene.blend", "scene.blend"),
        ("with space.blend", "with space.blend"),
        ("a/b.blend", "b.blend"),
        ("/home/a/b.blend", "b.blend"),
        (r"C:\x\y.blend", "y.blend"),
        ("C:y.blend", "y.blend"),
        (r"\\server\share\y.blend", "y.blend"),
        ("C:/x/y.blend", "y.blend"),
        (r"/home/odd\name.blend", "name.blend"),
        (r"..\..\x.blend", "x.blend"),
        ("../../x.blend", "x.blend"),
        ("file:///home/a/b.blend", "b.blend"),
        ("file:///C:/x%20y/a%20b.blend", "a b.blend"),
        ("file:///home/a%23b.blend", "a#b.blend"),
        ("file:///home/100%25.blend", "100%.blend"),
        ("FILE:///a/..%2F..%2Fetc.blend", "etc.blend"),
        (r"file:///a/..%5C..%5Cetc.blend", "etc.blend"),
        ("file:///home/%C3%BC.blend", "ü.blend"),
        ("file://server/share/x.blend", "x.blend"),
        ("a%2Fb.blend", "a%2Fb.blend"),  # no URI: the name says so itself
        (word("ü.blend"), "ü.blend"),
        (word("日本.blend"), "日本.blend"),
        (word("/srv/日/本.blend"), "本.blend"),
        (word("file:///x/%23y.blend"), "#y.blend"),
        ("=?utf-8?B?w7/Dvy5ibGVuZA==?=", "ÿÿ.blend"),  # a separator inside the base64
        ("=?utf-8?Q?=2Fetc=2Fx.blend?=", "x.blend"),
        ("console.blend", "console.blend"),
        ("com10.blend", "com10.blend"),
        (".blend", ".blend"),
        ("x" * 234 + ".blend", "x" * 234 + ".blend"),
    ],
)
def test_usable(sent: str, name: str) -> None:
    assert usable_name(sent) == name


@pytest.mark.parametrize(
    "sent",
    [
        *("", " ", ".", "..", "...", ". .", "/", "\\", "x/", "file:///", "d:", "file:///..%2F"),
        # reserved on Windows, whatever follows
        *("CON", "con.blend", "PRN.blend", "aux.tar.gz", "nul", "NUL.blend", "con .blend"),
        *("COM1.blend", "com9", "lpt1.blend", "LPT¹.blend", "CONIN$", "conout$.blend"),
        # dropped or refused by Windows
        *("a.blend.", "a..", "a<b.blend", "a>b.blend", 'a"b.blend', "a|b", "a?b.blend", "a*b"),
        *("file:///a%3Fb.blend", "ab:stream.blend", "scene.blend:x"),
        # control characters, encoded or not, and what turns the direction of the text
        *("a\0b.blend", "x.blend\0.png", "a\nb.blend", "a\rb.blend", "a\tb.blend", "a\x1bb.blend"),
        *("a\x7fb.blend", "a\x85b.blend", "file:///x%00.blend", "file:///x%0A.blend"),
        *(word("a\0b.blend"), word("a\nb.blend")),
        *("\u202edneLb.blend", "a\u2066b.blend", "a\u202ab.blend", "a\u2028b.blend"),
        "a\ud800b.blend",
        # too long for a file system, in bytes
        *("x" * 300, "x" * 300 + ".blend", "ü" * 120 + ".blend"),
        # words that are none
        *("=?nope?B?YQ==?=", "=?utf-8?B?/w==?=", "=?utf-8?B?!!!?="),
    ],
)
def test_refused_with_a_sentence(sent: str) -> None:
    with pytest.raises(BadName) as refusal:
        usable_name(sent)
    text = str(refusal.value)
    assert text.endswith(".")
    assert len(text) < 200, "the answer does not repeat a name of any length"
    assert text.isprintable(), "and brings no control character back"

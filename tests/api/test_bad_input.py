"""What a farm is sent by mistake or on purpose: a 4xx in the endpoint's words, and nothing kept.

Each case is held to the same: the status, the endpoint's own JSON with a sentence in it, the same
rows and files as before. That nothing was logged as a mistake of ours is looked at once, at the end.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import requests
from support import multipart
from support.multipart import Body, Part

from renderonline.api.app import open_database
from renderonline.api.services import admin
from renderonline.config import ApiSettings

from .house import FRAMES, House, Person

FLAGS = {
    "enqueue": "IsAdded",
    "dequeue": "IsRemoved",
    "download": "DownloadProvided",
    "delete": "IsDeleted",
}


@pytest.fixture(scope="module", autouse=True)
def more_engines(house: House) -> None:
    """Engines and argument types that give bad input something to be bad for."""
    settings = ApiSettings(connection_string="sqlite:///farm.sqlite3", data_path=house.data)
    database = open_database(settings)
    generic = {"adapter": "generic"}
    try:
        for argtype_id, columns in {
            "anything": {"regex": ".*"},
            "whole": {"type": "integer"},
            "counted": {"type": "natural"},
            "broken": {"type": "word"},
            "strange": {"type": "word"},
        }.items():
            admin.add(database, "argtype", {"argtype_id": argtype_id, **columns})
        for name, template in {
            "alone": "alone $RENDERONLINE:anything $RENDERONLINE:@uploaded_file",
            "negative": "neg $RENDERONLINE:whole $RENDERONLINE:@uploaded_file",
            "lacking": "lacking $RENDERONLINE:never_defined $RENDERONLINE:@uploaded_file",
        }.items():
            row = {"name": name, "extension": f".{name}", "render_argument": template, **generic}
            admin.add(database, "engine", row)
    finally:
        database.close()
    # as an admin's own SQL can leave them
    house.rows("UPDATE argtypes SET regex = '(' WHERE argtype_id = 'broken'")
    house.rows("UPDATE argtypes SET type = 'colour' WHERE argtype_id = 'strange'")


@pytest.fixture(scope="module")
def harmless(house: House) -> int:
    """A task that could be harmed."""
    return house.task()


@pytest.fixture
def unchanged(house: House, harmless: int) -> Iterator[None]:
    """Every row and every file is as it was before the test."""
    before = house.snapshot()
    yield
    assert house.snapshot() == before


def check(answer: requests.Response, route: str, status: int) -> str:
    """The endpoint's own JSON, with a sentence; that sentence."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    body = answer.json()
    assert body[FLAGS[route]] is False
    assert body.get("TaskId") is None
    message = str(body["ErrorMessage"])
    assert message.endswith((".", "?")), message
    assert len(message) < 500
    assert message.isprintable(), "nothing of what was sent can upset a terminal"
    return message


# --------------------------------------------------------------------------- who calls


STRANGERS: dict[str, dict[str, str]] = {
    "no headers": {"email": "", "token": ""},
    "no token": {"token": ""},
    "no email": {"email": ""},
    "wrong token": {"token": "wrong"},
    "unknown email": {"email": "nobody@example.com"},
    "somebody else's token": {"email": "other@example.com"},
    "endless": {"token": "x" * 5000},
    "quotes": {"email": "' OR '1'='1", "token": "' OR '1'='1"},
}


@pytest.mark.parametrize("route", ["info", "dequeue", "download", "delete"])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_stranger(house: House, unchanged: None, route: str, stranger: str) -> None:
    answer = house.request(
        "GET" if route == "info" else "POST", route, headers=STRANGERS[stranger], data=b"{}"
    )
    assert (answer.status_code, answer.content) == (401, b"")


@pytest.mark.parametrize("stranger", STRANGERS)
def test_stranger_who_submits(house: House, unchanged: None, stranger: str) -> None:
    sent = multipart.enqueue_body("scene.any", b"x" * 300_000, FRAMES)
    headers = {**STRANGERS[stranger], "Content-Type": sent.content_type}
    answer = house.request("POST", "enqueue", headers=headers, data=sent.content)
    check(answer, "enqueue", 401)


@pytest.mark.parametrize(
    "line", ["token: a\x01b", "token: a\0b", "token: a\x7fb", "to ken: x", "no colon", " folded"]
)
def test_headers_that_are_none(house: House, unchanged: None, line: str) -> None:
    """HTTP's own refusal: no endpoint has seen this request."""
    with house.connect() as connection:
        connection.sendall(house.head("info", {"Content-Length": "2"})[:-2])
        connection.sendall(f"{line}\r\n\r\n{{}}".encode())
        status = connection.makefile("rb").readline()
    assert status.split()[1][:1] == b"4"


# --------------------------------------------------------------------------- bodies that are small


BODIES: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \r\n",
    "not JSON": b"TaskId=5",
    "cut off": b'{"TaskId": 1',
    "not an object": b"[1]",
    "null": b"null",
    "not UTF-8": b'{"TaskId":"\xff"}',
    "zeros": b"\0" * 50,
    "100 levels deep": b'{"a":' * 100 + b"1" + b"}" * 100,
    "deeper than the parser": b"[" * 300_000,
    "two values": b'{"TaskId":1}{"TaskId":2}',
    "no id": b"{}",
    "id null": b'{"TaskId":null}',
    "id 0": b'{"TaskId":0}',
    "id negative": b'{"TaskId":-1}',
    "id negative text": b'{"TaskId":"-1"}',
    "id huge": b'{"TaskId":9223372036854775808}',
    "id beyond 64 bits": b'{"TaskId":99999999999999999999999999}',
    "id of 5000 digits": b'{"TaskId":' + b"9" * 5000 + b"}",
    "id infinite": b'{"TaskId":1e400}',
    "id a fraction": b'{"TaskId":1.5}',
    "id a word": b'{"TaskId":"one"}',
    "id in other digits": '{"TaskId":"٣"}'.encode(),
    "id a truth": b'{"TaskId":true}',
    "id a list": b'{"TaskId":[1]}',
    "id SQL": b'{"TaskId":"1 OR 1=1"}',
    "id that is not there": b'{"TaskId":9223372036854775807}',
}


@pytest.mark.parametrize("route", ["dequeue", "download", "delete"])
@pytest.mark.parametrize("body", BODIES)
def test_body_of_three(house: House, unchanged: None, route: str, body: str) -> None:
    check(house.request("POST", route, data=BODIES[body]), route, 400)


@pytest.mark.parametrize("route", ["dequeue", "download", "delete"])
def test_somebody_elses_task_looks_like_none(house: House, route: str) -> None:
    task_id = house.task(person=house.people["other"])
    before = house.snapshot()
    theirs = house.request("POST", route, json={"TaskId": task_id})
    none = house.request("POST", route, json={"TaskId": task_id + 5000})
    said = check(theirs, route, 400).replace(str(task_id), "#")
    assert said == check(none, route, 400).replace(str(task_id + 5000), "#")
    assert house.snapshot() == before


@pytest.mark.parametrize("route", ["dequeue", "download", "delete"])
def test_body_of_megabytes(house: House, unchanged: None, route: str) -> None:
    body = b'{"TaskId":1,"Unknown":"' + b"x" * (1 << 20) + b'"}'
    check(house.request("POST", route, data=body), route, 413)


# --------------------------------------------------------------------------- enqueue's body


def request_with(**fields: Any) -> Part:
    arguments = fields.pop("Arguments", arguments_of(FRAMES))
    return multipart.request_part({"EngineId": "0", "Arguments": arguments, **fields})


def arguments_of(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"ArgTypeId": name, "Value": value} for name, value in values.items()]


FILE = multipart.file_part("scene.any", b"a project")
GOOD = multipart.body([request_with(), FILE])
BOUNDARY = GOOD.content_type.split('"')[1]


def raw_file(disposition: str) -> Part:
    return Part((f"Content-Disposition: form-data; {disposition}",), b"a project")


def cut(sent: Body, left_bytes: int) -> Body:
    return Body(sent.content_type, sent.content[:left_bytes])


ENQUEUES: dict[str, Body] = {
    "empty": Body(GOOD.content_type, b""),
    "not multipart": Body("application/json", b'{"EngineId":"0"}'),
    "no content type": Body("", GOOD.content),
    "content type not UTF-8": Body("multipart/form-data; boundary=\xff", GOOD.content),
    "no boundary": Body("multipart/form-data", GOOD.content),
    "another boundary": Body('multipart/form-data; boundary="x"', GOOD.content),
    "not parts at all": Body(GOOD.content_type, b"scene"),
    "no part": Body(GOOD.content_type, f"--{BOUNDARY}--\r\n".encode()),
    "cut off in the file": cut(GOOD, GOOD.content.index(b"a project") + 4),
    "cut off in a header": cut(GOOD, 60),
    "cut off before the end": cut(GOOD, len(GOOD.content) - 8),
    "no file": multipart.body([request_with()]),
    "no request": multipart.body([FILE]),
    "two files": multipart.body([request_with(), FILE, FILE]),
    "file first, then another": multipart.body([FILE, request_with(), FILE]),
    "file without a name": multipart.body([request_with(), raw_file("name=file")]),
    "empty file": multipart.body([request_with(), multipart.file_part("scene.any", b"")]),
    "too many parts": multipart.body([request_with(), FILE, *[request_with()] * 40]),
    "header of megabytes": multipart.body(
        [request_with(), raw_file(f'name=file; filename="{"x" * (1 << 20)}"')]
    ),
    "file name not UTF-8": Body(
        GOOD.content_type, GOOD.content.replace(b"filename=scene.any", b'filename="\xff\xfe.any"')
    ),
    "request empty": multipart.body([multipart.request_part(b""), FILE]),
    "request not JSON": multipart.body([multipart.request_part(b"start_frame=1"), FILE]),
    "request cut off": multipart.body([multipart.request_part(b'{"EngineId":"0"'), FILE]),
    "request a list": multipart.body([multipart.request_part(b"[]"), FILE]),
    "request 100 levels deep": multipart.body(
        [multipart.request_part(b'{"a":' * 100 + b"1" + b"}" * 100), FILE]
    ),
    "request deeper than the parser": multipart.body(
        [multipart.request_part(b"[" * 200_000), FILE]
    ),
    "request not UTF-8": multipart.body([multipart.request_part(b'{"EngineId":"\xff"}'), FILE]),
    "arguments no list": multipart.body([request_with(Arguments={"start_frame": "1"}), FILE]),
    "arguments of nothing": multipart.body([request_with(Arguments=[None]), FILE]),
    "argument a list": multipart.body(
        [request_with(Arguments=[{"ArgTypeId": "start_frame", "Value": ["1"]}]), FILE]
    ),
    "engine unknown": multipart.body([request_with(EngineId="77"), FILE]),
    "engine negative": multipart.body([request_with(EngineId="-1"), FILE]),
    "engine huge": multipart.body([request_with(EngineId="9" * 5000), FILE]),
    "engine a name": multipart.body([request_with(EngineId="any"), FILE]),
    "engine in other digits": multipart.body([request_with(EngineId="٢"), FILE]),
    "engine with control characters": multipart.body([request_with(EngineId="2\x00"), FILE]),
    "frames and arguments contradict": multipart.body([request_with(Frames="1-9"), FILE]),
    "frames no range": multipart.body([request_with(Arguments=[], Frames="all"), FILE]),
    "frames inverted": multipart.body([request_with(Arguments=[], Frames="9-1"), FILE]),
    "frames with gaps, of a task in one piece": multipart.body(
        [request_with(Arguments=[], Frames="1,5,9"), FILE]
    ),
    "frames negative, of an engine that may not take them": multipart.body(
        [request_with(Arguments=[], Frames="-5--1"), FILE]
    ),
    "frames negative, and inverted": multipart.body(
        [request_with(Arguments=[], Frames="-1--5"), FILE]
    ),
    "frames endless": multipart.body([request_with(Arguments=[], Frames="1," * 60_000), FILE]),
    "frames too many": multipart.body([request_with(Arguments=[], Frames="1-99999999999"), FILE]),
}
STATUS = {"too many parts": 413, "header of megabytes": 413}


@pytest.mark.parametrize("case", ENQUEUES)
def test_enqueue_body(house: House, unchanged: None, case: str) -> None:
    check(house.post_body(ENQUEUES[case]), "enqueue", STATUS.get(case, 400))


@pytest.mark.parametrize("case", ENQUEUES)
def test_enqueue_body_with_its_length(house: House, unchanged: None, case: str) -> None:
    sent = ENQUEUES[case]
    headers = {"Content-Type": sent.content_type}
    answer = house.request("POST", "enqueue", data=sent.content, headers=headers)
    check(answer, "enqueue", STATUS.get(case, 400))


# --------------------------------------------------------------------------- names


def word(text: str) -> str:
    return f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?="


NAMES = [
    *("scene.blendx", "scene", "scene.any.txt", "any", "scene.any/", "scene.any."),
    *(".", "..", "...", "/", "\\\\", "file:///", "CON.any", "nul.any", "com1.any", "LPT9.any"),
    *("x" * 300 + ".any", "a<b.any", "a|b.any", "a*b.any", "a?b.any", "scene.any:stream"),
    *(word("a\0b.any"), word("a\nb.any"), word("\u202eyna.any"), "=?x?B?YQ==?=", word("CON.any")),
    *("file:///a%00.any", "file:///a%0A.any", "file:///..%2F..%2F", "\x07.any", "a\x1b[2J.any"),
]


@pytest.mark.parametrize("name", NAMES)
def test_name_with_nothing_usable_in_it(house: House, unchanged: None, name: str) -> None:
    sent = multipart.body([request_with(), raw_file(f'name=file; filename="{name}"')])
    check(house.post_body(sent), "enqueue", 400)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../../etc/scene.any", "scene.any"),
        (r"C:\\x\\scene.any", "scene.any"),
        ("file:///home/a/my%20scene.any", "my scene.any"),
        (word("/srv/日/本.any"), "本.any"),
        ("SCENE.ANY", "SCENE.ANY"),
    ],
)
def test_of_a_path_the_last_component_is_used(house: House, name: str, kept: str) -> None:
    sent = multipart.body([request_with(), raw_file(f'name=file; filename="{name}"')])
    answer = house.post_body(sent)
    assert answer.status_code == 200, answer.text
    folder = house.task_dir(answer.json()["TaskId"])
    assert [file.name for file in folder.iterdir()] == [kept]
    assert folder.is_relative_to(house.data / "projects")


# --------------------------------------------------------------------------- values


Values = Sequence[tuple[str, Any]]
FIRST, LAST = ("start_frame", "1"), ("end_frame", "3")
ARGUMENTS: dict[str, tuple[str, Values]] = {
    "unknown type of argument": ("any", [FIRST, LAST, ("colour", "red")]),
    "argument without a name": ("any", [FIRST, LAST, ("", "red")]),
    "argument with a special's name": ("any", [FIRST, LAST, ("@uploaded_file", "/etc/passwd")]),
    "type that does not exist": ("any", [FIRST, LAST, ("strange", "red")]),
    "regex that does not work": ("any", [FIRST, LAST, ("broken", "red")]),
    "given twice": ("any", [FIRST, LAST, FIRST]),
    "given twice, in another case": ("any", [FIRST, LAST, ("START_FRAME", "1")]),
    "a word for a number": ("any", [("start_frame", "one"), LAST]),
    "a number and more": ("any", [("start_frame", "1; rm -rf /"), LAST]),
    "a number and a new line": ("any", [("start_frame", "1\n"), LAST]),
    "a number and a zero byte": ("any", [("start_frame", "1\0"), LAST]),
    "a number in other digits": ("any", [("start_frame", "٣"), LAST]),
    "negative where it is natural": ("any", [FIRST, LAST, ("counted", "-1")]),
    "negative frames of an engine that may not take them": ("any", [("start_frame", "-1"), LAST]),
    "negative where it is natural, for Blender": ("blend", [FIRST, LAST, ("counted", "-1")]),
    "a negative frame and an option": ("any", [("start_frame", "-1 -P"), LAST]),
    "no number behind the hyphen": ("any", [("start_frame", "-"), LAST]),
    "no value": ("any", [("start_frame", ""), LAST]),
    "a value that is null": ("any", [("start_frame", None), LAST]),
    "a value that is true": ("any", [("start_frame", True), LAST]),
    "left out": ("any", [LAST]),
    "none at all": ("any", []),
    "control characters": ("any", [FIRST, LAST, ("note", "a\x1b[2J")]),
    "characters that turn the text": ("any", [FIRST, LAST, ("note", "a\u202eb")]),
    "half a character": ("any", [FIRST, LAST, ("note", "\ud800")]),
    "of any length": ("any", [FIRST, LAST, ("note", "x" * 2000)]),
    "an inverted range": ("any", [("start_frame", "5"), ("end_frame", "3")]),
    "frames beyond any renderer": ("any", [FIRST, ("end_frame", "9" * 30)]),
    "more frames than can be counted": ("any", [FIRST, ("end_frame", "2147483647")]),
    "beyond Blender's frames": ("blend", [FIRST, ("end_frame", "1048575")]),
    "before Blender's frames": ("blend", [("start_frame", "-1048575"), LAST]),
    "inverted for Blender": ("blend", [("start_frame", "5"), ("end_frame", "3")]),
    "a format that Blender has not": ("blend", [FIRST, LAST, ("output_format", "DOCX")]),
    "a format and an option": ("blend", [FIRST, LAST, ("output_format", "PNG --python x")]),
    "an option by itself": ("alone", [("anything", "--python-expr=x")]),
    "a short option": ("alone", [("anything", "-P")]),
    "a hyphen": ("alone", [("anything", "-")]),
    "nearly a number": ("alone", [("anything", "-1e5")]),
    "a placeholder that nobody can fill": ("lacking", []),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments(house: House, unchanged: None, case: str) -> None:
    extension, values = ARGUMENTS[case]
    arguments = [{"ArgTypeId": name, "Value": value} for name, value in values]
    request = json.dumps({"EngineId": "0", "Arguments": arguments}).encode()
    file = multipart.file_part(f"scene.{extension}", b"BLENDER-v304")
    sent = multipart.body([multipart.request_part(request), file])
    check(house.post_body(sent), "enqueue", 400)


@pytest.mark.parametrize("value", ["-5", "5"])
def test_a_negative_number_is_no_option(house: House, value: str) -> None:
    assert house.enqueue("scene.negative", arguments={"whole": value}).status_code == 200


@pytest.mark.parametrize("value", ["a b", '"a" b', "$(id)", "%PATH%", "a\\", "$RENDERONLINE:x"])
def test_a_value_stays_one_argument(house: House, value: str) -> None:
    from renderonline.engines.commandline import split

    answer = house.enqueue("scene.alone", arguments={"anything": value})
    assert answer.status_code == 200, answer.text
    render = house.get(f"tasks/{answer.json()['TaskId']}")["Render"]
    assert split(render["Arguments"])[1] == value
    assert len(split(render["Arguments"])) == 3


def test_full_queue_is_403(house: House) -> None:
    settings = ApiSettings(connection_string="sqlite:///farm.sqlite3", data_path=house.data)
    database = open_database(settings)
    try:
        subscription = admin.add(database, "subscription", {"name": "Small", "queue_limit": 1})
        row = {"email": "small@example.com", "subscription_id": subscription["subscription_id"]}
        user = admin.add(database, "user", row)
        small = Person(user["email"], admin.issue_token(database, user["user_id"])[1])
    finally:
        database.close()
    house.task(person=small)
    before = house.snapshot()
    check(house.enqueue(person=small), "enqueue", 403)
    # the order of the checks: what is wrong with the body is said first
    check(house.post_body(ENQUEUES["two files"], small), "enqueue", 400)
    check(house.enqueue("scene.nothing", person=small), "enqueue", 403)
    assert house.snapshot() == before


def test_log_stayed_quiet(house: House) -> None:
    house.assert_quiet()
    assert "went wrong" not in house.service.stderr

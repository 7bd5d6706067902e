"""Bodies as clients send them: names in any case, numbers as text, nothing that is not a message."""

from __future__ import annotations

import pytest

from renderonline import wire


@pytest.mark.parametrize(
    ("body", "task_id"),
    [
        (b'{"TaskId":123}', 123),
        (b'{"taskId":123}', 123),
        (b'{"taskid":123}', 123),
        (b'{"TASKID":"123"}', 123),
        (b'{"TaskId":123.0}', 123),
        (b'{"TaskId":-5}', -5),
        (b'{"TaskId":null}', 0),
        (b"{}", 0),
        (b' \r\n{ "TaskId" : 1 } \n', 1),
        (b'{"TaskId":1,"Unknown":{"a":[1,{"TaskId":9}]}}', 1),
        (b'{"TaskId":1,"taskId":2}', 2),
        (b'{"TaskId":99999999999999999999999}', 99999999999999999999999),
    ],
)
def test_task_id(body: bytes, task_id: int) -> None:
    assert wire.decode(body, wire.TaskRequest).task_id == task_id


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"nul", b"null", b"[]", b'""', b"5", b"{", b'{"TaskId":1', b'{"TaskId":1}x'),
        *(b'{"TaskId":1.5}', b'{"TaskId":true}', b'{"TaskId":[]}', b'{"TaskId":{}}'),
        *(b'{"TaskId":""}', b'{"TaskId":"x"}', b'{"TaskId":"1_0"}', b'{"TaskId":"0x1"}'),
        *(b'{"TaskId":NaN}', b'{"TaskId":1e400}', b'{"TaskId":' + b"9" * 5000 + b"}"),
        *(b'{"TaskId":"' + b"9" * 5000 + b'"}', '{"TaskId":"٣"}'.encode()),
        *(b"\xff\xfe{\x00}\x00", b'{"TaskId":"\xff"}', b'{"TaskId":"\\ud800"}', b"\0" * 100),
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
        b"[" * 200_000,
        b'{"a":' * 200_000,
    ],
)
def test_what_is_no_message_is_a_sentence(body: bytes) -> None:
    with pytest.raises(wire.WireError) as refusal:
        wire.decode(body, wire.TaskRequest)
    assert str(refusal.value).startswith("The body ")
    assert str(refusal.value).endswith(".")
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(("depth", "fits"), [(wire.MAX_DEPTH, True), (wire.MAX_DEPTH + 1, False)])
def test_depth_has_a_limit(depth: int, fits: bool) -> None:
    body = b'{"Unknown":' * (depth - 1) + b"{}" + b"}" * (depth - 1)
    if fits:
        wire.decode(body, wire.TaskRequest)
        return
    with pytest.raises(wire.WireError, match="nested deeper"):
        wire.decode(body, wire.TaskRequest)


def test_names_match_in_any_case_below_the_top() -> None:
    request = wire.decode(
        b'{"engineid":1,"ARGUMENTS":[{"argtypeid":"a","VALUE":5},{"ArgTypeId":"b","Value":null}]}',
        wire.EnqueueRequest,
    )
    assert request.engine_id == "1"
    assert [(a.arg_type_id, a.value) for a in request.arguments] == [("a", "5"), ("b", "")]


@pytest.mark.parametrize(
    "body",
    [
        b'{"Arguments":{}}',
        b'{"Arguments":[null]}',
        b'{"Arguments":[5]}',
        b'{"Arguments":[["a","b"]]}',
        b'{"Arguments":[{"ArgTypeId":"a","Value":{}}]}',
        b'{"Arguments":[{"ArgTypeId":"a","Value":true}]}',
        b'{"EngineId":{}}',
        b'{"Frames":[1]}',
    ],
)
def test_enqueue_request_of_another_shape(body: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(body, wire.EnqueueRequest)


def test_null_takes_the_default_where_there_is_one() -> None:
    request = wire.decode(b'{"EngineId":null,"Arguments":null,"Frames":null}', wire.EnqueueRequest)
    assert request == wire.EnqueueRequest()


def test_status_of_the_original_and_of_ours() -> None:
    original = wire.decode(
        b'{"engineIds":["Blender"],"task":{"taskId":7,"isRunning":true}}', wire.HpcStatus
    )
    assert (original.engine_ids, original.protocol) == (["Blender"], None)
    assert original.task is not None
    assert (original.task.task_id, original.task.attempt_id) == (7, None)
    told = wire.HpcStatus(task=wire.HpcTask(task_id=7, attempt_id=9), protocol=1, boot="b")
    assert wire.decode(wire.encode(told), wire.HpcStatus) == told


def test_what_is_sent_is_pascal_case() -> None:
    sent = wire.encode(wire.TaskRequest(task_id=5))
    assert sent == b'{"TaskId":5}'

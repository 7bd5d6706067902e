"""What a transfer says where there is no terminal."""

from __future__ import annotations

import pytest

from renderonline.commands.progress import sending, transfer


def test_the_end_of_a_transfer_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """What is checked or finished afterwards moves no byte."""
    with transfer("uploading x") as progress:
        for done in (1, 10, 10, 10):
            progress(done, 10)
    assert capsys.readouterr().err == "uploading x: 10 bytes (100 %)\n"


def test_who_interrupts_is_told_what_has_become_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), sending("shot.blend"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err.startswith("shot.blend is not submitted.")

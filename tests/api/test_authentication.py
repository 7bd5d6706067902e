"""Who calls: the email in any case, the token to the letter, and nobody by accident."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import requests

from renderonline.api.services import accounts, admin

from .control import Control
from .house import House

Insert = Callable[..., int]


@pytest.fixture
def insert(control: Control) -> Insert:
    """Adds a user by SQL, as the original's README does; the id."""

    def add(email: str, token: str, is_active: int = 1) -> int:
        with control.database.reading():
            control.database.peewee.execute_sql(
                "INSERT INTO users (first_name, last_name, email, subscription_id, is_active, token)"
                f" VALUES ('Test', 'User', '{email}', 1, {is_active}, '{token}')"
            )
            row = control.database.peewee.execute_sql("SELECT MAX(user_id) FROM users").fetchone()
        return int(row[0])

    return add


def who(control: Control, email: str, token: str) -> int | None:
    found = accounts.authenticate(control.ctx, email, token)
    return found.user_id if found else None


def test_verbatim_token_to_the_letter(control: Control, insert: Insert) -> None:
    """The original's collation lets any case pass: there are users who differ in nothing else."""
    lower = insert("user@example.com", "my-secret-token")
    upper = insert("zoe@example.com", "MY-SECRET-TOKEN")
    assert who(control, "user@example.com", "my-secret-token") == lower
    assert who(control, "zoe@example.com", "MY-SECRET-TOKEN") == upper
    for wrong in (
        *("MY-SECRET-TOKEN", "My-secret-token", "my-secret-token ", " my-secret-token"),
        *("my-secret-toke", "my-secret-tokenn", "my-secret-tokén", "%", "my-secret-token\0", ""),
    ):
        assert who(control, "user@example.com", wrong) is None, wrong


def test_email_in_any_case(control: Control, insert: Insert) -> None:
    user_id = insert("User@Example.com", "secret")
    for email in ("user@example.com", "USER@EXAMPLE.COM", "User@Example.com"):
        assert who(control, email, "secret") == user_id
    for wrong in ("user@example.co", "user@example.com%", "user_example.com", "%", ""):
        assert who(control, wrong, "secret") is None, wrong


def test_token_of_ours_in_any_case_is_none(control: Control) -> None:
    row = admin.add(control.database, "user", {"email": "own@example.com"})
    _, token = admin.issue_token(control.database, "own@example.com")
    assert who(control, "OWN@example.com", token) == row["user_id"]
    assert who(control, "own@example.com", token.swapcase()) is None
    assert who(control, "own@example.com", token[:-1]) is None


@pytest.mark.parametrize("token", ["", " ", "\0", "None", "NULL", "''"])
def test_user_without_a_verbatim_token_is_opened_by_nothing(
    control: Control, insert: Insert, token: str
) -> None:
    insert("empty@example.com", "")
    admin.add(control.database, "user", {"email": "own@example.com"})
    assert who(control, "empty@example.com", token) is None
    assert who(control, "own@example.com", token) is None


def test_inactive_user_is_nobody(control: Control, insert: Insert) -> None:
    insert("gone@example.com", "secret", is_active=0)
    assert who(control, "gone@example.com", "secret") is None
    admin.add(control.database, "user", {"email": "own@example.com"})
    _, token = admin.issue_token(control.database, "own@example.com")
    assert who(control, "own@example.com", token) is not None
    admin.change(control.database, "user", "own@example.com", {"is_active": "no"})
    assert who(control, "own@example.com", token) is None
    admin.change(control.database, "user", "own@example.com", {"is_active": "yes"})
    assert who(control, "own@example.com", token) is not None


def test_tokens_of_ours_are_kept_hashed(control: Control) -> None:
    row = admin.add(control.database, "user", {"email": "own@example.com"})
    _, token = admin.issue_token(control.database, row["user_id"])
    with control.database.reading():
        execute = control.database.peewee.execute_sql
        kept = execute("SELECT user_id, hash FROM tokens").fetchall()
        verbatim = execute("SELECT token FROM users").fetchall()
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert [tuple(r) for r in kept] == [(row["user_id"], digest)]
    assert [tuple(r) for r in verbatim] == [("",)]
    assert len(token) >= 43, "256 bits"
    assert who(control, "own@example.com", digest) is None, (
        "what is stolen from the table is no key"
    )


def test_several_tokens_and_revoking_them(control: Control, insert: Insert) -> None:
    user_id = insert("user@example.com", "by-hand")
    issued = [admin.issue_token(control.database, user_id)[1] for _ in range(2)]
    assert len(set(issued)) == 2
    for token in (*issued, "by-hand"):
        assert who(control, "user@example.com", token) == user_id
    _, fresh = admin.issue_token(control.database, user_id, revoke=True)
    for token in (*issued, "by-hand"):
        assert who(control, "user@example.com", token) is None
    assert who(control, "user@example.com", fresh) == user_id


def test_token_of_another_is_none(control: Control) -> None:
    for name in ("a", "b"):
        admin.add(control.database, "user", {"email": f"{name}@example.com"})
    _, token = admin.issue_token(control.database, "a@example.com")
    assert who(control, "b@example.com", token) is None


# --------------------------------------------------------------------------- as headers


def insert_by_hand(house: House, email: str, token: str) -> None:
    house.rows(
        "INSERT INTO users (first_name, last_name, email, subscription_id, is_active, token) "
        "VALUES ('', '', ?, 1, 1, ?)",
        email,
        token,
    )


@pytest.mark.parametrize(
    ("email", "token"),
    [("zoë@example.com", "schlüssel-日本"), ("o'neill@example.com", 'a"b\\c;--')],
)
def test_headers_beyond_ascii(house: House, email: str, token: str) -> None:
    insert_by_hand(house, email, token)
    headers = {"email": email.encode(), "token": token.encode()}
    answer = requests.get(f"{house.service.url}/renderapi/v1/info", headers=headers, timeout=60)
    assert answer.status_code == 200
    assert answer.json()["User"]["Email"] == email
    headers["token"] = token.encode() + b"\xcc\x81"
    answer = requests.get(f"{house.service.url}/renderapi/v1/info", headers=headers, timeout=60)
    assert (answer.status_code, answer.content) == (401, b"")


def test_client_that_writes_latin_1(house: House) -> None:
    insert_by_hand(house, "zoé@example.com", "schlüssel")
    headers = {"email": "zoé@example.com".encode("latin-1"), "token": "schlüssel".encode("latin-1")}
    answer = requests.get(f"{house.service.url}/renderapi/v1/info", headers=headers, timeout=60)
    assert answer.status_code == 200


@pytest.mark.parametrize("token", [b"\xff\xfe", b"\xed\xa0\x80", b"\xc3", b"\xf5\x80\x80\x80"])
def test_headers_that_are_no_text(house: House, token: bytes) -> None:
    headers = {"email": b"artist@example.com", "token": token}
    answer = requests.get(f"{house.service.url}/renderapi/v1/info", headers=headers, timeout=60)
    assert (answer.status_code, answer.content) == (401, b"")


def test_names_of_headers_in_any_case(house: House) -> None:
    artist = house.artist
    headers = {"EMAIL": artist.email, "Token": artist.token}
    url = f"{house.service.url}/renderapi/v1/info"
    assert requests.get(url, headers=headers, timeout=60).status_code == 200


def test_query_is_no_place_for_a_token(house: House) -> None:
    """It would stand in every log on the way."""
    artist = house.artist
    url = f"{house.service.url}/renderapi/v1/info?email={artist.email}&token={artist.token}"
    assert requests.get(url, timeout=60).status_code == 401


def test_log_stayed_quiet_and_holds_no_token(house: House) -> None:
    house.assert_quiet()
    for person in house.people.values():
        assert person.token not in house.service.stderr

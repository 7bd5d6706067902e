"""`ConnectionString` in all the spellings of .NET's drivers, and in ours for SQLite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from renderonline.api.db.connection_string import MySqlTarget, SqliteTarget, parse
from renderonline.config import ConfigError

DATA = Path("/srv/data")
PLAIN = MySqlTarget("db", 3306, "farm", "me", "secret", "preferred", None)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Server=db;Database=farm;User Id=me;Password=secret;", PLAIN),
        ("Server=db;Database=farm;User Id=me;Password=secret", PLAIN),
        ("server=db;DATABASE=farm;userid=me;PASSWORD=secret;", PLAIN),
        ("Host=db;Initial Catalog=farm;Uid=me;Pwd=secret", PLAIN),
        ("Data Source=db;database=farm;UID=me;PWD=secret", PLAIN),
        ("Address=db;Database=farm;User Name=me;Password=secret", PLAIN),
        ("Addr=db;Database=farm;Username=me;Password=secret", PLAIN),
        ("Network Address=db;Database=farm;user=me;Password=secret", PLAIN),
        (" Server = db ; Database = farm ; User Id = me ; Password = secret ; ", PLAIN),
        (";;Server=db;;Database=farm;User_Id=me;Password=secret;;", PLAIN),
        ("Server=db\n;Database=farm\n;User Id=me;Password=secret\n", PLAIN),
        # of two, the later one
        ("Server=a;Server=db;Database=farm;User Id=me;Password=secret", PLAIN),
        # what is the .NET driver's alone
        ("Server=db;Database=farm;User Id=me;Password=secret;Pooling=true;Max Pool Size=5", PLAIN),
        ("Server=db;Database=farm;User Id=me;Password=secret;Port=3307", replace(PLAIN, port=3307)),
        ("Server=db;Database=farm;User Id=me", replace(PLAIN, password="")),
        ("Server=db;Database=farm;User Id=me;Password=", replace(PLAIN, password="")),
        (
            "Server=db;Database=farm;User Id=me;Password=a=b==",
            replace(PLAIN, password="a=b=="),
        ),
        (
            'Server=db;Database=farm;User Id=me;Password="a;b=""c""\'d"',
            replace(PLAIN, password='a;b="c"\'d'),
        ),
        (
            "Server=db;Database=farm;User Id=me;Password='a;b=''c''\"d'",
            replace(PLAIN, password="a;b='c'\"d"),
        ),
        (
            'Server=db;Database=farm;User Id=me;Password=" spaces "',
            replace(PLAIN, password=" spaces "),
        ),
        ("Server=::1;Database=farm;User Id=me;Password=secret", replace(PLAIN, host="::1")),
        ("Server=db;Database=farm;Uid=me;Pwd=ü日", replace(PLAIN, password="ü日")),
    ],
)
def test_mysql(text: str, target: MySqlTarget) -> None:
    assert parse(text, DATA) == target


@pytest.mark.parametrize(
    ("written", "mode"),
    [
        ("None", "disabled"),
        ("Disabled", "disabled"),
        ("preferred", "preferred"),
        ("Required", "required"),
        ("VerifyCA", "verifyca"),
        ("VERIFY_CA", "verifyca"),
        ("VerifyFull", "verifyfull"),
    ],
)
def test_ssl_mode(written: str, mode: str) -> None:
    target = parse(f"Server=db;Database=farm;Uid=me;SslMode={written};SslCa=/ca.pem", DATA)
    assert target == replace(PLAIN, password="", ssl_mode=mode, ssl_ca="/ca.pem")
    assert (
        parse(f"Server=db;Database=farm;Uid=me;SSL Mode={written};SSL CA=/ca.pem", DATA) == target
    )


@pytest.mark.parametrize(
    ("text", "file"),
    [
        (None, DATA / "renderonline.sqlite3"),
        ("sqlite:///farm.sqlite3", DATA / "farm.sqlite3"),
        ("sqlite:///below/farm.sqlite3", DATA / "below" / "farm.sqlite3"),
        ("SQLite:///farm.sqlite3", DATA / "farm.sqlite3"),
        ("sqlite:////var/lib/farm.sqlite3", Path("/var/lib/farm.sqlite3")),
    ],
)
def test_sqlite(text: str | None, file: Path) -> None:
    assert parse(text, DATA) == SqliteTarget(file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "lacks host, database, user"),
        ("  ", "lacks host"),
        ("Server=db;Database=farm;Password=s3cret", "lacks user"),
        ("Server=db;Uid=me;Password=s3cret", "lacks database"),
        ("Server=;Database=farm;Uid=me;Password=s3cret", "lacks host"),
        ("s3cret", "not a list of key=value pairs"),
        ("Server=db;s3cret;Database=farm", "lacks|not a list"),
        ("mysql://me:s3cret@db/farm", "not a list|lacks"),
        ("Server=db;Database=farm;Uid=me;Password=s3cret;Port=x", "Port takes"),
        ("Server=db;Database=farm;Uid=me;Password=s3cret;Port=0", "Port takes"),
        ("Server=db;Database=farm;Uid=me;Password=s3cret;Port=65536", "Port takes"),
        ("Server=db;Database=farm;Uid=me;Password=s3cret;Port=٣", "Port takes"),
        (f"Server=db;Database=farm;Uid=me;Password=s3cret;Port={'9' * 5000}", "Port takes"),
        ("Server=db;Database=farm;Uid=me;Password=s3cret;SslMode=maybe", "SslMode takes"),
        ("sqlite:", "sqlite:///"),
        ("sqlite://farm.sqlite3", "sqlite:///"),
        ("sqlite:///", "sqlite:///"),
    ],
)
def test_wrong_ones_are_explained_without_the_password(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refusal:
        parse(text, DATA)
    assert "s3cret" not in str(refusal.value)


def test_password_is_not_in_what_is_logged_of_a_target() -> None:
    assert "secret" not in repr(PLAIN)
    assert "secret" not in str(PLAIN)

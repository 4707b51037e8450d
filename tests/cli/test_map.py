"""`gatherer map import` and `map status`: files and queries, with all that can be wrong in them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.factories import call

HEADER = "message_id,campaign,phone,sent_at\n"


def rows(folder: Path, columns: str = "*") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "responses.db")) as connection:
        return connection.execute(f"SELECT {columns} FROM message_map ORDER BY id").fetchall()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert call(tmp_path, "init").returncode == 0
    return tmp_path


def write(folder: Path, content: str | bytes, name: str = "sent.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def imported(folder: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    result = call(folder, "map", "import", *arguments, "--json")
    assert result.returncode == code, result.stderr
    counts: dict[str, Any] = json.loads(result.stdout)
    return counts


def test_a_file_of_excel_is_imported_and_again_changes_nothing(folder: Path) -> None:
    write(
        folder,
        "\ufeffMessage ID;Client Reference;Campaign;Communication Key;URN;Phone;Business_Phone;MessageName;SentAt;Cost\r\n"
        'wamid.1;;"Herbst; 2026";c-1;4711;+49 171 5550001;0049 30 5550000;Gutschein;20.11.2026 18:30;0,05\r\n'
        "\r\n"
        ";NULL;Herbst;c-1;4712;49171-5550002;;;20.11.2026 18:31;\r\n",
    )
    options = ("sent.csv", "--time-zone", "Europe/Berlin", "--date-format", "%d.%m.%Y %H:%M")
    result = call(folder, "map", "import", *options)
    assert result.returncode == 0, result.stderr
    assert result.stderr.decode().strip().endswith("ignored: Cost")
    columns = "message_id, client_reference, campaign, communication_key, urn, phone, business_phone, message_name, sent_at"
    first = ("wamid.1", None, "Herbst; 2026", "c-1", "4711", "+491715550001", "+49305550000", "Gutschein")
    second = (None, None, "Herbst", "c-1", "4712", "+491715550002", None, None)
    assert rows(folder, columns) == [
        (*first, "2026-11-20 17:30:00.000"),
        (*second, "2026-11-20 17:31:00.000"),
    ]
    before = rows(folder)
    counts = {"rows": 2, "inserted": 0, "changed": 0, "unchanged": 2, "unbound": 1, "wrong": 0}
    assert imported(folder, *options) == counts
    assert rows(folder) == before


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_of_the_header(folder: Path, delimiter: str) -> None:
    write(folder, f"campaign{delimiter}message_id\nAutumn, with a comma{delimiter}m-1\n".replace(", ", " "))
    assert imported(folder, "sent.csv")["inserted"] == 1
    assert rows(folder, "message_id") == [("m-1",)]


def test_a_given_delimiter_is_used(folder: Path) -> None:
    write(folder, "campaign~message_id\na,b;c~m-1\n")
    assert imported(folder, "sent.csv", "--delimiter", "~")["inserted"] == 1
    assert rows(folder, "campaign, message_id") == [("a,b;c", "m-1")]
    write(folder, "campaign\tmessage_id\nb\tm-2\n")
    assert imported(folder, "sent.csv", "--delimiter", "tab")["inserted"] == 1


def test_another_encoding_is_an_error_before_anything_is_imported(folder: Path) -> None:
    content = HEADER + "".join(f"m-{number},Herbst,,\n" for number in range(3000)) + "m-x,Herbst für alle,,\n"
    write(folder, content.encode("cp1252"))
    result = call(folder, "map", "import", "sent.csv")
    assert result.returncode == 2
    assert b"not UTF-8" in result.stderr
    assert b"--encoding" in result.stderr
    assert not (folder / "responses.db").exists()
    assert imported(folder, "sent.csv", "--encoding", "cp1252")["inserted"] == 3001
    write(folder, content.encode("utf-16"))
    assert call(folder, "map", "import", "sent.csv").returncode == 2
    assert imported(folder, "sent.csv", "--encoding", "utf-16")["unchanged"] == 3001


def test_wrong_rows_are_named_by_their_line_and_all_others_imported(folder: Path) -> None:
    long = "x" * 256
    wrong = {
        4: (
            ",Autumn,+447700900001,",
            "no message_id and no client_reference: then phone and sent_at are needed",
        ),
        5: ("m-3,,,", "campaign is empty"),
        6: ("m-4,Autumn,0770 0900,", "phone is not an international number"),
        7: ("m-5,Autumn", "2 fields, and the header has 4"),
        8: ("m-6,Autumn,,tomorrow", "sent_at is not a time in the form ISO 8601, as in 2026-11-20 18:30:00"),
        9: ("m-7,Autumn,,1999-01-01", "sent_at is outside of 2009 to 2099"),
        10: (f"m-8,{long},,", "campaign is longer than 255 characters"),
        11: ('"m-9"x,Autumn,,', "not valid CSV: ',' expected after '\"'"),
    }
    lines = [text for text, _ in wrong.values()]
    write(
        folder,
        HEADER
        + "m-1,Autumn,,\nm-2,Autumn,,2026-11-20T18:30+01:00\n"
        + "\n".join(lines)
        + "\nm-10,Autumn,,\n",
    )
    result = call(folder, "map", "import", "sent.csv")
    assert result.returncode == 1
    assert result.stderr.decode().splitlines() == [
        f"line {line}: {reason}" for line, (_, reason) in wrong.items()
    ]
    assert b"0770" not in result.stderr, "no numbers of people in a log"
    assert "11 rows: 3 new, 0 changed, 0 unchanged, 8 left out" in result.stdout.decode()
    assert rows(folder, "message_id, sent_at") == [
        ("m-1", None),
        ("m-2", "2026-11-20 17:30:00.000"),
        ("m-10", None),
    ]


def test_of_many_wrong_rows_the_first_are_named_and_all_counted(folder: Path) -> None:
    write(folder, HEADER + "m,,,\n" * 50)
    result = call(folder, "map", "import", "sent.csv")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 21
    assert b"and 30 more" in result.stderr


def test_a_quotation_mark_that_never_ends_hides_no_row_silently(folder: Path) -> None:
    write(folder, HEADER + 'm-1,Autumn,,\n"m-2,Autumn,,\nm-3,Autumn,,\n')
    result = call(folder, "map", "import", "sent.csv")
    assert result.returncode == 1
    assert b"unexpected end of data" in result.stderr


def test_repeated_rows_of_one_file_are_one_row_with_all_values(folder: Path) -> None:
    write(folder, HEADER + "m-1,Autumn,+447700900001,\nm-1,Winter,,2026-11-20 10:00\n")
    assert imported(folder, "sent.csv") == {
        "rows": 2, "inserted": 1, "changed": 0, "unchanged": 1, "unbound": 0, "wrong": 0,
    }  # fmt: skip
    assert rows(folder, "campaign, phone, sent_at") == [
        ("Winter", "+447700900001", "2026-11-20 10:00:00.000")
    ]


def test_columns_of_other_names_and_a_campaign_for_all_rows(folder: Path) -> None:
    write(folder, "id,Customer URN,urn\nm-1,4711,no\n")
    options = ("--column", "message_id=id", "--column", "urn=customer_urn", "--campaign", "Autumn")
    assert imported(folder, "sent.csv", *options)["inserted"] == 1
    assert rows(folder, "message_id, urn, campaign") == [("m-1", "4711", "Autumn")]


def test_a_query_fills_the_map_from_tables_of_the_same_database(folder: Path) -> None:
    call(folder, "map", "status")
    call(folder, "gather", "--dry-run")
    imported(folder, str(write(folder, HEADER + "m-0,Autumn,,\n")))
    with closing(sqlite3.connect(folder / "responses.db")) as connection, connection:
        connection.execute("CREATE TABLE delivery (wamid TEXT, urn INTEGER, mobile INTEGER, at TEXT)")
        connection.executemany(
            "INSERT INTO delivery VALUES (?, ?, ?, '2026-11-20 18:30')",
            [(f"m-{number}", number, 447_700_900_000 + number) for number in range(1, 5001)],
        )
    query = (
        "SELECT 'Autumn' AS campaign, wamid AS message_id, urn, mobile AS phone, at AS sent_at FROM delivery"
    )
    assert imported(folder, "--query", query)["inserted"] == 5000
    write(folder, f"\ufeff-- what was sent\n{query}\n", "sent.sql")
    assert imported(folder, "sent.sql")["unchanged"] == 5000
    assert rows(folder, "count(*), min(phone), max(urn)") == [(5001, "+447700900001", "999")]
    with closing(sqlite3.connect(folder / "responses.db")) as connection, connection:
        connection.execute("UPDATE delivery SET mobile = 7 WHERE wamid = 'm-1'")
    result = call(folder, "map", "import", "--query", query)
    assert result.returncode == 1
    assert result.stderr == b"row 1: phone is not an international number\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "FILE or --query"),
        (("sent.csv", "--query", "SELECT 1"), "FILE or --query"),
        (("missing.csv",), "missing.csv cannot be read: No such file"),
        (("empty.csv",), "is empty"),
        (("sent.csv", "--delimiter", "ab"), "--delimiter"),
        (("sent.csv", "--delimiter", ""), "--delimiter"),
        (("sent.csv", "--encoding", "nope"), "no encoding"),
        (("sent.csv", "--time-zone", "Nowhere"), "no time zone"),
        (("sent.csv", "--column", "urn"), "COLUMN=NAME"),
        (("sent.csv", "--column", "nope=x"), "has no column"),
        (("sent.csv", "--column", "urn=x"), "there is no column 'x'"),
        (("other.csv",), "no column campaign"),
        (("other.csv", "--campaign", "Autumn"), "which message"),
        (("other.csv", "--campaign", "x" * 256), "longer than 255"),
        (("twice.csv",), "twice"),
        (("--query", "SELECT"), "the query failed"),
        (("--query", "SELECT 1; SELECT 2"), "the query failed"),
        (("--query", "DELETE FROM message_map"), "the query failed"),
        (("--query", "PRAGMA user_version = 1"), "the query"),
    ],
)
def test_invalid_input_is_one_line_and_exit_code_2(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    write(folder, HEADER + "m-1,Autumn,,\n")
    imported(folder, "sent.csv")
    write(folder, b"", "empty.csv")
    write(folder, "urn,name\n1,2\n", "other.csv")
    write(folder, "campaign,Message ID,message_id\n1,2,3\n", "twice.csv")
    result = call(folder, "map", "import", *arguments)
    assert result.returncode == 2, result.stderr
    error = result.stderr.decode().splitlines()[-1]
    assert error.startswith("Error: ")
    assert words in error
    assert rows(folder, "message_id") == [("m-1",)]


def test_an_import_that_the_lock_of_another_program_stops_is_completed_by_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each 2 000 rows are one transaction: what was committed stays, and the same import adds the rest."""
    write(folder, HEADER + "".join(f"m-{number},Autumn,,\n" for number in range(4500)))
    from gatherer.targets.sqlite import message_map

    calls = []
    original = message_map.write

    def stopped(*arguments: Any) -> tuple[int, int]:
        calls.append(arguments)
        written = original(*arguments)
        if len(calls) == 2:
            raise sqlite3.OperationalError("disk I/O error")
        return written

    with monkeypatch.context() as patched:
        patched.setattr(message_map, "write", stopped)
        result = call(folder, "map", "import", "sent.csv")
    assert result.returncode != 0
    assert len(result.stderr.splitlines()) == 1
    assert len(rows(folder)) == 2000
    counts = imported(folder, "sent.csv")
    assert (counts["inserted"], counts["unchanged"]) == (2500, 2000)


def test_status_shows_what_is_missing(folder: Path) -> None:
    from datetime import timedelta

    from gatherer.model import timestamps

    moments = [timestamps.iso(timestamps.now() - timedelta(hours=hours)) for hours in (1, 25, 50)]
    lines = [f"m-{number},Autumn,,{moment}\n" for number, moment in enumerate(moments)]
    write(folder, HEADER + "".join(lines) + f",Autumn,+447700900001,{moments[0]}\n")
    imported(folder, "sent.csv")
    result = call(folder, "map", "status", "--json")
    assert json.loads(result.stdout) == {
        "days": 7,
        "without_campaign": {},
        "campaigns": [{"campaign": "Autumn", "mapped": 2, "without_receipt": 2}],
        "unbound": 1,
    }
    assert (
        json.loads(call(folder, "map", "status", "--days", "2", "--json").stdout)["campaigns"][0]["mapped"]
        == 1
    )
    text = call(folder, "map", "status").stdout.decode()
    assert "without any receipt after 24 hours: 2 of 2" in text
    assert "Autumn: 2 of 2" in text
    assert "without message id and reference: 1" in text
    assert call(folder, "map", "status", "--days", "0").returncode == 2

"""What is handed on to other programs, from either target."""

import csv
import errno
import io
import json
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gatherer.files.atomic import atomic_write
from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError
from gatherer.pipeline import export as exports
from gatherer.targets.base import BEGINNING, NO_END, Batch, ChangePoint, Export
from tests.factories import call, configure, envelope, fill_inbox, receipts, run, text, value
from tests.targets.engines import DATABASES, ENGINES, Database
from tests.targets.test_views import Facts, at, fact


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return DATABASES[request.param](tmp_path)


@pytest.fixture
def facts(database: Database) -> Iterator[Facts]:
    with closing(Facts(database)) as opened:
        yield opened


def exported(facts: Facts, selection: Export, **layout: Any) -> str:
    written = io.StringIO()
    exports.write_responses(facts.target, selection, exports.Layout(**layout), written.write)
    return written.getvalue()


def result(facts: Facts, selection: Export, format: exports.Format = "ferg") -> exports.ExportResult:  # noqa: A002
    return exports.write_responses(facts.target, selection, exports.Layout(format=format), str)


def ids(facts: Facts, **filters: Any) -> list[str]:
    lines = exported(facts, Export(**filters), format="ndjson").splitlines()
    return [json.loads(line)["message_id"] for line in lines]


def test_rows_are_chosen_by_time_endpoint_and_kind(facts: Facts) -> None:
    facts.tell(
        fact("sent", "w1", "12:00"),
        fact("read", "w1", "12:30"),
        fact("sent", "w2", "13:00", endpoint="other"),
    )
    assert ids(facts) == ["w1", "w1", "w2"]
    assert ids(facts, since=at("12:30")) == ["w1", "w2"]
    assert ids(facts, until=at("12:30")) == ["w1"]
    assert ids(facts, endpoint="other") == ["w2"]
    assert ids(facts, kinds=("read", "failed")) == ["w1"]
    assert ids(facts, endpoint="nobody") == []
    assert [
        list(facts.target.export(Export(view="endpoint", endpoint=name))) for name in ("other", "nobody")
    ] == [
        [[{"endpoint": "other"}]],
        [],
    ]


def test_a_late_row_is_in_the_next_export(facts: Facts) -> None:
    """What occurred long ago and arrived now is new to a program that reads by the time of writing."""
    facts.tell(fact("sent", "w1", "12:00"))
    first = facts.target.horizon()
    assert ids(facts, changed_to=first) == ["w1"]
    facts.tell(fact("sent", "w0", "08:00"), fact("sent", "w1", "12:00", client_reference="learned later"))
    second = facts.target.horizon()
    assert sorted(ids(facts, changed_after=first, changed_to=second)) == ["w0", "w1"]
    assert ids(facts, changed_after=second) == []


def test_a_blanked_answer_is_exported_again_but_not_to_ferg(facts: Facts) -> None:
    facts.map("spring", message_id="w1", communication_key="CK-1", urn="U1")
    facts.tell(fact("sent", "w1", "08:00"), fact("replied", "r1", about_message_id="w1", reply_text="yes"))
    first = facts.target.horizon()
    assert facts.target.apply_retention(text_before=at("23:00"), rows_before=None).blanked == 1
    second = facts.target.horizon()
    since_last = Export(changed_after=first, changed_to=second)
    (row,) = exported(facts, since_last, format="ndjson").splitlines()
    assert (json.loads(row)["reply_text"], json.loads(row)["blanked_at"] is None) == (None, False)
    assert exported(facts, since_last, format="ferg").splitlines()[1:] == []
    assert len(exported(facts, Export(), format="ferg").splitlines()) == 3, "who reads everything reads it"
    facts.tell(fact("replied", "r1", about_message_id="w1", client_reference="learned later"))
    assert len(exported(facts, Export(changed_after=second), format="ferg").splitlines()) == 2


@pytest.mark.babelfish("leaves the escapes of JSON in texts from OPENJSON")
def test_text_survives_csv_and_tsv(facts: Facts) -> None:
    awkward = 'a "quoted", line\nwith\ttab; 👍 ü'
    facts.tell(fact("replied", "r1", reply_text=awkward))
    for name, delimiter in (("csv", ","), ("tsv", "\t")):
        text = exported(facts, Export(), format=name)
        (row,) = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        assert (row["reply_text"], row["occurred_at"], row["is_test"]) == (
            awkward,
            "2026-11-20T12:00:00.000Z",
            "0",
        )
        assert row["emoji"] == ""


@pytest.mark.babelfish("leaves the escapes of JSON in texts from OPENJSON")
def test_ferg_gets_what_the_map_knows_in_its_own_form(facts: Facts) -> None:
    facts.map("spring", message_id="w1", communication_key="CK-1", urn="U1", message_name="Spring 1")
    facts.tell(
        fact("sent", "w1", "08:00"),
        fact("replied", "r1", "12:05", about_message_id="w1", reply_text='yes\n"please"'),
        fact("opted_out", "r2", "12:06", about_message_id="w1"),
        fact("sent", "unmapped", "08:00"),
    )
    text = exported(
        facts, Export(), format="ferg", date_format="%d.%m.%Y %H:%M", zone=ZoneInfo("Europe/Berlin")
    )
    lines = sorted(text.split("\r\n"))
    header = "\t".join(f'"{name}"' for name in exports.FERG_COLUMNS)
    reply = (
        "CK-1",
        "U1",
        "+15550001111",
        "Replied",
        "20.11.2026 13:05",
        "20.11.2026 09:00",
        "w1",
        "Spring 1",
    )
    assert header in lines
    assert "\t".join(f'"{value}"' for value in (*reply, 'yes ""please""', "0")) in lines
    assert any('"OptOut"' in line for line in lines)
    assert "unmapped" not in text
    assert text.count("\r\n") == 4
    unix = exported(facts, Export(kinds=("sent",)), format="ferg", date_format=exports.UNIX)
    assert f'"{int(at("08:00").timestamp())}"' in unix


@pytest.mark.babelfish("leaves the escapes of JSON in texts from OPENJSON")
def test_a_row_for_ferg_is_one_line_with_any_content(facts: Facts) -> None:
    awkward = "a\tb\r\nc\u2028d"
    columns = {"message_name": awkward, "communication_key": awkward, "urn": awkward}
    facts.map("spring", message_id="w1", **columns).tell(
        fact("failed", "w1", error_title=awkward),
        fact("replied", "r1", about_message_id="w1", reply_text=awkward),
    )
    lines = exported(facts, Export(), format="ferg").splitlines()
    assert [line.count("\t") for line in lines] == [len(exports.FERG_COLUMNS) - 1] * 3
    for line in lines[1:]:
        assert line.count('"a b c d"') == 4, line


def test_a_row_mapped_later_is_in_the_next_ferg_export(facts: Facts) -> None:
    facts.tell(fact("sent", "w1"))
    first = facts.target.horizon()
    assert result(facts, Export(changed_to=first)).rows == 0
    facts.map("spring", message_id="w1", communication_key="CK-1")
    assert result(facts, Export(changed_after=first)).rows == 1


def news(facts: Facts, first: ChangePoint, second: ChangePoint) -> list[str]:
    """Return the message types that ferg gets of what was written between two points."""
    selection = Export(changed_after=first, changed_to=second)
    text = exported(facts, selection, format="ferg").splitlines()[1:]
    return sorted(row[3] for row in csv.reader(text, delimiter="\t"))


def test_a_row_of_the_map_that_is_updated_is_news(facts: Facts) -> None:
    facts.map("spring", message_id="w1", urn="U1").tell(fact("sent", "w1"))
    first = facts.target.horizon()
    assert news(facts, first, NO_END) == []
    facts.database.query("UPDATE $(schema).message_map SET urn = 'U2' WHERE message_id = 'w1'")
    assert news(facts, first, NO_END) == ["Sent"]


LATER = {
    "a receipt brings the reference": (
        {"client_reference": "REF-1"},
        [fact("replied", "r1", about_message_id="w1"), fact("read", "w1")],
        [fact("sent", "w1", client_reference="REF-1")],
        ([], ["Read", "Replied", "Sent"]),
    ),
    "a receipt learns the reference": (
        {"client_reference": "REF-1"},
        [fact("replied", "r1", about_message_id="w1"), fact("sent", "w1")],
        [fact("sent", "w1", client_reference="REF-1")],
        ([], ["Replied", "Sent"]),
    ),
    "a receipt learns whose of several rows with the reference it is": (
        {"client_reference": "REF-1", "phone": "+15550001111"},
        [fact("read", "w1", client_reference="REF-1", phone=None)],
        [fact("sent", "w1", client_reference="REF-1")],
        (["Read"], ["Read", "Sent"]),
    ),
    "a receipt contains that the message was sent before the answer": (
        {"message_id": "w1"},
        [fact("replied", "r1", "12:03"), fact("delivered", "w1", "12:04")],
        [fact("sent", "w1", "12:00")],
        (["Delivered"], ["Replied", "Sent"]),
    ),
    "a receipt contains that the message did not fail": (
        {"message_id": "w1", "sent_at": "2026-11-20 11:00:00.000"},
        [fact("failed", "w1", "12:00"), fact("replied", "r1", "12:03")],
        [fact("delivered", "w1", "12:01")],
        (["Failed"], ["Delivered", "Replied"]),
    ),
    "a receipt of a message with an id of its own and a reference of many": (
        {"message_id": "w1", "client_reference": "REF-1"},
        [fact("sent", "w2", client_reference="REF-1"), fact("replied", "r1", about_message_id="w1")],
        [fact("sent", "w1")],
        (["Sent"], ["Replied", "Sent"]),
    ),
}


@pytest.mark.parametrize("name", LATER)
def test_a_row_whose_campaign_another_row_tells_is_in_the_next_ferg_export(facts: Facts, name: str) -> None:
    mapped, before, after, (in_first, in_second) = LATER[name]
    facts.map("spring", **mapped).tell(*before)
    first = facts.target.horizon()
    assert news(facts, BEGINNING, first) == in_first
    facts.tell(*after)
    second = facts.target.horizon()
    assert news(facts, first, second) == in_second
    assert news(facts, second, NO_END) == []


@pytest.mark.parametrize("mapped", [{"client_reference": "REF-1"}, {"message_id": "w1"}])
def test_a_further_receipt_repeats_no_row(facts: Facts, mapped: dict[str, str]) -> None:
    facts.map("spring", **mapped)
    facts.tell(
        fact("sent", "w1", client_reference="REF-1"),
        fact("replied", "r1", about_message_id="w1", client_reference="REF-1"),
    )
    first = facts.target.horizon()
    facts.tell(fact("read", "w1", client_reference="REF-1"))
    assert news(facts, first, NO_END) == ["Read"]


def test_a_large_export_streams(facts: Facts) -> None:
    many = [fact("sent", f"w{number}") for number in range(4500)]
    facts.target.apply(Batch(records=many))
    sizes = [len(batch) for batch in facts.target.export(Export())]
    assert (sum(sizes), max(sizes)) == (4500, 2000)


def test_a_file_appears_whole_or_not_at_all(facts: Facts, tmp_path: Path) -> None:
    path = tmp_path / "out" / "responses.csv"
    path.parent.mkdir()
    assert exports.write_file(facts.target, Export(), exports.Layout(), path).rows == 0
    assert list(path.parent.iterdir()) == [], "nothing to write, no file"
    facts.tell(fact("sent", "w1"))
    assert exports.write_file(facts.target, Export(), exports.Layout(), path).rows == 1
    with pytest.raises(RuntimeError), atomic_write(path) as draft:  # noqa: PT012
        draft.write("half")
        raise RuntimeError
    assert [file.name for file in path.parent.iterdir()] == ["responses.csv"]
    assert "w1" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appeared_in_the_meantime_is_not_replaced(
    facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    def without(self: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", without)
    path = tmp_path / "out" / "responses.csv"
    path.parent.mkdir()
    facts.tell(fact("sent", "w1"))
    assert exports.write_file(facts.target, Export(), exports.Layout(), path, replace=False).rows == 1
    assert "w1" in path.read_text(encoding="utf-8")
    path.write_text("not read yet", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="no file is replaced"):
        exports.write_file(facts.target, Export(), exports.Layout(), path, replace=False)
    assert path.read_text(encoding="utf-8") == "not read yet"
    assert [file.name for file in path.parent.iterdir()] == ["responses.csv"]
    assert exports.write_file(facts.target, Export(), exports.Layout(), path).rows == 1
    assert "w1" in path.read_text(encoding="utf-8")


def test_a_cursor_does_not_pass_by_a_file_that_may_not_have_been_read(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    call(tmp_path, "gather")
    (tmp_path / "r.csv").write_text("not read yet", encoding="utf-8")
    since_last = ("export", "--since-last", "x", "--output", "r.csv")
    refused = call(tmp_path, *since_last)
    assert (refused.returncode, refused.stderr.count(b"\n")) == (2, 1), refused.stderr
    assert (tmp_path / "r.csv").read_text(encoding="utf-8") == "not read yet"
    (tmp_path / "r.csv").unlink()
    assert call(tmp_path, *since_last).returncode == 0
    assert "wamid.A" in (tmp_path / "r.csv").read_text(encoding="utf-8")
    assert call(tmp_path, "export", "--output", "r.csv").returncode == 0, (
        "without a cursor the file is written again"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        ("--kind", "sennt"),
        ("--time-zone", "Mars/X"),
        ("--since-last", "a/b"),
        ("--since-last", ""),
        ("--output", ""),
        ("--output", "."),
        ("--output", ".."),
        ("--output", "/"),
        ("--output", "folder"),
        ("--restart", "x"),
        ("--delimiter", ""),
        ("--delimiter", ";;"),
        ("--delimiter", '"'),
        ("--delimiter", "\n"),
        ("--format=ferg", "--bom"),
        ("--format=opt-outs", "--kind=sent"),
        pytest.param(
            ("--output", "x" * 300), marks=pytest.mark.skipif(os.name == "nt", reason="exit 3 there")
        ),
        ("--output", "\udcff.csv"),
        ("--date-format", "\udcff"),
        ("--endpoint", "nobody"),
        ("--endpoint", ""),
        ("--endpoint", "\udcff"),
    ],
)
def test_a_wrong_option_is_reported_in_one_line(tmp_path: Path, wrong: tuple[str, str]) -> None:
    configure(tmp_path)
    (tmp_path / "folder").mkdir()
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    call(tmp_path, "gather")
    ended = call(tmp_path, "export", *wrong)
    assert (ended.returncode, ended.stderr.count(b"\n")) == (2, 1), ended.stderr


@pytest.mark.parametrize("option", ["--output", "--date-format"])
def test_a_directive_that_windows_does_not_know_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    class Windows(datetime):
        def strftime(self, format: str) -> str:  # noqa: A002
            raise ValueError("Invalid format string")

    configure(tmp_path)
    monkeypatch.setattr(timestamps, "now", lambda: Windows(2026, 11, 20, tzinfo=UTC))
    ended = call(tmp_path, "export", option, "%Q")
    assert (ended.returncode, ended.stderr.count(b"\n")) == (2, 1), ended.stderr


def test_an_unknown_endpoint_moves_no_cursor(tmp_path: Path) -> None:
    """One of another machine, of which something has come, is one; so is one that is configured."""
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")], endpoint="elsewhere")
    call(tmp_path, "gather")
    since_last = ("export", "--since-last", "x", "--endpoint")
    assert call(tmp_path, *since_last, "elsewheer").returncode == 2
    assert call(tmp_path, *since_last, "elsewhere").stdout.count(b"wamid.A") == 1
    assert call(tmp_path, *since_last, "apteco").returncode == 0


def test_the_command_goes_on_where_it_ended(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    call(tmp_path, "gather")
    first = run(tmp_path, "export", "--since-last", "x", "--format", "ndjson")
    assert (first.returncode, first.stdout.count(b"\n")) == (0, 1)
    assert call(tmp_path, "export", "--since-last", "x", "--format", "ndjson").stdout == b""
    assert call(tmp_path, "export", "--kind", "sent").stdout.count(b"wamid.A") == 1
    (tmp_path / "out").mkdir()
    named = call(tmp_path, "export", "--output", "out/r_%Y.csv")
    assert named.returncode == 0
    assert [path.name[:2] for path in (tmp_path / "out").iterdir()] == ["r_"]


def types(facts: Facts, **filters: Any) -> list[str]:
    """Return the message types that ferg gets, in the order of writing."""
    text = exported(facts, Export(**filters), format="ferg").splitlines()[1:]
    return [f"{row[3]} {row[8]}".strip() for row in csv.reader(text, delimiter="\t")]


def test_a_reaction_that_was_taken_back_is_not_handed_to_ferg(facts: Facts) -> None:
    facts.map("spring", message_id="w1")
    about = {"about_message_id": "w1"}
    facts.tell(
        fact("reacted", "r1", "12:01", emoji="👍", **about),
        fact("reacted", "r2", "12:02", emoji="", **about),
        fact("reacted", "r3", "12:01", emoji="🎉", phone="+15550003333", **about),
        fact("reacted", "r4", "12:03", emoji="❤", **about),
        fact("reacted", "r5", "12:04", emoji=None, user_id="US.1", phone=None, **about),
    )
    assert types(facts) == ["Reacted 🎉", "Reacted ❤", "Reacted"]
    assert result(facts, Export()).taken_back == 2


def test_an_export_counts_what_it_holds_back(facts: Facts) -> None:
    facts.map("spring", message_id="w1").tell(
        fact("sent", "w1"),
        fact("reacted", "r1", emoji="", about_message_id="w1"),
        fact("sent", "elsewhere"),
        fact("opted_out", "r2", day=25, reply_type="keyword"),
        fact("sent", "test", is_test=True),
        fact("opted_out", "r3", is_test=True),
    )
    assert str(result(facts, Export())) == (
        "1 rows; held back: 2 test rows (--include-tests writes them); 2 without a known campaign, 1 of them opt-outs "
        "(--format opt-outs writes them); 1 reactions that were taken back"
    )
    assert str(result(facts, Export(), "csv")) == (
        "4 rows; held back: 2 test rows (--include-tests writes them)"
    )
    assert str(result(facts, Export(), "opt-outs")) == (
        "1 rows; held back: 1 test rows (--include-tests writes them)"
    )
    assert str(result(facts, Export(include_tests=True), "ndjson")) == "6 rows; held back: nothing"
    later = facts.target.horizon()
    assert str(result(facts, Export(changed_after=later))) == "0 rows; held back: nothing"


OPT_OUT = {"reply_type": "keyword"}


def states(facts: Facts, **filters: Any) -> list[tuple[Any, ...]]:
    """Return the rows of an export of opt-outs: phone, user id, whether they opted out, source, campaign."""
    text = io.StringIO(exported(facts, Export(**filters), format="opt-outs"), newline="")
    names = ("phone", "user_id", "opted_out", "source", "campaign")
    return [tuple(row[name] for name in names) for row in csv.DictReader(text)]


def test_an_opt_out_is_handed_on_without_a_campaign(facts: Facts) -> None:
    facts.map("spring", message_id="w1", sent_at="2026-11-20 08:00:00.000")
    facts.tell(
        fact("sent", "w1", "08:00"),
        fact("opted_out", "r1", "12:00", day=25, **OPT_OUT),
        fact("opted_out", "r2", phone="+15550003333", about_message_id="w1"),
        fact("opted_out", "r3", phone=None, user_id="US.3", **OPT_OUT),
    )
    assert states(facts) == [
        ("+15550001111", "", "1", "keyword", ""),
        ("+15550003333", "", "1", "preference", "spring"),
        ("", "US.3", "1", "keyword", ""),
    ]


def test_only_the_current_state_of_an_opt_out_is_handed_on(facts: Facts) -> None:
    facts.tell(fact("opted_out", "r1", "12:00", **OPT_OUT))
    first = facts.target.horizon()
    facts.tell(fact("opted_in", "r2", "12:05"), fact("opted_out", "r0", "11:00", **OPT_OUT))
    assert states(facts) == [("+15550001111", "", "0", "preference", "")]
    second = facts.target.horizon()
    assert len(states(facts, changed_after=first, changed_to=second)) == 1
    assert states(facts, changed_after=second) == []
    facts.tell(fact("opted_out", "r00", "10:00", **OPT_OUT))
    assert states(facts, changed_after=second) == [], "an older opt-out that arrives later changes no state"
    facts.tell(fact("opted_out", "r3", "12:10", **OPT_OUT))
    assert states(facts, changed_after=second) == [("+15550001111", "", "1", "keyword", "")]


def test_an_opt_out_without_a_phone_is_handed_on_again_when_the_phone_is_known(facts: Facts) -> None:
    facts.tell(fact("opted_out", "r1", phone=None, user_id="US.1", **OPT_OUT))
    first = facts.target.horizon()
    facts.tell(fact("read", "w1", user_id="US.2", phone="+15550003333"))
    assert states(facts, changed_after=first) == []
    facts.tell(fact("read", "w2", user_id="US.1"))
    assert states(facts, changed_after=first) == [("+15550001111", "US.1", "1", "keyword", "")]


def test_blanking_hands_no_opt_out_on_again(facts: Facts) -> None:
    facts.tell(fact("opted_out", "r1", reply_text="Stop.", **OPT_OUT))
    first = facts.target.horizon()
    assert facts.target.apply_retention(text_before=at("23:00"), rows_before=None).blanked == 1
    assert states(facts, changed_after=first) == []


def test_people_without_phone_and_user_id_do_not_hide_each_other(facts: Facts) -> None:
    facts.tell(*(fact("opted_out", name, phone=None, **OPT_OUT) for name in ("r1", "r2")))
    assert len(states(facts)) == 2


def test_test_rows_are_exported_on_request_and_marked(facts: Facts) -> None:
    facts.tell(fact("sent", "w1"), fact("sent", "w2", is_test=True))
    assert ids(facts) == ["w1"]
    lines = exported(facts, Export(include_tests=True), format="ndjson").splitlines()
    assert [(json.loads(line)["message_id"], json.loads(line)["is_test"]) for line in lines] == [
        ("w1", 0),
        ("w2", 1),
    ]


def test_a_mistyped_folder_moves_no_cursor(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    call(tmp_path, "gather")
    refused = call(tmp_path, "export", "--since-last", "x", "--output", "fodler/r.csv")
    assert (refused.returncode, refused.stderr.count(b"\n")) == (3, 1), refused.stderr
    assert not (tmp_path / "fodler").exists()
    assert call(tmp_path, "export", "--since-last", "x").stdout.count(b"wamid.A") == 1


def test_a_cursor_can_be_restarted(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    call(tmp_path, "gather")
    for _ in range(2):
        assert call(tmp_path, "export", "--since-last", "x").stdout.count(b"wamid.A") == 1
        assert call(tmp_path, "export", "--since-last", "x").stdout == b""
        combined = call(tmp_path, "export", "--restart", "x", "--since-last", "x")
        assert combined.returncode == 2
        restarted = call(tmp_path, "export", "--restart", "x")
        assert (restarted.returncode, restarted.stdout) == (0, b"")
        assert b"the cursor x is reset" in restarted.stderr


def test_a_full_disk_is_temporary_and_moves_no_cursor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    call(tmp_path, "gather")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        ended = call(tmp_path, "export", "--since-last", "x", "--output", "r.csv")
    assert (ended.returncode, ended.stderr.count(b"\n")) == (75, 1), ended.stderr
    assert not (tmp_path / "r.csv").exists()
    assert call(tmp_path, "export", "--since-last", "x").stdout.count(b"wamid.A") == 1


def test_a_file_for_excel_in_german(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    call(tmp_path, "gather")
    german = (
        "--delimiter",
        ";",
        "--bom",
        "--date-format",
        "%d.%m.%Y %H:%M:%S",
        "--time-zone",
        "Europe/Berlin",
    )
    content = call(tmp_path, "export", *german).stdout
    assert content.startswith(b"\xef\xbb\xbfprovider;endpoint;occurred_at;")
    assert content.count(b"\xef\xbb\xbf") == 1
    (row,) = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";")
    assert datetime.strptime(row["occurred_at"], "%d.%m.%Y %H:%M:%S")  # noqa: DTZ007
    tabs = call(tmp_path, "export", "--delimiter", "tab").stdout
    assert tabs.startswith(b"provider\tendpoint\t")


def test_exports_of_views_refuse_tests_that_the_views_leave_out(tmp_path: Path) -> None:
    """Otherwise they would hold back what they were asked to write."""
    configure(tmp_path)
    tested = receipts("wamid.A").replace(b'"900000000000001"', b'"0"')
    stop = envelope(value(messages=[text("wamid.S", "Stop.")])).replace(b'"900000000000001"', b'"0"')
    fill_inbox(tmp_path / "inbox.db", [tested, stop])
    call(tmp_path, "gather")
    assert b"3 test rows" in call(tmp_path, "export").stderr
    state = json.loads(call(tmp_path, "status", "--json").stdout)
    assert (state["target"]["rows"]["response"], state["target"]["test_responses"]) == (3, 3)
    opt_outs = ("export", "--format", "opt-outs", "--include-tests")
    refused = call(tmp_path, *opt_outs)
    assert (refused.returncode, refused.stderr.count(b"\n")) == (2, 1), refused.stderr
    applied = call(tmp_path, "schema", "apply", "--include-tests")
    assert (applied.returncode, b"show test rows" in applied.stdout) == (0, True), applied.stderr
    (row,) = csv.DictReader(io.StringIO(call(tmp_path, *opt_outs).stdout.decode(), newline=""))
    assert (row["opted_out"], row["is_test"]) == ("1", "1")
    assert call(tmp_path, "export", "--format", "opt-outs").stdout == b""
    assert call(tmp_path, "schema", "apply").returncode == 0
    assert call(tmp_path, *opt_outs).returncode == 2
    assert call(tmp_path, "schema", "check").returncode == 0

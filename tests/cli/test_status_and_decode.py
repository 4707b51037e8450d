"""`status` reports the state of inbox and target; `decode` prints the records of a payload and stores nothing."""

import json
from pathlib import Path

from tests.factories import call, configure, envelope, fill_inbox, reaction, receipts, run, status, value


def test_status_reports_the_backlog_and_its_age(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A"), receipts("wamid.B"), b"junk"])
    state = json.loads(call(tmp_path, "status", "--json").stdout)
    assert state["inbox"]["backlog"] == state["inbox"]["last_id"] == 3
    assert state["inbox"]["oldest_waiting_at"] == "2026-09-21T14:13:20.000Z"
    assert state["inbox"]["oldest_waiting_seconds"] > 0
    assert state["last_run"] is None
    call(tmp_path, "gather", "--limit", "2")
    state = json.loads(call(tmp_path, "status", "--json").stdout)
    assert (state["inbox"]["position"], state["inbox"]["backlog"]) == (2, 1)
    assert state["last_run"]["read"] == 2
    call(tmp_path, "gather")
    state = json.loads(call(tmp_path, "status", "--json").stdout)
    assert (state["inbox"]["backlog"], state["inbox"]["oldest_waiting_at"]) == (0, None)
    assert state["target"]["rows"]["response"] == 2
    assert state["target"]["rejected_open"] == 1


def test_status_creates_no_files(tmp_path: Path) -> None:
    """If root runs it before the first run, it must not leave a file that the service cannot write."""
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    before = {path.name for path in tmp_path.iterdir()}
    state = json.loads(call(tmp_path, "status", "--json").stdout)
    assert (state["inbox"]["backlog"], state["target"]["rows"]["response"]) == (1, 0)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_status_prints_text_without_json(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    call(tmp_path, "gather")
    printed = run(tmp_path, "status").stdout.decode()
    for words in ("backlog", "response 1", "last run", "position"):
        assert words in printed


def test_decode_prints_a_line_for_each_record_and_rejection(tmp_path: Path) -> None:
    body = envelope(
        value(
            statuses=[status("wamid.A", "failed", errors=[{"code": 131026, "title": "undeliverable"}]), 7],
            messages=[reaction("wamid.E", "wamid.A", emoji="👍")],
        )
    )
    (tmp_path / "post.json").write_bytes(body)
    result = call(tmp_path, "decode", "meta", "post.json", "--json")
    assert result.returncode == 0
    failed, rejected, reacted = map(json.loads, result.stdout.splitlines())
    assert (failed["kind"], failed["message_id"], failed["error_code"]) == ("failed", "wamid.A", 131026)
    assert (failed["phone"], failed["occurred_at"]) == ("+15550001111", "2026-09-21T14:13:20.000Z")
    assert (rejected["kind"], rejected["path"]) == ("rejected", "$.entry[0].changes[0].value.statuses[1]")
    assert (reacted["emoji"], reacted["about_message_id"]) == ("👍", "wamid.A")
    assert not (tmp_path / "responses.db").exists()
    brief = run(tmp_path, "decode", "meta", stdin=body).stdout.splitlines()
    expected = "key kind message_id about_message_id phone user_id occurred_at emoji reply_text error_code"
    for line in brief:
        assert set(expected.split()) <= set(json.loads(line))


def test_decode_shows_the_word_of_an_event_that_is_not_modelled(tmp_path: Path) -> None:
    body = envelope(value(statuses=[status("wamid.A", "warped"), status("wamid.B", "sent")]))
    other, sent = map(json.loads, run(tmp_path, "decode", "meta", stdin=body).stdout.splitlines())
    assert (other["kind"], other["name"]) == ("other", "warped")
    assert "name" not in sent


def test_decode_exits_0_for_any_content(tmp_path: Path) -> None:
    for junk in (b"", b"\xff\xfe{\x00}\x00", b"[" * 100_000, b"null", b'{"entry":null}'):
        result = call(tmp_path, "decode", "meta", "-", stdin=junk)
        assert result.returncode == 0, junk[:20]
        assert b"Traceback" not in result.stderr


SAMPLE = """
{ // as a page of documentation prints it
  "object": "whatsapp_business_account",
  'entry': [{"id": "1", "changes": [{"field": "messages", "value": {
    "metadata": {"phone_number_id": "2", "display_phone_number": "15550002222"},
    "statuses": [{"id": "wamid.A", "status": "read", "timestamp": "1790000000", "recipient_id": "15550001111",},],
  }}]}]
}
"""


def test_decode_says_line_and_column_of_a_syntax_error(tmp_path: Path) -> None:
    lines = envelope(value(statuses=[status("wamid.A", "sent")])) + b'\n\n{"c" 3}\n'
    for body, place in ((SAMPLE.encode(), "line 2, column 3"), (lines, "line 3, column 6")):
        result = call(tmp_path, "decode", "meta", stdin=body)
        assert result.returncode == 0
        reasons = [json.loads(line).get("reason") or "" for line in result.stdout.splitlines()]
        assert any(reason.endswith(place) for reason in reasons), reasons


def test_decode_reads_json5_only_if_asked(tmp_path: Path) -> None:
    strict = json.loads(call(tmp_path, "decode", "meta", stdin=SAMPLE.encode()).stdout)
    assert strict["kind"] == "rejected"
    (tmp_path / "sample.json").write_text(SAMPLE, encoding="utf-8")
    lenient = json.loads(call(tmp_path, "decode", "meta", "--lenient", "sample.json").stdout)
    assert (lenient["kind"], lenient["message_id"]) == ("read", "wamid.A")


def test_lenient_changes_nothing_about_a_body_that_is_json(tmp_path: Path) -> None:
    bodies = (envelope(value(statuses=[status("wamid.A", "sent"), 7])), b"{}\n[]\n", b"null")
    for body in bodies:
        assert (
            call(tmp_path, "decode", "meta", "--lenient", stdin=body).stdout
            == call(tmp_path, "decode", "meta", stdin=body).stdout
        )


def test_decode_says_where_a_sample_is_not_json5(tmp_path: Path) -> None:
    for junk in (b'{"a": 1,\n "b": }', b"\xff\xfe{\x00}\x00", b"[" * 100_000):
        result = call(tmp_path, "decode", "meta", "--lenient", stdin=junk)
        assert (result.returncode, result.stderr.count(b"\n")) == (0, 1), result.stderr
        assert b"standard input is not JSON5 either: " in result.stderr
        assert json.loads(result.stdout)["kind"] == "rejected"


def test_decode_reports_an_unknown_provider_or_file(tmp_path: Path) -> None:
    result = call(tmp_path, "decode", "pigeon", "-")
    assert (result.returncode, b"no provider 'pigeon'" in result.stderr) == (2, True)
    result = call(tmp_path, "decode", "meta", "nowhere.json")
    assert (result.returncode, b"nowhere.json" in result.stderr) == (2, True)


def test_providers_lists_the_capabilities_of_each_provider(tmp_path: Path) -> None:
    matrix = json.loads(run(tmp_path, "providers", "--json").stdout)
    meta = next(row for row in matrix if row["provider"] == "meta")
    assert meta["reports"].startswith("sent, delivered, read, failed, reacted, replied")
    assert all(all(row.values()) for row in matrix)
    printed = call(tmp_path, "providers").stdout.decode()
    assert "callback-override" in printed
    assert "X-Hub-Signature-256" in printed


def test_providers_prints_the_page_of_a_provider(tmp_path: Path) -> None:
    printed = call(tmp_path, "providers", "meta").stdout.decode()
    for heading in ("Set-up", "Mapping", "Quirks"):
        assert heading in printed
    result = call(tmp_path, "providers", "pigeon")
    assert (result.returncode, b"no provider 'pigeon'" in result.stderr) == (2, True)

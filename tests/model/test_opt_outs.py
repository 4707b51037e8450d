"""Opt-out keywords: a reply that equals one, in any notation, gives an opt-out beside the reply."""

from pathlib import Path

import pytest

from gatherer.model import opt_outs
from gatherer.model.records import Kind, Response
from gatherer.pipeline.decode import decode_batch
from tests.factories import (
    CONFIGURATION,
    call,
    configure,
    envelope,
    fill_inbox,
    notification,
    rows,
    text,
    value,
)


def kinds(body: str, **message: object) -> list[Kind]:
    """Return the kinds of response that a message with the text `body` gives."""
    request_body = envelope(value(messages=[text("wamid.R", body, **message)]))
    return sorted(
        record.kind
        for record in decode_batch([notification(request_body)], frozenset()).records
        if isinstance(record, Response)
    )


@pytest.mark.parametrize(
    "words",
    [
        "STOP",
        "stop",
        " Stop! ",
        "«stop.»",
        "STOPP",
        "Stopp!!",
        "abmelden",
        "Désabonner",
        "désinscrire",
        "opt-out",
        "Opt  out",
        "unsubscribe 🙏",
        "ＳＴＯＰ",
    ],
)
def test_a_reply_that_equals_a_keyword_is_also_an_opt_out(words: str) -> None:
    assert kinds(words) == [Kind.OPTED_OUT, Kind.REPLIED]


@pytest.mark.parametrize(
    "words", ["please stop", "stop by tomorrow", "nonstop", "", "🛑", "s t o p", "stop" * 100]
)
def test_a_reply_that_merely_contains_a_keyword_is_no_opt_out(words: str) -> None:
    assert kinds(words) == [Kind.REPLIED]


def test_a_tapped_button_is_an_opt_out_and_a_caption_is_not() -> None:
    assert kinds("", type="button", button={"text": "Stop promotions", "payload": "x"}) == [
        Kind.OPTED_OUT,
        Kind.REPLIED,
    ]
    assert kinds("", type="image", image={"id": "1", "caption": "STOP"}) == [Kind.REPLIED]


def test_a_message_that_was_edited_to_a_keyword_is_an_opt_out() -> None:
    def edit(body: str) -> dict[str, object]:
        return {"original_message_id": "wamid.IN", "message": {"type": "text", "text": {"body": body}}}

    assert kinds("", type="edit", edit=edit("Stop")) == [Kind.EDITED, Kind.OPTED_OUT]
    assert kinds("", type="edit", edit=edit("Go on")) == [Kind.EDITED]


def test_a_word_that_twilio_took_for_an_opt_out_is_one() -> None:
    body = b"MessageSid=SM1&SmsStatus=received&From=whatsapp%3A%2B447700900123&Body=Nein+danke&OptOutType="
    given = [
        [record.kind for record in batch.records if isinstance(record, Response)]
        for word in (b"STOP", b"HELP")
        for batch in [decode_batch([notification(body + word, provider="twilio")], frozenset())]
    ]
    assert given == [[Kind.REPLIED, Kind.OPTED_OUT], [Kind.REPLIED]]


def test_an_opt_out_has_the_person_time_and_message_of_the_reply() -> None:
    request_body = envelope(value(messages=[text("wamid.R", "Stop", context={"id": "wamid.A"})]))
    replied, opted_out = decode_batch([notification(request_body)], frozenset()).records
    assert isinstance(opted_out, Response)
    assert isinstance(replied, Response)
    assert opted_out.key != replied.key
    for name in (
        "phone",
        "user_id",
        "phone_number_id",
        "occurred_at",
        "message_id",
        "about_message_id",
        "is_test",
    ):
        assert getattr(opted_out, name) == getattr(replied, name)
    redelivered = decode_batch([notification(request_body, 2)], frozenset()).records
    assert redelivered[1].key == opted_out.key, "a redelivery is the same opt-out"


def test_keywords_are_configured_per_endpoint(tmp_path: Path) -> None:
    configure(tmp_path, CONFIGURATION + 'opt_out_keywords = ["Schluss jetzt"]\n')
    bodies = [
        envelope(value(messages=[text(f"wamid.{words}", words)])) for words in ("schluss, jetzt!", "STOP")
    ]
    fill_inbox(tmp_path / "inbox.db", bodies)
    fill_inbox(
        tmp_path / "inbox.db", [envelope(value(messages=[text("wamid.E", "STOP")]))], endpoint="elsewhere"
    )
    assert call(tmp_path, "gather").returncode == 0
    opted_out = [row["message_id"] for row in rows(tmp_path / "responses.db") if row["kind"] == "opted_out"]
    assert sorted(opted_out) == ["wamid.E", "wamid.schluss, jetzt!"], (
        "the default keywords apply where none are configured"
    )


def test_an_empty_list_of_keywords_disables_opt_outs(tmp_path: Path) -> None:
    configure(tmp_path, CONFIGURATION + "opt_out_keywords = []\n")
    fill_inbox(tmp_path / "inbox.db", [envelope(value(messages=[text("wamid.R", "STOP")]))])
    call(tmp_path, "gather")
    assert [row["kind"] for row in rows(tmp_path / "responses.db")] == ["replied"]


def test_normalised_default_keywords_are_distinct() -> None:
    assert len(opt_outs.normalised(opt_outs.DEFAULT_KEYWORDS)) == len(opt_outs.DEFAULT_KEYWORDS)

"""Amazon SNS in front of an endpoint: signatures, confirmations, and no request to any other host."""

import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.factories import call, receipts
from tests.factories import rows as target_rows
from tests.server.webhook.sns import (
    CONFIRMATION,
    HOST,
    NOTIFICATION,
    TOPIC,
    Internet,
    Signer,
    encoded,
    run_internet,
)
from tests.server_process import OPEN, Response, ServerProcess, encode_post, read_response, run_server
from tests.waiting import wait_until

ENDPOINT = f'name = "aws"\nprovider = "meta"\npath = "/aws"\n[endpoint.sns]\ntopics = ["{TOPIC}"]\n'
KEPT = (
    'name = "kept"\nprovider = "meta"\npath = "/kept"\non_failed_authentication = "quarantine"\n'
    f'[endpoint.sns]\ntopics = ["{TOPIC}"]\n'
)


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    with run_internet(tmp_path_factory.mktemp("internet")) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, internet: Internet) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("serve")
    with run_server(folder, ENDPOINT, KEPT, OPEN, environment=internet.environment) as running:
        yield running


@pytest.fixture
def quiet(tmp_path: Path, internet: Internet) -> Iterator[ServerProcess]:
    """A server that has not logged anything yet: the number of lines in a minute is limited."""
    with run_server(tmp_path, ENDPOINT, KEPT, OPEN, environment=internet.environment) as running:
        yield running


@pytest.fixture
def signer(internet: Internet) -> Signer:
    return internet.publish(Signer())


def post(server: ServerProcess, message: dict[str, Any] | bytes, path: str = "/aws") -> Response:
    body = message if isinstance(message, bytes) else encoded(message)
    return server.exchange(
        encode_post(body, path, X_Hub_Signature_256=None, Content_Type="text/plain; charset=UTF-8")
    )


def unique() -> str:
    return uuid.uuid4().hex


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_notification_is_stored_byte_for_byte(server, signer, version):
    text = f"line\nof 'ünïcödé' \U0001f600 {unique()}"
    body = encoded(signer.notification(text, version=version, Subject="a subject"))
    assert post(server, body).status == 200
    assert server.bodies()[-1] == body
    assert post(server, encoded(signer.notification(unique()))).status == 200, "without a subject"


def test_the_certificate_is_fetched_once(server, signer, internet):
    for _ in range(3):
        assert post(server, signer.notification(unique())).status == 200
    assert internet.requests.count((HOST, signer.path)) == 1


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_subscription_is_confirmed_and_not_stored(quiet, signer, internet, version):
    message = signer.confirmation(version=version)
    target = internet.allow_confirmation(message)
    before = len(quiet.rows("id"))
    response = post(quiet, message)
    assert (response.status, response.body) == (200, b"")
    assert internet.requests.count((HOST, target)) == 1
    assert len(quiet.rows("id")) == before
    wait_until(lambda: f"confirming the subscription to {TOPIC}" in quiet.log(), quiet.log)
    assert message["Token"] not in quiet.log(), "it is a secret"


def test_a_replayed_confirmation_causes_no_second_request(server, signer, internet):
    message = signer.confirmation()
    target = internet.allow_confirmation(message)
    assert [post(server, message).status for _ in range(3)] == [200, 200, 200]
    assert internet.requests.count((HOST, target)) == 1


def test_a_refused_confirmation_is_unavailable_until_it_succeeds(quiet, signer, internet):
    message = signer.confirmation()
    assert post(quiet, message).status == 503
    wait_until(lambda: f"{HOST} answered with status 404" in quiet.log(), quiet.log)
    assert message["Token"] not in quiet.log(), "it is a secret"
    internet.allow_confirmation(message)
    wait_until(lambda: post(quiet, message).status == 200, "it does not recover")


def test_the_end_of_a_subscription_is_logged_and_not_undone(quiet, signer, internet):
    message = signer.confirmation(kind="UnsubscribeConfirmation")
    target = internet.allow_confirmation(message)
    before = len(quiet.rows("id"))
    assert post(quiet, message).status == 200
    assert (HOST, target) not in internet.requests
    assert len(quiet.rows("id")) == before
    wait_until(lambda: f"SNS has ended the subscription to {TOPIC}" in quiet.log(), quiet.log)


@pytest.mark.parametrize(
    "make", [Signer.notification, Signer.confirmation], ids=["notification", "confirmation"]
)
def test_a_message_of_another_topic_is_refused_before_any_request(quiet, signer, internet, make):
    topic = TOPIC.replace("123456789012", "210987654321")
    before, requests = len(quiet.rows("id")), len(internet.hosts)
    response = post(quiet, make(signer, TopicArn=topic))
    assert (response.status, response.body) == (401, b"Unauthorized\n")
    assert (len(quiet.rows("id")), len(internet.hosts)) == (before, requests)
    wait_until(lambda: "an SNS topic that is not configured at aws" in quiet.log(), quiet.log)


@pytest.mark.parametrize("name", [*NOTIFICATION, "Signature", "SignatureVersion"])
def test_a_notification_with_a_changed_field_is_refused(server, signer, name):
    message = signer.notification(unique(), Subject="a subject")
    assert post(server, message).status == 200
    before = len(server.rows("id"))
    for value in ("x", "", None, 17, message["Signature"][::-1]):
        assert post(server, message | {name: value}).status == 401, value
    message.pop(name)
    assert post(server, message).status == 401, "missing"
    assert len(server.rows("id")) == before


@pytest.mark.parametrize("name", CONFIRMATION)
def test_a_confirmation_with_a_changed_field_causes_no_request(server, signer, internet, name):
    message = signer.confirmation()
    target = internet.allow_confirmation(message)
    internet.pages["/other"] = (200, {}, b"")
    changed = f"https://{HOST}/other" if name == "SubscribeURL" else message[name] + "x"
    assert post(server, message | {name: changed}).status == 401
    assert not {(HOST, target), (HOST, "/other")} & set(internet.requests)


def test_the_signature_of_another_key_is_refused(quiet, signer, internet):
    other = internet.publish(Signer())
    message = other.notification(unique(), SigningCertURL=f"https://{HOST}{signer.path}")
    assert post(quiet, message).status == 401
    wait_until(lambda: "the SNS signature is wrong at aws" in quiet.log(), quiet.log)


def test_a_type_with_the_fields_of_another_is_refused(server, signer):
    """The signature of a confirmation does not cover what it would mean as a notification."""
    message = signer.confirmation()
    assert post(server, message | {"Type": "Notification"}).status == 401
    assert post(server, signer.sign(message | {"Type": "Else"}, CONFIRMATION, "2")).status == 401


ELSEWHERE = [
    "http://{host}{path}",
    "https://{host}:8443{path}",
    "https://{host}.example.com{path}",
    "https://example.com{path}",
    "https://example.com/{host}{path}",
    "https://user@{host}{path}",
    "https://example.com\\@{host}{path}",
    "https://{host}\\.example.com{path}",
    "https://{host}#.example.com{path}",
    "https://sns.us-east-1.amazonaws.com{path}",
    "https://SNS.eu-west-1.amazonaws.com{path}",
    "//{host}{path}",
    "{path}",
    "",
    "file:///etc/ssl/cert.pem",
    "https://{host}{path}\nX: y",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_certificate_of_another_host_is_not_fetched(server, signer, internet, url):
    message = signer.notification(SigningCertURL=url.format(host=HOST, path=signer.path))
    requests = len(internet.hosts)
    assert post(server, message).status == 401
    assert len(internet.hosts) == requests


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_subscription_is_not_confirmed_at_another_host(server, signer, internet, url):
    """Even where SNS has signed it."""
    assert post(server, signer.notification(unique())).status == 200, "the certificate is there"
    message = signer.confirmation(SubscribeURL=url.format(host=HOST, path="/?Action=ConfirmSubscription"))
    requests = len(internet.hosts)
    assert post(server, message).status == 401
    assert len(internet.hosts) == requests


def test_only_a_certificate_is_fetched_before_the_signature_is_verified(server, signer, internet):
    message = signer.notification(SigningCertURL=f"https://{HOST}/?Action=Unsubscribe&Token=x")
    requests = len(internet.hosts)
    assert post(server, message).status == 401
    assert len(internet.hosts) == requests


def test_a_host_that_cannot_be_reached_makes_it_503_and_then_recovers(quiet, signer, internet):
    message = signer.notification(unique())
    internet.reachable = False
    try:
        response = post(quiet, message)
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        wait_until(lambda: f"503 to 127.0.0.1: {HOST} cannot be reached" in quiet.log(), quiet.log)
        assert post(quiet, b"{}", "/open").status == 200, "other endpoints go on"
    finally:
        internet.reachable = True
    wait_until(lambda: post(quiet, message).status == 200, "it does not recover")
    assert quiet.bodies()[-1] == encoded(message)


@pytest.mark.parametrize("location", ["https://example.com/cert.pem", f"https://{HOST}/cert.pem"])
def test_a_redirect_is_not_followed(server, internet, location):
    signer = Signer()
    internet.pages["/cert.pem"] = (200, {}, signer.pem)
    internet.pages[signer.path] = (302, {"Location": location}, b"")
    assert post(server, signer.notification()).status == 503
    assert "example.com" not in internet.hosts
    assert all(target != "/cert.pem" for _, target in internet.requests)


@pytest.mark.parametrize(
    "content",
    [b"", b"no certificate", b"\xff" * 70_000, Signer(curve=True).pem],
    ids=["empty", "text", "large", "not RSA"],
)
def test_a_response_that_is_no_certificate_of_sns_makes_it_503(server, internet, content):
    signer = Signer()
    internet.pages[signer.path] = (200, {}, content)
    assert post(server, signer.notification()).status == 503


@pytest.mark.parametrize("days", [-1, 61], ids=["expired", "not valid yet"])
def test_a_certificate_that_is_not_valid_now_makes_it_503(quiet, internet, days):
    """The clock of this machine may be wrong: SNS sends the message again."""
    signer = internet.publish(Signer(days=days))
    before = len(quiet.rows("id"))
    assert post(quiet, signer.notification()).status == 503
    assert len(quiet.rows("id")) == before
    wait_until(lambda: "is the clock of this machine right?" in quiet.log(), quiet.log)


def test_no_request_waits_for_the_certificate_of_another(server, internet):
    signer = internet.publish(Signer())
    internet.answering.clear()
    try:
        with server.connect() as connection:
            message = encoded(signer.notification(unique()))
            connection.sendall(encode_post(message, "/aws"))
            wait_until(lambda: (HOST, signer.path) in internet.requests, "the certificate is not requested")
            assert post(server, b"{}", "/open").status == 200
            internet.answering.set()
            assert read_response(connection).status == 200
    finally:
        internet.answering.set()
    assert message in server.bodies()


def test_urls_that_a_client_invents_do_not_multiply(quiet, internet):
    invented = [Signer() for _ in range(4)]
    with ExitStack() as connections:
        connections.callback(internet.answering.set)
        internet.answering.clear()
        for signer in invented:
            connection = connections.enter_context(quiet.connect())
            connection.sendall(encode_post(encoded(signer.notification()), "/aws"))
        waiting = {(HOST, signer.path) for signer in invented}
        wait_until(lambda: waiting <= set(internet.requests), "not all are requested")
        fifth = Signer()
        assert post(quiet, fifth.notification()).status == 503
        assert (HOST, fifth.path) not in internet.requests
    wait_until(lambda: "4 other requests" in quiet.log(), quiet.log)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"17", b"null", b'"x"', b"\xff", b"[" * 100_000, b'{"Type":"Notification"}']
)
def test_what_is_no_message_of_sns_is_refused(server, body):
    assert post(server, body).status == 401


def test_what_is_not_authentic_can_be_quarantined(quiet, signer):
    message = signer.notification(unique())
    assert post(quiet, message, "/kept").status == 200
    stored = len(quiet.rows("id"))
    assert post(quiet, message | {"Message": "changed"}, "/kept").status == 200
    assert len(quiet.rows("id")) == stored
    wait_until(
        lambda: "quarantined a request from 127.0.0.1: the SNS signature is wrong" in quiet.log(), quiet.log
    )


def test_messages_on_one_connection_are_answered_in_order(server, signer):
    """The first waits for the certificate, the others follow before it is there."""
    bodies = [encoded(signer.notification(unique())) for _ in range(5)]
    requests = [encode_post(body, "/aws") for body in bodies[:-1]]
    with server.connect() as connection:
        connection.sendall(b"".join([*requests, encode_post(bodies[-1], "/aws", Connection="close")]))
        answers = connection.makefile("rb").read()
    assert answers.count(b"HTTP/1.1 200 OK") == 5
    assert server.bodies()[-5:] == bodies


def test_a_replayed_notification_of_aws_is_one_row(tmp_path, signer, internet):
    unwrap = 'provider = "meta"\nunwrap = "/Message/whatsAppWebhookEntry"\n'
    aws = ENDPOINT.replace('provider = "meta"\n', unwrap)
    entry = json.dumps(json.loads(receipts("wamid.AWS"))["entry"][0])
    message = signer.notification(json.dumps({"context": {}, "whatsAppWebhookEntry": entry}))
    with run_server(tmp_path, aws, environment=internet.environment) as running:
        assert [post(running, message).status for _ in range(2)] == [200, 200]
        again = signer.notification(message["Message"])
        assert post(running, again).status == 200, "the same event in another message"
    assert call(tmp_path, "gather").returncode == 0
    (row,) = target_rows(tmp_path / "responses.db")
    assert (row["message_id"], row["kind"], row["endpoint"]) == ("wamid.AWS", "sent", "aws")
    with closing(sqlite3.connect(tmp_path / "responses.db")) as target:
        assert target.execute("SELECT count(*) FROM rejected").fetchone() == (0,)

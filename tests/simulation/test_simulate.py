"""`gatherer simulate`: the requests that Meta sends, to any receiver."""

import http.server
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gatherer import providers
from gatherer.model.records import Record, Rejected, Response
from gatherer.simulation import meta_payload
from gatherer.simulation.campaign import Campaign
from tests.factories import call, notification, run
from tests.server_process import PATH, SECRET, run_server

START = datetime(2026, 11, 20, 9, tzinfo=UTC)


def campaign(count: int = 200, seed: int = 1, **more: Any) -> Campaign:
    return Campaign(count=count, seed=seed, start=START, **more)


def decoded(bodies: list[bytes]) -> dict[bytes, Record | Rejected]:
    """Return the records and rejections in `bodies`, by key."""
    return {
        fact.key: fact
        for number, body in enumerate(bodies, start=1)
        for fact in providers.decode(notification(body, number))
    }


def test_the_seed_determines_the_bytes() -> None:
    assert list(campaign().bodies()) == list(campaign().bodies())
    assert not set(campaign().bodies()) & set(campaign(seed=2).bodies())


def test_a_campaign_contains_every_kind_of_response() -> None:
    """Receipts, failures with real codes, changed and removed reactions, replies of each type, redeliveries."""
    simulated = campaign()
    bodies = list(simulated.bodies())
    facts = decoded(bodies)
    responses = [fact for fact in facts.values() if isinstance(fact, Response)]
    kinds = Counter(str(response.kind) for response in responses)
    assert simulated.responses.items() <= kinds.items()
    assert {"sent", "delivered", "read", "failed", "reacted", "replied"} <= kinds.keys()
    assert {r.reply_type for r in responses if r.kind == "replied"} == {"text", "button", "list", "flow"}
    reactions = Counter(r.about_message_id for r in responses if r.kind == "reacted")
    assert max(reactions.values()) == 2
    assert {"", None} & {r.emoji for r in responses if r.kind == "reacted"} == {""}
    assert all(r.error_code and r.error_title for r in responses if r.kind == "failed")
    assert any(r.phone is None and r.user_id for r in responses)
    assert sum(isinstance(fact, Rejected) for fact in facts.values()) == 1
    assert len(bodies) > len(set(bodies))
    assert simulated.repeated > len(bodies) - len(set(bodies))


def test_every_record_is_marked_as_a_test() -> None:
    facts = decoded(list(campaign().bodies())).values()
    assert all(fact.is_test for fact in facts if not isinstance(fact, Rejected))


def test_updates_arrive_out_of_order_and_in_batches() -> None:
    simulated = campaign(malformed=False)
    sizes: list[int] = []
    times: list[int] = []
    for body in simulated.bodies():
        elements = re.findall(rb'"timestamp":"(\d+)"', body)
        sizes.append(len(elements))
        times += map(int, elements)
    assert 1 in sizes
    assert max(sizes) > 8
    assert times != sorted(times)
    assert max(times) < START.timestamp() + 86_400


def test_a_large_campaign_is_generated_as_it_is_sent() -> None:
    """A campaign of any size fits into memory: the first body is available at once."""
    began = time.process_time()
    next(campaign(count=10_000_000).bodies())
    assert time.process_time() - began < 5, "seconds of the processor, however busy the machine is"


def test_bodies_are_escaped_and_signed_as_meta_does_it() -> None:
    body = meta_payload.encode({"text": "é/😂"})
    assert body == rb'{"text":"\u00e9\/\ud83d\ude02"}'
    assert json.loads(body) == {"text": "é/😂"}
    # echo -n '{}' | openssl dgst -sha256 -hmac secret
    assert meta_payload.signature(b"{}", "secret") == (
        "sha256=77325902caca812dc259733aacd046b73817372c777b8d95b402647474516e13"
    )


def test_the_server_accepts_a_campaign_and_gather_writes_its_records(tmp_path: Path) -> None:
    with run_server(tmp_path) as server:
        url = f"http://127.0.0.1:{server.port}{PATH}"
        arguments = ("simulate", "--url", url, "--count", "60", "--seed", "3", "--json")
        first = run(tmp_path, *arguments, GATHERER_APP_SECRET=SECRET)
        assert first.returncode == 0, first.stderr
        summary = json.loads(first.stdout)
        assert summary["statuses"] == {"200": summary["requests"]}
        assert summary["p50_ms"] <= summary["p99_ms"]
        gathered = json.loads(call(tmp_path, "gather", "--json").stdout)
        assert gathered["read"] == summary["requests"]
        assert summary["responses"].items() <= gathered["inserted"].items()
        assert gathered["rejected"] == 1
        second = call(tmp_path, *arguments, "--app-secret", SECRET)
        assert second.returncode == 0
        repeated = json.loads(call(tmp_path, "gather", "--json").stdout)
    assert (repeated["read"], repeated["inserted"], repeated["rejected"]) == (summary["requests"], {}, 0)


def test_endpoint_takes_the_secrets_from_the_configuration(tmp_path: Path) -> None:
    endpoint = (
        'name = "e"\nprovider = "meta"\npath = "/e"\napp_secrets = ["one", "two"]\nurl_key = "key"\n'
        'bearer_tokens = ["token"]\napi_key = { header = "X-Key", value = "välue" }\n'
    )
    basic = 'name = "b"\nprovider = "meta"\npath = "/b"\nbasic = { user = "u", password = "pässword" }\n'
    with run_server(tmp_path, endpoint, basic) as server:
        base = f"http://127.0.0.1:{server.port}"
        for name, url in (("e", f"{base}/e/key"), ("b", f"{base}/b")):
            result = call(tmp_path, "simulate", "--endpoint", name, "--url", url, "--count", "3")
            assert result.returncode == 0, result.stderr
        # The same credentials work as options.
        credentials = (
            "--app-secret-file",
            "secret.txt",
            "--bearer-token",
            "token",
            "--header",
            "X-Key: välue",
        )
        (tmp_path / "secret.txt").write_text("two\n", encoding="utf-8")
        with_options = call(tmp_path, "simulate", "--url", f"{base}/e/key", "--count", "3", *credentials)
        assert with_options.returncode == 0, with_options.stderr
        basic_with_options = call(
            tmp_path, "simulate", "--url", f"{base}/b", "--count", "3", "--basic", "u:pässword"
        )
        assert basic_with_options.returncode == 0, basic_with_options.stderr


def test_endpoint_takes_the_url_from_the_configuration(tmp_path: Path) -> None:
    with run_server(tmp_path) as server:
        configured = (tmp_path / "gatherer.toml").read_text(encoding="utf-8")
        (tmp_path / "gatherer.toml").write_text(
            configured.replace("port = 0", f'port = {server.port}\nhost = "0.0.0.0"'), encoding="utf-8"
        )
        result = call(tmp_path, "simulate", "--endpoint", "meta", "--count", "3", "--well-formed")
    assert result.returncode == 0, result.stderr


Responder = Callable[[int], tuple[int, dict[str, str]]]


@contextmanager
def web_server(responder: Responder, tunnels: list[str] | None = None) -> Iterator[tuple[str, list[float]]]:
    """Run a web server whose n-th response is `responder(n)`. Yield its URL and the times of the requests.

    It is a proxy as well, and adds the servers that clients want to reach through it to `tunnels`.
    """
    times: list[float] = []
    tunnels = [] if tunnels is None else tunnels

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            times.append(time.monotonic())
            status, headers = responder(len(times))
            self.send_response(status)
            for name, value in ({"Content-Length": "0"} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.close_connection = "X-Then-Close" in headers

        def do_CONNECT(
            self,
        ) -> None:  # as a proxy, whose next request on this connection is for the server behind it
            tunnels.append(self.path)
            self.close_connection = False  # http.client of Python 3.11 asks in HTTP 1.0
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 64  # as many connections as simulate opens at once, however busy the machine is

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", times
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_request_is_repeated_after_the_retry_after_of_a_503(tmp_path: Path) -> None:
    with web_server(lambda n: (503, {"Retry-After": "1"}) if n == 1 else (200, {})) as (url, times):
        result = call(tmp_path, "simulate", "--url", url, "--count", "2", "--connections", "1", "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["retried"] == 1
    assert summary["requests"] == len(times) - 1
    assert times[1] - times[0] >= 1


def test_requests_are_sent_at_the_given_rate(tmp_path: Path) -> None:
    with web_server(lambda _: (200, {})) as (url, times):
        started = time.monotonic()
        call(tmp_path, "simulate", "--url", url, "--count", "80", "--rate", "20")
    assert len(times) >= 20
    assert all(at - started >= number / 20 for number, at in enumerate(sorted(times)))


def test_a_connection_that_the_server_closes_is_opened_again_without_a_repeated_request(
    tmp_path: Path,
) -> None:
    with web_server(lambda _: (200, {"X-Then-Close": "1"})) as (url, times):
        result = call(
            tmp_path, "simulate", "--url", url, "--count", "3", "--rate", "4", "--connections", "1", "--json"
        )
    summary = json.loads(result.stdout)
    assert summary["retried"] == 0
    assert summary["requests"] == len(times) > 2


def test_the_proxy_of_the_environment_is_used_for_other_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunnels: list[str] = []
    with web_server(lambda _: (200, {}), tunnels) as (url, times):
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.setenv("no_proxy", "")
        result = call(
            tmp_path, "simulate", "--url", "http://nowhere.invalid/x", "--count", "3", "--connections", "1"
        )
        assert result.returncode == 0, result.stderr
        assert tunnels == ["nowhere.invalid:80"]
        assert times
        assert call(tmp_path, "simulate", "--url", url, "--count", "3").returncode == 0
    assert tunnels == ["nowhere.invalid:80"], "no proxy for a server on this machine"


def test_the_user_and_the_password_in_a_url_are_sent(tmp_path: Path) -> None:
    endpoint = 'name = "b"\nprovider = "meta"\npath = "/b"\nbasic = { user = "u", password = "p@ss" }\n'
    with run_server(tmp_path, endpoint) as server:
        address = f"127.0.0.1:{server.port}/b"
        assert (
            call(tmp_path, "simulate", "--url", f"http://u:p%40ss@{address}", "--count", "3").returncode == 0
        )
        assert (
            call(tmp_path, "simulate", "--url", f"http://u:wrong@{address}", "--count", "3").returncode == 3
        )


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, 3, "authentication"),
        (403, 3, "authentication"),
        (404, 2, "no webhook is received"),
        (405, 2, "no webhook is received"),
        (308, 2, "redirection"),
        (500, 3, "did not accept every request"),
        (202, 3, "did not accept every request"),
        (503, 75, "kept answering 503"),
    ],
)
def test_the_status_code_of_the_server_decides_the_exit_code(
    tmp_path: Path, status: int, code: int, words: str
) -> None:
    headers = {"Retry-After": "0"} if status == 503 else {}
    with web_server(lambda _: (status, headers)) as (url, _):
        result = call(tmp_path, "simulate", "--url", url, "--count", "3")
    assert result.returncode == code
    errors = result.stderr.decode()
    assert words in errors
    assert errors.count("\n") == 1


def test_a_wrong_secret_exits_3(tmp_path: Path) -> None:
    with run_server(tmp_path) as server:
        url = f"http://127.0.0.1:{server.port}{PATH}"
        result = call(tmp_path, "simulate", "--url", url, "--app-secret", "another", "--count", "3")
        assert server.bodies() == []
    assert result.returncode == 3


CONFIGURATION = (
    '[server]\nport = 0\n[[endpoint]]\nname = "a"\nprovider = "meta"\npath = "/a"\nunauthenticated = true\n'
)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        (("--url", "ftp://127.0.0.1/"), 2),
        (("--url", "127.0.0.1:8080/x"), 2),
        (("--url", "http:///x"), 2),
        (("--url", "http://127.0.0.1:99999/"), 2),
        (("--url", "http://127.0.0.1:1/", "--count", "0"), 2),
        (("--url", "http://127.0.0.1:1/", "--rate", "0"), 2),
        (("--url", "http://127.0.0.1:1/", "--rate", "nan"), 2),
        (("--url", "http://127.0.0.1:1/", "--rate", "1e-300"), 2),  # a wait that no system can do
        (("--url", "http://127.0.0.1:1/", "--app-secret", "\udcff"), 2),  # a byte that is not UTF-8
        (("--url", "http://127.0.0.1:1/", "--basic", "no-colon"), 2),
        (("--url", "http://127.0.0.1:1/", "--header", "nothing"), 2),
        (("--url", "http://127.0.0.1:1/", "--header", "A: b\nC: d"), 2),
        (("--url", "http://127.0.0.1:1/", "--basic", "a:b", "--bearer-token", "c"), 2),
        (("--url", "http://127.0.0.1:1/", "--app-secret", "a", "--app-secret-file", "gatherer.toml"), 2),
        (("--url", "http://127.0.0.1:1/", "--app-secret-file", "none"), 2),
        (("--endpoint", "nope"), 2),
        (("--endpoint", "a"), 2),  # the configuration has port 0
        (("--url", "http://127.0.0.1:1/"), 75),
        (("--url", "http://nowhere.invalid/"), 75),
    ],
)
def test_invalid_input_is_an_error_in_one_line(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    (tmp_path / "gatherer.toml").write_text(CONFIGURATION, encoding="utf-8")
    result = call(tmp_path, "simulate", *arguments)
    errors = result.stderr.decode()
    assert result.returncode == code, errors
    assert result.stdout == b""
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("Error: ")

"""Thousands of random requests through raw sockets: the process survives with constant memory and
sends only documented responses.
"""

import contextlib
import itertools
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.server.webhook.hostile_clients import BROKEN
from tests.server_process import ENDPOINT, OPEN, PATH, ROOT, ServerProcess, encode_post, run_server

KEYED = 'name = "keyed"\nprovider = "twilio"\npath = "/keyed"\nurl_key = "the-url-key-0123456789"\n'
HANDSHAKE = (
    ENDPOINT.replace('"meta"', '"hand"', 1).replace(PATH, "/hand") + 'verify_token = "the-verify-token"\n'
)
SETTINGS = "body_timeout_seconds = 0.3\nheader_timeout_seconds = 0.5\nmax_body_bytes = 2000\nmax_header_bytes = 4096\n"
DOCUMENTED = {
    int(status)
    for status in re.findall(
        r"^   \* - (\d{3})$",
        (ROOT / "docs" / "operation.rst")
        .read_text(encoding="utf-8")
        .partition("\nResponses\n")[2]
        .partition("\nLimits\n")[0],
        re.MULTILINE,
    )
}
MEMORY = 30_000_000  # bytes of fluctuation, independent of the number of requests

octets = st.binary(max_size=60)
words = st.sampled_from(
    [
        b"",
        b" ",
        b"\r\n",
        b"\n",
        b"\x00",
        b":",
        b"chunked",
        b"identity",
        b"gzip",
        b"100-continue",
        b"close",
        b"0",
        b"5",
        b"-1",
        b"2001",
        b"99999999999999999999",
        b"0x5",
        b"5, 5",
        b"Upgrade",
        b"h2c",
        b"websocket",
    ]
)
methods = st.sampled_from([b"POST"] * 6 + [b"GET", b"HEAD", b"OPTIONS", b"CONNECT", b"post", b"PRI"]) | octets
paths = (
    st.sampled_from(
        [PATH.encode(), b"/open", b"/keyed/the-url-key-0123456789", b"/keyed", b"/hand", b"/", b"*"]
    )
    | st.builds(
        b"/hand?hub.mode=%s&hub.verify_token=%s&hub.challenge=%s".__mod__,
        st.tuples(
            st.sampled_from([b"subscribe", b"x"]),
            st.sampled_from([b"the-verify-token", b"%ff", b"x"]),
            st.sampled_from([b"1", b"%0d%0aX:%20y", b"%ff%00", b"<script>"]),
        ),
    )
    | octets
)
names = st.sampled_from(
    [
        b"Host",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Content-Encoding",
        b"Expect",
        b"Connection",
        b"Upgrade",
        b"X-Forwarded-For",
        b"X-Forwarded-Proto",
        b"X-Hub-Signature-256",
        b"X-Twilio-Signature",
        b"Authorization",
        b"Content-Type",
        b"Cookie",
        b"Range",
        b"Trailer",
        b"TE",
        b"HTTP2-Settings",
        b"Content-Length ",
    ]
)
headers = st.lists(
    st.builds(
        lambda n, v, end: n + b": " + v + end, names | octets, words | octets, st.just(b"\r\n") | words
    ),
    max_size=8,
).map(b"".join)
chunks = st.lists(
    st.builds(lambda size, body: size + b"\r\n" + body + b"\r\n", words | octets, octets), max_size=5
).map(b"".join)
generated = st.builds(
    lambda method, path, version, fields, end, body: method + b" " + path + version + fields + end + body,
    methods,
    paths,
    st.sampled_from([b" HTTP/1.1\r\n"] * 8 + [b" HTTP/1.0\r\n", b"\r\n", b" HTTP/2.0\r\n", b" HTTP/1.1\n"]),
    headers,
    st.sampled_from([b"\r\n"] * 5 + [b"", b"\n", b"\r\n\r\n"]),
    octets | chunks | st.just(b"x" * 3000),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid or malformed request with random deletions, insertions and repetitions."""
    request = bytearray(
        draw(st.sampled_from([encode_post(b'{"entry":[]}'), encode_post(b"x", "/open"), *BROKEN.values()]))
    )
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(request), 400)))
        match draw(st.integers(0, 3)):
            case 0:
                del request[at : at + draw(st.integers(1, 20))]
            case 1:
                request[at:at] = draw(words | octets)
            case 2:
                request[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case _:
                request[at:at] = request[at : at + 50]
    return bytes(request)


requests = (
    generated
    | mutated()
    | st.binary(max_size=300)
    | st.lists(mutated() | generated, max_size=4).map(b"".join)
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with run_server(tmp_path, ENDPOINT, OPEN, KEYED, HANDSHAKE, server=SETTINGS) as running:
        yield running


@pytest.mark.parametrize(
    "count", [300, pytest.param(10_000, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])]
)
def test_any_request_gets_a_documented_response_and_the_server_survives(server, count):
    assert len(DOCUMENTED) >= 10, "the table in docs/operation.rst"
    process = psutil.Process(server.process.pid)
    sizes: list[int] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(request=requests, splits=st.lists(st.integers(0, 400), max_size=2))
    def send(request: bytes, splits: list[int]) -> None:
        received = _exchange(server, request, splits)
        answers = {int(code) for code in re.findall(rb"^HTTP/1\.[01] (\d{3}) [A-Z]", received, re.MULTILINE)}
        assert answers - {100} <= DOCUMENTED, (request, received)
        assert received == b"" or answers, (request, received)
        if len(sizes) % 100 == 0:
            assert server.process.poll() is None
            assert server.post(b"good").status == 200
        sizes.append(process.memory_info().rss)

    send()
    assert "Traceback" not in server.log()
    assert "could not be handled" not in server.log()
    early_maximum = max(sizes[: len(sizes) // 3])
    assert max(sizes) - early_maximum < MEMORY, "memory is constant"
    assert server.post(b"good").status == 200
    assert server.stop() == 0


def _exchange(server: ServerProcess, request: bytes, splits: list[int]) -> bytes:
    """Send `request` in pieces, half-close the connection, and return all received bytes."""
    received = b""
    with server.connect(10) as connection, contextlib.suppress(ConnectionError):
        cuts = [0, *sorted(splits), len(request)]
        for begin, end in itertools.pairwise(cuts):
            connection.sendall(request[begin:end])
        connection.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            while chunk := connection.recv(65536):
                received += chunk
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        while chunk := connection.recv(65536):
            received += chunk
    return received

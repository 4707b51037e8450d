"""Responses are in order, single and complete, however the client sends and reads; on our event loop and on asyncio's."""

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from http import HTTPStatus
from typing import Any

import pytest

from gatherer.server.http import connection as connection_module
from gatherer.server.http.connection import MAX_PIPELINED, ConnectionLimits
from gatherer.server.http.listener import Listener, ListeningServer
from gatherer.server.http.message import Exchange, Handler, Reply, Request, Response, error_response
from gatherer.server.http.server import loop_factory
from tests.server_process import WINDOWS
from tests.waiting import until

Scenario = Callable[[], Coroutine[Any, Any, None]]
GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
DATE = re.compile(rb"Date: [^\r]*\r\n")


@pytest.fixture(params=[loop_factory(), asyncio.new_event_loop], ids=["ours", "of asyncio"])
def run(request: Any) -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    def run_scenario(scenario: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(scenario, 60))

    return run_scenario


class Echo:
    """Respond with the body of the request."""

    def __init__(self, answer: Callable[[bytes], Reply] = lambda body: Response(body=body)) -> None:
        self._answer = answer

    def refusal(self) -> Response | None:
        return None

    def respond(self, body: bytes) -> Reply:
        return self._answer(body)

    def reject(self, status: HTTPStatus, reason: str) -> Response:
        return error_response(status, close=True)


@contextlib.asynccontextmanager
async def run_listener(handle: Handler, **limits: Any) -> AsyncIterator[tuple[ListeningServer, int]]:
    """Serve `handle`; at the end, every connection is closed."""
    server = ListeningServer(
        Listener(handle=handle, host="127.0.0.1", port=0, limits=ConnectionLimits(**limits))
    )
    server.open()
    try:
        yield server, int(server.url.rpartition(":")[2])
        await until(lambda: not server.connections)
    finally:
        await server.close()
        await server.clear()


async def exchange(port: int, sent: bytes, *, half_close: bool = False) -> bytes:
    """Send `sent` and return all bytes received until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    if half_close:
        writer.write_eof()
    received = await reader.read()
    writer.close()
    return DATE.sub(b"", received)


def bodies(received: bytes) -> list[bytes]:
    return re.findall(rb"\r\n\r\n([^H]*)", received)


def test_pipelined_requests_are_answered_in_their_order_whichever_is_ready_first(run) -> None:
    replies: list[asyncio.Future[Response]] = []

    def handle(request: Request) -> Reply:
        replies.append(asyncio.get_running_loop().create_future())
        return replies[-1]

    async def scenario() -> None:
        async with run_listener(handle) as (_, port):
            sent = b"".join(GET % number for number in range(5))
            answer = asyncio.create_task(exchange(port, sent, half_close=True))
            await until(lambda: len(replies) == 5)
            for number in (3, 1, 4, 0, 2):
                replies[number].set_result(Response(body=b"%d" % number))
                await asyncio.sleep(0.01)
            assert bodies(await answer) == [b"0", b"1", b"2", b"3", b"4"]

    run(scenario())


def test_a_client_that_has_half_closed_its_connection_gets_its_response(run) -> None:
    def handle(request: Request) -> Reply | Exchange:
        async def late() -> Response:
            await asyncio.sleep(0.2)
            return Response(body=b"late")

        return Echo(lambda body: asyncio.get_running_loop().create_task(late()))

    async def scenario() -> None:
        async with run_listener(handle) as (_, port):
            assert bodies(await exchange(port, POST, half_close=True)) == [b"late"]
            assert await exchange(port, POST[:-1], half_close=True) == b"", (
                "an incomplete body gets no response"
            )

    run(scenario())


def test_reading_stops_at_the_limit_of_pipelined_requests(run) -> None:
    """All requests are answered once the client continues to read."""
    started: list[asyncio.Future[Response]] = []

    def handle(request: Request) -> Reply:
        started.append(asyncio.get_running_loop().create_future())
        return started[-1]

    async def scenario() -> None:
        async with run_listener(handle) as (_, port):
            count = 20_000
            answer = asyncio.create_task(exchange(port, (GET % 1) * count + POST, half_close=True))
            await until(lambda: len(started) >= MAX_PIPELINED)
            await asyncio.sleep(0.1)  # in which the server could read on
            in_one_read = connection_module.READ_BYTES // len(GET % 1) + 1
            assert len(started) < MAX_PIPELINED + in_one_read
            done = 0
            while not answer.done():
                for reply in started[done:]:
                    reply.set_result(Response())
                    done += 1
                await asyncio.sleep(0)
            assert (await answer).count(b"HTTP/1.1 200 ") == count + 1

    run(scenario())


@pytest.mark.skipif(WINDOWS, reason="LOUD: Windows ignores the requested size of socket buffers")
def test_a_client_that_reads_no_responses_is_disconnected(run, monkeypatch) -> None:
    monkeypatch.setattr(connection_module, "STALLED_SECONDS", 0.5)
    answered = 0

    def handle(request: Request) -> Response:
        nonlocal answered
        answered += 1
        return Response(body=b"x" * 10_000)

    async def scenario() -> None:
        async with run_listener(handle, send_buffer_bytes=4096) as (server, port):
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", port))
                client.setblocking(False)
                while not server.connections:
                    await asyncio.sleep(0.01)
                with contextlib.suppress(OSError):
                    while server.connections:
                        with contextlib.suppress(BlockingIOError):
                            client.send((GET % 1) * 100)
                        await asyncio.sleep(0.01)
            assert 0 < answered < 2 * connection_module.READ_BYTES // len(GET % 1)

    run(scenario())


# --- streams


async def _parts(count: int, sent_parts: list[int], size: int = 1000) -> AsyncGenerator[bytes, None]:
    sent = 0
    try:
        for _ in range(count):
            yield b"x" * size
            sent += 1
    finally:
        sent_parts.append(sent)


def test_a_stream_is_sent_in_chunks_and_the_next_request_is_answered_after_it(run) -> None:
    sent_parts: list[int] = []

    def handle(request: Request) -> Response:
        return Response(body=_parts(3, sent_parts) if request.target == "/1" else b"next")

    async def scenario() -> None:
        async with run_listener(handle) as (_, port):
            received = await exchange(port, GET % 1 + GET % 2, half_close=True)
            head, _, body = received.partition(b"\r\n\r\n")
            assert b"Transfer-Encoding: chunked" in head
            assert body.startswith((b"3e8\r\n" + b"x" * 1000 + b"\r\n") * 3 + b"0\r\n\r\nHTTP/1.1 200 OK\r\n")
            assert received.endswith(b"\r\n\r\nnext")
            assert sent_parts == [3]

    run(scenario())


def test_a_stream_to_http_1_0_ends_with_the_connection(run) -> None:
    async def scenario() -> None:
        async with run_listener(lambda request: Response(body=_parts(3, []))) as (_, port):
            received = await exchange(port, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head, _, body = received.partition(b"\r\n\r\n")
            assert b"chunked" not in head
            assert b"Connection: close" in head
            assert body == b"x" * 3000

    run(scenario())


def test_an_http_1_0_request_that_offers_another_protocol_ends_its_connection(run) -> None:
    async def scenario() -> None:
        async with run_listener(lambda request: Echo(), keepalive_timeout_seconds=60) as (_, port):
            received = await exchange(
                port,
                b"POST / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
            )
            assert received.startswith(b"HTTP/1.1 200 ")
            assert b"Connection: close" in received
            assert received.endswith(b"abc")

    run(scenario())


def test_a_stream_waits_for_a_slow_client_and_ends_when_it_disconnects(run) -> None:
    sent_parts: list[int] = []

    async def scenario() -> None:
        async with run_listener(
            lambda request: Response(body=_parts(10_000, sent_parts, 10_000)), send_buffer_bytes=4096
        ) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
            writer.write(GET % 1)
            await reader.readexactly(1000)
            await asyncio.sleep(0.3)
            assert sent_parts == []
            writer.transport.abort()
        assert len(sent_parts) == 1
        assert sent_parts[0] < 5000, "most of the stream was never produced"

    run(scenario())


@pytest.mark.parametrize("error", [ConnectionAbortedError, ValueError])
def test_an_aborted_stream_has_no_last_chunk(run, caplog, error) -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield b"x"
        raise error

    async def scenario() -> None:
        async with run_listener(lambda request: Response(body=broken())) as (_, port):
            assert (await exchange(port, GET % 1)).endswith(b"\r\n\r\n1\r\nx\r\n")

    run(scenario())
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == ([] if error is ConnectionAbortedError else ["a response broke off"])


# --- details of HTTP


def test_a_head_request_gets_no_body(run) -> None:
    async def scenario() -> None:
        async with run_listener(lambda request: Response(body=b"four")) as (_, port):
            received = await exchange(port, b"HEAD / HTTP/1.1\r\n\r\n" + GET % 1, half_close=True)
            assert received.count(b"Content-Length: 4\r\n") == 2
            assert bodies(received) == [b"", b"four"]

    run(scenario())


def test_the_connection_header_says_whether_the_connection_stays_open(run) -> None:
    async def scenario() -> None:
        async with run_listener(lambda request: Response()) as (_, port):
            for line, header, expected in (
                (b"GET / HTTP/1.1", b"", b""),
                (b"GET / HTTP/1.1", b"Connection: close\r\n", b"Connection: close"),
                (b"GET / HTTP/1.0", b"", b"Connection: close"),
                (b"GET / HTTP/1.0", b"Connection: keep-alive\r\n", b"Connection: keep-alive"),
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(line + b"\r\n" + header + b"\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                assert re.findall(rb"Connection: [a-z-]+", head) == ([expected] if expected else [])
                writer.close()

    run(scenario())


def test_100_continue_is_sent_after_the_preceding_responses(run) -> None:
    first: list[asyncio.Future[Response]] = []

    def handle(request: Request) -> Reply | Exchange:
        if request.method == "POST":
            return Echo()
        first.append(asyncio.get_running_loop().create_future())
        return first[-1]

    async def scenario() -> None:
        async with run_listener(handle) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            expecting = POST[:-3].replace(b"Host", b"Expect: 100-continue\r\nHost")
            writer.write(GET % 1 + expecting)
            while not first:
                await asyncio.sleep(0.01)
            first[0].set_result(Response(body=b"first"))
            received = await reader.readuntil(b"100 Continue\r\n\r\n")
            assert received.endswith(b"firstHTTP/1.1 100 Continue\r\n\r\n")
            writer.write(b"abc")
            assert (await reader.readuntil(b"abc")).startswith(b"HTTP/1.1 200 ")
            writer.write(expecting + b"abc")
            assert (await reader.readuntil(b"abc")).startswith(b"HTTP/1.1 200 "), "the body is already there"
            writer.close()

    run(scenario())


def _raise(*_: object) -> Response:
    raise ValueError("secret")


def _failed_future(_: object) -> asyncio.Future[Response]:
    future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("secret"))
    return future


def _cancelled_future(_: object) -> asyncio.Future[Response]:
    future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    future.cancel("secret")
    return future


@pytest.mark.parametrize(
    "handle",
    [
        _raise,
        _failed_future,
        _cancelled_future,
        lambda request: Echo(_raise),
        lambda request: Echo(_failed_future),
        lambda request: Echo(_cancelled_future),
    ],
)
def test_a_defect_of_the_handler_is_answered_and_logged(run, caplog, handle) -> None:
    async def scenario() -> None:
        async with run_listener(handle) as (_, port):
            received = await exchange(port, POST)
            assert received.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 5" in received
            assert b"secret" not in received

    run(scenario())
    assert "a request could not be handled" in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("error", [OSError("secret"), ValueError("secret")])
def test_a_defect_in_the_check_before_a_body_is_answered_and_logged(run, caplog, error) -> None:
    """The event loop closes a connection without a line in the log when a protocol raises an OSError."""

    class Refusing(Echo):
        def refusal(self) -> Response | None:
            raise error

    async def scenario() -> None:
        async with run_listener(lambda request: Refusing()) as (_, port):
            received = await exchange(port, POST.removesuffix(b"abc"))
            assert received.startswith(b"HTTP/1.1 503 ")
            assert b"secret" not in received

    run(scenario())
    assert "a request could not be handled" in [record.getMessage() for record in caplog.records]


def test_a_client_that_is_still_sending_receives_the_last_response(run) -> None:
    """Closing a socket with unread bytes resets the connection, and the client may lose the response."""

    async def scenario() -> None:
        async with run_listener(lambda request: error_response(HTTPStatus.UNAUTHORIZED, close=True)) as (
            _,
            port,
        ):
            head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
            for _ in range(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(head)
                await asyncio.sleep(0.05)
                with contextlib.suppress(ConnectionError):
                    for _ in range(30):
                        writer.write(b"x" * 100_000)
                        await asyncio.sleep(0)
                assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
                writer.close()

    run(scenario())


def test_all_that_is_being_answered_when_the_server_stops_gets_its_answer(run) -> None:
    replies: list[asyncio.Future[Response]] = []

    def handle(request: Request) -> Reply:
        replies.append(asyncio.get_running_loop().create_future())
        return replies[-1]

    async def scenario() -> None:
        async with run_listener(handle) as (server, port):
            answer = asyncio.create_task(exchange(port, GET % 1 + GET % 2))
            while len(replies) < 2:
                await asyncio.sleep(0.01)
            await server.close()
            assert server.busy_connections == 1
            for number, reply in enumerate(replies):
                reply.set_result(Response(body=b"%d" % number))
                await asyncio.sleep(0.05)
            received = await answer
            assert bodies(received) == [b"0", b"1"]
            assert received.count(b"Connection: close") == 1
            assert server.busy_connections == 0

    run(scenario())


def test_the_answer_after_which_the_server_stops_ends_its_connection(run) -> None:
    async def scenario() -> None:
        async with run_listener(lambda request: Response()) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET % 1)
            assert b"Connection" not in await reader.readuntil(b"\r\n\r\n")
            await server.close()
            writer.write(GET % 1)
            assert b"Connection: close" in await reader.read()
            writer.close()

    run(scenario())


def test_a_defect_in_processing_one_connection_does_not_cost_the_others_their_responses(
    run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def receive(self: connection_module.Connection, data: bytes) -> None:
        if b"/13 " in data:
            raise RuntimeError("a defect")
        unpatched(self, data)

    unpatched = connection_module.Connection.receive
    monkeypatch.setattr(connection_module.Connection, "receive", receive)

    async def scenario() -> None:
        async with run_listener(lambda request: Response(body=request.path.encode())) as (_, port):
            clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            for number, (_, writer) in enumerate(clients):  # all in one turn of the event loop
                writer.write(GET % number)
                writer.write_eof()
            for number, (reader, writer) in enumerate(clients):
                if number == 13:
                    with pytest.raises(ConnectionError):
                        await reader.read()
                else:
                    assert bodies(DATE.sub(b"", await reader.read())) == [b"/%d" % number]
                writer.close()

    run(scenario())
    assert "a connection could not be processed" in caplog.messages

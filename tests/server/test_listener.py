"""Accepted connections can be evicted at any moment and are released completely; on our event loop and on asyncio's."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager, closing
from http import HTTPStatus
from typing import Any

import pytest

from gatherer.server.http.connection import ConnectionLimits
from gatherer.server.http.listener import Listener, ListeningServer
from gatherer.server.http.message import Request, Response
from gatherer.server.http.server import loop_factory
from tests.certificates import Authority
from tests.server_process import encode_post
from tests.waiting import until

MAX_CONNECTIONS = 20
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[loop_factory(), asyncio.new_event_loop], ids=["ours", "of asyncio"])
def run(request, caplog) -> Run:
    """Run a coroutine on an event loop, and make sure that nothing was logged as an error."""

    def run_scenario(scenario: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(scenario, 60))
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []

    return run_scenario


class Client:
    """A client in the event loop of the server: each of its actions takes a turn of its own."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setblocking(False)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    async def received(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.socket, 65536)

    def close(self) -> None:
        self.socket.close()


def accepted(server: ListeningServer, count: int) -> Callable[[], bool]:
    """Return a condition: `server` has `count` connections, all of them beyond their handshake."""
    connections = server._pool.present
    return lambda: len(connections) == count and not any(connection.handshake for connection in connections)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def open_server(places: int, **more: Any) -> AsyncIterator[tuple[ListeningServer, int, asyncio.Event]]:
    """A server that responds once the event is set; at the end, every connection is closed."""
    answer = asyncio.Event()

    async def respond() -> Response:
        await answer.wait()
        return Response()

    def handle(request: Request) -> asyncio.Task[Response]:
        return asyncio.get_running_loop().create_task(respond())

    limits = ConnectionLimits(max_connections=places)
    server = ListeningServer(
        Listener(**{"handle": handle, "host": "127.0.0.1", "port": 0, "limits": limits} | more)
    )
    server.open()
    yield server, int(server.url.rpartition(":")[2]), answer
    await until(lambda: not server.connections)
    await server.close()
    await server.clear()


def test_a_new_connection_evicts_an_older_idle_one_in_any_turn_of_the_event_loop(run):
    """Pending requests occupy all other connections, and those are not evicted."""

    async def scenario() -> None:
        async with open_server(MAX_CONNECTIONS + 1) as (server, port, answer):
            with ExitStack() as clients:
                busy = [clients.enter_context(closing(Client(port))) for _ in range(MAX_CONNECTIONS)]
                for client in busy:
                    client.send(encode_post(b"x"))
                await until(lambda: server.busy_connections == MAX_CONNECTIONS)
                idle = []
                for count in [*range(8), 20] * 4:
                    idle.append(clients.enter_context(closing(Client(port))))
                    await turns(count)
                last = clients.enter_context(closing(Client(port)))
                for client in idle:  # the last of them is closed when the server has accepted `last`
                    with contextlib.suppress(ConnectionError):
                        assert await client.received() == b""
                assert server.connections == MAX_CONNECTIONS + 1
                answer.set()
                last.send(encode_post(b"x"))
                for client in [*busy, last]:
                    assert b" 200 " in await client.received()

    run(scenario())


def test_a_connection_with_a_request_is_never_evicted_in_any_turn_of_the_event_loop(run):
    async def scenario() -> None:
        async with open_server(MAX_CONNECTIONS) as (server, port, answer):
            with ExitStack() as clients:
                busy = [clients.enter_context(closing(Client(port))) for _ in range(MAX_CONNECTIONS - 1)]
                for client in busy:
                    client.send(encode_post(b"x"))
                for count in range(12):
                    await until(lambda: server.busy_connections == server.connections == len(busy))
                    poster = clients.enter_context(closing(Client(port)))
                    await until(accepted(server, len(busy) + 1))
                    poster.send(encode_post(b"good"))
                    await turns(count)
                    with closing(Client(port)):
                        await until(accepted(server, len(busy) + 2))
                    busy.append(poster)
                answer.set()
                for client in busy:
                    assert b" 200 " in await client.received()

    run(scenario())


def test_malformed_http_is_answered_before_the_connection_closes(run):
    """A reset could cost the client the response."""

    async def scenario() -> None:
        async with open_server(MAX_CONNECTIONS) as (_, port, _):
            for request in [b"no HTTP at all\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000] * 15:
                with closing(Client(port)) as client:
                    client.send(request)
                    assert b"HTTP/1.1 4" in await client.received()
                    assert await client.received() == b""

    run(scenario())


def test_connections_without_close_notify_are_released(run, tmp_path):
    authority = Authority(tmp_path)
    authority.issue()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority.certificate(), authority.key())

    def refuse(request: Request) -> Response:
        return Response(HTTPStatus.NOT_FOUND, close=True)

    def visit(port: int) -> ssl.SSLSocket:
        visitor = socket.create_connection(("127.0.0.1", port), timeout=10)
        secured = authority.client().wrap_socket(visitor, server_hostname="127.0.0.1")
        secured.sendall(encode_post(b"x"))
        assert b" 404 " in secured.recv(4096)
        return secured

    async def scenario() -> None:
        async with open_server(5, handle=refuse, tls=tls) as (server, port, _):
            with ExitStack() as left_open:
                for _ in range(40):
                    left_open.enter_context(await asyncio.to_thread(visit, port))
                    assert server.connections <= 5 + 1
                with contextlib.suppress(OSError):
                    left_open.close()

    run(scenario())


def test_a_connection_that_cannot_be_accepted_is_released_and_logged(caplog):
    def broken() -> ssl.SSLContext:
        raise ValueError("no context")

    async def scenario() -> None:
        async with open_server(MAX_CONNECTIONS, tls=broken) as (_, port, _):
            with closing(Client(port)) as client:
                with contextlib.suppress(ConnectionError):
                    assert await client.received() == b""

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(asyncio.wait_for(scenario(), 30))
    assert [record.getMessage() for record in caplog.records] == ["a connection could not be accepted"]

"""Closed connections are freed at once: under an attack, good clients would wait for the garbage collector."""

import asyncio
import contextlib
import gc
import itertools
import logging
import socket
import struct
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gatherer.config import load
from gatherer.inbox.writer import InboxWriter
from gatherer.server.http.connection import Connection
from gatherer.server.http.listener import Listener, ListeningServer
from gatherer.server.http.server import loop_factory
from gatherer.server.webhook.handler import WebhookHandler
from tests.server.webhook.hostile_clients import BROKEN, SLOW
from tests.server_process import ENDPOINT, OPEN, configure, encode_post

REQUESTS = {**BROKEN, **{f"slow {n}": slow for n, slow in enumerate(SLOW)}, "good": encode_post(b"x")}
TURNS = itertools.cycle(range(8))


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """Yield the objects that only the garbage collector finds, for the duration of the test."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.collect()
        gc.enable()


Sender = Callable[[socket.socket, bytes], Coroutine[object, object, None]]


async def _send(connection: socket.socket, request: bytes) -> None:
    """Send the request in one piece and wait for the response."""
    connection.sendall(request)
    await _wait_for_response(connection)


async def _send_in_two_pieces(connection: socket.socket, request: bytes) -> None:
    """Send the body in a later turn of the event loop than the head, a different one each time."""
    head, blank, body = request.partition(b"\r\n\r\n")
    connection.sendall(head + blank)
    for _ in range(next(TURNS)):
        await asyncio.sleep(0)
    connection.sendall(body or b"x")
    await _wait_for_response(connection)


async def _send_and_reset(connection: socket.socket, request: bytes) -> None:
    """Send the request and reset the connection without waiting for the response."""
    connection.sendall(request)
    at_once = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)


async def _wait_for_response(connection: socket.socket) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await asyncio.get_running_loop().sock_recv(connection, 4096)


@pytest.mark.parametrize("sender", [_send, _send_in_two_pieces, _send_and_reset])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_closed_connection_is_freed_without_the_garbage_collector(tmp_path, garbage, caplog, name, sender):
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_receive(tmp_path, REQUESTS[name], sender))
    gc.collect()
    count = sum(isinstance(entry, Connection) for entry in garbage)
    garbage.clear()  # otherwise, a failure here would also fail the next test
    assert count == 0
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


async def _receive(folder: Path, request: bytes, sender: Sender) -> None:
    """Receive `request` from six clients and a part of it from another, all of which then disconnect."""
    configure(folder, ENDPOINT, OPEN)
    configuration = load(folder / "gatherer.toml", secrets=True)
    with closing(InboxWriter(folder / "inbox.db")) as writer:
        receiver = WebhookHandler(configuration.endpoint, configuration.server, writer)
        server = ListeningServer(Listener(handle=receiver.handle, host="127.0.0.1", port=0))
        server.open()
        port = int(server.url.rpartition(":")[2])
        await asyncio.gather(*(_connect_and_send(port, request, sender) for _ in range(6)))
        await _connect_and_send(port, request[: len(request) // 2], sender)
        async with asyncio.timeout(30):
            while server.connections:  # open connections are not garbage
                await asyncio.sleep(0.01)
        for _ in range(10):  # turns of the event loop in which the last tasks end
            await asyncio.sleep(0)
        await server.close()
        await server.clear()


async def _connect_and_send(port: int, request: bytes, sender: Sender) -> None:
    with closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            await sender(connection, request)

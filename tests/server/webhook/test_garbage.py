"""Connections are let go of at once: under an attack, good clients would wait for the garbage collector."""

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
    """What only the collector finds, for the duration of the test."""
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


Way = Callable[[socket.socket, bytes], Coroutine[object, object, None]]


async def _send(connection: socket.socket, request: bytes) -> None:
    """Send it in one piece, and wait for an answer."""
    connection.sendall(request)
    await _answered(connection)


async def _in_two_pieces(connection: socket.socket, request: bytes) -> None:
    """What follows the head comes in a turn of the event loop of its own, a different one each time."""
    head, blank, body = request.partition(b"\r\n\r\n")
    connection.sendall(head + blank)
    for _ in range(next(TURNS)):
        await asyncio.sleep(0)
    connection.sendall(body or b"x")
    await _answered(connection)


async def _and_reset(connection: socket.socket, request: bytes) -> None:
    """Go away without waiting for an answer, and without a goodbye."""
    connection.sendall(request)
    at_once = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)


async def _answered(connection: socket.socket) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await asyncio.get_running_loop().sock_recv(connection, 4096)


@pytest.mark.parametrize("way", [_send, _in_two_pieces, _and_reset])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_connection_is_forgotten_without_the_garbage_collector(tmp_path, garbage, caplog, name, way):
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_refuse(tmp_path, REQUESTS[name], way))
    gc.collect()
    found = sum(isinstance(one, Connection) for one in garbage)
    garbage.clear()  # else a failure here would be found by the next test
    assert found == 0
    assert [one.message for one in caplog.records if one.levelno >= logging.ERROR] == []


async def _refuse(folder: Path, request: bytes, way: Way) -> None:
    """Take `request` in six times, and part of it once more, from clients that then go away."""
    configure(folder, ENDPOINT, OPEN)
    configuration = load(folder / "gatherer.toml", secrets=True)
    with closing(InboxWriter(folder / "inbox.db")) as writer:
        receiver = WebhookHandler(configuration.endpoint, configuration.server, writer)
        server = ListeningServer(Listener(handle=receiver.handle, host="127.0.0.1", port=0))
        server.open()
        port = int(server.url.rpartition(":")[2])
        await asyncio.gather(*(_visit(port, request, way) for _ in range(6)))
        await _visit(port, request[: len(request) // 2], way)
        async with asyncio.timeout(30):
            while server.connections:  # however slow the machine: what is still there is no garbage
                await asyncio.sleep(0.01)
        for _ in range(10):  # turns of the event loop, in which the tasks of the last ones end
            await asyncio.sleep(0)
        await server.close()
        await server.clear()


async def _visit(port: int, request: bytes, way: Way) -> None:
    with closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            await way(connection, request)

"""Connections are let go of at once: under an attack, good clients would wait for the garbage collector."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gatherer.config import load
from gatherer.connections import Connection
from gatherer.inbox.writer import InboxWriter
from gatherer.listening import Door, Listener
from gatherer.receiver.receiver import Receiver
from gatherer.serve import loop_factory
from tests.receiver.attacking import BROKEN, SLOW
from tests.serving import ENDPOINT, OPEN, configure, post_bytes

REQUESTS = {**BROKEN, **{f"slow {n}": slow for n, slow in enumerate(SLOW)}, "good": post_bytes(b"x")}


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


@pytest.mark.parametrize("name", REQUESTS)
def test_a_connection_is_forgotten_without_the_garbage_collector(tmp_path, garbage, name):
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_refuse(tmp_path, REQUESTS[name]))
    gc.collect()
    assert not [one for one in garbage if isinstance(one, Connection)]


async def _refuse(folder: Path, request: bytes) -> None:
    """Take `request` in five times, and part of it once more, from clients that then go away."""
    configure(folder, ENDPOINT, OPEN)
    configuration = load(folder / "gatherer.toml", secrets=True)
    with closing(InboxWriter(folder / "inbox.db")) as writer:
        receiver = Receiver(configuration.endpoint, configuration.server, writer)
        door = Door(Listener(handle=receiver.handle, host="127.0.0.1", port=0))
        door.open()
        port = int(door.url.rpartition(":")[2])
        for sent in [request] * 5 + [request[: len(request) // 2]]:
            await asyncio.to_thread(_send, port, sent)
            await asyncio.sleep(0.05)
        await door.close()
        await door.clear()


def _send(port: int, request: bytes) -> None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=0.2) as connection,
        contextlib.suppress(OSError),
    ):
        connection.sendall(request)
        connection.recv(4096)

"""Who is let in makes room for others at any moment, and leaves nothing behind."""

import asyncio
import socket
from contextlib import ExitStack, closing

import pytest
from aiohttp import web

from gatherer.limits import Limits
from gatherer.listening import Door, Listener
from gatherer.serve import loop_factory
from tests.serving import post_bytes

PLACES = 20


@pytest.mark.parametrize("factory", [loop_factory(), asyncio.new_event_loop], ids=["ours", "of asyncio"])
def test_newcomers_make_room_for_each_other_in_any_turn_of_the_event_loop(caplog, factory):
    """All other places are taken by requests that wait for us, so nobody else can."""
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(asyncio.wait_for(_play(), 30))
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == []


async def _play() -> None:
    answer = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await answer.wait()
        return web.Response()

    door = Door(Listener(handle=handle, host="127.0.0.1", port=0, limits=Limits(max_connections=PLACES + 1)))
    door.open()
    port = int(door.url.rpartition(":")[2])
    with ExitStack() as clients:

        def newcomer() -> socket.socket:
            client = clients.enter_context(closing(socket.create_connection(("127.0.0.1", port))))
            client.setblocking(False)
            return client

        busy = [newcomer() for _ in range(PLACES)]
        for client in busy:
            client.sendall(post_bytes(b"x"))
        while door.connections < PLACES:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        for turns in [*range(8), 20] * 4:
            newcomer()
            for _ in range(turns):
                await asyncio.sleep(0)
        last = newcomer()
        await asyncio.sleep(0.1)
        answer.set()
        for client in busy:
            assert b" 200 " in await asyncio.get_running_loop().sock_recv(client, 4096)
        last.sendall(post_bytes(b"x"))
        assert b" 200 " in await asyncio.get_running_loop().sock_recv(last, 4096)
    while door.connections:
        await asyncio.sleep(0.01)
    await door.close()
    await door.clear()

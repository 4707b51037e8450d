"""The server process: listens, hands requests to their handlers, stops cleanly."""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

from gatherer.server.http.connection import ConnectionLimits
from gatherer.server.http.listener import Listener, ListeningServer

__all__ = ["ConnectionLimits", "Listener", "run"]

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS: Final = 10  # for requests in flight


def run(
    listeners: Sequence[Listener],
    *,
    tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
) -> None:
    """Serve until SIGTERM, SIGINT or Ctrl-Break; then stop accepting, answer what is in flight, return.

    Args:
        listeners: where to listen; none accepts before all can.
        tasks: run beside, from the first connection to the last answer; then they are cancelled.

    Raises:
        ConfigurationError: an address cannot be bound.

    """
    # The objects loaded by now stay, and connections hold no cycles: under load the collector would find nothing.
    gc.freeze()
    gc.set_threshold(20_000, 5, 20)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(listeners, tasks))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop where there is one (not on Windows): about twice as fast."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(
    listeners: Sequence[Listener],
    tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]],
) -> None:
    stop = asyncio.Event()
    # To the very end, so that a second signal does not cut off the answers that the first one left to finish.
    with _on_stop_signal(stop.set):
        async with contextlib.AsyncExitStack() as cleanup:
            servers = []
            for listener in listeners:
                servers.append(ListeningServer(listener))
                cleanup.push_async_callback(servers[-1].clear)
                cleanup.push_async_callback(servers[-1].close)
            for listener, server in zip(listeners, servers, strict=True):
                server.open()
                listener.announce(server.url)
            running = [asyncio.create_task(task()) for task in tasks]
            try:
                await stop.wait()
                log.info("stopping: no new connections, answering the requests that have arrived")
                for server in servers:
                    await server.close()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SHUTDOWN_SECONDS):
                        while any(server.busy_connections for server in servers):
                            await asyncio.sleep(0.02)
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)


@contextlib.contextmanager
def _on_stop_signal(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` when the process is asked to end, instead of ending it."""
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":  # no signal handlers in the loop there; Ctrl-Break is how services stop us
        signals = [signal.SIGINT, signal.SIGBREAK]
        before = [signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop)) for number in signals]
        try:
            yield
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)
    else:
        signals = [signal.SIGINT, signal.SIGTERM]
        for number in signals:
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

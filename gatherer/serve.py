"""The server process: listens, hands requests to the receiver, stops cleanly."""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Final

from aiohttp import web

from gatherer.errors import ConfigurationError
from gatherer.receiver.receiver import Receiver

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS: Final = 15
LINGER_SECONDS: Final = 3  # to read on after a refusal: closing at once could cost the client the answer
SHUTDOWN_SECONDS: Final = 10  # for requests in flight


def run(receiver: Receiver, host: str, port: int, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM, SIGINT or Ctrl-Break; then stop accepting, answer what is in flight, return.

    Args:
        receiver: answers the requests.
        host: the address to listen at.
        port: the port; 0 lets the system choose.
        announce: called once with the URL, when connections are accepted.

    Raises:
        ConfigurationError: the address cannot be listened at.

    """
    gc.freeze()  # what is loaded by now stays: the collector need not walk it again under load
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(receiver, host, port, announce))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop where there is one (not on Windows): about twice as fast."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(receiver: Receiver, host: str, port: int, announce: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    server = web.Server(
        receiver.handle,
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=LINGER_SECONDS,
        auto_decompress=False,
    )
    runner = web.ServerRunner(
        server, shutdown_timeout=1
    )  # for answers on their way: the receiver has drained
    await runner.setup()
    # To the very end, so that a second signal does not cut off what the first one asked to finish.
    with _on_stop_signal(stop.set):
        try:
            site = web.TCPSite(runner, host, port, backlog=1024)
            try:
                await site.start()
            except OSError as error:
                raise ConfigurationError(
                    f"cannot listen at {host} port {port}: {error.strerror or error}"
                ) from None
            actual_port = runner.addresses[0][1]
            announce(f"http://{f'[{host}]' if ':' in host else host}:{actual_port}")
            await stop.wait()
            log.info("stopping: no new connections, answering what is in flight")
            await site.stop()
            await receiver.drain(SHUTDOWN_SECONDS)
        finally:
            await runner.cleanup()


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

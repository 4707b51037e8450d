"""The server process: listens, hands requests to whoever answers them, stops cleanly."""

import asyncio
import contextlib
import gc
import logging
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from gatherer.errors import ConfigurationError

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS: Final = 15
LINGER_SECONDS: Final = 3  # to read on after a refusal: closing at once could cost the client the answer
SHUTDOWN_SECONDS: Final = 10  # for requests in flight


@dataclass(frozen=True, kw_only=True)
class Listener:
    """One address to listen at, and who answers there."""

    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    host: str
    port: int  # 0 lets the system choose
    tls: ssl.SSLContext | None = None
    announce: Callable[[str], None] = lambda url: None  # called with the URL, when all listeners accept


def run(
    listeners: Sequence[Listener],
    *,
    drain: Callable[[float], Awaitable[None]],
    tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
) -> None:
    """Serve until SIGTERM, SIGINT or Ctrl-Break; then stop accepting, answer what is in flight, return.

    Args:
        listeners: where to listen; none accepts before all can.
        drain: waits, for at most so many seconds, until nothing is in flight any more.
        tasks: what runs beside, from the first connection on to the last answer; they are cancelled.

    Raises:
        ConfigurationError: an address cannot be listened at.

    """
    gc.freeze()  # what is loaded by now stays: the collector need not walk it again under load
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(listeners, drain, tasks))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop where there is one (not on Windows): about twice as fast."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(
    listeners: Sequence[Listener],
    drain: Callable[[float], Awaitable[None]],
    tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]],
) -> None:
    stop = asyncio.Event()
    # To the very end, so that a second signal does not cut off what the first one asked to finish.
    with _on_stop_signal(stop.set):
        async with contextlib.AsyncExitStack() as cleanup:
            sites = [await _listen(listener, cleanup) for listener in listeners]
            for listener, site in zip(listeners, sites, strict=True):
                listener.announce(site.name)
            running = [asyncio.create_task(task()) for task in tasks]
            try:
                await stop.wait()
                log.info("stopping: no new connections, answering what is in flight")
                for site in sites:
                    await site.stop()
                await drain(SHUTDOWN_SECONDS)
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)


async def _listen(listener: Listener, cleanup: contextlib.AsyncExitStack) -> "Site":
    server = web.Server(
        listener.handle,
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=LINGER_SECONDS,
        auto_decompress=False,
    )
    # Its own time-out is for answers on their way: what was in flight has been drained by then.
    runner = web.ServerRunner(server, shutdown_timeout=1)
    await runner.setup()
    cleanup.push_async_callback(runner.cleanup)
    site = Site(runner, listener.host, listener.port, ssl_context=listener.tls, backlog=1024)
    try:
        await site.start()
    except (OSError, UnicodeError) as error:  # UnicodeError: what cannot even be the name of a host
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"cannot listen at {listener.host} port {listener.port}: {reason}") from None
    return site


class Site(web.TCPSite):
    """A listening socket that knows the port which the system chose."""

    @property
    def name(self) -> str:
        """The URL."""
        host = f"[{self._host}]" if ":" in str(self._host) else self._host
        port = self._runner.addresses[0][1]
        return f"{'https' if self._ssl_context else 'http'}://{host}:{port}"


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

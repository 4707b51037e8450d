"""The clients of `scripts/bench ingest`, in their own process so that they do not slow down the server.

Sends prebuilt, signed requests over keep-alive connections and prints one JSON object: responses per second,
their latencies, and the number of responses other than 200. With `--rate`, requests start at fixed times, and
latency counts from the time at which a request was due, so that a stalled server cannot hide it.
"""

import argparse
import asyncio
import hashlib
import hmac
import itertools
import json
import time
from collections import deque
from collections.abc import Iterator
from typing import cast

SECRET = "app-secret"
PATH = "/webhook/meta"
BODY = (
    '{"object":"whatsapp_business_account","entry":[{"id":"900000000000001","changes":[{"value":{'
    '"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550002222","phone_number_id":'
    '"100000000000001"},"statuses":[{"id":"wamid.HBgLMTU1NTAwMDExMTEVAgARGBI%016X","status":"delivered",'
    '"timestamp":"1790000000","recipient_id":"15550001111","conversation":{"id":"0123456789abcdef0123456789'
    'abcdef","origin":{"type":"marketing"}},"pricing":{"billable":true,"pricing_model":"PMP","type":'
    '"regular","category":"marketing"}}]},"field":"messages"}]}]}'
)
PREBUILT = 4096
PAUSE_SECONDS = 0.001  # uvloop treats shorter pauses as none, and spinning would take a core from the server


def requests() -> Iterator[bytes]:
    """Yield signed requests without end."""
    prebuilt = []
    for number in range(PREBUILT):
        body = (BODY % (number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)).encode()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: facebookexternalua\r\nAccept: */*\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"X-Hub-Signature-256: sha256={signature}\r\n\r\n"
        )
        prebuilt.append(head.encode() + body)
    return itertools.cycle(prebuilt)


class Client(asyncio.Protocol):
    """A connection with at most one request in flight."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._due = 0.0
        self._received = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop has its own transport class

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        assert self.transport is not None
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        good = self._received.startswith(b"HTTP/1.1 200")
        if good and not self._received.endswith(b"\r\n\r\n"):  # a 200 has an empty body
            return
        self._received = b""
        self._load.answered(self, self._due, good=good)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._load.lost += not self._load.over


class Load:
    """All connections of the benchmark, and their figures."""

    def __init__(self, port: int, connections: int, rate: float | None) -> None:
        self._port = port
        self._connections = connections
        self._rate = rate
        self._requests = requests()
        self._idle: deque[Client] = deque()
        self._overdue: deque[float] = deque()
        self._latencies: list[float] = []
        self._refused = 0
        self.lost = 0
        self.over = False

    async def run(self, seconds: float, warm_up: float) -> dict[str, object]:
        loop = asyncio.get_running_loop()
        clients = [
            (await loop.create_connection(lambda: Client(self), "127.0.0.1", self._port))[1]
            for _ in range(self._connections)
        ]
        started = time.perf_counter()
        if self._rate is None:
            for client in clients:
                client.send(next(self._requests), time.perf_counter())
        else:
            self._idle.extend(clients)
            pace = asyncio.ensure_future(self._pace(self._rate))
        await asyncio.sleep(warm_up)
        before = len(self._latencies)
        started = time.perf_counter()
        await asyncio.sleep(seconds)
        self.over = True
        took, latencies = time.perf_counter() - started, sorted(self._latencies[before:])
        if self._rate is not None:
            pace.cancel()
        await asyncio.sleep(0.3)  # time for the last responses
        for client in clients:
            assert client.transport is not None
            client.transport.abort()
        return {
            "per_second": round(len(latencies) / took),
            "p50_ms": _percentile(latencies, 0.50),
            "p99_ms": _percentile(latencies, 0.99),
            "acknowledged": len(self._latencies),  # including the warm-up and the end
            "not_200": self._refused,
            "lost_connections": self.lost,
        }

    def answered(self, client: Client, due: float, *, good: bool) -> None:
        now = time.perf_counter()
        if good:
            self._latencies.append(now - due)
        else:
            self._refused += 1
        if self._overdue:
            client.send(next(self._requests), self._overdue.popleft())
        elif self._rate is not None:
            self._idle.append(client)
        elif not self.over:
            client.send(next(self._requests), now)

    async def _pace(self, rate: float) -> None:
        """Start requests when they are due; those without a free connection wait, and their latency includes the wait."""
        due = time.perf_counter()
        while True:
            now = time.perf_counter()
            while due <= now:
                if self._idle:
                    self._idle.popleft().send(next(self._requests), due)
                else:
                    self._overdue.append(due)
                due += 1 / rate
            await asyncio.sleep(PAUSE_SECONDS)


def _percentile(latencies: list[float], share: float) -> float | None:
    return round(latencies[int(len(latencies) * share)] * 1000, 2) if latencies else None


def main() -> None:
    """Run the load that the options describe and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--rate", type=float)
    options = parser.parse_args()
    load = Load(options.port, options.connections, options.rate)
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        print(json.dumps(runner.run(load.run(options.seconds, options.warm_up))))


if __name__ == "__main__":
    main()

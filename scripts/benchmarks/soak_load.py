"""The clients of `scripts/bench soak`, in their own process: new, repeated and invalid requests at a fixed rate.

Latency counts from the time at which a request was due. Prints one JSON object, and writes the numbers of the
acknowledged requests to a file, 8 bytes each.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import random
import time
from array import array
from collections import Counter, deque
from pathlib import Path
from typing import cast

from ingest_load import BODY, PATH, PAUSE_SECONDS, SECRET

CONNECTIONS = 64
AGAIN = 0.05  # of all requests: one that was acknowledged before
BAD = 0.05  # share with a wrong signature, an unknown path, or a signed body that is not JSON
NO_JSON = -1  # an acknowledged body without a record
LATE_SECONDS = 30  # the time limit for the last responses


def request(number: int, *, path: str = PATH, secret: str = SECRET) -> bytes:
    """Return a signed request with one receipt, about the message `number`."""
    body = (BODY % number).encode() if number != NO_JSON else b'{"object": broken'
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nX-Hub-Signature-256: sha256={signature}\r\n\r\n"
    )
    return head.encode() + body


class Client(asyncio.Protocol):
    """A connection with at most one request in flight."""

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.number, self.wanted, self.due = 0, 200, 0.0
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, data: bytes, number: int, wanted: int, due: float) -> None:
        self.number, self.wanted, self.due = number, wanted, due
        assert self._transport is not None
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        if not end or len(body) < int(length or 0):
            return
        self._received = b""
        self.load.answered(self, int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.load.lost(self)


class Load:
    """All connections of the benchmark, and their figures."""

    def __init__(self, port: int, rate: float) -> None:
        self._port, self._rate = port, rate
        self._idle: deque[Client] = deque()
        self._overdue: deque[float] = deque()
        self._acknowledged = array("q")
        self._latencies = array("d")
        self._statuses: Counter[str] = Counter()
        self._next = 0
        self._over = False
        self._lost = 0
        self._random = random.Random(6)

    async def run(self, seconds: float, written: Path) -> dict[str, object]:
        """Send at the rate for `seconds`; write the acknowledged numbers to `path` and return the figures."""
        for _ in range(CONNECTIONS):
            await self._connect()
        began = due = time.perf_counter()
        while due < began + seconds:
            now = time.perf_counter()
            while due <= now and due < began + seconds:
                if self._idle:
                    self._send(self._idle.popleft(), due)
                else:
                    self._overdue.append(due)
                due += 1 / self._rate
            await asyncio.sleep(PAUSE_SECONDS)
        end = time.perf_counter() + LATE_SECONDS
        while (len(self._idle) < CONNECTIONS or self._overdue) and time.perf_counter() < end:
            await asyncio.sleep(0.01)
        took = time.perf_counter() - began
        self._over = True
        written.write_bytes(self._acknowledged.tobytes())
        latencies = sorted(self._latencies)
        minutes = max(1, round(seconds / 60))
        parts = [
            sorted(self._latencies[len(latencies) * n // minutes : len(latencies) * (n + 1) // minutes])
            for n in range(minutes)
        ]
        shares = (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99), ("p99_9_ms", 0.999), ("max_ms", 1.0))
        latency = {
            name: round(latencies[min(int(len(latencies) * share), len(latencies) - 1)] * 1000, 2)
            for name, share in shares
        }
        return {
            "requests": sum(self._statuses.values()),
            "per_second": round(sum(self._statuses.values()) / took),
            **latency,
            "p99_ms_by_minute": [round(part[int(len(part) * 0.99)] * 1000, 1) for part in parts if part],
            "answers": dict(sorted(self._statuses.items())),
            "lost_connections": self._lost,
            "unanswered": CONNECTIONS - len(self._idle) + len(self._overdue),
        }

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._idle.append((await loop.create_connection(lambda: Client(self), "127.0.0.1", self._port))[1])

    def _send(self, client: Client, due: float) -> None:
        chance = self._random.random()
        if chance < AGAIN and self._acknowledged:
            number = self._random.choice(self._acknowledged)
            client.send(request(number), number, 200, due)
        elif chance < AGAIN + BAD:
            kind = self._random.randrange(3)
            if kind == 0:
                client.send(request(NO_JSON), NO_JSON, 200, due)
            elif kind == 1:
                client.send(request(self._number(), secret="wrong"), NO_JSON, 401, due)
            else:
                client.send(request(self._number(), path="/nowhere"), NO_JSON, 404, due)
        else:
            number = self._number()
            client.send(request(number), number, 200, due)

    def _number(self) -> int:
        self._next += 1
        return self._next

    def answered(self, client: Client, status: int) -> None:
        """Record the response to the request of `client`, and send the next one that is due."""
        self._statuses[
            f"{status} instead of {client.wanted}" if status != client.wanted else str(status)
        ] += 1
        if status == 200:
            self._latencies.append(time.perf_counter() - client.due)
            if client.number != NO_JSON:
                self._acknowledged.append(client.number)
        if self._overdue:
            self._send(client, self._overdue.popleft())
        else:
            self._idle.append(client)

    def lost(self, client: Client) -> None:
        """Replace a connection that the server has closed."""
        if self._over:
            return
        self._lost += 1
        if client in self._idle:
            self._idle.remove(client)
        self._reconnecting = asyncio.ensure_future(self._connect())


def main() -> None:
    """Run the load that the options describe and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--acknowledged", type=Path, required=True)
    options = parser.parse_args()
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        load = Load(options.port, options.rate)
        print(json.dumps(runner.run(load.run(options.seconds, options.acknowledged))))


if __name__ == "__main__":
    main()

"""Hostile clients of every kind, which run until they are killed.

python -m tests.server.webhook.hostile_clients PORT CLIENTS [tls]: with tls, every other client completes a TLS
handshake before it misbehaves.
"""

import asyncio
import contextlib
import gc
import ssl
import sys

from tests.server_process import PATH, encode_head, encode_post

CHUNKED = {"Host": "x", "Transfer-Encoding": "chunked"}
BROKEN = {
    "CL and TE": encode_head("POST", "/open", CHUNKED | {"Content-Length": "4"}) + b"0\r\n\r\nGET /",
    "TE and CL": b"POST /open HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /open HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "TE with a tab": b"POST /open HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\tchunked x\r\n\r\n0\r\n\r\n",
    "TE with a space before the colon": b"POST /open HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "bare LF": b"POST /open HTTP/1.1\nHost: x\nContent-Length: 1\n\nx",
    "bare LF in the headers": b"POST /open HTTP/1.1\r\nHost: x\nContent-Length: 1\r\n\r\nx",
    "bare CR": b"POST /open HTTP/1.1\r\nHost: x\rContent-Length: 1\r\n\r\nx",
    "folded header": b"POST /open HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nContent-Length: 1\r\n\r\nx",
    "chunk of size -1": encode_head("POST", "/open", CHUNKED) + b"-1\r\nx\r\n0\r\n\r\n",
    "chunk of size 0x1": encode_head("POST", "/open", CHUNKED) + b"0x1\r\nx\r\n0\r\n\r\n",
    "chunk larger than all": encode_head("POST", "/open", CHUNKED) + b"f" * 17 + b"\r\nx\r\n0\r\n\r\n",
    "chunk with a bare LF": encode_head("POST", "/open", CHUNKED) + b"1\nx\r\n0\r\n\r\n",
    "chunk with no end": encode_head("POST", "/open", CHUNKED) + b"1\r\nxyz\r\n0\r\n\r\n",
    "chunk with an endless extension": encode_head("POST", "/open", CHUNKED) + b"1;" + b"a" * 500_000,
    "trailers without end": encode_head("POST", "/open", CHUNKED) + b"0\r\n" + b"X: y\r\n" * 50_000,
    "HTTP/0.9": b"GET /open\r\n\r\n",
    "HTTP/0.9 with headers": b"POST /open HTTP/0.9\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
    "HTTP/0.9 with another method": b"POST /open\r\n\r\n",
    "HTTP/0.9 at an invalid path": b"GET /o-pen\r\n\r\n",
    "HTTP/2.0": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"POST /open HTTP/9.9\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
    "NUL in the path": b"POST /op\0en HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
    "NUL in a header": b"POST /open HTTP/1.1\r\nHost: x\r\nX: a\0b\r\nContent-Length: 1\r\n\r\nx",
    "no path": b"POST  HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
    "method of bytes": b"P\xffST /open HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
}


SLOW = (
    b"",
    b"POST /webhook/meta HTTP/1.1\r\nHost: x\r\n",
    encode_post(b"x" * 5000)[:-4000],
    encode_head("POST", PATH, CHUNKED) + b"ffff\r\n",
)


async def attack(port: int, clients: int, *, tls: bool = False) -> None:
    """Keep `clients` connections busy, each with one kind of attack after the other."""
    kinds = [*SLOW * 6, *BROKEN.values()]
    tasks = [asyncio.create_task(_run_client(port, kinds, n, tls=tls and n % 2 == 0)) for n in range(clients)]
    await asyncio.gather(*tasks, return_exceptions=True)


async def _run_client(port: int, kinds: list[bytes], n: int, *, tls: bool) -> None:
    context = ssl.create_default_context() if tls else None
    if context is not None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    while True:
        n += 1
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            try:
                writer.write(kinds[n % len(kinds)])
                for _ in range(60):
                    writer.write(b"x")
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            if not await reader.read(4096):
                                break
            finally:
                writer.close()
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    gc.disable()  # the clients stand for many machines, which would not all pause at the same time
    asyncio.run(attack(int(sys.argv[1]), int(sys.argv[2]), tls="tls" in sys.argv))

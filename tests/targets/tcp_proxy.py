"""A TCP proxy that cuts a connection at a chosen moment."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Final

CHUNK: Final = 65536


class CuttingProxy:
    """Passes bytes between a client and a server, in a `with` block. The client connects to `port`.

    `when` is called with the bytes that the client sends, and returns whether to cut the connection now. `deliver`
    says whether these bytes still reach the server; its answer is not passed on.
    """

    def __init__(
        self, server: tuple[str, int], when: Callable[[bytes], bool], *, deliver: bool, times: int = 1
    ) -> None:
        self._server, self._when, self._deliver, self._left = server, when, deliver, times
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> "CuttingProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                silent = threading.Event()
                threading.Thread(target=self._upwards, args=(client, server, silent), daemon=True).start()
                threading.Thread(target=self._downwards, args=(client, server, silent), daemon=True).start()

    def _upwards(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK):
                if self._left and self._when(data):
                    self._left -= 1
                    self.cuts += 1
                    silent.set()
                    if self._deliver:
                        server.sendall(data)
                        server.settimeout(10)
                        server.recv(CHUNK)  # the answer: it was carried out
                    break
                server.sendall(data)
        _close(client, server)

    def _downwards(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while not silent.is_set():
                # Peeked at first: the answer to the last words is for the other thread alone.
                if not server.recv(1, socket.MSG_PEEK):
                    break
                if silent.is_set():
                    return
                client.sendall(server.recv(CHUNK))
            if silent.is_set():
                return
        _close(client, server)


def _close(*sockets: socket.socket) -> None:
    for connection in sockets:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def contains(text: str) -> Callable[[bytes], bool]:
    """Return a function that recognises `text` in a statement that is sent without encryption."""
    encoded = text.encode("utf-16-le")
    return lambda data: encoded in data

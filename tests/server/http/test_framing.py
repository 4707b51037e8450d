"""Each framing has one response, and a request that another server could frame differently is not stored."""

import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.server.http.framing import CASES, TAKEN_BY_NGINX
from tests.server_process import OPEN, ServerProcess, run_server
from tests.waiting import wait_until

SETTINGS = "keepalive_timeout_seconds = 2\n"
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off; client_header_timeout 2; client_body_timeout 2; keepalive_timeout 2;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream gatherer {{ server 127.0.0.1:{server}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://gatherer; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with run_server(tmp_path_factory.mktemp("serve"), OPEN, server=SETTINGS) as process:
        yield process


@pytest.fixture(scope="module")
def nginx(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an nginx in front of the server."""
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("LOUD: nginx is not installed, nothing was compared with it")
    folder = tmp_path_factory.mktemp("nginx")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, server=server.port, port=port))
    with subprocess.Popen([program, "-c", folder / "nginx.conf", "-p", folder]) as process:
        try:
            wait_until(lambda: _listens(port))
            yield port
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


def _status_codes(port: int, sent: bytes) -> list[int]:
    """Send `sent` and return the status codes of all responses until the connection is closed."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        with contextlib.suppress(OSError):  # closed before everything is sent
            connection.sendall(sent)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                received += part
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def _stored(server: ServerProcess, before: int) -> list[bytes]:
    return server.bodies()[before:]


@pytest.mark.parametrize("name", CASES)
def test_each_framing_gets_its_response(server: ServerProcess, name: str) -> None:
    case, before = CASES[name], len(server.bodies())
    assert _status_codes(server.port, case.sent) == case.answers
    assert _stored(server, before) == case.stored


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if len(case.sent) < 1000])
def test_a_framing_in_small_pieces_gets_the_same_response(server: ServerProcess, name: str) -> None:
    """The parser keeps its state from one read to the next."""
    case, before = CASES[name], len(server.bodies())
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            for start in range(0, len(case.sent), 7):
                connection.sendall(case.sent[start : start + 7])
                time.sleep(0.0002)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                received += part
    answers = [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]
    assert answers == case.answers or (not answers and case.answers == [400])  # a reset overtook the response
    assert _stored(server, before) == case.stored


@pytest.mark.parametrize("name", CASES)
def test_a_request_through_nginx_is_stored_with_the_same_framing_or_not_at_all(
    server: ServerProcess, nginx: int, name: str
) -> None:
    case, before = CASES[name], len(server.bodies())
    answers = _status_codes(nginx, case.sent)
    stored = _stored(server, before)
    assert len(stored) == answers.count(200), "one response for each accepted request"
    assert stored in ([b"x"] if name in TAKEN_BY_NGINX else case.stored, [])

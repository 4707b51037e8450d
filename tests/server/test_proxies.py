"""The samples for web servers in front: parsed, and run in front of a real `serve` where the web server is installed."""

import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gatherer.config import Server
from tests.certificates import HOST, Authority
from tests.server_process import (
    ENDPOINT,
    OPEN,
    PATH,
    ROOT,
    Response,
    ServerProcess,
    encode_head,
    encode_post,
    read_response,
    run_server,
    signature,
)

NGINX, CADDY = shutil.which("nginx"), shutil.which("caddy")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="LOUD: nginx is not installed, its sample was not run")
needs_caddy = pytest.mark.skipif(CADDY is None, reason="LOUD: caddy is not installed, its sample was not run")
SOURCE = (
    "127.0.0.2",
    0,
)  # the address of the client differs from that of the web server, 127.0.0.1, the trusted proxy
ALLOWED = 'name = "ips"\nprovider = "meta"\npath = "/webhook/ips"\nallow_ips = ["203.0.113.0/24"]\n'
BELOW = OPEN.replace('"/open"', '"/webhook/open"')


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    folder = tmp_path / "serve"
    folder.mkdir()
    with run_server(folder, ENDPOINT, BELOW, ALLOWED) as process:
        yield process


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "authority")
    authority.issue()
    return authority


class Proxy:
    """A web server in front of `serve`, which listens with TLS at a port."""

    def __init__(self, port: int, client: ssl.SSLContext) -> None:
        self.port, self.client = port, client

    @contextlib.contextmanager
    def open_tls_connection(self) -> Iterator[ssl.SSLSocket]:
        with socket.create_connection(("127.0.0.1", self.port), 20, SOURCE) as raw:
            with self.client.wrap_socket(raw, server_hostname=HOST) as connection:
                yield connection

    def exchange(self, request: bytes) -> Response:
        with self.open_tls_connection() as connection:
            connection.sendall(request.replace(b"Host: localhost", b"Host: " + HOST.encode()))
            return read_response(connection)


@contextlib.contextmanager
def run_proxy(command: list[str], folder: Path, port: int, client: ssl.SSLContext) -> Iterator[Proxy]:
    """Run a web server until the end of the block."""
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=_environment(folder))
    try:
        end = time.monotonic() + 60
        while True:
            assert process.poll() is None, (folder / "proxy.log").read_text()
            with contextlib.suppress(OSError), Proxy(port, client).open_tls_connection():
                break
            assert time.monotonic() < end, (folder / "proxy.log").read_text()
            time.sleep(0.1)
        yield Proxy(port, client)
    finally:
        process.terminate()
        process.wait(30)


def _environment(folder: Path) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "PATH": "/usr/bin",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def assert_proxies_correctly(proxy: Proxy, server: ServerProcess) -> None:
    """Check the properties that every web server in front must preserve."""
    body = '{"text": "\u00e9 \U0001f600"}'.encode() + bytes(range(256))
    assert proxy.exchange(encode_post(body)).status == 200
    assert server.bodies() == [body]
    assert server.rows("remote") == [("127.0.0.2",)]
    large = b"x" * 3_000_000
    assert proxy.exchange(encode_post(large)).status == 200
    assert server.bodies()[-1] == large
    chunked = encode_head(
        "POST",
        PATH,
        {"Host": "localhost", "Transfer-Encoding": "chunked", "X-Hub-Signature-256": signature(b"abc")},
    )
    assert proxy.exchange(chunked + b"3\r\nabc\r\n0\r\n\r\n").status == 200
    assert server.bodies()[-1] == b"abc"
    assert proxy.exchange(encode_post(b"x", X_Hub_Signature_256=signature(b"y"))).status == 401
    assert proxy.exchange(encode_post(b"x", Content_Encoding="gzip")).status == 415
    assert proxy.exchange(encode_post(b"x", "/webhook/nowhere")).status == 404
    assert proxy.exchange(encode_post(b"x", "/elsewhere")).status == 404
    # The server ignores a forwarded address from a client, but trusts one from the proxy.
    assert proxy.exchange(encode_post(b"x", "/webhook/ips", X_Forwarded_For="203.0.113.9")).status == 401
    assert server.post(b"x", "/webhook/ips", X_Forwarded_For="203.0.113.9").status == 200, (
        "this test has the address of the trusted proxy"
    )
    stored = len(server.bodies())
    with contextlib.suppress(
        OSError
    ):  # some web servers answer 502 if the response arrives before the body is sent
        assert proxy.exchange(encode_post(b"x" * 4_300_000)).status in (413, 502)
    with proxy.open_tls_connection() as connection:  # an unfinished body occupies no connection of the server
        connection.sendall(encode_post(b"x" * 1000).replace(b"localhost", HOST.encode())[:-1])
        for n in range(20):
            assert proxy.exchange(encode_post(b"%d" % n)).status == 200
    assert len(server.bodies()) == stored + 20


@needs_nginx
def test_the_sample_for_nginx_works_unchanged(server, authority, tmp_path):
    port = _free_port()
    sample = (ROOT / "config/nginx/gatherer.conf").read_text(encoding="utf-8")
    for sample_text, replacement in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("    listen [::]:443 ssl;\n", ""),
        ("/etc/ssl/gatherer/fullchain.pem", str(authority.certificate())),
        ("/etc/ssl/gatherer/privkey.pem", str(authority.key())),
        ("127.0.0.1:8080", f"127.0.0.1:{server.port}"),
    ):
        assert sample_text in sample
        sample = sample.replace(sample_text, replacement)
    (tmp_path / "gatherer.conf").write_text(sample, encoding="utf-8")
    folders = "".join(
        f"{name}_temp_path {tmp_path}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/nginx.pid; error_log stderr warn; {_as_root()}events {{}}\n"
        f"http {{ access_log {tmp_path}/access.log; {folders} include {tmp_path}/gatherer.conf; }}\n"
    )
    command = [str(NGINX), "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    with run_proxy(command, tmp_path, port, authority.client()) as proxy:
        assert_proxies_correctly(proxy, server)
    assert not (tmp_path / "access.log").read_text()


def _as_root() -> str:
    """As root, nginx would switch to an account that cannot read the folder of the test."""
    import getpass

    return "user root;" if getpass.getuser() == "root" else ""


@needs_caddy
def test_the_sample_for_caddy_works_unchanged(server, authority, tmp_path):
    port = _free_port()
    sample = (ROOT / "config/caddy/Caddyfile").read_text(encoding="utf-8")
    for sample_text, replacement in (
        ("\n{\n", "\n{\n\tadmin off\n\tauto_https off\n"),
        (f"{HOST} {{", f"https://{HOST}:{port} {{\n\ttls {authority.certificate()} {authority.key()}"),
        ("127.0.0.1:8080", f"127.0.0.1:{server.port}"),
    ):
        assert sample_text in sample
        sample = sample.replace(sample_text, replacement, 1)
    (tmp_path / "Caddyfile").write_text(sample, encoding="utf-8")
    command = [str(CADDY), "run", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile"]
    with run_proxy(command, tmp_path, port, authority.client()) as proxy:
        assert_proxies_correctly(proxy, server)


def test_the_sample_for_iis_is_valid_and_has_our_limits():
    sample = ElementTree.parse(ROOT / "config/iis/web.config").getroot()
    limits = sample.find(".//requestLimits")
    assert limits is not None
    assert int(limits.attrib["maxAllowedContentLength"]) == Server().max_body_bytes
    rule, other = sample.findall(".//rule")
    match, action = rule.find("match"), rule.find("action")
    assert match is not None
    assert action is not None
    assert re.match(match.attrib["url"], "webhook/whatsapp/key")
    assert not re.match(match.attrib["url"], "elsewhere/webhook/x")
    assert action.attrib["url"] == f"http://127.0.0.1:{Server().port}/{{R:0}}"
    assert other.find("action[@statusCode='404']") is not None
    # IIS locks these sections: in a web.config they would stop the whole site.
    assert not [
        tag for tag in ("serverRuntime", "httpLogging", "proxy") if sample.find(f".//{tag}") is not None
    ]
    text = (ROOT / "config/iis/web.config").read_text(encoding="utf-8")
    assert {"maxAllowedContentLength", "uploadReadAheadSize"} <= set(
        re.findall(r"\w+", text.partition("-->")[0])
    )


def test_the_timeouts_of_the_samples_match_the_server():
    for path in ("config/nginx/gatherer.conf", "config/caddy/Caddyfile"):
        text = (ROOT / path).read_text(encoding="utf-8")
        match = re.search(r"keepalive(?:_timeout)? (\d+)s", text)
        assert match is not None
        assert int(match[1]) < Server().keepalive_timeout_seconds
        assert f"127.0.0.1:{Server().port}" in text

"""The samples for web servers in front: parsed, and run for real in front of a real `serve` where there is one."""

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
SOURCE = ("127.0.0.2", 0)  # a client is not the web server: only that one, 127.0.0.1, is a trusted proxy
ALLOWED = 'name = "ips"\nprovider = "meta"\npath = "/webhook/ips"\nallow_ips = ["203.0.113.0/24"]\n'
BELOW = OPEN.replace('"/open"', '"/webhook/open"')


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    folder = tmp_path / "serve"
    folder.mkdir()
    with run_server(folder, ENDPOINT, BELOW, ALLOWED) as running:
        yield running


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "authority")
    authority.issue()
    return authority


class Proxy:
    """A web server in front, listening with TLS at a port."""

    def __init__(self, port: int, client: ssl.SSLContext) -> None:
        self.port, self.client = port, client

    @contextlib.contextmanager
    def connected(self) -> Iterator[ssl.SSLSocket]:
        with socket.create_connection(("127.0.0.1", self.port), 20, SOURCE) as raw:
            with self.client.wrap_socket(raw, server_hostname=HOST) as connection:
                yield connection

    def exchange(self, request: bytes) -> Response:
        with self.connected() as connection:
            connection.sendall(request.replace(b"Host: localhost", b"Host: " + HOST.encode()))
            return read_response(connection)


@contextlib.contextmanager
def running(command: list[str], folder: Path, port: int, client: ssl.SSLContext) -> Iterator[Proxy]:
    """Run a web server until the end of the block."""
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=_environment(folder))
    try:
        end = time.monotonic() + 60
        while True:
            assert process.poll() is None, (folder / "proxy.log").read_text()
            with contextlib.suppress(OSError), Proxy(port, client).connected():
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
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _behaves(proxy: Proxy, server: ServerProcess) -> None:
    """Everything that matters behind a web server, whichever it is."""
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
    # What a client claims about itself does not count, and what comes around the web server neither.
    assert proxy.exchange(encode_post(b"x", "/webhook/ips", X_Forwarded_For="203.0.113.9")).status == 401
    assert server.post(b"x", "/webhook/ips", X_Forwarded_For="203.0.113.9").status == 200, (
        "we are the trusted proxy"
    )
    stored = len(server.bodies())
    with contextlib.suppress(OSError):  # refused while it is still being sent, which some pass on as a 502
        assert proxy.exchange(encode_post(b"x" * 4_300_000)).status in (413, 502)
    with proxy.connected() as connection:  # a client that never ends its body takes no place of ours
        connection.sendall(encode_post(b"x" * 1000).replace(b"localhost", HOST.encode())[:-1])
        for n in range(20):
            assert proxy.exchange(encode_post(b"%d" % n)).status == 200
    assert len(server.bodies()) == stored + 20


@needs_nginx
def test_the_sample_for_nginx_works_as_it_stands(server, authority, tmp_path):
    port = _free_port()
    sample = (ROOT / "config/nginx/gatherer.conf").read_text(encoding="utf-8")
    for written, here in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("    listen [::]:443 ssl;\n", ""),
        ("/etc/ssl/gatherer/fullchain.pem", str(authority.certificate())),
        ("/etc/ssl/gatherer/privkey.pem", str(authority.key())),
        ("127.0.0.1:8080", f"127.0.0.1:{server.port}"),
    ):
        assert written in sample
        sample = sample.replace(written, here)
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
    with running(command, tmp_path, port, authority.client()) as proxy:
        _behaves(proxy, server)
    assert not (tmp_path / "access.log").read_text()


def _as_root() -> str:
    """Root's nginx would change to an account that may not look into the folder of a test."""
    import getpass

    return "user root;" if getpass.getuser() == "root" else ""


@needs_caddy
def test_the_sample_for_caddy_works_as_it_stands(server, authority, tmp_path):
    port = _free_port()
    sample = (ROOT / "config/caddy/Caddyfile").read_text(encoding="utf-8")
    for written, here in (
        ("\n{\n", "\n{\n\tadmin off\n\tauto_https off\n"),
        (f"{HOST} {{", f"https://{HOST}:{port} {{\n\ttls {authority.certificate()} {authority.key()}"),
        ("127.0.0.1:8080", f"127.0.0.1:{server.port}"),
    ):
        assert written in sample
        sample = sample.replace(written, here, 1)
    (tmp_path / "Caddyfile").write_text(sample, encoding="utf-8")
    command = [str(CADDY), "run", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile"]
    with running(command, tmp_path, port, authority.client()) as proxy:
        _behaves(proxy, server)


def test_the_sample_for_iis_is_well_formed_and_has_our_limits():
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
    # Sections that IIS locks: in a web.config they would stop the whole site.
    assert not [
        tag for tag in ("serverRuntime", "httpLogging", "proxy") if sample.find(f".//{tag}") is not None
    ]
    text = (ROOT / "config/iis/web.config").read_text(encoding="utf-8")
    assert {"maxAllowedContentLength", "uploadReadAheadSize"} <= set(
        re.findall(r"\w+", text.partition("-->")[0])
    )


def test_the_samples_keep_to_the_limits_of_the_example():
    for path in ("config/nginx/gatherer.conf", "config/caddy/Caddyfile"):
        text = (ROOT / path).read_text(encoding="utf-8")
        kept = re.search(r"keepalive(?:_timeout)? (\d+)s", text)
        assert kept is not None
        assert int(kept[1]) < Server().keepalive_timeout_seconds
        assert f"127.0.0.1:{Server().port}" in text

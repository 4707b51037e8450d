"""TLS in the process: modern versions only, reloaded while it runs, client certificates."""

import contextlib
import json
import re
import ssl
import time
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError
from gatherer.server.http import tls
from tests.certificates import HOST, META, Authority, certificate_serial, open_tls_connection, post
from tests.factories import call
from tests.server_process import (
    ENDPOINT,
    OPEN,
    WINDOWS,
    ServerProcess,
    configure,
    encode_post,
    read_response,
    run_failing_server,
    run_server,
)
from tests.waiting import BUSY_SECONDS, wait_until


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[ServerProcess]:
    settings = authority.issue(as_="shared") + "tls_handshake_timeout_seconds = 1\n"
    with run_server(tmp_path_factory.mktemp("serve"), ENDPOINT, OPEN, server=settings) as running:
        yield running


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_request_over_modern_tls_is_stored(server, authority, version):
    client = authority.client()
    client.minimum_version = client.maximum_version = version
    assert post(server, client, version.name.encode()).status == 200
    assert server.bodies()[-1] == version.name.encode()


def test_old_tls_versions_are_rejected(server, authority):
    client = authority.client()
    client.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version, client.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        post(server, client, b"old")


@pytest.mark.parametrize(
    "ciphers", ["AES256-SHA", "AES128-GCM-SHA256", "ECDHE-RSA-AES256-SHA", "NULL", "RC4"]
)
def test_a_cipher_without_forward_secrecy_or_authentication_is_rejected(server, authority, ciphers):
    client = authority.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        client.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    except ssl.SSLError:
        return  # the client does not support the cipher either
    with pytest.raises(ssl.SSLError):
        post(server, client, b"weak")


def test_every_cipher_that_is_offered_is_modern(authority, tmp_path):
    authority.issue()
    files = tls.Files(certificate=authority.certificate(), key=authority.key())
    for cipher in tls.ServerTLS(files).context().get_ciphers():
        assert re.match(r"TLS_|ECDHE-", cipher["name"]), cipher
        assert re.search(r"GCM|POLY1305|CCM", cipher["name"]), cipher


def test_a_silent_connection_is_closed_in_time(server, authority):
    started = time.monotonic()
    with server.connect() as connection:
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""
    assert time.monotonic() - started < 1 + BUSY_SECONDS
    assert post(server, authority.client(), b"after the silence").status == 200


def test_plain_http_and_noise_at_the_tls_port_are_rejected(server, authority):
    for noise in (encode_post(b"plain"), b"\0" * 500, b"\x16\x03\x01\x02\x00\x01", b"\x80\x2e\x01"):
        with server.connect() as connection:
            connection.sendall(noise)
            with contextlib.suppress(ConnectionError):
                received = connection.recv(4096)
                assert not received or received[0] == 0x15  # an alert
    assert post(server, authority.client(), b"after the noise").status == 200
    assert "Traceback" not in server.log()


def test_a_failed_handshake_releases_its_socket(server, authority):
    process = psutil.Process(server.process.pid)
    assert post(server, authority.client(), b"warm").status == 200

    def open_sockets() -> int:
        return len(process.net_connections()) if WINDOWS else process.num_fds()

    wait_until(lambda: server.connections() == 0)
    before = open_sockets()
    for n in range(200):
        with server.connect() as connection:
            connection.sendall((b"noise", b"", b"\x16\x03\x01\x02\x00\x01")[n % 3])
    wait_until(lambda: open_sockets() <= before + 2)


def test_good_clients_are_served_when_silent_handshakes_exceed_the_limit(tmp_path, authority):
    settings = authority.issue() + "max_connections = 50\n"
    with run_server(tmp_path, server=settings) as server, contextlib.ExitStack() as open_:
        for _ in range(200):
            open_.enter_context(server.connect())
        for n in range(20):
            assert post(server, authority.client(), b"good %d" % n).status == 200
    assert len(server.bodies()) == 20


def test_a_new_certificate_is_used_without_a_restart_or_dropped_connections(tmp_path, authority):
    client = authority.client()
    with (
        run_server(tmp_path, server=authority.issue()) as server,
        open_tls_connection(server, client) as connection,
    ):
        before = certificate_serial(connection)
        authority.issue()
        wait_until(lambda: _presented_serial(server, client) != before)
        after = _presented_serial(server, client)
        connection.sendall(encode_post(b"on the old connection"))
        assert read_response(connection).status == 200
        assert post(server, client, b"on a new one").status == 200
        assert "a new certificate is in use" in server.log()

        # After an incomplete change and an invalid file, the old certificate stays in use.
        good = authority.certificate().read_bytes(), authority.key().read_bytes()
        for path, content in (
            (authority.certificate(), authority.ca.issue_cert(HOST).cert_chain_pems[0].bytes()),
            (authority.key(), b"nonsense"),
        ):
            errors = server.log().count("the old one still is")
            path.write_bytes(content)
            wait_until(lambda errors=errors: server.log().count("the old one still is") == errors + 1)
            assert _presented_serial(server, client) == after
        authority.certificate().unlink()
        wait_until(lambda: "cannot be read" in server.log())
        assert post(server, client, b"still").status == 200
        authority.certificate().write_bytes(good[0])
        authority.key().write_bytes(good[1])
        wait_until(lambda: server.log().count("a new certificate is in use") == 2, server.log)
        authority.issue()
        wait_until(lambda: _presented_serial(server, client) != after)
        connection.sendall(encode_post(b"still on the old connection"))
        assert read_response(connection).status == 200
    assert "PRIVATE" not in server.log()


def _presented_serial(server: ServerProcess, client: ssl.SSLContext) -> int:
    with open_tls_connection(server, client) as connection:
        return certificate_serial(connection)


def test_an_expired_new_certificate_does_not_replace_a_valid_one(authority, caplog):
    authority.issue(as_="rolling")
    files = tls.Files(certificate=authority.certificate("rolling"), key=authority.key("rolling"))
    server = tls.ServerTLS(files)
    first = server.context()
    authority.issue(as_="rolling", days=-1)
    server.look()
    server.look()
    assert server.context() is first
    assert "it expired at" in caplog.text
    authority.issue(as_="rolling")
    server.look()
    assert server.context() is first, "the file may be incomplete"
    server.look()
    assert server.context() is not first


def test_a_missing_client_ca_admits_no_further_clients(authority, caplog):
    authority.issue(as_="closing")
    ca = authority.folder / "clients.pem"
    ca.write_bytes(authority.root.read_bytes())
    files = tls.Files(
        certificate=authority.certificate("closing"), key=authority.key("closing"), client_ca=ca
    )
    server = tls.ServerTLS(files)
    for content in (b"", b"nonsense", None):
        if content is None:
            ca.unlink()
        else:
            ca.write_bytes(content)
        server.look()
        server.look()
        assert server.context().verify_mode is ssl.CERT_REQUIRED
    assert caplog.text.count("the old one still is") == 3


def test_the_key_may_have_a_password(tmp_path, authority):
    settings = authority.issue(password="opens it") + 'tls_key_password = "opens it"\n'
    with run_server(tmp_path, server=settings) as server:
        assert post(server, authority.client(), b"x").status == 200
    assert "opens it" not in server.log()


def _error_of_serve(folder: Path, settings: str) -> str:
    configure(folder, server=settings)
    result = call(folder, "serve")
    output = result.stderr.decode()
    assert (result.returncode, "Traceback" in output) == (2, False), output
    return output


def test_serve_does_not_start_without_its_certificate(tmp_path, authority):
    settings = authority.issue().replace(str(authority.certificate()), "missing.pem")
    code, output = run_failing_server(tmp_path, server=settings)
    assert (code, output.count("\n")) == (2, 1)
    assert "missing.pem cannot be read" in output


def test_unusable_tls_files_are_reported_at_the_start(tmp_path, authority):
    good = authority.issue()
    certificate, key, root = authority.certificate(), authority.key(), authority.root
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for settings, words in (
        (good.replace(str(certificate), "missing.pem"), "missing.pem cannot be read"),
        (good.replace(str(key), "missing.key"), "missing.key cannot be read"),
        (good.replace(str(certificate), str(nonsense)), "nonsense.pem holds no certificate"),
        (good.replace(str(key), str(nonsense)), "nonsense.pem holds no key"),
        (good.replace(str(certificate), str(root)), "is not the key of"),
        (good + f"client_ca = '{nonsense}'", "nonsense.pem holds no certificate"),
        (good + f"client_ca = '{key}'", "holds no certificate"),
        (good + "client_ca = 'missing.pem'", "missing.pem cannot be read"),
    ):
        output = _error_of_serve(tmp_path, settings)
        assert words in output
        assert output.count("\n") == 1
    encrypted = authority.issue(password="right")
    assert "needs tls_key_password" in _error_of_serve(tmp_path, encrypted)
    assert "tls_key_password is wrong" in _error_of_serve(tmp_path, encrypted + 'tls_key_password = "wrong"')


def test_tls_settings_that_would_fail_open_are_rejected(tmp_path, authority):
    good = authority.issue()
    certificate, key = good.splitlines()
    for settings, words in (
        (certificate, "tls_certificate has no effect without tls_key"),
        (key, "tls_key has no effect without tls_certificate"),
        (f"client_ca = '{authority.root}'", "client_ca has no effect without tls_certificate"),
        (good + f'client_names = ["{META}"]', "client_names has no effect without client_ca"),
        (good + "client_names = []", "client_names is empty"),
    ):
        assert words in _error_of_serve(tmp_path, settings)


def test_only_clients_with_a_certificate_of_the_right_name_are_admitted(tmp_path, authority):
    other_authority = Authority(tmp_path / "other")
    for issuer in (authority, other_authority):
        issuer.issue(META, as_="meta")
        issuer.issue("evil." + META, as_="sub")
        issuer.issue(META, as_="expired", days=-1)
    settings = authority.issue() + f"client_ca = '{authority.root}'\nclient_names = ['{META.upper()}']\n"
    with run_server(tmp_path, ENDPOINT, OPEN, server=settings) as server:
        assert post(server, authority.client(certificate="meta"), b"good").status == 200
        forged = authority.client()
        forged.load_cert_chain(other_authority.certificate("meta"), other_authority.key("meta"))
        for client in (
            authority.client(),
            authority.client(certificate="sub"),
            authority.client(certificate="expired"),
            forged,
        ):
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                client.minimum_version = client.maximum_version = version
                with pytest.raises(OSError):
                    post(server, client, b"bad")
        assert post(server, authority.client(certificate="meta"), b"good again").status == 200
        assert server.bodies() == [b"good", b"good again"]
        assert "outside client_names" in server.log()


def test_without_client_names_every_certificate_of_the_authority_is_admitted(tmp_path, authority):
    authority.issue("any.example.org", as_="any")
    settings = authority.issue() + f"client_ca = '{authority.root}'\n"
    with run_server(tmp_path, server=settings) as server:
        assert post(server, authority.client(certificate="any"), b"good").status == 200
        with pytest.raises(OSError):
            post(server, authority.client(), b"bad")
        assert server.bodies() == [b"good"]


@pytest.mark.parametrize(
    ("certificate", "admitted"),
    [
        ({"subject": ((("commonName", META),),)}, True),
        ({"subject": ((("organizationName", META),),)}, False),
        ({"subject": ((("commonName", f"x.{META}"),),)}, False),
        ({"subjectAltName": (("DNS", META.upper()),)}, True),
        ({"subjectAltName": (("URI", META),)}, False),
        ({"subjectAltName": (("DNS", "*.webhooks.fbclientcerts.com"),)}, False),
        ({}, False),
    ],
)
def test_a_client_name_must_match_completely(certificate, admitted):
    assert tls.Named([META])(certificate) is admitted


def test_status_and_config_check_report_the_expiry_of_the_certificate(tmp_path, authority):
    for days, warning in ((90, None), (20.5, "it expires in 20 days"), (-1, "it expired at")):
        with run_server(tmp_path, server=authority.issue(days=days)) as server:
            if warning:
                wait_until(lambda warning=warning: warning in server.log())
            else:
                assert "expire" not in server.log()
        state = json.loads(call(tmp_path, "status", "--json").stdout)["certificate"]
        assert HOST in state["names"]
        assert timestamps.parse(state["expires_at"]) > timestamps.now() + timedelta(days=days - 1)
        assert (state["warning"] or "").startswith(warning or "")
        assert (state["warning"] is None) == (warning is None)
        printed = call(tmp_path, "status").stdout.decode()
        assert state["expires_at"] in printed
        checked = call(tmp_path, "config", "check").stderr.decode()
        assert (warning or "x") in checked or warning is None
    authority.certificate().unlink()
    assert "cannot be read" in json.loads(call(tmp_path, "status", "--json").stdout)["certificate"]["warning"]


def test_a_file_that_changes_between_two_checks_is_not_loaded_partially(authority):
    authority.issue(as_="torn")
    files = tls.Files(certificate=authority.certificate("torn"), key=authority.key("torn"))
    server = tls.ServerTLS(files)
    first = server.context()
    whole = authority.certificate("torn").read_bytes()
    authority.certificate("torn").write_bytes(whole[:100])
    server.look()
    authority.certificate("torn").write_bytes(whole)
    server.look()
    server.look()
    assert server.context() is first, "the content has not changed"
    with pytest.raises(ConfigurationError):
        tls.ServerTLS(tls.Files(certificate=authority.key("torn"), key=authority.key("torn")))

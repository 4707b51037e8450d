"""A provider of another author, installed as a package, works like a built-in one: nothing of ours knows it."""

import hashlib
import hmac
import json
import os
import sqlite3
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gatherer import providers
from gatherer.app.resources import load
from gatherer.config import InvalidConfigurationError
from gatherer.model.errors import ConfigurationError
from tests.factories import CONFIGURATION, call, configure, run
from tests.server_process import ROOT, Response, encode_post, run_failing_server, run_server

SOURCE = Path(__file__).with_name("acme_gatherer.py").read_text(encoding="utf-8")
NEW, OLD = "new-key-0123456789", "old-key-0123456789"
URL = "https://hooks.example.com/acme"
BODY = json.dumps({"delivered": [{"id": "acme-1", "to": "+447700900123"}]}).encode()
ENDPOINT = f'name = "acme"\nprovider = "acme"\npath = "/acme"\npublic_url = "{URL}"\n'
KEYS = 'acme_signing_keys = [{ env = "ACME_KEY" }, { file = "old_key.txt" }]\n'


def install(site: Path, source: str = SOURCE, entry_point: str = "acme = acme_gatherer:PROVIDER") -> Path:
    """Install the package in the folder `site`, as an installer does, and return the folder."""
    (site / "acme_gatherer.py").write_text(source, encoding="utf-8")
    metadata = site / "acme_gatherer-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-gatherer\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[gatherer.providers]\n{entry_point}\n")
    (metadata / "RECORD").write_text("acme_gatherer.py,,\n")
    return site


def signed(body: bytes, key: str) -> str:
    return hmac.new(key.encode(), URL.encode() + b"\n" + body, hashlib.sha512).hexdigest()


Installer = Callable[..., Path]


@pytest.fixture
def install_here(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installer]:
    """Return `install` for this process: what it installs is there until the test ends."""

    def forget() -> None:
        sys.modules.pop("acme_gatherer", None)
        providers.get.cache_clear()

    def install_in_path(*arguments: str) -> Path:
        site = install(tmp_path_factory.mktemp("site"), *arguments)
        monkeypatch.syspath_prepend(site)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        forget()
        return site

    yield install_in_path
    forget()


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(InvalidConfigurationError) as caught:
        load(configure(folder, text), secrets=True)
    return caught.value.problems


def test_a_signed_request_becomes_a_row_and_a_wrongly_signed_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    site = install(tmp_path / "site")
    (tmp_path / "old_key.txt").touch(mode=0o600)
    (tmp_path / "old_key.txt").write_text(OLD)
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(site)]), "ACME_KEY": NEW}
    second = BODY.replace(b"acme-1", b"acme-2")
    with run_server(tmp_path, ENDPOINT + KEYS, environment=environment) as server:

        def post(body: bytes, signature: str | None) -> Response:
            fields = {"X-Hub-Signature-256": None, "X-Acme-Signature": signature, "X-Acme-Key-Id": "7"}
            return server.exchange(encode_post(body, "/acme", **fields))

        answer = post(BODY, signed(BODY, NEW))
        assert (answer.status, answer.headers["Content-Type"], answer.body) == (
            200,
            "application/json",
            b'{"ok": true}',
        )
        assert post(second, signed(second, OLD)).status == 200
        for wrong in (signed(BODY, "another key"), signed(second, NEW), signed(BODY, NEW)[:-1], "", None):
            assert post(BODY, wrong).status == 401
        stored = server.rows("provider, body, headers")
        assert server.stop() == 0
        log = server.log()
    assert [(provider, body) for provider, body, _ in stored] == [("acme", BODY), ("acme", second)]
    assert json.loads(stored[0][2]) == {"X-Acme-Signature": signed(BODY, NEW), "X-Acme-Key-Id": "7"}
    assert "401" in log
    assert [word for word in (NEW, OLD, signed(BODY, NEW), signed(BODY, "another key")) if word in log] == []
    gathered = run(tmp_path, "gather", **environment)
    assert gathered.returncode == 0, gathered.stderr
    with closing(sqlite3.connect(tmp_path / "responses.db")) as target:
        rows = target.execute("SELECT provider, kind, message_id, phone FROM response ORDER BY message_id")
        assert rows.fetchall() == [
            ("acme", "delivered", id_, "+447700900123") for id_ in ("acme-1", "acme-2")
        ]


def test_serve_does_not_start_without_the_secret_and_other_commands_do(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(install(tmp_path / "site"))])}
    code, log = run_failing_server(
        tmp_path, ENDPOINT + 'acme_signing_keys = [{ env = "ACME_KEY" }]\n', environment=environment
    )
    assert code == 2
    assert "endpoint[0].acme_signing_keys[0]: the environment variable ACME_KEY is not set" in log
    assert run(tmp_path, "config", "show", **environment).returncode == 0


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_show_hides_the_secret(tmp_path: Path, install_here: Installer, form: tuple[str, ...]) -> None:
    install_here()
    keys = f'acme_signing_keys = ["{NEW}", {{ env = "ACME_KEY" }}, {{ file = "old_key.txt" }}]\n'
    configure(tmp_path, f"[[endpoint]]\n{ENDPOINT}{keys}")
    result = call(tmp_path, "config", "show", *form)
    assert result.returncode == 0
    assert NEW.encode() not in result.stdout
    shown = json.loads(result.stdout) if form else tomllib.loads(result.stdout.decode())
    [endpoint] = shown["endpoint"]
    assert endpoint["acme_signing_keys"] == ["********", {"env": "ACME_KEY"}, {"file": "old_key.txt"}]


def test_check_warns_of_a_short_secret_and_of_its_file(tmp_path: Path, install_here: Installer) -> None:
    install_here()
    (tmp_path / "old_key.txt").write_text("short")
    (tmp_path / "old_key.txt").chmod(0o644)
    configure(tmp_path, f"[[endpoint]]\n{ENDPOINT}{KEYS}")
    result = call(tmp_path, "config", "check", ACME_KEY="CHANGE-ME-0123456789")
    assert result.returncode == 0
    warnings = result.stderr.decode()
    assert "endpoint[0].acme_signing_keys[0] is still the placeholder of the example" in warnings
    assert "endpoint[0].acme_signing_keys[1] is short" in warnings
    assert sys.platform == "win32" or "old_key.txt can be read by every account" in warnings


def test_a_wrong_secret_is_reported_at_its_key_and_never_shown(
    tmp_path: Path, install_here: Installer
) -> None:
    install_here()
    meta = 'name = "m"\nprovider = "meta"\npath = "/m"\nurl_key = "k"\n'
    misspelt = ENDPOINT.replace('"acme"', '"b"', 1).replace('"/acme"', '"/b"') + 'url_key = "k"\n'
    reported = problems(
        tmp_path,
        f"[[endpoint]]\n{ENDPOINT}acme_signing_keys = ['', 5, {{ file = 'none.txt' }}, {{ envv = 'HUSH-1' }}]\n"
        f"[[endpoint]]\n{meta}acme_signing_keys = ['HUSH-2']\n"
        f"[[endpoint]]\n{misspelt}acme_signing_key = ['HUSH-3']\napp_secrets = 'HUSH-4'\n",
    )
    assert [problem.partition(": ")[0] for problem in reported] == [
        *(f"endpoint[0].acme_signing_keys[{place}]" for place in range(4)),
        "endpoint[1].acme_signing_keys",
        "endpoint[2].acme_signing_key",
        "endpoint[2].app_secrets",
    ]
    assert "the secret is empty" in reported[0]
    assert "the provider 'meta' does not sign with a secret of this name; acme does" in reported[4]
    assert "did you mean acme_signing_keys?" in reported[5]
    assert "the provider 'acme' does not sign with a secret of this name; meta, onprem do" in reported[6]
    assert "HUSH" not in " ".join(reported)


def test_an_endpoint_without_the_secret_has_no_authentication(
    tmp_path: Path, install_here: Installer
) -> None:
    install_here()
    (problem,) = problems(tmp_path, f"[[endpoint]]\n{ENDPOINT}")
    assert problem.startswith("endpoint[0]: no authentication: set acme_signing_keys, url_key, ")
    (problem,) = problems(
        tmp_path, f"[[endpoint]]\n{ENDPOINT}acme_signing_keys = ['{NEW}']\nunauthenticated = true\n"
    )
    assert "contradicts the authentication" in problem


def test_it_is_listed_beside_the_providers_of_gatherer(tmp_path: Path, install_here: Installer) -> None:
    install_here()
    assert "acme_signing_keys" in call(tmp_path, "providers").stdout.decode()
    assert "Enter the URL at Acme" in call(tmp_path, "providers", "acme").stdout.decode()


@pytest.mark.parametrize(
    ("source", "entry_point", "words"),
    [
        ("import no_such_module", "acme = acme_gatherer:PROVIDER", "cannot be loaded: ModuleNotFoundError"),
        ("", "acme = acme_gatherer:PROVIDER", "cannot be loaded: AttributeError"),
        ("PROVIDER = object()", "acme = acme_gatherer:PROVIDER", "is not a gatherer.providers.base.Provider"),
        (SOURCE.replace('name="acme"', 'name="ACME"'), "acme = acme_gatherer:PROVIDER", "calls itself 'ACME'"),
        (SOURCE.replace("    signature=signature,\n", ""), "acme = acme_gatherer:PROVIDER", "declare both, or neither"),
        (SOURCE.replace('("acme_signing_keys",)', "()"), "acme = acme_gatherer:PROVIDER", "declare both, or neither"),
        (SOURCE.replace('("acme_signing_keys",)', '("Acme keys",)'), "acme = acme_gatherer:PROVIDER", "lower-case letters"),
        (SOURCE.replace('("acme_signing_keys",)', '("path",)'), "acme = acme_gatherer:PROVIDER", "ask its authors"),
        (SOURCE, "bcme = acme_gatherer:PROVIDER", "there is no provider 'acme'; there are: bcme, enablex"),
    ],
)  # fmt: skip
def test_a_broken_package_is_a_problem_at_the_provider_of_its_endpoints_and_of_no_other(
    tmp_path: Path, install_here: Installer, source: str, entry_point: str, words: str
) -> None:
    install_here(source, entry_point)
    reported = problems(tmp_path, f"[[endpoint]]\n{ENDPOINT}url_key = 'k'\n")
    assert any(problem.startswith("endpoint[0].provider: ") and words in problem for problem in reported), (
        reported
    )
    load(configure(tmp_path, CONFIGURATION), secrets=True)
    with pytest.raises(ConfigurationError):
        providers.get("no-such-provider")

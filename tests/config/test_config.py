"""The configuration: all errors together, each with the path of its key; secrets are never printed."""

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gatherer import config, providers
from gatherer.app import config_warnings, resources
from gatherer.app.resources import ENDPOINTS, GATHERING, TARGET, sqlserver_access
from gatherer.config import example
from gatherer.model.errors import ConfigurationError
from gatherer.targets.sqlserver import connection
from tests.certificates import Authority
from tests.factories import call, configure, run

ENDPOINT = '[[endpoint]]\nname = "a"\nprovider = "meta"\npath = "/a"\n'
ARN = "arn:aws:sns:eu-west-1:123456789012:whatsapp"
OPEN = ENDPOINT + "unauthenticated = true\n"


EXAMPLE = Path(example.__file__).with_name("example.toml")


def load(folder: Path, text: str, *, secrets: bool = True) -> config.Configuration:
    return resources.load(configure(folder, text), secrets=secrets)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(config.InvalidConfigurationError) as caught:
        load(folder, text)
    return caught.value.problems


def test_an_empty_file_gives_all_defaults_and_paths_beside_it(tmp_path: Path) -> None:
    loaded = load(tmp_path, "")
    assert (loaded.server.host, loaded.server.port) == ("127.0.0.1", 8080)
    assert (loaded.server.max_body_bytes, loaded.server.body_timeout_seconds) == (4_194_304, 10)
    assert [str(network) for network in loaded.server.trusted_proxies] == ["127.0.0.1/32"]
    assert loaded.inbox.path == tmp_path / "inbox.db"
    assert loaded.target.path == tmp_path / "responses.db"


def test_all_errors_are_reported_together_each_with_the_path_of_its_key(tmp_path: Path) -> None:
    errors = problems(
        tmp_path,
        """
        [server]
        port = "8080"
        prot = 1
        [inbox]
        path = "one.db"
        [target]
        path = "one.db"
        kind = "oracle"
        [[endpoint]]
        name = "a"
        provider = "meta"
        path = "/a"
        [[endpoint]]
        name = "a"
        provider = "nope"
        path = "/a"
        bearer_tokens = ["x"]
        basic = { user = "u", pasword = "p" }
        app_secrets = "x"
        [[endpoint]]
        name = "no spaces"
        path = "no slash"
        url_key = "a/b"
        app_secrets = [{ env = "GATHERER_NOT_SET" }, { file = "none.txt" }, "", 5, { envv = "x" }]
        allow_ips = ["300.1.1.1"]
        unauthenticated = true
        """,
    )
    keys_in_error = [problem.partition(": ")[0] for problem in errors]
    for expected in (
        "server.port",
        "server.prot",
        "target.kind",
        "target.path",
        "endpoint[0]",
        "endpoint[1].name",
        "endpoint[1].path",
        "endpoint[1].provider",
        "endpoint[1].basic.password",
        "endpoint[1].basic.pasword",
        "endpoint[1].app_secrets",
        "endpoint[1]",
        "endpoint[2].name",
        "endpoint[2].provider",
        "endpoint[2].path",
        "endpoint[2].url_key",
        *(f"endpoint[2].app_secrets[{i}]" for i in range(5)),
        "endpoint[2].allow_ips[0]",
        "endpoint[2]",
    ):
        assert expected in keys_in_error, expected
    assert all("\n" not in problem for problem in errors)
    assert "did you mean port?" in " ".join(errors)
    assert "did you mean password?" in " ".join(errors)


@pytest.mark.parametrize(
    ("topic", "host"),
    [
        ("arn:aws:sns:eu-west-1:123456789012:t", "sns.eu-west-1.amazonaws.com"),
        ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:t", "sns.us-gov-west-1.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:t", "sns.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-eusc:sns:eusc-de-east-1:123456789012:t", "sns.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_the_host_of_sns_is_that_of_the_region_of_the_topic(tmp_path: Path, topic: str, host: str) -> None:
    endpoint = load(tmp_path, f'{ENDPOINT}sns = {{ topics = ["{topic}"] }}').endpoint[0]
    assert endpoint.sns is not None
    assert endpoint.sns.allowed_hosts == [host]
    other = load(
        tmp_path, f'{ENDPOINT}sns = {{ topics = ["{topic}"], hosts = ["sns.example.org"] }}'
    ).endpoint[0]
    assert other.sns is not None
    assert other.sns.allowed_hosts == ["sns.example.org"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[inbox]\npath = "C:\\temp\\new.db"', "single quotes"),  # a tab and a line break in TOML
        ('[inbox]\npath = "C:\\Users\\me.db"', "single quotes"),  # half a code point
        ('[inbox]\npath = "C:\\data\\me.db"', "single quotes"),  # an invalid escape
        (ENDPOINT + 'app_secrets = [{ file = "C:\\temp\\secret" }]', "single quotes"),
        ("[inbox]\npath = ''", "name of a file"),
        ("[inbox]\npath = '~no-such-account/inbox.db'", "inbox.path: the home of"),
        (ENDPOINT + "app_secrets = [{ file = '~no-such-account/secret' }]", "the home of"),
        ("[inbox]\npath = 'one.db'\n[target]\npath = 'one.db'", "the target needs its own file"),
        ("[endpoint]\nname = 'a'", "[[endpoint]]"),
        ("server = 5", "must be a table"),
        ("[server]\nport = true", "server.port"),
        ("[server]\nport = 70000", "server.port"),
        ("[server]\nhost = ''", "server.host"),
        ("[server]\nhost = 'a b'", "server.host"),
        ("[server]\nhost = 'a..b'", "server.host"),
        ("[server]\nhost = 'http://a'", "server.host"),
        ("[pull]\nhost = '127.0.0.1:8443'\ntokens = ['t']", "pull.host"),
        ("[server]\nbody_timeout_seconds = inf", "server.body_timeout_seconds"),
        ("[server]\nbody_timeout_seconds = nan", "server.body_timeout_seconds"),
        ("[server]\nmax_body_bytes = 10", "server.max_body_bytes"),
        (ENDPOINT, "no authentication"),
        (ENDPOINT + "app_secrets = []", "no authentication"),
        (ENDPOINT + "unauthenticated = false", "no authentication"),
        (ENDPOINT + 'unauthenticated = "yes"', "endpoint[0].unauthenticated"),
        (OPEN + 'url_key = "k"', "contradicts"),
        (ENDPOINT + 'bearer_tokens = ["t"]\nbasic = { user = "u", password = "p" }', "choose one"),
        (ENDPOINT + 'url_key = "a b"', "letters"),
        (ENDPOINT + 'api_key = { header = "X Key", value = "v" }', "endpoint[0].api_key.header"),
        (ENDPOINT + 'app_secrets = [""]', "empty"),
        (OPEN + OPEN.replace('"/a"', '"/b"'), "the same name"),
        (OPEN + OPEN.replace('name = "a"', 'name = "b"'), "the same path"),
        ("[inbox]\npath = 5", "inbox.path"),
        (ENDPOINT + "[endpoint.sns]\ntopics = []", "endpoint[0].sns.topics"),
        (ENDPOINT + 'sns = { topics = ["whatsapp"] }', "expected the ARN of a topic"),
        (ENDPOINT + 'sns = { topics = ["arn:aws-new:sns:x-1:123456789012:t"] }', "set hosts"),
        (
            ENDPOINT + f'sns = {{ topics = ["{ARN}"], hosts = ["https://sns"] }}',
            "expected the name of a host",
        ),
        (
            ENDPOINT + f'sns = {{ topics = ["{ARN}"] }}\nevent_grid = {{ topics = ["/a"] }}',
            "its own endpoint",
        ),
        (ENDPOINT + 'unwrap = "body"', "a JSON Pointer begins with a slash"),
        (ENDPOINT + "unwrap = 5", "endpoint[0].unwrap: expected a JSON Pointer"),
        (ENDPOINT + 'unwrap_headers = "/headers"\napp_secrets = ["s"]', "unwrap_headers needs unwrap"),
        (ENDPOINT + 'unwrap = "/b"\nunwrap_headers = "/h"\nurl_key = "k"', "unwrap_headers needs unwrap"),
        (ENDPOINT + 'event_grid = { topics = ["/subscriptions/5b4b"] }', "no authentication"),
        (ENDPOINT + 'event_grid = { topics = ["a name"] }', "expected the resource id of a topic"),
        (ENDPOINT + 'event_grid = { topics = ["/a"], origin = "*" }', "endpoint[0].event_grid.origin"),
        ("= 5", "line 1"),
    ],
)
def test_a_mistake_is_explained(tmp_path: Path, text: str, words: str) -> None:
    assert any(words in problem for problem in problems(tmp_path, text))


def test_windows_paths_in_single_quotes_are_not_changed(tmp_path: Path) -> None:
    loaded = load(tmp_path, "[inbox]\npath = 'C:\\temp\\new.db'")
    assert str(loaded.inbox.path).endswith("C:\\temp\\new.db")


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "gatherer.toml"
    path.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 81\r\n")
    assert resources.load(path, secrets=True).server.port == 81


def test_a_missing_or_unreadable_file_is_one_error_line(tmp_path: Path) -> None:
    path = tmp_path / "gatherer.toml"
    path.write_text("[server]\n", encoding="utf-16")
    for invalid_path, words in (
        (path, "UTF-16"),
        (tmp_path / "none.toml", "gatherer init"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(ConfigurationError, match=words) as caught:
            resources.load(invalid_path, secrets=False)
        assert "\n" not in str(caught.value)


def test_secrets_are_read_from_the_configuration_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATHERER_TEST_SECRET", "from the environment")
    (tmp_path / "secret.txt").write_bytes("\ufefffrom a file\r\n".encode())
    text = ENDPOINT + 'app_secrets = ["written", { env = "GATHERER_TEST_SECRET" }, { file = "secret.txt" }]'
    [endpoint] = load(tmp_path, text).endpoint
    assert [secret.reveal() for secret in endpoint.secrets["app_secrets"]] == [
        "written",
        "from the environment",
        "from a file",
    ]


def test_a_secret_file_may_be_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret.txt").write_text("at home", encoding="utf-8")
    [endpoint] = load(tmp_path, ENDPOINT + "app_secrets = [{ file = '~/secret.txt' }]").endpoint
    assert endpoint.secrets["app_secrets"][0].reveal() == "at home"


def test_unused_secrets_need_not_exist(tmp_path: Path) -> None:
    """`gather` runs on a machine without the secrets of the endpoints."""
    text = ENDPOINT + 'app_secrets = [{ env = "GATHERER_NOT_SET" }, { file = "none.txt" }]'
    [endpoint] = load(tmp_path, text, secrets=False).endpoint
    with pytest.raises(ConfigurationError, match="without its secrets"):
        endpoint.secrets["app_secrets"][0].reveal()


SECRETS = ENDPOINT + (
    'verify_token = "HUSH-1"\nurl_key = "HUSH-2"\napp_secrets = ["HUSH-3", { env = "GATHERER_TEST_SECRET" }]\n'
    'basic = { user = "sender", password = "HUSH-4" }\napi_key = { header = "X-Key", value = "HUSH-5" }\n'
)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_show_hides_secrets_and_resolves_paths(tmp_path: Path, form: tuple[str, ...]) -> None:
    configure(tmp_path, SECRETS)
    result = call(tmp_path, "config", "show", *form)
    assert result.returncode == 0
    assert b"HUSH" not in result.stdout
    shown: dict[str, Any] = json.loads(result.stdout) if form else tomllib.loads(result.stdout.decode())
    assert shown["inbox"]["path"] == str(tmp_path / "inbox.db")
    [endpoint] = shown["endpoint"]
    assert endpoint["app_secrets"] == ["********", {"env": "GATHERER_TEST_SECRET"}]
    assert endpoint["basic"] == {"user": "sender", "password": "********"}


def test_errors_do_not_contain_secrets(tmp_path: Path) -> None:
    configure(
        tmp_path, SECRETS + 'bearer_tokens = ["HUSH-6"]\nunauthenticated = "HUSH-7"\nsecret = "HUSH-8"\n'
    )
    result = call(tmp_path, "config", "check")
    assert result.returncode == 2
    assert b"HUSH" not in result.stderr


def test_check_reports_ok_and_prints_warnings(tmp_path: Path) -> None:
    path = configure(
        tmp_path,
        '[server]\nhost = "0.0.0.0"\n'
        + OPEN
        + '[[endpoint]]\nname = "b"\nprovider = "meta"\npath = "/b"\nurl_key = "k"',
    )
    path.chmod(0o644)
    result = call(tmp_path, "config", "check")
    assert result.returncode == 0
    assert b"is ok" in result.stdout
    warnings = result.stderr.decode()
    for words in ("unauthenticated", "not encrypted", "short"):
        assert words in warnings
    assert os.name != "posix" or "chmod" in warnings


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "fe80::1%eth0", "localhost", "web-1.example.org", "HOST_1"]
)
def test_addresses_and_names_of_hosts_are_accepted(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, f'[server]\nhost = "{host}"\n').server.host == host


def test_check_names_the_key_of_each_certificate_and_key_that_cannot_be_used(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    good = authority.issue()
    other.issue()
    files = f"tls_certificate = '{authority.certificate()}'\ntls_key = '{other.key()}'\n"
    remote = "[[inbox]]\nname = 'a'\nurl = 'https://x'\ntoken = '0123456789abcdef'\n"
    for text, expected in (
        (f"[server]\n{good}client_ca = '{authority.root}'\n", []),
        (
            "[server]\ntls_certificate = 'c.pem'\ntls_key = 'k.pem'\nclient_ca = 'r.pem'\n",
            [("server.tls_certificate", "c.pem"), ("server.tls_key", "k.pem"), ("server.client_ca", "r.pem")],
        ),
        (f"[server]\n{files}", [("server.tls_certificate", "is not the key of")]),
        (f"[pull]\ntokens = ['0123456789abcdef']\n{good}", []),
        (f"[pull]\ntokens = ['0123456789abcdef']\n{files}", [("pull.tls_certificate", "is not the key of")]),
        (remote + f"ca = '{authority.root}'\n", []),
        (remote + "ca = 'r.pem'\n", [("inbox[0].ca", "r.pem")]),
    ):
        configure(tmp_path, text + OPEN)
        result = call(tmp_path, "config", "check", "--json")
        errors = json.loads(result.stdout)["errors"]
        assert [error.partition(": ")[0] for error in errors] == [key for key, _ in expected]
        assert all(words in error for error, (_, words) in zip(errors, expected, strict=True))
        assert result.returncode == (2 if expected else 0)
        # A run does not need the files of the server, and its account may not be allowed to read them.
        resources.load(tmp_path / "gatherer.toml", secrets=GATHERING)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no [[endpoint]]"),
        (OPEN, "every client that finds the URL"),
        (OPEN, "verify_token"),
        ('[server]\ntrusted_proxies = ["0.0.0.0/0"]\n', "claim the address of any client"),
        ('[server]\nhost = "::"\n', "not encrypted"),
        (ENDPOINT + 'app_secrets = ["0123456789abcdef", "short"]', "endpoint[0].app_secrets[1] is short"),
        (ENDPOINT + f'sns = {{ topics = ["{ARN}"] }}', "it has sns but no unwrap"),
        (ENDPOINT + 'unwrap = "/body"\napp_secrets = ["0123456789abcdef"]', "set unwrap_headers"),
        (ENDPOINT + 'url_key = "CHANGE-ME-URL-KEY"', "still the placeholder of the example"),
        ('[privacy]\nkey = "CHANGE-ME-PRIVACY-KEY"', "privacy.key is still the placeholder of the example"),
    ],
)
def test_a_risky_setting_is_a_warning(tmp_path: Path, text: str, words: str) -> None:
    path = configure(tmp_path, text)
    assert any(
        words in warning for warning in config_warnings.warnings(resources.load(path, secrets=True), path)
    )


def test_every_placeholder_left_as_a_secret_is_a_warning(tmp_path: Path) -> None:
    """The warnings cover every secret in the configuration."""
    placeholder = '"CHANGE-ME-0123456789"'
    text = f"""
        [server]
        tls_certificate = "c.pem"
        tls_key = "k.pem"
        tls_key_password = {placeholder}
        [pull]
        tokens = [{placeholder}]
        admin_tokens = ["fine-0123456789abcdef", {placeholder}]
        [[inbox]]
        name = "a"
        url = "https://a"
        token = {placeholder}
        admin_token = {placeholder}
        [privacy]
        key = {placeholder}
        [target]
        kind = "sqlserver"
        server = "s"
        database = "d"
        authentication = "sql"
        user = "u"
        password = {placeholder}
        [[endpoint]]
        name = "a"
        provider = "meta"
        path = "/a"
        verify_token = {placeholder}
        url_key = {placeholder}
        bearer_tokens = [{placeholder}]
        api_key = {{ header = "X-Key", value = {placeholder} }}
        app_secrets = [{placeholder}]
        [[endpoint]]
        name = "b"
        provider = "twilio"
        path = "/b"
        basic = {{ user = "u", password = {placeholder} }}
        twilio_auth_tokens = [{placeholder}]
    """
    path = configure(tmp_path, text)
    loaded = resources.load(path, secrets=True)
    lines = config_warnings.warnings(loaded, path)
    reported = [
        line.partition(" is still")[0] for line in lines if "is still the placeholder of the example" in line
    ]
    assert sorted(reported) == [
        "endpoint[0].api_key.value",
        "endpoint[0].app_secrets[0]",
        "endpoint[0].bearer_tokens[0]",
        "endpoint[0].url_key",
        "endpoint[0].verify_token",
        "endpoint[1].basic.password",
        "endpoint[1].twilio_auth_tokens[0]",
        "inbox[0].admin_token",
        "inbox[0].token",
        "privacy.key",
        "pull.admin_tokens[1]",
        "pull.tokens[0]",
        "server.tls_key_password",
        "target.password",
    ]
    assert json.dumps(loaded.model_dump(mode="json")).count("********") == len(reported) + 1


def test_a_careful_configuration_has_no_warnings(tmp_path: Path) -> None:
    path = configure(tmp_path, ENDPOINT + 'verify_token = "v"\napp_secrets = ["0123456789abcdef"]')
    path.chmod(0o600)
    assert config_warnings.warnings(resources.load(path, secrets=True), path) == []


def test_check_prints_json(tmp_path: Path) -> None:
    configure(tmp_path, OPEN)
    good = call(tmp_path, "config", "check", "--json")
    assert good.returncode == 0
    verdict = json.loads(good.stdout)
    assert verdict["ok"] is True
    assert verdict["errors"] == []
    assert any("unauthenticated" in warning for warning in verdict["warnings"])
    configure(tmp_path, ENDPOINT)
    bad = run(tmp_path, "config", "check", "--json")
    assert bad.returncode == 2
    assert json.loads(bad.stdout)["ok"] is False


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("config",), 2),
        (("config", "chekc"), 2),
        (("config", "check", "--nope"), 2),
        (("--config", "none.toml", "config", "check"), 2),
        (("--config", ".", "config", "show"), 2),
        (("config", "show"), 2),  # the folder has no configuration
        (("config", "example", "surplus"), 2),
    ],
)
def test_invalid_input_is_an_error_without_traceback(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    result = call(tmp_path, *arguments)
    assert result.returncode == code
    assert result.stdout == b""
    assert b"Traceback" not in result.stderr
    assert result.stderr


@pytest.mark.parametrize("option", ["--config", "--log-file"])
def test_an_empty_file_name_is_not_taken_for_the_current_folder(tmp_path: Path, option: str) -> None:
    """A script passes one when a variable is not set."""
    configure(tmp_path, OPEN)
    result = call(tmp_path, option, "", "config", "show")
    assert (result.returncode, result.stdout) == (2, b"")
    assert f"Invalid value for '{option}': the name of the file is empty" in result.stderr.decode()


def test_the_option_wins_over_the_environment_and_the_current_folder(tmp_path: Path) -> None:
    for number, name in enumerate(("option", "environment", "gatherer"), start=81):
        (tmp_path / f"{name}.toml").write_text(f"[server]\nport = {number}\n", encoding="utf-8")
    show = ("config", "show", "--json")
    here = call(tmp_path, *show)
    environment = call(tmp_path, *show, GATHERER_CONFIG="environment.toml")
    option = call(tmp_path, "--config", "option.toml", *show, GATHERER_CONFIG="environment.toml")
    ports = [json.loads(result.stdout)["server"]["port"] for result in (option, environment, here)]
    assert ports == [81, 82, 83]


def test_the_example_is_valid_and_complete(tmp_path: Path) -> None:
    """`config example` prints every key, and a configuration that is valid unchanged."""
    result = call(tmp_path, "config", "example")
    text = result.stdout.decode()
    assert text.replace("\r\n", "\n") == EXAMPLE.read_text(encoding="utf-8")
    assert load(tmp_path, text).endpoint[0].name == "whatsapp"
    commented = {line.lstrip("#").partition("=")[0].strip() for line in text.splitlines() if "=" in line}
    sections = (
        config.Server,
        config.Inbox,
        config.Quarantine,
        config.Admin,
        config.Privacy,
        config.Pull,
        config.NamedInbox,
        config.OfferedInbox,
        config.SQLiteTarget,
        config.SQLServerTarget,
        config.Endpoint,
    )
    missing = {
        f"{section.__name__}.{name}"
        for section in sections
        for name, field in section.model_fields.items()
        if (field.alias or name) not in commented
    }
    assert missing == set()


def test_the_example_shows_the_defaults(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    default, example = load(tmp_path, ""), load(tmp_path, text)
    assert (example.server, example.inbox, example.target) == (default.server, default.inbox, default.target)
    assert (example.quarantine, example.admin) == (default.quarantine, default.admin)


def _split_off(text: str, section: str = "#[target]") -> tuple[str, str]:
    """Return the example without its commented `section` (by default the SQL Server target), and that section, enabled."""
    start = text.index(f"\n{section}\n") + 1
    end = text.index("\n\n", start)
    block = text[start:end]
    return text[:start] + text[end:], "\n".join(line[1:] for line in block.splitlines())


def test_the_steps_of_the_example_are_valid(tmp_path: Path) -> None:
    _, steps = _split_off(EXAMPLE.read_text(encoding="utf-8"), "#[[after_run]]")
    target = '[target]\nkind = "sqlserver"\nserver = "s"\ndatabase = "d"\n'
    assert [step.name for step in load(tmp_path, target + steps).after_run] == ["ferg-file", "ferg", "load"]


def test_the_sql_server_target_of_the_example_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    _, target = _split_off(text)
    monkeypatch.setenv("GATHERER_SQL_PASSWORD", "p;w{d}")
    monkeypatch.setenv("GATHERER_SQL_CONNECTION", "Server=sql02;Database=D;Trusted_Connection=yes")
    whole = [line for line in target.splitlines() if not line.startswith("connection")]
    integrated = [line for line in whole if not line.startswith(("user", "password"))]
    loaded = load(tmp_path, "\n".join(integrated)).target
    assert isinstance(loaded, config.SQLServerTarget)
    default = load(tmp_path, '[target]\nkind = "sqlserver"\nserver = "s"\ndatabase = "d"').target
    shown = ("server", "database", "driver", "time_zone", "keep_days")
    assert loaded.model_dump(exclude=set(shown)) == default.model_dump(exclude=set(shown)), (
        "the example shows the defaults"
    )
    sql = "\n".join(whole).replace('"integrated"', '"sql"')
    text = connection_string(load(tmp_path, sql))
    assert "UID=gatherer;PWD={p;w{d}}};Encrypt=yes;TrustServerCertificate=no" in text
    alone = [line for line in target.splitlines() if line.startswith(("[", "kind", "connection"))]
    assert connection_string(load(tmp_path, "\n".join(alone))).startswith("Driver=d;Server=sql02;Database=D;")


def connection_string(configuration: config.Configuration) -> str:
    assert isinstance(configuration.target, config.SQLServerTarget)
    pairs = sqlserver_access(configuration.target).pairs
    return connection.complete([("Driver", "d"), *(pair for pair in pairs if pair[0] != "Driver")], [])


def test_the_two_machines_of_the_example_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    for name in ("pull_token", "pull_admin_token"):
        monkeypatch.setenv(f"GATHERER_{name.upper()}", "a secret value")
        (tmp_path / f"{name}.txt").write_text("a secret value", encoding="utf-8")
    pull = load(tmp_path, _split_off(text, "#[pull]")[1]).pull
    assert pull is not None
    default = load(tmp_path, "[pull]\ntokens = ['t']").pull
    assert default is not None
    assert (default.host, default.port) == ("127.0.0.1", pull.port), "the example shows the defaults"
    _, section = _split_off(text, "#[[inbox]]")
    for left_out in ("ca", "pin"):
        lines = [line for line in section.splitlines() if not line.startswith(left_out)]
        inboxes = load(tmp_path, "\n".join(lines)).named_inboxes
        assert list(inboxes) == ["web1", "here"]
        assert isinstance(inboxes["web1"], config.OfferedInbox)
        assert isinstance(inboxes["here"], config.NamedInbox)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[inbox]\nurl = 'https://x'", "inbox.url: an inbox of another machine: write [[inbox]]"),
        ("inbox = []", "inbox: List should have at least 1 item"),
        ("[[inbox]]\nname = 'a'", "inbox[0].path: is missing"),
        ("[[inbox]]\nname = 'a/b'\npath = 'x'", "inbox[0].name: must match"),
        ("[[inbox]]\nname = 'a'\nurl = 'https://x'", "inbox[0].token: is missing"),
        (
            "[[inbox]]\nname = 'a'\nurl = 'https://x'\ntokn = 't'",
            "inbox[0].tokn: there is no such key; did you mean token?",
        ),
        (
            "[[inbox]]\nname = 'a'\nurl = 'https://x'\ntoken = 't'\npath = 'x'",
            "inbox[0]: path is for an inbox on this machine",
        ),
        (
            "[[inbox]]\nname = 'a'\nurl = 'http://x'\ntoken = 't'",
            "inbox[0].url: the token and the notifications",
        ),
        ("[[inbox]]\nname = 'a'\nurl = 'https://u:p@x'\ntoken = 't'", "inbox[0].url: expected a URL such as"),
        ("[[inbox]]\nname = 'a'\nurl = 'https://x:y'\ntoken = 't'", "inbox[0].url: expected a URL such as"),
        (
            "[[inbox]]\nname = 'a'\nurl = 'https://x'\ntoken = 't'\npin = 'ab'",
            "inbox[0].pin: expected the SHA-256",
        ),
        (
            "[[inbox]]\nname = 'a'\nurl = 'https://x'\ntoken = 't'\nca = 'c'\npin = '" + "ab" * 32 + "'",
            "inbox[0]: ca and pin are two ways",
        ),
        (
            "[[inbox]]\nname = 'a'\npath = 'x'\n[[inbox]]\nname = 'a'\npath = 'y'",
            "inbox[1].name: inbox[0] has the same",
        ),
        (
            "[[inbox]]\nname = 'a'\npath = 'x'\n[[inbox]]\nname = 'b'\npath = 'x'",
            "inbox[1].path: inbox[0] has the same",
        ),
        (
            "[[inbox]]\nname = 'a'\npath = 'responses.db'\n[target]\npath = 'responses.db'",
            "target.path: the inbox has",
        ),
        ("[pull]\ntokens = []", "pull.tokens: "),
        ("[pull]\nhost = '0.0.0.0'\ntokens = ['t']", "pull: other machines can reach 0.0.0.0"),
        ("[pull]\ntokens = ['t']\ntls_key = 'k'", "pull: tls_certificate and tls_key belong together"),
        ("[pull]\ntokens = 't'", "pull.tokens: must be a list"),
    ],
)
def test_errors_in_pull_and_named_inboxes_have_the_path_of_their_key(
    tmp_path: Path, text: str, message: str
) -> None:
    errors = problems(tmp_path, text)
    assert any(problem.startswith(message) for problem in errors), errors
    assert len(errors) == len(set(errors)) <= 2


@pytest.mark.parametrize(
    ("notation", "message"),
    [
        ("{ text = 90, rows = 30 }", "target.keep_days: a deleted row has no text"),
        ("90", "target.keep_days: must be a table"),
        ("{ text = 0 }", "target.keep_days.text: Input should be greater than or equal to 1"),
        ("{ rows = 36501 }", "target.keep_days.rows: Input should be less than or equal to 36500"),
        ("{ rows = true }", "target.keep_days.rows: Input should be a valid integer"),
        ("{ texts = 90 }", "target.keep_days.texts: there is no such key; did you mean text?"),
    ],
)
@pytest.mark.parametrize("kind", ["sqlite", "sqlserver"])
def test_errors_in_keep_days_have_the_path_of_their_key(
    tmp_path: Path, kind: str, notation: str, message: str
) -> None:
    target = f"[target]\nkind = '{kind}'\nkeep_days = {notation}\n"
    (problem,) = problems(tmp_path, target + "connection = 'Server=s'" * (kind == "sqlserver"))
    assert problem.startswith(message)


def test_retention_of_the_target_is_off_by_default(tmp_path: Path) -> None:
    for notation, expected_days in (
        ("", (None, None)),
        ("text = 90", (90, None)),
        ("text = 7, rows = 7", (7, 7)),
    ):
        days = load(tmp_path, f"[target]\nkeep_days = {{ {notation} }}").target.keep_days
        assert (days.text, days.rows) == expected_days
    assert load(tmp_path, "").target.keep_days == days.__class__()


@pytest.mark.parametrize(
    "pin",
    [
        "ab" * 32,
        "AB" * 32,
        ":".join(["aB"] * 32),
        "sha256:" + "ab" * 32,
        "sha256 Fingerprint=" + ":".join(["AB"] * 32),
    ],
)
def test_a_pin_is_accepted_in_the_notation_of_common_tools(tmp_path: Path, pin: str) -> None:
    text = f"[[inbox]]\nname = 'a'\nurl = 'https://x'\ntoken = 't'\npin = '{pin}'"
    inbox = load(tmp_path, text).named_inboxes["a"]
    assert isinstance(inbox, config.OfferedInbox)
    assert inbox.pin == "ab" * 32


def test_each_machine_needs_only_its_own_pull_secrets(tmp_path: Path) -> None:
    text = (
        "[pull]\ntokens = [{ env = 'GATHERER_NO' }]\n"
        "[[inbox]]\nname = 'a'\nurl = 'https://x'\ntoken = { env = 'GATHERER_NEITHER' }\n"
    )
    path = configure(tmp_path, text)
    with pytest.raises(config.InvalidConfigurationError, match=r"(?s)^(?!.*inbox\[).*GATHERER_NO "):
        resources.load(path, secrets=ENDPOINTS)
    with pytest.raises(config.InvalidConfigurationError, match=r"(?s)^(?!.*pull).*GATHERER_NEITHER"):
        resources.load(path, secrets=GATHERING)
    resources.load(path, secrets=TARGET)


@pytest.mark.parametrize(
    ("keys", "keys_in_error"),
    [
        ("", ["target.server", "target.database"]),
        ("server = 's'", ["target.database"]),
        ("connection = 'Server=x'\nuser = 'u'", ["target.user"]),
        ("connection = 'Server=x'\nencrypt = false", ["target.encrypt"]),
        ("connection = 'Server=x'\ntrust_server_certificate = true", ["target.trust_server_certificate"]),
        ("connection = 'Server=x'\nauthentication = 'sql'", ["target.authentication"]),
        ("server = 's'\ndatabase = 'd'\nuser = 'u'", ["target.user"]),
        ("server = 's'\ndatabase = 'd'\nauthentication = 'sql'", ["target.user", "target.password"]),
        ("server = 's'\ndatabase = 'd'\nauthentication = 'x'", ["target.authentication"]),
        ("server = 's'\ndatabase = 'd'\nencrypt = 'no'", ["target.encrypt"]),
        ("server = 's'\ndatabase = 'd'\nschema = 'a.b'", ["target.schema"]),
        ("server = 's'\ndatabase = 'd'\npath = 'x.db'", ["target.path"]),
        ("server = 's'\ndatabase = 'd'\nlock_timeout_seconds = 0", ["target.lock_timeout_seconds"]),
        (
            "server = 's'\ndatabase = 'd'\nauthentication = 'sql'\nuser = 'u'\npassword = { env = 'GATHERER_NO' }",
            ["target.password"],
        ),
    ],
)
def test_errors_in_a_sql_server_target_have_the_path_of_their_key(
    tmp_path: Path, keys: str, keys_in_error: list[str]
) -> None:
    errors = problems(tmp_path, f'[target]\nkind = "sqlserver"\n{keys}\n')
    assert [problem.partition(":")[0] for problem in errors] == keys_in_error


def test_serve_needs_no_secret_of_the_target_and_a_run_none_of_the_endpoints(
    tmp_path: Path,
) -> None:
    text = (
        '[target]\nkind = "sqlserver"\nconnection = { env = "GATHERER_NO" }\n'
        + ENDPOINT
        + 'app_secrets = [{ env = "GATHERER_NEITHER" }]\n'
    )
    configure(tmp_path, text)
    path = tmp_path / "gatherer.toml"
    with pytest.raises(config.InvalidConfigurationError, match=r"(?s)^(?!.*target).*GATHERER_NEITHER"):
        resources.load(path, secrets=ENDPOINTS)
    with pytest.raises(config.InvalidConfigurationError, match=r"(?s)^(?!.*endpoint).*GATHERER_NO "):
        resources.load(path, secrets=TARGET)
    assert "GATHERER_NO" in call(tmp_path, "config", "show").stdout.decode()


def test_each_commented_key_of_the_example_is_valid_when_enabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, _ = _split_off(EXAMPLE.read_text(encoding="utf-8"))
    text, _ = _split_off(text, "#[pull]")
    text, _ = _split_off(text, "#[[inbox]]")
    text, _ = _split_off(text, "#[[after_run]]")
    keys = [
        line
        for line in text.splitlines()
        if line.startswith("#") and not line.startswith("# ") and "=" in line
    ]
    assert len(keys) >= 6
    for name in (
        "META_APP_SECRET",
        "TWILIO_AUTH_TOKEN",
        "WEBHOOK_PASSWORD",
        "WEBHOOK_API_KEY",
        "GATHERER_TLS_KEY_PASSWORD",
    ):
        monkeypatch.setenv(name, "a secret value")
    (tmp_path / "bearer_token.txt").write_text("token", encoding="utf-8")
    for key in keys:
        enabled = text.replace(key, key[1:])
        if key.startswith(("#tls_", "#client_")):  # neither has an effect without the other
            enabled = text.replace("\n#tls_", "\ntls_").replace("\n#client_", "\nclient_")
        if key.startswith("#unwrap_headers"):  # needs the other two
            enabled = text.replace("\n#unwrap", "\nunwrap").replace("\n#app_secrets", "\napp_secrets")
        declaring = [name for name in providers.names() if key[1:].split()[0] in providers.get(name).secrets]
        if declaring:
            enabled = enabled.replace('provider = "meta"', f'provider = "{declaring[0]}"')
        if key.startswith("#mapping"):
            enabled = enabled.replace('provider = "meta"', 'provider = "json"')
        if "unauthenticated" in key:
            enabled = enabled.replace("url_key =", "#url_key =")
        load(tmp_path, enabled)


def test_a_guessable_token_is_a_warning(tmp_path: Path) -> None:
    text = "[pull]\ntokens = ['short']\n[[inbox]]\nname = 'a'\nurl = 'https://x'\ntoken = 'CHANGE-ME-AND-SO-ON'\n"
    path = configure(tmp_path, text + OPEN)
    warnings = " ".join(config_warnings.warnings(resources.load(path, secrets=True), path))
    assert "pull.tokens[0] is short" in warnings
    assert "inbox[0].token is still the placeholder of the example" in warnings


def test_an_unencrypted_or_unverified_target_is_a_warning(tmp_path: Path) -> None:
    keys = 'server = "s"\ndatabase = "d"\nencrypt = false\ntrust_server_certificate = true\n'
    path = configure(tmp_path, f'[target]\nkind = "sqlserver"\n{keys}' + OPEN)
    warnings = " ".join(config_warnings.warnings(resources.load(path, secrets=True), path))
    assert "target.encrypt" in warnings
    assert "target.trust_server_certificate" in warnings

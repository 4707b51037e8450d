"""`gatherer init`: writes a valid configuration once, readable only by its owner."""

import os
import re
import stat
from pathlib import Path

import pytest

from gatherer.app.resources import load
from gatherer.config import example
from tests.factories import call, run

ROOT = Path(__file__).resolve().parent.parent.parent


def test_init_writes_a_valid_private_configuration(tmp_path: Path) -> None:
    result = run(tmp_path, "init", "--directory", "here")
    assert result.returncode == 0, result.stderr
    path = tmp_path / "here" / "gatherer.toml"
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o600
    [endpoint] = load(path, secrets=True).endpoint
    output = result.stdout.decode()
    assert endpoint.verify_token is not None
    assert endpoint.verify_token.reveal() in output
    assert endpoint.url_path in output
    for words in ("messages", "subscribed_apps", "app_secrets", "Callback URL", "Verify token"):
        assert words in output
    assert run(tmp_path, "--config", str(path), "config", "check").stderr == b""


def test_init_generates_new_secrets_each_time(tmp_path: Path) -> None:
    secrets = set()
    for name in ("one", "two"):
        call(tmp_path, "init", "--directory", name)
        [endpoint] = load(tmp_path / name / "gatherer.toml", secrets=True).endpoint
        assert endpoint.verify_token is not None
        assert endpoint.url_key is not None
        secrets |= {endpoint.verify_token.reveal(), endpoint.url_key.reveal()}
    assert len(secrets) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", secret) for secret in secrets)


def test_init_overwrites_only_with_force_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "gatherer.toml"
    path.write_text("# mine\n", encoding="utf-8")
    result = call(tmp_path, "init")
    assert result.returncode == 2
    assert b"--force" in result.stderr
    assert path.read_text(encoding="utf-8") == "# mine\n"
    assert call(tmp_path, "init", "--force").returncode == 0
    assert (tmp_path / "gatherer.toml.old").read_text(encoding="utf-8") == "# mine\n"
    assert len(load(path, secrets=True).endpoint) == 1


def test_init_uses_the_given_public_url_and_data_folder(tmp_path: Path) -> None:
    result = call(tmp_path, "init", "--public-url", "https://hooks.example.org/", "--data", "it's data")
    assert result.returncode == 0, result.stderr
    loaded = load(tmp_path / "gatherer.toml", secrets=True)
    assert f"https://hooks.example.org{loaded.endpoint[0].url_path}\n" in result.stdout.decode().replace(
        "\r", ""
    )
    assert loaded.inbox.path == tmp_path / "it's data" / "inbox.db"
    assert loaded.target.path == tmp_path / "it's data" / "responses.db"


@pytest.mark.parametrize(
    "path",
    [r"C:\temp\new\inbox.db", r"\\server\share\inbox.db", "it's.db", 'a "quoted" one.db', r"C:\it's\x.db"],
)
def test_any_path_survives_a_round_trip_through_toml(path: str) -> None:
    import tomllib

    assert tomllib.loads(f"path = {example.literal(path)}") == {"path": path}
    assert example.literal(r"C:\x") == r"'C:\x'"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nope",),
        ("surplus",),
        ("--directory", "file"),
        ("--public-url", "http://hooks.example.org"),
        ("--public-url", "hooks.example.org"),
        ("--public-url", "https://[hooks"),
        ("--data", "two\nlines"),
        ("--data", "no\udcffencoding"),
        ("--public-url", "https://hooks.example.org/?x=1"),
    ],
)
def test_invalid_input_is_a_usage_error_and_writes_no_file(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    result = call(tmp_path, "init", *arguments)
    assert result.returncode == 2
    assert b"Traceback" not in result.stderr
    assert b"Error: " in result.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_written_is_no_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    result = call(tmp_path, "init", "--directory", "file/below")
    assert result.returncode == 3
    assert result.stderr.startswith(b"Error: file")
    assert b"cannot be written" in result.stderr


def test_init_rejects_the_config_option(tmp_path: Path) -> None:
    result = call(tmp_path, "--config", "x.toml", "init")
    assert result.returncode == 2
    assert b"--directory" in result.stderr


def test_the_sample_in_the_repository_is_the_packaged_example() -> None:
    assert (ROOT / "config" / "gatherer.toml").read_text(encoding="utf-8") == example.text()

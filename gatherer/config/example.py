"""The commented example configuration in the package, and new configurations made from it."""

import secrets
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from gatherer.files.atomic import atomic_write
from gatherer.model.errors import ConfigurationError, output_error
from gatherer.providers.base import Provider

FILE_NAME: Final = "gatherer.toml"
BACKUP_NAME: Final = "gatherer.toml.old"
VERIFY_TOKEN: Final = "CHANGE-ME-VERIFY-TOKEN"  # noqa: S105 - a placeholder in the example
URL_KEY: Final = "CHANGE-ME-URL-KEY"
PRIVACY_KEY: Final = "CHANGE-ME-PRIVACY-KEY"
_TOKEN_BYTES: Final = 24


def text() -> str:
    """Return the text of the example."""
    return files("gatherer.config").joinpath("example.toml").read_text(encoding="utf-8")


def token() -> str:
    """Return a new secret that is safe in a URL."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def literal(path: str) -> str:
    r"""Return `path` as a TOML string: in single quotes, which keep backslashes, unless it contains a single quote."""
    if "'" not in path:
        return f"'{path}'"
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def filled(*, verify_token: str, url_key: str, replaced: Mapping[str, str] | None = None) -> str:
    """Return the example with secrets in place of the placeholders; the key of [privacy] is a new one.

    Args:
        verify_token: of the endpoint.
        url_key: of the endpoint.
        replaced: beginnings of further lines of the example, each with the line that replaces it.

    """
    result = text().replace(VERIFY_TOKEN, verify_token).replace(URL_KEY, url_key)
    result = result.replace(PRIVACY_KEY, token())
    for beginning, replacement in (replaced or {}).items():
        line = next(line for line in result.splitlines() if line.startswith(beginning))
        result = result.replace(f"\n{line}\n", f"\n{replacement}\n")
    return result


def target_lines(
    *,
    server: str,
    database: str,
    user: str | None,
    password: str | None,
    trust_server_certificate: bool,
    state: Path | None,
) -> dict[str, str]:
    """Return the lines of a target in SQL Server, for `filled`.

    Args:
        server: as an ODBC driver takes it.
        database: on this server.
        user: a login of SQL Server; None: the account that runs gatherer.
        password: of `user`.
        trust_server_certificate: whether any certificate is accepted.
        state: the folder of the target; None: beside the configuration.

    """
    lines = ['kind = "sqlserver"', f"server = {literal(server)}", f"database = {literal(database)}"]
    if user is not None:
        lines += [
            'authentication = "sql"',
            f"user = {literal(user)}",
            f"password = {literal(password or '')}",
        ]
    if trust_server_certificate:
        lines.append("trust_server_certificate = true")
    return {
        'kind = "sqlite"': "\n".join(lines),
        "path = 'responses.db'": f"state = {literal(str(state or 'state'))}",
    }


def endpoint_lines(
    provider: Provider, *, basic: tuple[str, str] | None, secret: str | None, public_url: str | None
) -> dict[str, str]:
    """Return the lines of an endpoint of `provider`, for `filled`.

    Args:
        provider: that sends the requests.
        basic: user and password of HTTP Basic, in place of the URL key; None: it has the URL key.
        secret: with which `provider` signs; None: no signature is checked.
        public_url: of the endpoint without the URL key, for a signature over the URL.

    """
    lines = [f"provider = {literal(provider.name)}"]
    replaced = {}
    if secret is not None:
        lines.append(f"{provider.secrets[0]} = [{literal(secret)}]")
        if public_url is not None:
            lines.append(f"public_url = {literal(public_url)}")
    if not provider.verifies_url:
        replaced["verify_token = "] = f'#verify_token = "{VERIFY_TOKEN}"'
    if basic is not None:
        replaced["url_key = "] = f'#url_key = "{URL_KEY}"'
        replaced["#basic = "] = f"basic = {{ user = {literal(basic[0])}, password = {literal(basic[1])} }}"
    return replaced | {"provider = ": "\n".join(lines)}


def write(folder: Path, content: str, *, force: bool = False) -> Path:
    """Write `content` as the configuration in `folder`, readable by this account alone, and return its path.

    Args:
        folder: created if it does not exist.
        content: of the file.
        force: whether to replace an existing configuration, and keep it beside the new one as `BACKUP_NAME`.

    Raises:
        ConfigurationError: the folder has a configuration, or is not a folder.
        OutputError: the file cannot be written.
        TemporaryError: the disk is full.

    """
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if force and path.exists():
            path.replace(folder / BACKUP_NAME)
        with atomic_write(path, mode=0o600, replace=False) as draft:
            draft.write(content)
    except FileExistsError:
        if path.exists():
            raise ConfigurationError(
                f"{path} exists, and holds the secrets that the provider uses; --force replaces it and keeps it "
                f"as {BACKUP_NAME}"
            ) from None
        raise ConfigurationError(f"{folder} is not a folder") from None
    except OSError as error:
        raise output_error(path, error) from None
    return path

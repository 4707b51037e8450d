"""`gatherer init`."""

import os
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import click

from gatherer.cli.gather import Interval

if TYPE_CHECKING:
    from gatherer.config import Configuration
    from gatherer.config.cases import Case
    from gatherer.providers.base import Provider

_PASSWORD: Final = "GATHERER_SQL_PASSWORD"  # noqa: S105 - the name of a variable
_TEXT_OPTIONS: Final = ("data", "sqlserver", "database", "sql_user")


@click.command("init")
@click.option(
    "--for",
    "case_name",
    default="meta",
    show_default=True,
    metavar="CASE",
    help="Who sends the requests: apteco (Meta's, forwarded by Apteco), cbot, or a provider that "
    "`gatherer providers` lists.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="FOLDER",
    help="Where to write gatherer.toml. Default: here.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where inbox.db and responses.db will be, or with --sqlserver inbox.db and the folder state. "
    "Default: beside gatherer.toml.",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="How the internet reaches this machine, as in https://hooks.example.org.",
)
@click.option(
    "--sqlserver", metavar="SERVER", help="The target: sql01.example.org, 'HOST\\INSTANCE' or host,1433."
)
@click.option("--database", metavar="NAME", help="The database on that server.")
@click.option(
    "--sql-user",
    metavar="LOGIN",
    help=f"Log in to it with this login, and its password from ${_PASSWORD}, or asked for. Default: the account "
    "that runs gatherer.",
)
@click.option(
    "--trust-server-certificate",
    is_flag=True,
    help="Accept any certificate of SQL Server, such as the one that it makes itself.",
)
@click.option(
    "--secret",
    type=click.File(encoding="utf-8-sig"),
    metavar="FILE",
    help="A file with the secret with which the provider signs (Meta: the App Secret); - for standard input.",
)
@click.option(
    "--every",
    type=Interval(),
    metavar="DURATION",
    help="Also print the entry for cron or Task Scheduler that gathers every 5m, 1h …",
)
@click.option(
    "--force", is_flag=True, help="Replace an existing configuration, which is renamed to gatherer.toml.old."
)
@click.pass_obj
def command(
    config_path: Path | None,
    *,
    case_name: str,
    directory: Path,
    data: Path | None,
    public_url: str | None,
    sqlserver: str | None,
    database: str | None,
    sql_user: str | None,
    trust_server_certificate: bool,
    secret: IO[str] | None,
    every: timedelta | None,
    force: bool,
) -> None:
    """Write a commented configuration with fresh secrets, and say what to enter at the provider.

    For a partner that forwards the requests, such as Apteco, it prints what to send to the partner.

    \b
    Examples: gatherer init
              gatherer init --directory /etc/gatherer --data /var/lib/gatherer
              gatherer init --for wati --public-url https://hooks.example.org
              gatherer init --for apteco --sqlserver sql01 --database Campaigns --every 5m
    """
    from gatherer.app.resources import load
    from gatherer.app.schedule_entry import entry, minutes_of
    from gatherer.config import cases, example

    if config_path is not None:
        raise click.UsageError("--config names a configuration to read; say --directory FOLDER here")
    if public_url is not None and not _is_https(public_url):
        raise click.UsageError("--public-url must be an https address, as in https://hooks.example.org")
    for name, text in zip(_TEXT_OPTIONS, (data, sqlserver, database, sql_user), strict=True):
        if text is not None and not (str(text).strip() and str(text).isprintable()):
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(
                f"{option} is empty, or has characters that a configuration cannot contain"
            )
    if (sqlserver is None) != (database is None):
        raise click.UsageError("--sqlserver and --database belong together")
    if sqlserver is None and (sql_user is not None or trust_server_certificate):
        raise click.UsageError("--sql-user and --trust-server-certificate need --sqlserver")
    case = cases.find(case_name)
    minutes = minutes_of(every) if every is not None else None
    replaced = {}
    if data is not None:
        for name in ("inbox.db", "responses.db"):
            replaced[f"path = '{name}'"] = f"path = {example.literal(str(data.absolute() / name))}"
    if sqlserver is not None and database is not None:
        replaced |= example.target_lines(
            server=sqlserver,
            database=database,
            user=sql_user,
            password=_password_of(sql_user) if sql_user is not None else None,
            trust_server_certificate=trust_server_certificate,
            state=data and data.absolute() / "state",
        )
    verify_token, url_key, password = example.token(), example.token(), example.token()
    replaced |= example.endpoint_lines(
        case.provider,
        basic=(cases.BASIC_USER, password) if case.has_basic else None,
        secret=_read_secret(secret, case.provider) if secret is not None else None,
        public_url=f"{public_url.rstrip('/')}/webhook/whatsapp" if public_url is not None else None,
    )
    content = example.filled(verify_token=verify_token, url_key=url_key, replaced=replaced)
    path = example.write(directory, content, force=force)
    configuration = load(path, secrets=True)  # fails here if the written file is not valid
    private = ", readable by this account alone" if os.name == "posix" else ""
    click.echo(f"wrote {path}{private}\n\n{_for_the_provider(case, configuration, public_url)}")
    click.echo(_next_steps(case, configuration, path))
    if minutes is not None:
        where = (
            "PowerShell as an administrator" if os.name == "nt" else "crontab -e of the account that gathers"
        )
        click.echo(f"\nTo gather on a schedule, in {where}\n  {entry(configuration, path, minutes)}")


def _is_https(url: str) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        return bool(parts.scheme == "https" and parts.netloc and not (parts.query or parts.fragment))
    except ValueError:
        return False


def _password_of(user: str) -> str:
    password = os.environ.get(_PASSWORD) or click.prompt(f"Password of {user}", hide_input=True, err=True)
    if not password.isprintable():
        raise click.UsageError("the password has characters that a configuration cannot contain")
    return str(password)


def _read_secret(file: IO[str], provider: "Provider") -> str:
    """Return the secret in `file`, with which `provider` signs."""
    if not provider.secrets:
        raise click.UsageError(f"--secret: {provider.title} does not sign its requests")
    try:
        secret = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--secret: {file.name} cannot be read: {error}") from None
    if not (secret and secret.isprintable()):
        raise click.UsageError("--secret: expected one line with the secret")
    return secret


def _for_the_provider(case: "Case", configuration: "Configuration", public_url: str | None) -> str:
    """Return what to enter at the provider, or to send to the partner."""
    [endpoint] = configuration.endpoint
    base = (public_url or "https://<your web server>").rstrip("/")
    entries = {"Callback URL": base + endpoint.url_path}
    if endpoint.verify_token is not None:
        entries["Verify token"] = endpoint.verify_token.reveal()
    if endpoint.basic is not None:
        entries |= {"User": endpoint.basic.user, "Password": endpoint.basic.password.reveal()}
    lines = [case.heading, *(f"  {name + ':':<14} {value}" for name, value in entries.items())]
    if case.steps:
        lines.append(case.steps)
    if endpoint.url_key is not None:
        lines.append("The callback URL holds a key: treat it like a password.")
    return "\n".join(lines)


def _next_steps(case: "Case", configuration: "Configuration", path: Path) -> str:
    program = f"  gatherer --config {_quoted(path)}"
    lines = ["", "Next", f"{program} config check"]
    if configuration.target.kind == "sqlserver":
        lines.append(f"{program} schema apply        (once, by a login that may create tables)")
    lines += [
        f"{program} serve        (behind a web server with TLS)",
        f"{program} gather       (every few minutes)",
    ]
    if case.can_be_simulated:
        lines.append(f"{program} simulate --endpoint {configuration.endpoint[0].name}    (to try it out)")
    return "\n".join(lines)


def _quoted(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)

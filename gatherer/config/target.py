"""`[target]`: the database that stores the responses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from gatherer.config.base import ResolvedPath, Section
from gatherer.config.secret import TargetSecret
from gatherer.model import time_zones


class KeepDays(Section):
    """The days for which text and rows are kept, counted from when the event occurred; None: for ever."""

    text: int | None = Field(None, ge=1, le=36500, strict=True)
    """After so many days what people wrote is blanked. Left out: never."""
    rows: int | None = Field(None, ge=1, le=36500, strict=True)
    """After so many days rows are deleted: at least as many as `text`. Left out: never."""

    @model_validator(mode="after")
    def _rows_outlive_their_text(self) -> "KeepDays":
        if self.text is not None and self.rows is not None and self.rows < self.text:
            raise ValueError("a deleted row has no text: expected rows to be as many days as text, or more")
        return self


class _Target(Section):
    """The settings of every target."""

    time_zone: str = "UTC"
    """The IANA time zone of the view `response_local`, as in `Europe/London`."""
    attribution_hours: int = Field(72, ge=1, le=8760, strict=True)
    """A reply that quotes no message belongs to the latest message to that person within so many hours."""
    keep_days: KeepDays = KeepDays()
    """For how many days text and rows are kept, as in `{ text = 90, rows = 730 }`."""

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            time_zones.intervals(name)
        except (LookupError, ValueError, OSError):
            raise ValueError(
                f"there is no time zone {name!r}; write an IANA name such as Europe/London"
            ) from None
        return name


class SQLiteTarget(_Target):
    """The responses are stored in a SQLite file."""

    kind: Literal["sqlite"] = "sqlite"
    """A SQLite file."""
    path: ResolvedPath = Field(Path("responses.db"), validate_default=True)
    """The SQLite file."""

    @property
    def lock(self) -> Path:
        """The file whose lock a run holds."""
        return self.path.with_name(self.path.name + ".gather.lock")

    @property
    def state_folder(self) -> Path:
        """The folder of files that outlive a run, such as the one of tombstones."""
        return self.path.parent


class SQLServerTarget(_Target):
    """The responses are stored in a database of SQL Server."""

    kind: Literal["sqlserver"]
    """SQL Server 2016 or later, or Azure SQL."""
    connection: TargetSecret | None = None
    """A whole ODBC connection string, instead of the keys `server` to `driver`."""
    server: str | None = Field(None, min_length=1)
    """The server, as in `sql01.example.org`, `HOST\\INSTANCE` or `host,1433`."""
    database: str | None = Field(None, min_length=1)
    """The database."""
    authentication: Literal[
        "integrated",
        "sql",
        "entra-password",
        "entra-integrated",
        "entra-managed-identity",
        "entra-service-principal",
    ] = "integrated"
    """How to log in. `integrated` uses the account that runs gatherer."""
    user: str | None = Field(None, min_length=1)
    """The login, or the client id of a managed identity or service principal. Not with `integrated`."""
    password: TargetSecret | None = None
    """The password of `user`, or the secret of the service principal."""
    encrypt: bool | Literal["strict"] = True
    """Whether the connection is encrypted. `strict` is TDS 8.0, encrypted from the first byte."""
    trust_server_certificate: bool = Field(default=False, strict=True)
    """Whether any certificate is accepted, so that any machine can pretend to be the server."""
    driver: str | None = Field(None, min_length=1)
    """The name of the ODBC driver. Left out: the newest of Microsoft's that is installed."""
    # pydantic reserves the attribute name "schema", so the key of the file is an alias.
    schema_name: str = Field("gatherer", alias="schema", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")
    """The schema of the tables and views."""
    login_timeout_seconds: int = Field(15, ge=1, le=600, strict=True)
    """The time for a connection to be made."""
    query_timeout_seconds: int = Field(300, ge=1, le=86400, strict=True)
    """The time for one statement."""
    lock_timeout_seconds: int = Field(30, ge=1, le=3600, strict=True)
    """The time to wait for another run, or for a report that holds a lock."""
    state: ResolvedPath = Field(Path("state"), validate_default=True)
    """A folder of the account that gathers, for the lock of a run and the file of tombstones."""

    @field_validator("encrypt", mode="before")
    @classmethod
    def _words(cls, encrypt: object) -> object:
        if encrypt not in (True, False, "strict") or not isinstance(encrypt, bool | str):
            raise ValueError('expected true, false or "strict"')
        return encrypt

    @property
    def lock(self) -> Path:
        """The file whose lock a run holds."""
        return self.state / "gather.lock"

    @property
    def state_folder(self) -> Path:
        """The folder of files that outlive a run, such as the one of tombstones."""
        return self.state


def _kind(target: object) -> str | None:
    """Return the kind of `target`, the section as written; None if there is no such kind."""
    if isinstance(target, _Target):
        return str(getattr(target, "kind", None))
    kind = target.get("kind", "sqlite") if isinstance(target, dict) else "sqlite"
    return kind if kind in KINDS else None


KINDS: Final = ("sqlite", "sqlserver")
Target = Annotated[
    Annotated[SQLiteTarget, Tag("sqlite")] | Annotated[SQLServerTarget, Tag("sqlserver")],
    Discriminator(_kind),
]


_PARTS: Final = ("server", "database", "user", "password", "driver")
_WITH_USER: Final = ("sql", "entra-password", "entra-service-principal")


def contradictions_of_sqlserver(target: dict[str, Any]) -> Iterator[str]:
    """Yield the contradictions between the keys of a [target] of kind "sqlserver", given as plain values."""
    if target.get("connection") is not None:
        for name in _PARTS:
            if target.get(name) is not None:
                yield f"target.{name}: connection is a whole connection string: leave this out, or write it there"
        if target.get("authentication", "integrated") != "integrated":
            yield "target.authentication: connection is a whole connection string: leave this out, or write it there"
        if target.get("encrypt", True) is not True:
            yield "target.encrypt: connection is a whole connection string: write Encrypt=… there"
        if target.get("trust_server_certificate", False):
            yield (
                "target.trust_server_certificate: connection is a whole connection string: "
                "write TrustServerCertificate=yes there"
            )
        return
    for name in ("server", "database"):
        if target.get(name) is None:
            yield f"target.{name}: is missing (or set connection, a whole ODBC connection string)"
    authentication = target.get("authentication", "integrated")
    for name in ("user", "password"):
        if authentication in _WITH_USER and target.get(name) is None:
            yield f'target.{name}: is missing, with authentication = "{authentication}"'
        if authentication in ("integrated", "entra-integrated") and target.get(name) is not None:
            yield (
                f'target.{name}: authentication = "{authentication}" uses the account that gatherer runs under: '
                'leave this out, or write authentication = "sql"'
            )
    if authentication == "entra-managed-identity" and target.get("password") is not None:
        yield 'target.password: authentication = "entra-managed-identity" has no password: leave this out'

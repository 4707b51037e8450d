"""`[[after_run]]`: the steps that a run takes when it has written rows."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from gatherer.config.base import ResolvedPath, Section
from gatherer.config.messages import without_control_characters
from gatherer.model.records import Kind

ExportFormat = Literal["csv", "tsv", "ndjson", "ferg", "opt-outs"]
Text = Annotated[str, Field(min_length=1)]
Argument = Annotated[str, AfterValidator(without_control_characters)]
KINDS_OF_STEP = ("command", "sql", "export")


class ExportStep(Section):
    """The options of `gatherer export`."""

    output: ResolvedPath
    """The file, in an existing folder. The time is filled in, as in `'out\\whatsapp_%Y%m%d_%H%M%S.txt'`."""
    format: ExportFormat = "csv"
    """The format of the file."""
    since_last: Text | None = None
    """The name of the cursor. Left out: the name of the step."""
    endpoint: Text | None = None
    """Only what this endpoint received."""
    kind: list[Kind] = []
    """Only these kinds, as in `["replied", "opted_out"]`."""
    date_format: Text | None = None
    """A format of strftime, or `UnixTimeStamp`."""
    time_zone: Text | None = None
    """The IANA time zone of the times."""
    delimiter: str | None = None
    """The character between the fields of csv, tsv and opt-outs."""
    bom: bool = Field(default=False, strict=True)
    """Whether the file begins with a byte order mark, by which Excel recognises UTF-8."""
    include_tests: bool = Field(default=False, strict=True)
    """Whether test rows are written as well."""


class AfterRun(Section):
    """A step after a run: a command, a statement of SQL, or an export. The steps are taken in the order of the file."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """The name of the step in the log and in `gather_run`."""
    command: list[Argument] | None = Field(None, min_length=1)
    """A program and its arguments, without a shell, in the folder of this file."""
    sql: Text | None = None
    """A statement for the SQL Server of the target, as in `"EXEC dbo.load_responses"`."""
    export: ExportStep | None = None
    """A file with what is new since the last one. The keys mean the same as the options of `gatherer export`."""
    always: bool = Field(default=False, strict=True)
    """Whether the step is taken after every run, also if nothing is new."""
    timeout_seconds: int = Field(600, ge=1, le=86400, strict=True)
    """After so many seconds the step is ended, and has failed."""

    @model_validator(mode="after")
    def _one_kind(self) -> "AfterRun":
        if sum(getattr(self, kind) is not None for kind in KINDS_OF_STEP) != 1:
            raise ValueError("expected exactly one of command, sql and export")
        return self


def contradictions_of_steps(steps: Any, target: Any) -> Iterator[str]:
    """Yield the contradictions between `[[after_run]]` and `[target]`, given as plain values."""
    kind = target.get("kind", "sqlite") if isinstance(target, dict) else "sqlite"
    for i, step in enumerate(steps if isinstance(steps, list) else []):
        if isinstance(step, dict) and step.get("sql") is not None and kind == "sqlite":
            yield f'after_run[{i}].sql: needs a [target] with kind = "sqlserver"; use command with a SQLite file'

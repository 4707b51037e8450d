"""Handing responses on as files: CSV, TSV, NDJSON, or what Apteco's email response gatherer reads from a folder."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final, Literal

from gatherer.files.atomic import atomic_write
from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError, TargetError
from gatherer.targets.base import Export, Target

Format = Literal["csv", "tsv", "ndjson", "ferg"]
UNIX: Final = "UnixTimeStamp"  # FERG's own word for a date format

# FERG's columns, to be named in its configuration: COMMUNICATIONKEYCOLUMNNAME, URNCOLUMNNAME, …
FERG_COLUMNS: Final = (
    "CommunicationKey",
    "URN",
    "Mobile",
    "MessageType",
    "EventDate",
    "SendDate",
    "MessageId",
    "MessageName",
    "Text",
)
# What the SMS channel of the same program calls an opt-out; the others are our words with a capital.
_FERG_TYPES: Final = {"opted_out": "OptOut", "opted_in": "OptIn", "reply_marker": "Replied"}
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BREAKS: Final = re.compile(r"[\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How an export is written."""

    format: Format = "csv"
    date_format: str | None = None  # as strftime has it, or UNIX; None: what the format usually has
    zone: tzinfo = UTC


def export(target: Target, what: Export, layout: Layout, write: Callable[[str], object]) -> int:
    """Write the responses that `what` asks for by calling `write` with text, line by line; return how many.

    Raises:
        TargetError: the target cannot be read.
        TemporaryError: not just now.

    """
    if layout.format == "ferg":
        what = replace(what, view="campaign")
    count = 0
    for line in _lines(target.export(what), layout):
        write(line)
        count += 1
    return max(0, count - (layout.format != "ndjson"))


def to_file(target: Target, what: Export, layout: Layout, path: Path, *, replace: bool = True) -> int:
    """Write the responses that `what` asks for to `path`, which appears when it is complete; return how many.

    Without any, there is no file. Without `replace`, no file that is there already is touched.

    Raises:
        ConfigurationError: there is one, and it is not to be replaced.
        TargetError: the target cannot be read, or the file cannot be written.
        TemporaryError: not just now.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, replace=replace) as draft:
            count = export(target, what, layout, draft.write)
            if not count:
                draft.discard()
    except OSError as error:
        if not replace and path.exists():
            raise taken(path) from None
        raise _unwritable(path, error) from None
    return count


def _unwritable(path: Path, error: OSError) -> TargetError:
    return TargetError(f"{path} cannot be written: {error.strerror or error}")


def taken(path: Path) -> ConfigurationError:
    """Return the error that says that there is a file at `path`, and why it stays."""
    return ConfigurationError(
        f"{path} exists, and with --since-last no file is replaced: nothing would ever write its rows again; "
        "have the time in the name, as in %Y%m%d_%H%M%S"
    )


def _lines(batches: Iterable[list[dict[str, Any]]], layout: Layout) -> Iterator[str]:
    """Yield a header, where the format has one, then a line for each row."""
    match layout.format:
        case "ndjson":
            for batch in batches:
                for row in batch:
                    values = {name: _moment(value, layout) for name, value in row.items()}
                    yield json.dumps(values, ensure_ascii=False) + "\n"
        case "ferg":
            writer = _Delimited("\t", always_quoted=True)
            yield writer.line(FERG_COLUMNS)
            for batch in batches:
                yield from (writer.line(_ferg_row(row, layout)) for row in batch)
        case "csv" | "tsv":
            writer = _Delimited("," if layout.format == "csv" else "\t", always_quoted=False)
            header = False
            for batch in batches:
                if not header:
                    header = True
                    yield writer.line(batch[0])
                yield from (writer.line(_moment(value, layout) for value in row.values()) for row in batch)


class _Delimited:
    """Makes lines of values."""

    def __init__(self, delimiter: str, *, always_quoted: bool) -> None:
        self._text = io.StringIO()
        self._writer = csv.writer(
            self._text,
            delimiter=delimiter,
            quoting=csv.QUOTE_ALL if always_quoted else csv.QUOTE_MINIMAL,
            lineterminator="\r\n",
        )

    def line(self, values: Iterable[Any]) -> str:
        """Return `values` as one line; None is empty."""
        self._writer.writerow(values)
        line = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return line


def _moment(value: Any, layout: Layout) -> Any:
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, datetime):
        return value
    if layout.date_format == UNIX:
        return int(value.timestamp())
    local = value.astimezone(layout.zone)
    if layout.date_format is not None:
        return local.strftime(layout.date_format)
    return timestamps.iso(value) if layout.zone is UTC else local.isoformat(timespec="milliseconds")


def _ferg_row(row: dict[str, Any], layout: Layout) -> list[Any]:
    kind = row["kind"]
    said = row["emoji"] if kind == "reacted" else row["reply_text"]
    if kind == "failed":
        said = ": ".join(text for text in (row["error_title"], row["error_details"]) if text)
    values = (
        row["communication_key"],
        row["urn"],
        row["phone"],
        _FERG_TYPES.get(kind, str(kind).capitalize()),
        _moment(row["occurred_at"], layout),
        _moment(row["sent_at"], layout),
        row["message_id"],
        row["message_name"],
        said,
    )
    # One row, one line: whether FERG reads a line break inside quotes is not documented.
    return [_BREAKS.sub(" ", value) if isinstance(value, str) else value for value in values]


class Cursor:
    """How far an export of a name has come, kept in a file."""

    def __init__(self, folder: Path, name: str) -> None:
        """Remember in `folder`, under `name`.

        Raises:
            ConfigurationError: the name cannot be that of a file.

        """
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is no name: use up to 64 letters, digits, - and _")
        self._path = folder / f"export-{name}.json"

    def read(self) -> datetime | None:
        """Return up to which time of writing everything was exported; None: nothing yet.

        Raises:
            TargetError: the file cannot be read.

        """
        try:
            return datetime.fromisoformat(json.loads(self._path.read_text(encoding="utf-8"))["changed_to"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise TargetError(
                f"{self._path} cannot be read ({error}): delete it to export everything again"
            ) from None

    def write(self, moment: datetime) -> None:
        """Remember `moment`.

        Raises:
            TargetError: the file cannot be written.

        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path) as draft:
                draft.write(json.dumps({"changed_to": timestamps.iso(moment)}))
        except OSError as error:
            raise _unwritable(self._path, error) from None

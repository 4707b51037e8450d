"""Export of responses as text: CSV, TSV, NDJSON, or FERG, which Apteco's email response gatherer reads."""

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
UNIX: Final = "UnixTimeStamp"  # FERG's word for this date format

# The columns of FERG, to be named in its configuration: COMMUNICATIONKEYCOLUMNNAME, URNCOLUMNNAME, …
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
# As the SMS channel of the same program writes them; the other kinds are written with a capital.
_FERG_TYPES: Final = {"opted_out": "OptOut", "opted_in": "OptIn", "reply_marker": "Replied"}
_CURSOR_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LINE_BREAKS: Final = re.compile(r"[\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How an export is written."""

    format: Format = "csv"
    date_format: str | None = None  # for strftime, or UNIX; None: ISO-8601
    zone: tzinfo = UTC


def write_responses(target: Target, query: Export, layout: Layout, write: Callable[[str], object]) -> int:
    """Write the responses that `query` selects by calling `write` with one line at a time; return how many.

    Raises:
        TargetError: the target cannot be read.
        TemporaryError: the target is not available at present.

    """
    if layout.format == "ferg":
        query = replace(query, view="campaign")
    count = 0
    for line in _lines(target.export(query), layout):
        write(line)
        count += 1
    return max(0, count - (layout.format != "ndjson"))


def write_file(target: Target, query: Export, layout: Layout, path: Path, *, replace: bool = True) -> int:
    """Write the responses that `query` selects to `path`, which appears when it is complete; return how many.

    Without responses there is no file. Without `replace`, an existing file is not touched.

    Raises:
        ConfigurationError: the file exists, and `replace` is not set.
        TargetError: the target cannot be read, or the file cannot be written.
        TemporaryError: the target is not available at present.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, replace=replace) as draft:
            count = write_responses(target, query, layout, draft.write)
            if not count:
                draft.discard()
    except OSError as error:
        if not replace and path.exists():
            raise file_exists_error(path) from None
        raise _write_error(path, error) from None
    return count


def _write_error(path: Path, error: OSError) -> TargetError:
    return TargetError(f"{path} cannot be written: {error.strerror or error}")


def file_exists_error(path: Path) -> ConfigurationError:
    """Return the error for an export with a cursor to a file that exists."""
    return ConfigurationError(
        f"{path} exists, and with --since-last no file is replaced: nothing would ever write its rows again; "
        "put the time into the name, as in %Y%m%d_%H%M%S"
    )


def _lines(batches: Iterable[list[dict[str, Any]]], layout: Layout) -> Iterator[str]:
    """Yield a header, if the format has one, then one line for each row."""
    match layout.format:
        case "ndjson":
            for batch in batches:
                for row in batch:
                    values = {name: _formatted(value, layout) for name, value in row.items()}
                    yield json.dumps(values, ensure_ascii=False) + "\n"
        case "ferg":
            writer = _Delimited("\t", always_quoted=True)
            yield writer.line(FERG_COLUMNS)
            for batch in batches:
                yield from (writer.line(_ferg_row(row, layout)) for row in batch)
        case "csv" | "tsv":
            writer = _Delimited("," if layout.format == "csv" else "\t", always_quoted=False)
            has_header = False
            for batch in batches:
                if not has_header:
                    has_header = True
                    yield writer.line(batch[0])
                yield from (writer.line(_formatted(value, layout) for value in row.values()) for row in batch)


class _Delimited:
    """Formats values as lines of delimited text."""

    def __init__(self, delimiter: str, *, always_quoted: bool) -> None:
        self._text = io.StringIO()
        self._writer = csv.writer(
            self._text,
            delimiter=delimiter,
            quoting=csv.QUOTE_ALL if always_quoted else csv.QUOTE_MINIMAL,
            lineterminator="\r\n",
        )

    def line(self, values: Iterable[Any]) -> str:
        """Return `values` as one line; None becomes an empty field."""
        self._writer.writerow(values)
        line = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return line


def _formatted(value: Any, layout: Layout) -> Any:
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
    text = row["emoji"] if kind == "reacted" else row["reply_text"]
    if kind == "failed":
        text = ": ".join(part for part in (row["error_title"], row["error_details"]) if part)
    values = (
        row["communication_key"],
        row["urn"],
        row["phone"],
        _FERG_TYPES.get(kind, str(kind).capitalize()),
        _formatted(row["occurred_at"], layout),
        _formatted(row["sent_at"], layout),
        row["message_id"],
        row["message_name"],
        text,
    )
    # One row, one line: whether FERG reads a line break inside quotes is not documented.
    return [_LINE_BREAKS.sub(" ", value) if isinstance(value, str) else value for value in values]


class Cursor:
    """The end of the last export with a name, kept in a file for the next one."""

    def __init__(self, folder: Path, name: str) -> None:
        """Use the cursor `name` in `folder`.

        Raises:
            ConfigurationError: `name` has characters that are not allowed.

        """
        if not _CURSOR_NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is not a name: use up to 64 letters, digits, - and _")
        self._path = folder / f"export-{name}.json"

    def read(self) -> datetime | None:
        """Return the end of the last export, a time of writing rows; None before the first export.

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
        """Store `moment` as the end of an export.

        Raises:
            TargetError: the file cannot be written.

        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path) as draft:
                draft.write(json.dumps({"changed_to": timestamps.iso(moment)}))
        except OSError as error:
            raise _write_error(self._path, error) from None

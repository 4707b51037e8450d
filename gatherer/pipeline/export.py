"""Export of responses as text: CSV, TSV, NDJSON, opt-outs, or FERG, which Apteco's email response gatherer reads."""

import csv
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final, Literal

from gatherer.files.atomic import atomic_write
from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError, OutputError, output_error
from gatherer.model.records import Kind
from gatherer.targets.base import BEGINNING, ChangePoint, CursorKind, Export, Target

log = logging.getLogger(__name__)

Format = Literal["csv", "tsv", "ndjson", "ferg", "opt-outs"]
View = Literal["response", "campaign", "opt_out"]
_VIEWS: Final[dict[str, View]] = {"ferg": "campaign", "opt-outs": "opt_out"}  # of the other formats: response
_DELIMITERS: Final = {"csv": ",", "opt-outs": ",", "tsv": "\t", "ferg": "\t"}
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
    "IsTest",
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
    delimiter: str | None = None  # of csv, tsv and opt-outs; None: the one of the format
    bom: bool = False  # whether the text begins with a byte order mark, by which Excel recognises UTF-8


@dataclass(kw_only=True)
class ExportResult:
    """What an export wrote, and what it held back. Responses are counted by kind."""

    rows: int = 0
    tests: int = 0  # test rows that were left out
    without_campaign: Counter[str] = field(default_factory=Counter)  # not in an export of campaigns
    taken_back: int = 0  # reactions that the person took back, and the rows of their removal

    def __str__(self) -> str:
        """Return the counts as a part of a sentence for people."""
        parts = []
        if self.tests:
            parts.append(f"{self.tests} test rows (--include-tests writes them)")
        if unknown := self.without_campaign.total():
            opt_outs = self.without_campaign[Kind.OPTED_OUT]
            advice = f", {opt_outs} of them opt-outs (--format opt-outs writes them)" if opt_outs else ""
            parts.append(f"{unknown} without a known campaign{advice}")
        if self.taken_back:
            parts.append(f"{self.taken_back} reactions that were taken back")
        return f"{self.rows} rows; held back: {'; '.join(parts) or 'nothing'}"


def write_responses(
    target: Target, query: Export, layout: Layout, write: Callable[[str], object]
) -> ExportResult:
    """Write the responses that `query` selects by calling `write` with one line at a time.

    Raises:
        ConfigurationError: `query` includes tests, and the views do not show them.
        TargetError: the target cannot be read.
        TemporaryError: the target is not available at present.

    """
    query = replace(query, view=_VIEWS.get(layout.format, "response"))
    if query.view == "opt_out":
        query = replace(query, kinds=(Kind.OPTED_OUT, Kind.OPTED_IN))
    result = ExportResult()
    must_show_tests = query.include_tests and query.view != "response"
    hides_tests = must_show_tests and not list(target.export(replace(query, view="shown")))
    for batch in target.export(replace(query, view="window")):
        for row in batch:
            if row["is_test"] and hides_tests:
                raise ConfigurationError(
                    "the views leave test rows out: `gatherer schema apply --include-tests` shows them"
                )
            if row["is_test"] and not query.include_tests:
                result.tests += row["responses"]
            elif query.view == "campaign":
                result.without_campaign[row["kind"]] += row["responses"]
    batches = target.export(query)
    if query.view == "campaign":
        batches = _handed_over(batches, result)
    for line in _lines(batches, layout):
        write(line)
        result.rows += 1
    if layout.format != "ndjson" and result.rows:
        result.rows -= 1  # the header
    return result


def _handed_over(
    batches: Iterable[list[dict[str, Any]]], result: ExportResult
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of `batches` that an export of campaigns contains, and correct the counts of `result`."""
    for batch in batches:
        result.without_campaign -= Counter(row["kind"] for row in batch if row["in_window"])
        remaining = [row for row in batch if not row["is_taken_back"]]
        result.taken_back += len(batch) - len(remaining)
        yield remaining


def write_file(
    target: Target, query: Export, layout: Layout, path: Path, *, replace: bool = True
) -> ExportResult:
    """Write the responses that `query` selects to `path`, which appears when it is complete.

    Without responses there is no file. Without `replace`, an existing file is not touched.

    Raises:
        ConfigurationError: the file exists, and `replace` is not set.
        OutputError: there is no such folder, or the file cannot be written.
        TargetError: the target cannot be read.
        TemporaryError: the target is not available at present, or the disk is full.

    """
    if not path.parent.is_dir():
        raise OutputError(f"there is no folder {path.parent}: create it, or correct the path")
    try:
        with atomic_write(path, replace=replace) as draft:
            result = write_responses(target, query, layout, draft.write)
            if not result.rows:
                draft.discard()
    except OSError as error:
        if not replace and path.exists():
            raise file_exists_error(path) from None
        raise output_error(path, error) from None
    return result


def file_exists_error(path: Path) -> ConfigurationError:
    """Return the error for an export with a cursor to a file that exists."""
    return ConfigurationError(
        f"{path} exists, and with --since-last no file is replaced: nothing would ever write its rows again; "
        "put the time into the name, as in %Y%m%d_%H%M%S"
    )


def _lines(batches: Iterable[list[dict[str, Any]]], layout: Layout) -> Iterator[str]:
    """Yield a header, if the format has one, then one line for each row."""
    if layout.format == "ndjson":
        for batch in batches:
            for row in batch:
                values = {name: _formatted(value, layout) for name, value in row.items()}
                yield json.dumps(values, ensure_ascii=False) + "\n"
        return
    is_ferg = layout.format == "ferg"
    writer = _Delimited(layout.delimiter or _DELIMITERS[layout.format], always_quoted=is_ferg)
    has_header = False
    for batch in batches:
        for row in batch:
            if not has_header:
                has_header = True
                yield ("\ufeff" if layout.bom else "") + writer.line(FERG_COLUMNS if is_ferg else row)
            yield writer.line(
                _ferg_row(row, layout) if is_ferg else [_formatted(value, layout) for value in row.values()]
            )


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
        int(row["is_test"]),
    )
    # One row, one line: whether FERG reads a line break inside quotes is not documented.
    return [_LINE_BREAKS.sub(" ", value) if isinstance(value, str) else value for value in values]


class Cursor:
    """Up to where exports with one name have read. The target keeps it: a restored target has that of its own time.

    So the next export after a restore repeats what the last ones wrote since the copy, and leaves nothing out.
    """

    def __init__(self, target: Target, name: str, *, kind: CursorKind = "export") -> None:
        """Use the cursor `name` of that kind in `target`."""
        self._target = target
        self._kind = kind
        self._name = name

    def read(self) -> tuple[ChangePoint, ChangePoint]:
        """Return where the last export ended, and where the next one ends; the beginning before the first export.

        A number beyond the last one of the target is of another sequence: a table was copied from another database.
        The export begins at the beginning again, and repeats rows rather than leave any out.

        Raises:
            GathererError: the target cannot be read.

        """
        stored = self._target.cursor(self._kind, self._name) or BEGINNING
        horizon = self._target.horizon()  # last, because another export may move the cursor
        point = ChangePoint(
            *(number if number <= end else 0 for number, end in zip(stored, horizon, strict=True))
        )
        if point != stored:
            log.warning(
                "the cursor %s of %s is ahead of the target: everything is written again",
                self._name,
                self._target.name,
            )
        return point, horizon

    def reset(self) -> None:
        """Forget the end of the last export, so that the next one with this name writes everything.

        Raises:
            ConfigurationError: there is no such cursor.
            GathererError: the target cannot be written.

        """
        if self._target.cursor(self._kind, self._name) is None:
            raise ConfigurationError(
                f"there is no cursor {self._name} in {self._target.name}: the next export with it writes everything"
            )
        self._target.move_cursor(self._kind, self._name, None)

    def write(self, point: ChangePoint) -> None:
        """Store `point` as the end of an export.

        Raises:
            GathererError: the target cannot be written.

        """
        self._target.move_cursor(self._kind, self._name, point)


def check_cursor_name(name: str) -> None:
    """Check the name of a cursor.

    Raises:
        ConfigurationError: `name` has characters that are not allowed.

    """
    if not _CURSOR_NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is not a name: use up to 64 letters, digits, - and _")

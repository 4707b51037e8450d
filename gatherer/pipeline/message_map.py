"""The campaign map: rows of a file or a query, checked one by one, into `message_map`."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

from gatherer.model import phones, timestamps
from gatherer.model.errors import ConfigurationError
from gatherer.model.message_map import WIDTHS, MapRow
from gatherer.model.records import Width
from gatherer.model.widths import stored_text, units
from gatherer.targets import sql_datetime
from gatherer.targets.base import Target

ROWS: Final = 2000  # of one transaction
DELIMITERS: Final = ",;\t|"
UTF_8: Final = "utf-8-sig"  # with or without a byte order mark
_IDS: Final = ("message_id", "client_reference")  # long ones have the form that they have in responses
_EMPTY: Final = ("", "NULL")  # as the tools of SQL Server export NULL

# The number of a row, as an editor or the query counts it, and its values, or why it has none.
SourceRow = tuple[int, Sequence[object] | ValueError]


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """The options of `gatherer map import`. None: not given."""

    file: Path | None = None  # CSV, or a query if its name ends in `.sql`
    query: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  # column of the map → name in the source
    campaign: str | None = None  # of rows without one
    delimiter: str | None = None
    encoding: str = UTF_8
    time_zone: str | None = None  # of times without one
    date_format: str | None = None  # of sent_at, for strptime; None: ISO 8601


@dataclass(kw_only=True)
class ImportResult:
    """What an import has done."""

    rows: int = 0  # of the source, without the header
    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    unbound: int = 0  # of the rows that were imported: without message id and client reference
    wrong: int = 0  # rows left out


def csv_rows(stream: TextIO, delimiter: str | None) -> Iterator[SourceRow]:
    """Yield the rows of a CSV file, the header first. Empty lines are left out.

    Args:
        stream: the file, opened with `newline=""`.
        delimiter: one character; None: the one of `DELIMITERS` that occurs most often in the first line.

    """
    if delimiter is None:
        delimiter = max(DELIMITERS, key=stream.readline().count)
        stream.seek(0)
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, ValueError(f"not valid CSV: {error}")
            continue
        if values:
            yield reader.line_num, values


class RowReader:
    """Makes a row of the map of the values below a header."""

    def __init__(self, header: Sequence[object], options: ImportOptions, zone: tzinfo = UTC) -> None:
        """Find the columns in `header`. Capitals, spaces and underscores in their names do not matter.

        Args:
            header: the names of the columns of the source.
            options: of the import.
            zone: of times without one.

        Raises:
            ConfigurationError: a column is missing, or occurs twice; or `campaign` is too long.

        """
        self._width, self._zone, self._date_format = len(header), zone, options.date_format
        try:
            self._campaign = _text("campaign", options.campaign)
        except ValueError as error:
            raise ConfigurationError(f"--campaign: {error}") from None
        names = {_bare(name): name for name in MapRow._fields}
        for column, name in options.columns.items():
            if column not in MapRow._fields:
                raise ConfigurationError(
                    f"message_map has no column {column!r}; it has: {_listed(MapRow._fields)}"
                )
            names.pop(_bare(column), None)
            names[_bare(name)] = column
        self._positions: dict[str, int] = {}
        self.ignored: list[str] = []  # columns of the source that are none of the map
        for position, title in enumerate(header):
            known = names.get(_bare(str(title)))
            if known is None:
                self.ignored.append(str(title))
            elif known in self._positions:
                raise ConfigurationError(f"the column {known} is there twice")
            else:
                self._positions[known] = position
        for column, name in options.columns.items():
            if column not in self._positions:
                raise ConfigurationError(f"there is no column {name!r}; there are: {_listed(header)}")
        if self._campaign is None and "campaign" not in self._positions:
            raise ConfigurationError(
                f"there is no column campaign; there are: {_listed(header)}. "
                "--column campaign=NAME names it, --campaign NAME is that of all rows without one"
            )
        if not {"message_id", "client_reference", "phone"} & self._positions.keys():
            raise ConfigurationError(
                "there is no column message_id, client_reference or phone: nothing says which message a row is"
            )

    def row(self, values: Sequence[object]) -> MapRow:
        """Return the row with `values`.

        Raises:
            ValueError: a value is not valid, or missing. The message contains no value.

        """
        if len(values) != self._width:
            raise ValueError(f"{len(values)} fields, and the header has {self._width}")
        found = {name: values[position] for name, position in self._positions.items()}
        sent_at = self._time(found.pop("sent_at", None))
        texts = {name: _text(name, value) for name, value in found.items()}
        for name in ("phone", "business_phone"):
            if (number := texts.get(name)) is not None:
                texts[name] = phone = phones.comparable(number)
                if phone is None or phone.startswith("+0"):  # 0 begins national numbers
                    raise ValueError(f"{name} is not an international number")
        campaign = texts.pop("campaign", None) or self._campaign
        if campaign is None:
            raise ValueError("campaign is empty")
        row = MapRow(campaign, sent_at=sent_at, **texts)
        if not row.is_bound and (row.phone is None or row.sent_at is None):
            raise ValueError("no message_id and no client_reference: then phone and sent_at are needed")
        return row

    def _time(self, value: object) -> str | None:
        """Return the time `value`, as text or from a database, as the target stores it."""
        if not isinstance(value, datetime):
            text = "" if value is None else str(value).strip()
            if text in _EMPTY:
                return None
            try:
                value = (
                    datetime.strptime(text, self._date_format)  # noqa: DTZ007 - the zone follows
                    if self._date_format
                    else datetime.fromisoformat(text)
                )
            except ValueError:
                expected = self._date_format or "ISO 8601, as in 2026-11-20 18:30:00"
                raise ValueError(f"sent_at is not a time in the form {expected}") from None
        moment = value.replace(tzinfo=self._zone) if value.tzinfo is None else value
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            moment = timestamps.LATEST
        if not timestamps.EARLIEST <= moment < timestamps.LATEST:
            raise ValueError("sent_at is outside of 2009 to 2099")
        return sql_datetime.text(moment)


def import_rows(
    target: Target, reader: RowReader, rows: Iterable[SourceRow], *, report: Callable[[int, str], None]
) -> ImportResult:
    """Insert or change a row of `message_map` for each of `rows`, in transactions of 2 000.

    Args:
        target: that has the map.
        reader: for the header of the source.
        rows: without the header.
        report: called with the number of each row that is left out, and why.

    Raises:
        GathererError: the target cannot be written. The transactions before are committed: a second import of the
            same source leaves their rows as they are.

    """
    result = ImportResult()
    source = iter(rows)
    while chunk := list(islice(source, ROWS)):
        by_identity: dict[tuple[str | None, ...], MapRow] = {}
        result.rows += len(chunk)
        for number, values in chunk:
            try:
                if isinstance(values, ValueError):
                    raise values
                row = reader.row(values)
            except ValueError as error:
                result.wrong += 1
                report(number, str(error))
                continue
            result.unbound += not row.is_bound
            older = by_identity.get(row.identity)
            by_identity[row.identity] = row if older is None else row.over(older)
        inserted, changed = target.import_map(list(by_identity.values()))
        result.inserted += inserted
        result.changed += changed
    result.unchanged = result.rows - result.wrong - result.inserted - result.changed
    return result


def _text(name: str, value: object) -> str | None:
    text = "" if value is None else str(value).strip()
    if text in _EMPTY:
        return None
    if "\x00" in text:
        raise ValueError(f"{name} contains a zero byte")
    if name in _IDS:
        return stored_text(text, Width(WIDTHS[name], is_id=True))
    if units(text) > WIDTHS[name]:
        raise ValueError(f"{name} is longer than {WIDTHS[name]} characters")
    return text


def _bare(name: str) -> str:
    return re.sub(r"[\s_]", "", name).lower()


def _listed(header: Sequence[object]) -> str:
    return ", ".join(map(str, header))

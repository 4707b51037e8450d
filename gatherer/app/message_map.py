"""`gatherer map`: fill the table `message_map` from a file or a query, and see what is missing in it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Final

from gatherer.app.resources import open_target
from gatherer.app.text_options import delimiter, time_zone
from gatherer.config import Configuration
from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError
from gatherer.pipeline.message_map import (
    UTF_8,
    ImportOptions,
    ImportResult,
    RowReader,
    SourceRow,
    csv_rows,
    import_rows,
)
from gatherer.targets.base import MapStatus, Target

QUERY_SUFFIX: Final = ".sql"
RECEIPT_HOURS: Final = 24  # a message without any receipt for so long is one to look into


def import_map(
    configuration: Configuration, options: ImportOptions, *, report: Callable[[str], None]
) -> ImportResult:
    """Fill `message_map` from the file or the query of `options`.

    Args:
        configuration: loaded with the secrets of the target.
        options: what to import.
        report: called with one line for each row that is left out, and for the columns that are ignored.

    Raises:
        ConfigurationError: an option is wrong, or the source cannot be read.
        GathererError: the target cannot be written. What earlier transactions have imported stays.

    """
    _check_encoding(options.encoding)
    options = replace(options, delimiter=delimiter(options.delimiter))
    zone = time_zone(options.time_zone or "UTC")
    query = options.query
    if options.file is not None:
        # Read the whole file before a row is imported, so that a wrong encoding imports nothing.
        text = _read(options.file, options.encoding)
        if options.file.suffix.lower() == QUERY_SUFFIX:
            query = text
    unit = "line" if query is None else "row"
    with open_target(configuration) as target, _source(target, options, query) as rows:
        header = next(rows, None)
        if header is None and query is None:
            raise ConfigurationError(f"{options.file} is empty: expected a header")
        if header is None:
            return ImportResult()
        if isinstance(header[1], ValueError):
            raise ConfigurationError(f"the header is {header[1]}")
        reader = RowReader(header[1], options, zone)
        if reader.ignored:
            report(
                f"columns that message_map does not have, and that are ignored: {', '.join(reader.ignored)}"
            )
        return import_rows(
            target, reader, rows, report=lambda number, reason: report(f"{unit} {number}: {reason}")
        )


def map_status(configuration: Configuration, *, days: int) -> MapStatus:
    """Return what is missing in the map for the last `days`.

    Raises:
        GathererError: the target cannot be read.

    """
    now = timestamps.now()
    with open_target(configuration, dry_run=True) as target:
        return target.map_status(now - timedelta(days=days), now - timedelta(hours=RECEIPT_HOURS))


@contextmanager
def _source(target: Target, options: ImportOptions, query: str | None) -> Iterator[Iterator[SourceRow]]:
    """Open the source for the duration of the block. Yields its rows, the header first."""
    if query is not None:
        # The header is number 0.
        yield zip(count(), target.query_rows(query))
        return
    assert options.file is not None, "there is a file or a query"  # noqa: S101
    with options.file.open(encoding=options.encoding, newline="") as stream:
        yield csv_rows(stream, options.delimiter)


def _read(file: Path, encoding: str) -> str:
    try:
        return file.read_text(encoding=encoding)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeError as error:
        name = "UTF-8" if encoding == UTF_8 else encoding
        raise ConfigurationError(
            f"{file} is not {name} text: {error}; --encoding names another, such as cp1252 or utf-16"
        ) from None


def _check_encoding(name: str) -> None:
    try:
        "".encode(name)
    except LookupError:
        raise ConfigurationError(f"there is no encoding {name!r} of text") from None

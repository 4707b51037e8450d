"""`gatherer export`: write responses to standard output or to a file."""

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gatherer import config
from gatherer.app.output_path import dated_file, fill_in_time
from gatherer.app.resources import open_target
from gatherer.app.text_options import delimiter, time_zone
from gatherer.config import Configuration
from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError
from gatherer.model.records import Kind
from gatherer.pipeline.export import (
    UNIX,
    Cursor,
    ExportResult,
    Format,
    Layout,
    check_cursor_name,
    file_exists_error,
    write_file,
    write_responses,
)
from gatherer.targets.base import BEGINNING, NO_END, Export, Target


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The options of `gatherer export`. None: not given."""

    format: Format = "csv"
    since: datetime | None = None
    until: datetime | None = None
    since_last: str | None = None  # name of a cursor
    endpoint: str | None = None
    kinds: tuple[str, ...] = ()
    output: Path | None = None
    date_format: str | None = None
    time_zone: str | None = None
    delimiter: str | None = None
    bom: bool = False
    include_tests: bool = False


def export(configuration: Configuration, options: ExportOptions, *, report: Callable[[str], None]) -> None:
    """Write responses to standard output or to a file.

    Args:
        configuration: loaded with the secrets of the target.
        options: what to write, and where.
        report: called with one line: how many rows were written, and how many were held back.

    Raises:
        ConfigurationError: an option is wrong.
        GathererError: the target cannot be read, or the file cannot be written.

    """
    settings = configuration.target
    layout = check(options, settings)
    if options.since_last is not None:
        check_cursor_name(options.since_last)
    path = None if options.output is None else dated_file("--output", options.output)
    if path is not None and options.since_last is not None and os.path.lexists(path):
        raise file_exists_error(path)
    with open_target(configuration) as target:
        if options.endpoint is not None:
            _check_endpoint(configuration, target, options.endpoint)
        cursor = None if options.since_last is None else Cursor(target, options.since_last)
        changed_after, changed_to = cursor.read() if cursor else (BEGINNING, NO_END)
        query = Export(
            since=options.since or timestamps.EARLIEST,
            until=options.until or timestamps.LATEST,
            changed_after=changed_after,
            changed_to=changed_to,
            endpoint=options.endpoint,
            kinds=options.kinds,
            include_tests=options.include_tests,
        )
        if path is None:
            result = _write_to_stdout(target, query, layout)
        else:
            result = write_file(target, query, layout, path, replace=cursor is None)
        if cursor is not None:
            cursor.write(changed_to)  # last, so that rows that could not be written are in the next export
    report(f"{path}: {result}" if path is not None and result.rows else str(result))


def restart(configuration: Configuration, name: str, *, report: Callable[[str], None]) -> None:
    """Reset the cursor `name`, and report that the next export with it writes everything.

    Raises:
        GathererError: there is no such cursor, or it cannot be reset.

    """
    check_cursor_name(name)
    with open_target(configuration) as target:
        Cursor(target, name).reset()
    report(f"the cursor {name} is reset: the next export with --since-last {name} writes everything")


def _write_to_stdout(target: Target, query: Export, layout: Layout) -> ExportResult:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            newline=""
        )  # otherwise Windows would change the line ends that CSV has already
    result = write_responses(target, query, layout, sys.stdout.write)
    sys.stdout.flush()
    return result


def _check_endpoint(configuration: Configuration, target: Target, name: str) -> None:
    """Refuse an unknown endpoint: with a cursor, a mistyped name would skip the rows of the right one.

    An endpoint of another machine, or of an earlier configuration, is found by its responses in the target.

    Raises:
        ConfigurationError: the endpoint is neither configured nor in the target.

    """
    names = [endpoint.name for endpoint in configuration.endpoint]
    if name in names or (name.isprintable() and list(target.export(Export(view="endpoint", endpoint=name)))):
        return
    raise ConfigurationError(
        f"there is no endpoint {name!r}, nor any response from one; there are: {', '.join(names) or 'none'}"
    )


def check(options: ExportOptions, settings: config.Target) -> Layout:
    """Return the layout, with the defaults of the format for options that are not given.

    Raises:
        ConfigurationError: an option is not valid, or two cannot be combined.

    """
    if unknown := sorted(set(options.kinds) - set(Kind)):
        raise ConfigurationError(f"there is no kind {unknown[0]!r}; there are: {', '.join(Kind)}")
    if options.kinds and options.format == "opt-outs":
        raise ConfigurationError("--kind cannot be combined with --format opt-outs, which has two kinds")
    is_ferg = options.format == "ferg"
    date_format = options.date_format or ("%d.%m.%Y %H:%M" if is_ferg else None)
    if date_format is not None and date_format != UNIX:
        fill_in_time("--date-format", date_format)
    zone = time_zone(options.time_zone or (settings.time_zone if is_ferg else "UTC"))
    if (options.delimiter or options.bom) and options.format in ("ndjson", "ferg"):
        raise ConfigurationError(f"--delimiter and --bom cannot be combined with --format {options.format}")
    return Layout(
        format=options.format,
        date_format=date_format,
        zone=zone,
        delimiter=delimiter(options.delimiter),
        bom=options.bom,
    )

"""An export, from the command line's options to the file."""

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, cast
from zoneinfo import ZoneInfo

from gatherer import config
from gatherer.app.output_path import dated_file, filled
from gatherer.app.resources import open_target
from gatherer.config import Configuration
from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError
from gatherer.model.records import Kind
from gatherer.targets.base import Export, Target

if TYPE_CHECKING:
    from gatherer.pipeline import export


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What `gatherer export` was asked for, as the command line has it."""

    format_name: str = "csv"
    since: datetime | None = None
    until: datetime | None = None
    since_last: str | None = None
    endpoint: str | None = None
    kinds: tuple[str, ...] = ()
    output: Path | None = None
    date_format: str | None = None
    time_zone: str | None = None


def export_once(configuration: Configuration, options: ExportOptions, *, tell: Callable[[str], None]) -> int:
    """Write responses to standard output or to a file, and return how many.

    Raises:
        ConfigurationError: an option is wrong.
        GathererError: the target cannot be read, or the file cannot be written.

    """
    from gatherer.pipeline import export

    settings = configuration.target
    layout = _layout(options, settings)
    if unknown := sorted(set(options.kinds) - set(Kind)):
        raise ConfigurationError(f"there is no kind {unknown[0]!r}; there are: {', '.join(Kind)}")
    cursor = (
        export.Cursor(settings.state_folder, options.since_last) if options.since_last is not None else None
    )
    path = None if options.output is None else dated_file("--output", options.output)
    if path is not None and cursor is not None and os.path.lexists(path):
        raise export.taken(path)
    with open_target(configuration) as target:
        if options.endpoint is not None:
            _check_endpoint(configuration, target, options.endpoint)
        # It waits for whoever is writing. Without a cursor nothing can be missed for good.
        horizon = target.horizon() if cursor else timestamps.LATEST
        what = Export(
            since=options.since or timestamps.EARLIEST,
            until=options.until or timestamps.LATEST,
            changed_from=(cursor and cursor.read()) or timestamps.EARLIEST,
            changed_to=horizon,
            endpoint=options.endpoint,
            kinds=options.kinds,
        )
        if path is None:
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(newline="")  # Windows would add to the line ends that CSV has already
            count = export.export(target, what, layout, sys.stdout.write)
            sys.stdout.flush()
        else:
            count = export.to_file(target, what, layout, path, replace=cursor is None)
            tell(f"{path}: {count} responses" if count else "nothing to export")
    if cursor is not None:
        cursor.write(horizon)  # last, so that what could not be written comes again
    return count


def _check_endpoint(configuration: Configuration, target: Target, name: str) -> None:
    """Refuse an endpoint that is none: a cursor would pass by what its right name has.

    It may be one that is configured on another machine, or was once: then there is something from it.
    """
    names = [one.name for one in configuration.endpoint]
    if name in names or (name.isprintable() and list(target.export(Export(view="endpoint", endpoint=name)))):
        return
    raise ConfigurationError(
        f"there is no endpoint {name!r}, nor any response from one; there are: {', '.join(names) or 'none'}"
    )


def _layout(options: ExportOptions, settings: config.Target) -> "export.Layout":
    """Return how the export is written, with what its format usually has where nothing was said.

    Raises:
        ConfigurationError: there is no such time zone, or no time can be written like that.

    """
    from gatherer.pipeline import export

    ferg = options.format_name == "ferg"
    date_format = options.date_format or ("%d.%m.%Y %H:%M" if ferg else None)
    if date_format is not None and date_format != export.UNIX:
        filled("--date-format", date_format)
    return export.Layout(
        format=cast("export.Format", options.format_name),
        date_format=date_format,
        zone=_zone(options.time_zone or (settings.time_zone if ferg else "UTC")),
    )


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ConfigurationError(
            f"there is no time zone {name!r}; write an IANA name such as Europe/London"
        ) from None

"""Reading the configuration, and opening what it names: the inbox and the target."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from gatherer import config, providers
from gatherer.config import Configuration
from gatherer.inbox.base import Inbox
from gatherer.secret import Secret, TargetSecret
from gatherer.targets.base import Target

ENDPOINTS: Final = frozenset({Secret.area})  # the secrets that `serve` needs
TARGET: Final = frozenset({TargetSecret.area})  # and those of whatever opens the target


def load(path: Path | None, *, secrets: bool | AbstractSet[str]) -> Configuration:
    """Read the configuration at `path`, or where it is looked for by default. See `config.load`."""
    return config.load(config.find(path), secrets=secrets, providers=providers.names())


@contextmanager
def open_inbox(configuration: Configuration) -> Iterator[Inbox]:
    """Open the inbox for reading, for the duration of the block."""
    from gatherer.inbox.reader import LocalInbox

    with closing(LocalInbox(configuration.inbox.path)) as inbox:
        yield inbox


@contextmanager
def open_target(configuration: Configuration, *, dry_run: bool = False) -> Iterator[Target]:
    """Open the target, for the duration of the block. Needs its secrets."""
    settings = configuration.target
    with closing(target_of(settings, dry_run=dry_run)) as target:
        target.settle(time_zone=settings.time_zone, attribution_hours=settings.attribution_hours)
        yield target


def target_of(settings: config.Target, *, dry_run: bool = False) -> Target:
    """Return the target that `settings` describe, open; somebody has to close it."""
    if isinstance(settings, config.SQLServerTarget):
        from gatherer.targets.sqlserver import connection
        from gatherer.targets.sqlserver.target import SQLServerTarget

        access = connection.access(settings)
        return SQLServerTarget(access, schema_name=settings.schema_name, dry_run=dry_run)
    from gatherer.targets.sqlite.target import SQLiteTarget

    return SQLiteTarget(settings.path, dry_run=dry_run)

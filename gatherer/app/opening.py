"""Reading the configuration, and opening what it names: the inbox and the target."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from gatherer import config, opt_outs, providers
from gatherer.config import Configuration
from gatherer.errors import ConfigurationError
from gatherer.inbox.base import Inbox
from gatherer.secret import InboxSecret, PrivacySecret, Secret, TargetSecret
from gatherer.targets.base import Target

ENDPOINTS: Final = frozenset({Secret.area})  # the secrets that `serve` needs
TARGET: Final = frozenset({TargetSecret.area})  # and those of whatever opens the target
READING: Final = TARGET | {InboxSecret.area}  # and those of whatever opens an inbox as well
GATHERING: Final = READING | {PrivacySecret.area}  # and those of whatever makes records


def load(path: Path | None, *, secrets: bool | AbstractSet[str]) -> Configuration:
    """Read the configuration at `path`, or where it is looked for by default. See `config.load`."""
    return config.load(config.find(path), secrets=secrets, providers=providers.names())


@contextmanager
def open_inbox(configuration: Configuration, name: str | None = None) -> Iterator[Inbox]:
    """Open the inbox `name` for reading, for the duration of the block.

    None is the only one there is; of several, the one on this machine.

    Raises:
        ConfigurationError: there is none of that name, or several are on this machine, or none.
        GathererError: it cannot be read.

    """
    inboxes = configuration.named_inboxes
    if name is None:
        name, settings = next(iter(inboxes.items())) if len(inboxes) == 1 else ("", configuration.inbox)
    elif name in inboxes:
        settings = inboxes[name]
    else:
        raise ConfigurationError(f"there is no inbox {name!r}; there are: {', '.join(inboxes)}")
    with closing(_inbox_of(name, settings)) as inbox:
        yield inbox


def _inbox_of(name: str, settings: config.Inbox | config.OfferedInbox) -> Inbox:
    """Return the inbox that `settings`, loaded with their secrets, describe, open; somebody has to close it."""
    if isinstance(settings, config.OfferedInbox):
        from gatherer.inbox.remote import RemoteInbox
        from gatherer.inbox.transport import Address

        return RemoteInbox(
            name,
            Address(
                url=settings.url,
                token=settings.token.reveal(),
                admin_token=settings.admin_token.reveal() if settings.admin_token else None,
                ca=settings.ca,
                pin=settings.pin,
            ),
        )
    from gatherer.inbox.reader import LocalInbox

    return LocalInbox(settings.path)


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


def opt_out_words(configuration: Configuration) -> opt_outs.Words:
    """Return which words are an opt-out at which endpoint; the default ones at endpoints not configured here."""
    words = {
        endpoint.name: opt_outs.normalised(endpoint.opt_out_keywords) for endpoint in configuration.endpoint
    }
    return lambda endpoint: words[endpoint] if endpoint in words else opt_outs.default_words(endpoint)

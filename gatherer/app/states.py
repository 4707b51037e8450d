"""The state of all inboxes and of the target: one inbox that cannot be read does not hide the others."""

from typing import Any

from gatherer import certificates, config, report
from gatherer.app.opening import open_inbox, open_target
from gatherer.app.several import worst
from gatherer.app.writing import inbox_room
from gatherer.config import Configuration
from gatherer.errors import GathererError


def status(configuration: Configuration) -> tuple[dict[str, Any], int]:
    """Return where things stand, as plain values, and an exit code.

    Raises:
        GathererError: the target cannot be read, or the only inbox of an `[inbox]`.

    """
    codes = []
    if not configuration.has_several_inboxes:
        with open_inbox(configuration) as inbox, open_target(configuration, dry_run=True) as target:
            state = report.status(inbox, target)
        state["inbox"] |= inbox_room(configuration.inbox) or {}
        return state | _certificate(configuration), 0
    with open_target(configuration, dry_run=True) as target:
        inboxes: list[dict[str, Any]] = []
        for name, settings in configuration.named_inboxes.items():
            where = settings.url if isinstance(settings, config.OfferedInbox) else str(settings.path)
            described: dict[str, Any] = {"name": name, "where": where}
            try:
                with open_inbox(configuration, name) as inbox:
                    described |= report.of_inbox(inbox, target) | {"problem": None}
                if isinstance(settings, config.Inbox):
                    described |= inbox_room(settings) or {}
            except GathererError as error:
                described["problem"] = str(error)
                codes.append(error.exit_code)
            inboxes.append(described)
        return {"inboxes": inboxes, **report.of_target(target), **_certificate(configuration)}, worst(codes)


def _certificate(configuration: Configuration) -> dict[str, Any]:
    path = configuration.server.tls_certificate
    return {} if path is None else {"certificate": certificates.state(path)}

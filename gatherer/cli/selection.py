"""The options of several commands that select notifications."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from gatherer.inbox.base import Selection


HIGHEST_ID: Final = 2**63 - 1  # that SQLite can store


class Moment(click.ParamType[datetime]):
    """A time such as 2026-11-20, 2026-11-20T18:30 or 2026-11-20T18:30:00+01:00. Without a zone it is UTC."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:  # noqa: D102
        from datetime import UTC

        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"invalid time {value!r}; write 2026-11-20 or 2026-11-20T18:30+01:00", param, ctx)


class NotificationId(click.IntRange):
    """An id of a notification, or a number of them: from 1 to `HIGHEST_ID`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: D102
        number: int = super().convert(value, param, ctx)
        if number > HIGHEST_ID:  # no `max`, which would be in the help of each option
            self.fail(f"{number} is too large: the highest possible id is {HIGHEST_ID}", param, ctx)
        return number


NOTIFICATION_ID: Final = NotificationId(min=1)


def selection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select notifications."""
    for option in reversed(
        (
            click.option(
                "--id",
                "ids",
                type=NOTIFICATION_ID,
                multiple=True,
                metavar="N",
                help="The notification N; repeatable.",
            ),
            click.option(
                "--from-id", type=NOTIFICATION_ID, metavar="N", help="Notifications from this id on."
            ),
            click.option("--to-id", type=NOTIFICATION_ID, metavar="N", help="Notifications up to this id."),
            click.option(
                "--since",
                type=Moment(),
                metavar="TIME",
                help="Received at or after TIME (UTC, or with a zone).",
            ),
            click.option("--until", type=Moment(), metavar="TIME", help="Received before TIME."),
            click.option("--endpoint", metavar="NAME", help="Received at this endpoint."),
        )
    ):
        command = option(command)
    return command


def make_selection(
    ids: tuple[int, ...],
    *,
    from_id: int | None,
    to_id: int | None,
    since: datetime | None,
    until: datetime | None,
    endpoint: str | None,
) -> "Selection":
    """Return the selection for the values of `selection_options`; without values, everything.

    Raises:
        click.UsageError: a range of ids or times is empty.

    """
    from gatherer.inbox.base import Selection

    if from_id is not None and to_id is not None and from_id > to_id:
        raise click.UsageError(
            f"--from-id {from_id} is above --to-id {to_id}: no notification is in that range"
        )
    check_period(since, until)
    return Selection(
        ids=frozenset(ids) if ids else None,
        from_id=from_id,
        to_id=to_id,
        since=since,
        until=until,
        endpoint=endpoint,
    )


def check_period(since: datetime | None, until: datetime | None) -> None:
    """Check that there is time between the values of --since and --until; None: not given.

    Raises:
        click.UsageError: `until` is not later than `since`.

    """
    if since is not None and until is not None and since >= until:
        raise click.UsageError(
            f"--until {until.isoformat()} is not later than --since {since.isoformat()}: nothing is in that period"
        )

"""Options that choose notifications, as several commands have them."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gatherer.inbox.base import Selection


class Moment(click.ParamType[datetime]):
    """A time such as 2026-11-20, 2026-11-20T18:30 or 2026-11-20T18:30:00+01:00; UTC without a zone."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:  # noqa: D102
        from datetime import UTC

        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time; write 2026-11-20 or 2026-11-20T18:30+01:00", param, ctx)


class Number(click.IntRange):
    """An id; one that no database can hold is the same as the highest: it does not exist."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: D102
        number: int = super().convert(value, param, ctx)
        return min(number, HIGHEST)


HIGHEST = 2**63 - 1
NUMBER = Number(min=1)


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose notifications."""
    for option in reversed(
        (
            click.option(
                "--id", "ids", type=NUMBER, multiple=True, metavar="N", help="This notification; repeatable."
            ),
            click.option("--from-id", type=NUMBER, metavar="N", help="Notifications from this id on."),
            click.option("--to-id", type=NUMBER, metavar="N", help="Notifications up to this id."),
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


def selected(ids: tuple[int, ...], **others: Any) -> "Selection":
    """Return what the options of `choosing` choose; without any, everything."""
    from gatherer.inbox.base import Selection

    return Selection(ids=frozenset(ids) if ids else None, **others)

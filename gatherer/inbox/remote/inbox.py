"""Reading the inbox of another machine, which its `gatherer serve` offers under `[pull]`.

While a batch is decoded and applied, the next one is on its way, in a thread. A connection that breaks costs
nothing: whatever frames have come are kept, and the rest is asked for again.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import requests

from gatherer.inbox.base import Bounds, InboxStatus, Row, Selection, as_notification, within
from gatherer.inbox.remote import protocol
from gatherer.inbox.remote.client import Address, Client, Patience, TransientError
from gatherer.model import timestamps
from gatherer.model.errors import GathererError, InboxError
from gatherer.model.notification import Notification

if TYPE_CHECKING:
    from gatherer.inbox.redaction import InboxRedaction

log = logging.getLogger(__name__)

_V: Final = f"/v{protocol.VERSION}"
_IDS_AT_ONCE: Final = 300  # of a selection, so that the URL does not get too long
_EVERYTHING: Final = Selection()


class _Ahead(NamedTuple):
    """What is on its way before it is asked for."""

    after: int
    rows: "Future[list[Row]]"


class RemoteInbox:
    """The inbox of another machine."""

    def __init__(self, name: str, address: Address, *, patience: Patience = Patience()) -> None:  # noqa: B008
        """Ask the server at `address` which inbox it has. `name` is for messages.

        Raises:
            InboxError: that is none, or it does not accept us.
            TemporaryError: it cannot be reached just now.

        """
        self._client = Client(name, address, patience=patience)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"pull-{name}")
        self._ahead: _Ahead | None = None
        self._unheard = False
        try:
            about = self._about()
        except BaseException:
            self.close()
            raise
        self.identity: str = about["inbox_id"]
        self._end: int = about["last_id"]

    def last_id(self) -> int:
        """Return the highest id ever given out, 0 if there was none yet."""
        self._end = self._same()["last_id"]
        return self._end

    def first_id(self) -> int | None:
        """Return the id of the oldest notification that is still there."""
        first: int | None = self._same()["first_id"]
        return first

    def read(self, after: int, bounds: Bounds) -> list[Notification]:
        """Return the next notifications after id `after`, oldest first; an empty list at the end."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.after == after:
            rows = ahead.rows.result()
        else:
            rows = self._fetch(_EVERYTHING, after, bounds)
        rows = within(rows, bounds)  # what came ahead may be more
        if rows and rows[-1][0] < self._end:
            last = rows[-1][0]
            self._ahead = _Ahead(last, self._thread.submit(self._fetch, _EVERYTHING, last, bounds))
        return [as_notification(row, self.identity) for row in rows]

    def select(self, selection: Selection, bounds: Bounds) -> Iterator[list[Notification]]:
        """Yield the selected notifications in batches, oldest first."""
        ids = sorted(selection.ids) if selection.ids is not None else None
        for start in range(0, 1 if ids is None else len(ids), _IDS_AT_ONCE):
            part = selection
            if ids is not None:
                part = Selection(**vars(selection) | {"ids": frozenset(ids[start : start + _IDS_AT_ONCE])})
            after = 0
            while rows := self._fetch(part, after, bounds):
                yield [as_notification(row, self.identity) for row in rows]
                after = rows[-1][0]

    def get(self, id: int) -> Notification | None:  # noqa: A002
        """Return the notification `id`, or None if it is not (any more) there."""
        rows = self._fetch(Selection(from_id=id, to_id=id), id - 1, Bounds(rows=1))
        return as_notification(rows[0], self.identity) if rows else None

    def acknowledge(self, consumer: str, notification_id: int) -> None:
        """Tell the server that `consumer` has everything up to `notification_id`; if possible: it is advisory."""
        said = {"inbox_id": self.identity, "consumer": consumer, "notification_id": notification_id}
        content = json.dumps(said).encode()
        headers = {"Content-Type": "application/json", "Content-Digest": protocol.digest(content)}
        attempts = 2 if not self._unheard else 1  # it is advisory: no reason to wait for long
        for attempt in range(attempts):
            try:
                self._client.request("POST", f"{_V}/acknowledgement", data=content, headers=headers).close()
            except (TransientError, GathererError) as error:
                if attempt + 1 == attempts:
                    level = logging.DEBUG if self._unheard else logging.WARNING
                    self._unheard = True
                    log.log(
                        level, "%s was not told what is gathered, which delays purging: %s", self._name, error
                    )
            else:
                return

    def redact(self, redactions: "Iterable[InboxRedaction]") -> int:
        """Have the server do `redactions`, for which it wants the admin token; return how many were done.

        Raises:
            InboxError: the server does not accept us as such.
            TemporaryError: it cannot do it just now; what is left can be done again.

        """
        from gatherer.inbox.redaction import steps, to_json_values

        done = 0
        for step in list(steps(redactions)) or [[]]:
            said = {"inbox_id": self.identity, "notifications": to_json_values(step)}
            content = json.dumps(said).encode()
            headers = {"Content-Type": "application/json", "Content-Digest": protocol.digest(content)}
            done += self._persistently_scrub(content, headers)
        return done

    def _persistently_scrub(self, content: bytes, headers: dict[str, str]) -> int:
        attempt = 1
        while True:
            try:
                response = self._client.request(
                    "POST", f"{_V}/erasure", as_admin=True, data=content, headers=headers
                )
                return int(json.loads(self._client.whole(response))["done"])
            except TransientError as passing:
                attempt = self._client.with_retry(attempt, passing)

    def status(self) -> InboxStatus:
        """Return what the inbox holds."""
        about = self._same(statistics="1")
        return InboxStatus(
            identity=self.identity,
            first_id=about["first_id"],
            last_id=about["last_id"],
            count=about["count"],
            bytes=about["bytes"],
        )

    def close(self) -> None:
        """Let go of the connections. What is on its way is not waited for longer than it takes to fail."""
        self._client.close()
        self._thread.shutdown(wait=True, cancel_futures=True)

    @property
    def _name(self) -> str:
        return self._client.name

    def _same(self, **query: str) -> dict[str, Any]:
        """Return what the server says about the inbox, which has to be the one that was opened."""
        about = self._about(**query)
        if about["inbox_id"] != self.identity:
            raise self._client.replaced()
        return about

    def _about(self, **query: str) -> dict[str, Any]:
        attempt = 1
        while True:
            try:
                response = self._client.request("GET", f"{_V}/inbox", params=query)
                content = self._client.whole(response)
            except TransientError as passing:
                attempt = self._client.with_retry(attempt, passing)
                continue
            try:
                about: dict[str, Any] = json.loads(content)
                if about["protocol"] == protocol.VERSION and isinstance(about["last_id"], int):
                    str(about["inbox_id"]), about["first_id"]
                    return about
            except (ValueError, LookupError, TypeError):
                pass
            raise InboxError(f"{self._name}: that is no [pull] of a gatherer that this one understands")

    def _fetch(self, selection: Selection, after: int, bounds: Bounds) -> list[Row]:
        """Return the next selected notifications, however often the connection breaks."""
        rows: list[Row] = []
        left, attempt = bounds, 1
        while True:
            response = None
            try:
                query = _query(selection, self.identity, after, left)
                response = self._client.request("GET", f"{_V}/notifications", params=query, stream=True)
                with self._client.failing():
                    for batch in protocol.read(_receive(response), inbox_id=self.identity, after=after):
                        rows += batch
                        after, attempt = batch[-1][0], 1  # what has come is kept
                        size = sum(len(row[4]) for row in batch)
                        left = Bounds(rows=left.rows - len(batch), bytes=left.bytes - size)
            except protocol.CorruptFrameError as damaged:
                failure = TransientError(f"an answer was damaged: {damaged}")
            except TransientError as passing:
                failure = passing
            else:
                return rows
            finally:
                if response is not None:
                    response.close()
            if rows and (left.rows <= 0 or left.bytes <= 0):  # only the end is missing
                return rows
            attempt = self._client.with_retry(attempt, failure)


def _receive(response: requests.Response) -> Any:
    return lambda length: response.raw.read(length, decode_content=False)


def _query(selection: Selection, inbox_id: str, after: int, bounds: Bounds) -> dict[str, str]:
    values: dict[str, object] = {
        "inbox_id": inbox_id,
        "after": after,
        "rows": bounds.rows,
        "bytes": bounds.bytes,
        "from_id": selection.from_id,
        "to_id": selection.to_id,
        "since": max(1, timestamps.to_milliseconds(selection.since)) if selection.since else None,
        "until": max(1, timestamps.to_milliseconds(selection.until)) if selection.until else None,
        "endpoint": selection.endpoint,
        "ids": ",".join(map(str, sorted(selection.ids))) if selection.ids is not None else None,
    }
    return {name: str(value) for name, value in values.items() if value is not None}

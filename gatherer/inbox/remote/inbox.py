"""The inbox of another machine, which its `gatherer serve` offers under `[pull]`.

While the caller decodes and applies a batch, a thread fetches the next one. A broken connection loses nothing: the
frames that have arrived are kept, and the rest is requested again.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import requests

from gatherer.inbox.base import Bounds, InboxStatus, Row, Selection, as_notification, within
from gatherer.inbox.remote import protocol
from gatherer.inbox.remote.client import RETRY_POLICY, Address, Client, TransientError
from gatherer.model import timestamps
from gatherer.model.errors import GathererError, InboxError
from gatherer.model.notification import Notification
from gatherer.model.retry import RetryPolicy

if TYPE_CHECKING:
    from gatherer.inbox.redaction import InboxRedaction

log = logging.getLogger(__name__)

_V: Final = f"/v{protocol.VERSION}"
_IDS_PER_REQUEST: Final = 300  # of a selection, so that the URL does not get too long
_EVERYTHING: Final = Selection()


class _Prefetch(NamedTuple):
    """The batch after notification `after`, which a thread is fetching."""

    after: int
    rows: "Future[list[Row]]"


class RemoteInbox:
    """The inbox of another machine."""

    def __init__(self, name: str, address: Address, *, retry_policy: RetryPolicy = RETRY_POLICY) -> None:
        """Request from the server at `address` the identity of its inbox. `name` is for messages.

        Raises:
            InboxError: the server offers no inbox, or does not accept the token.
            TemporaryError: the server cannot be reached at present.

        """
        self._client = Client(name, address, retry_policy=retry_policy)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"pull-{name}")
        self._prefetch: _Prefetch | None = None
        self._acknowledgement_failed = False
        try:
            about = self._about()
        except BaseException:
            self.close()
            raise
        self.identity: str = about["inbox_id"]
        self.has_contiguous_ids: bool = about["has_contiguous_ids"]
        self._end: int = about["last_id"]

    def last_id(self) -> int:
        """Return the highest id ever assigned, 0 if there was none yet."""
        self._end = self._about_same_inbox()["last_id"]
        return self._end

    def first_id(self) -> int | None:
        """Return the id of the oldest notification that has not been purged; None when there is none."""
        first: int | None = self._about_same_inbox()["first_id"]
        return first

    def purged_to(self) -> int:
        """Return the highest id that was purged, 0 if there is none."""
        purged_to: int = self._about_same_inbox()["purged_to"]
        return purged_to

    def read(self, after: int, bounds: Bounds) -> list[Notification]:
        """Return the next notifications after id `after`, oldest first; an empty list at the end."""
        prefetch, self._prefetch = self._prefetch, None
        if prefetch is not None and prefetch.after == after:
            rows = prefetch.rows.result()
        else:
            rows = self._fetch(_EVERYTHING, after, bounds)
        rows = within(rows, bounds)  # the prefetched batch may be larger
        if rows and rows[-1][0] < self._end:
            last = rows[-1][0]
            self._prefetch = _Prefetch(last, self._thread.submit(self._fetch, _EVERYTHING, last, bounds))
        return [as_notification(row, self.identity) for row in rows]

    def select(self, selection: Selection, bounds: Bounds) -> Iterator[list[Notification]]:
        """Yield the selected notifications in batches, oldest first."""
        ids = sorted(selection.ids) if selection.ids is not None else None
        for start in range(0, 1 if ids is None else len(ids), _IDS_PER_REQUEST):
            request_selection = selection
            if ids is not None:
                request_ids = frozenset(ids[start : start + _IDS_PER_REQUEST])
                request_selection = Selection(**vars(selection) | {"ids": request_ids})
            after = 0
            while rows := self._fetch(request_selection, after, bounds):
                yield [as_notification(row, self.identity) for row in rows]
                after = rows[-1][0]

    def get(self, id: int) -> Notification | None:  # noqa: A002
        """Return the notification `id`, or None if the inbox does not hold it."""
        rows = self._fetch(Selection(from_id=id, to_id=id), id - 1, Bounds(rows=1))
        return as_notification(rows[0], self.identity) if rows else None

    def acknowledge(self, consumer: str, notification_id: int) -> None:
        """Tell the server that `consumer` has everything up to `notification_id`. Advisory: a failure is only logged."""
        message = {"inbox_id": self.identity, "consumer": consumer, "notification_id": notification_id}
        content, headers = _json_body(message)
        attempts = 2 if not self._acknowledgement_failed else 1  # advisory: not worth a wait
        for attempt in range(attempts):
            try:
                self._client.request("POST", f"{_V}/acknowledgement", data=content, headers=headers).close()
            except (TransientError, GathererError) as error:
                if attempt + 1 == attempts:
                    level = logging.DEBUG if self._acknowledgement_failed else logging.WARNING
                    self._acknowledgement_failed = True
                    log.log(
                        level,
                        "%s could not be notified of what is gathered, which delays purging: %s",
                        self._name,
                        error,
                    )
            else:
                return

    def redact(self, redactions: "Iterable[InboxRedaction]") -> int:
        """Have the server perform `redactions`, which needs the admin token; return how many notifications changed.

        Raises:
            InboxError: the server does not accept the admin token.
            TemporaryError: the server cannot perform them at present; the rest can be submitted again.

        """
        from gatherer.inbox.redaction import steps, to_json_values

        changed = 0
        for step in list(steps(redactions)) or [[]]:
            message = {"inbox_id": self.identity, "notifications": to_json_values(step)}
            changed += self._client.with_retry(partial(self._post_redactions, message))
        return changed

    def _post_redactions(self, message: dict[str, Any]) -> int:
        content, headers = _json_body(message)
        response = self._client.request("POST", f"{_V}/erasure", as_admin=True, data=content, headers=headers)
        return int(json.loads(self._client.read_verified(response))["done"])

    def status(self) -> InboxStatus:
        """Return what the inbox holds."""
        about = self._about_same_inbox(statistics="1")
        return InboxStatus(
            identity=self.identity,
            first_id=about["first_id"],
            last_id=about["last_id"],
            count=about["count"],
            bytes=about["bytes"],
            missing=about["missing"],
        )

    def close(self) -> None:
        """Close the connections, which ends the thread that fetches."""
        self._client.close()
        self._thread.shutdown(wait=True, cancel_futures=True)

    @property
    def _name(self) -> str:
        return self._client.name

    def _about_same_inbox(self, **query: str) -> dict[str, Any]:
        """Return what the server says about the inbox that this object opened.

        Raises:
            TemporaryError: another inbox has replaced the opened one.

        """
        about = self._about(**query)
        if about["inbox_id"] != self.identity:
            raise self._client.replaced_error()
        return about

    def _about(self, **query: str) -> dict[str, Any]:
        """Return what the server says about its inbox."""

        def get() -> bytes:
            return self._client.read_verified(self._client.request("GET", f"{_V}/inbox", params=query))

        content = self._client.with_retry(get)
        try:
            about: dict[str, Any] = json.loads(content)
            if (
                about["protocol"] == protocol.VERSION
                and isinstance(about["last_id"], int)
                and isinstance(about["purged_to"], int)
                and isinstance(about["has_contiguous_ids"], bool)
            ):
                str(about["inbox_id"]), about["first_id"]
                return about
        except (ValueError, LookupError, TypeError):
            pass
        raise InboxError(
            f"{self._name}: the URL is not that of a [pull] in a version of gatherer that this one understands"
        )

    def _fetch(self, selection: Selection, after: int, bounds: Bounds) -> list[Row]:
        """Return the next selected notifications; a broken connection is opened again, and the rest requested."""
        rows: list[Row] = []
        remaining, attempt = bounds, 1
        while True:
            response = None
            try:
                query = _query(selection, self.identity, after, remaining)
                response = self._client.request("GET", f"{_V}/notifications", params=query, stream=True)
                with self._client.translate_errors():
                    for batch in protocol.read(_receive(response), inbox_id=self.identity, after=after):
                        rows += batch  # kept, also if the connection breaks after it
                        after, attempt = batch[-1][0], 1
                        size = sum(len(row[4]) for row in batch)
                        remaining = Bounds(rows=remaining.rows - len(batch), bytes=remaining.bytes - size)
            except protocol.CorruptFrameError as error:
                failure = TransientError(f"a response was damaged: {error}")
            except TransientError as error:
                failure = error
            else:
                return rows
            finally:
                if response is not None:
                    response.close()
            if rows and (remaining.rows <= 0 or remaining.bytes <= 0):  # only the end frame is missing
                return rows
            self._client.wait_for_retry(attempt, failure)
            attempt += 1


def _json_body(message: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Return `message` as the body of a request, and the headers that describe it."""
    content = json.dumps(message).encode()
    return content, {"Content-Type": "application/json", "Content-Digest": protocol.digest(content)}


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

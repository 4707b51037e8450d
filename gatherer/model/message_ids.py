"""Two ids of one message, as responses tell them.

A target keeps the pairs, and puts WhatsApp's id in the place of the provider's in all rows, whether they came before the
pair or after it: views, exports and attribution see one message.
"""

from collections.abc import Iterable

from gatherer.model.merge import fold
from gatherer.model.records import WHATSAPP, MessageIdPair, Record, Response, make_key


def pairs(records: Iterable[Record]) -> list[MessageIdPair]:
    """Return the pairs of ids that `records` tell, one of each. See :func:`told_pairs`."""
    return fold(told_pairs(records))


def told_pairs(records: Iterable[Record]) -> list[MessageIdPair]:
    """Return the pair of ids of each of `records` that tells one, so that the same one may come several times.

    `records` must not be folded yet: of two deliveries of one fact with different ids of the provider, the merge keeps
    one id, but both are true.
    """
    made = []
    for record in records:
        if type(record) is not Response or record.provider_message_id is None:
            continue
        message_id, provider_message_id = record.message_id, record.provider_message_id
        if message_id is None or message_id == provider_message_id:
            continue
        pair = MessageIdPair(
            key=make_key(WHATSAPP, MessageIdPair.table, message_id, provider_message_id),
            provider=record.provider,
            endpoint=record.endpoint,
            inbox_id=record.inbox_id,
            notification_id=record.notification_id,
            received_at=record.received_at,
            occurred_at=record.occurred_at,
            occurred_at_source=record.occurred_at_source,
            account_id=record.account_id,
            is_test=record.is_test,
            provider_message_id=provider_message_id,
            message_id=message_id,
        )
        made.append(pair)
    return made

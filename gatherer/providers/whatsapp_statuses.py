"""WhatsApp's `statuses[]`: receipts for our messages, which several providers pass on unchanged.

Facts: Meta's page `webhooks/reference/messages/status` (14 September 2026), and what real traffic showed
beyond it.
"""

from typing import Any, Final

from gatherer.phones import e164
from gatherer.providers.base import BadElement
from gatherer.providers.elements import as_json, flag, identifier, integer, items, mapping, reference, text
from gatherer.providers.origin import Origin, other
from gatherer.providers.whatsapp_people import find
from gatherer.records import WHATSAPP, Kind, Record, make_key

STATUS_KINDS: Final = {
    "sent": Kind.SENT,
    "delivered": Kind.DELIVERED,
    "read": Kind.READ,
    "failed": Kind.FAILED,
    "played": Kind.PLAYED,  # first play of our voice message, since November 2025; stronger than read
    # Every other word is an other event. Known ones:
    #   deleted: on-premises; the *person* deleted a message, and `id` is the id of that message
    #   warning: on-premises; an item of the catalogue in our message is not available
    #   accepted, held_for_quality_assessment, paused: words of the send call that relays forward
    #   pending, captured, refunded, RINGING, …: payments and calls, which also say so in `type`
}

# What an everyday receipt consists of. Only one that says more is looked at more closely.
EVERYDAY: Final = frozenset(
    "id status timestamp recipient_id recipient_user_id biz_opaque_callback_data pricing".split()
)
# What is said by columns. Everything else that a status carries goes into its details.
IN_COLUMNS: Final = EVERYDAY | frozenset(
    "errors extra group_id participant_recipient_id recipient_participant_id recipient_participant_user_id"
    " recipient_type type".split()
)
PRICES: Final = frozenset("category pricing_model type billable".split())


def decode_status(origin: Origin, status: Any) -> Record:
    """Return the receipt in one element of `statuses[]`, or an other event if it is none.

    Raises:
        BadElement: it has no id or no status, or an id of the wrong type.

    """
    if type(status) is not dict:
        raise BadElement("a status must be an object")
    get = status.get
    message_id = identifier(get("id"), "the id of a status")
    word = identifier(get("status"), "the word of a status")
    kind = STATUS_KINDS.get(word)
    if kind is None or not EVERYDAY.issuperset(status):
        return _decode_closely(origin, status, message_id, word)
    raw = reference(get("recipient_id"), "recipient_id")
    user_id = reference(get("recipient_user_id"), "recipient_user_id")
    return _receipt(origin, status, kind, message_id, raw, user_id)


def _decode_closely(origin: Origin, status: dict[str, Any], message_id: str, word: str) -> Record:
    """Return the record of a status that says more than most."""
    get = status.get
    kind = STATUS_KINDS.get(word.lower())
    raw = reference(get("recipient_id"), "recipient_id")
    user_id = reference(get("recipient_user_id"), "recipient_user_id")
    group_id = reference(get("group_id"), "group_id")
    member = reference(get("recipient_participant_id") or get("participant_recipient_id"))  # Meta prints both
    member_user = reference(get("recipient_participant_user_id"))
    participant = ""
    if group_id or member or member_user or get("recipient_type") == "group":
        group_id = group_id or raw  # recipient_id is then the group's, never a phone
        raw, user_id = member, member_user
        participant = e164(raw) or user_id or raw or ""
    elif raw is None:
        message = mapping(get("message"))  # on-premises repeats the recipient there
        raw = reference(message.get("recipient_id") or get("from"))  # payments of some relays: from

    what = get("type")
    if kind is None or what not in (None, "message"):
        # A payment repeats a word with other content (a second refund); any other word comes once.
        identity = None if what not in (None, "message") else f"{message_id}\x1f{word.lower()}\x1f{participant}"
        return other(
            origin,
            status,
            "statuses",
            word,
            identity,
            message_id=message_id,
            phone=e164(raw),
            user_id=user_id,
        )
    rest = {name: status[name] for name in status if name not in IN_COLUMNS}
    return _receipt(origin, status, kind, message_id, raw, user_id, participant, group_id, rest)


def _receipt(
    origin: Origin,
    status: dict[str, Any],
    kind: Kind,
    message_id: str,
    raw: str | None,
    user_id: str | None,
    participant: str = "",
    group_id: str | None = None,
    rest: dict[str, Any] | None = None,
) -> Record:
    """Return the receipt `kind`. `rest` is what else the status said and no column has."""
    get = status.get
    person = find(origin.contacts, raw, user_id)
    columns: dict[str, Any] = {}
    ...

"""A row of the table `message_map`, which says to which campaign a message belongs."""

from typing import Final, NamedTuple

# The longest texts, in characters, that the columns of SQL Server can store.
WIDTHS: Final = {
    "message_id": 450,
    "client_reference": 850,
    "campaign": 255,
    "communication_key": 255,
    "urn": 255,
    "phone": 64,
    "business_phone": 64,
    "message_name": 255,
}


class MapRow(NamedTuple):
    """One message that was sent, with its campaign. The fields are columns of the table."""

    campaign: str
    message_id: str | None = None
    client_reference: str | None = None
    communication_key: str | None = None
    urn: str | None = None
    phone: str | None = None  # sent to, E.164
    business_phone: str | None = None  # sent from, E.164
    message_name: str | None = None
    sent_at: str | None = None  # UTC, as `targets.sql_datetime` writes it

    @property
    def identity(self) -> tuple[str | None, ...]:
        """What makes two rows the same message: the id, else reference and person, else who was sent what when."""
        if self.message_id is not None:
            return ("message_id", self.message_id)
        if self.client_reference is not None:
            return ("client_reference", self.client_reference, self.phone)
        return ("phone", self.phone, self.sent_at, self.communication_key, self.urn)

    @property
    def is_bound(self) -> bool:
        """Whether the row names its message, by the id or the reference."""
        return self.message_id is not None or self.client_reference is not None

    def over(self, older: "MapRow") -> "MapRow":
        """Return this row with the values of `older` where it has none."""
        given = {name: value for name, value in self._asdict().items() if value is not None}
        return older._replace(**given)

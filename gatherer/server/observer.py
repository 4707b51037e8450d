"""The calls with which the webhook handler and the inbox report what they do; metrics count them."""


class Observer:
    """Counts nothing. A subclass has to be quick: its methods are called for every request."""

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Be called when a request to `endpoint` ("-": to none) got `status`, `seconds` after its headers."""

    def authentication_failed(self, endpoint: str) -> None:
        """Be called when a request to `endpoint` did not authenticate, refused or quarantined."""

    def committed(self, rows: int) -> None:
        """Be called on the writer thread when `rows` notifications were committed together."""

"""What the receiver tells whoever counts: nobody, unless metrics are asked for."""


class Observer:
    """Counts nothing. What a subclass does here is done for every request, so it has to be quick."""

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Hear that a request to `endpoint` ("-": to none) got `status`, `seconds` after its headers had come."""

    def authentication_failed(self, endpoint: str) -> None:
        """Hear that a post to `endpoint` did not authenticate, whatever became of it."""

    def committed(self, rows: int) -> None:
        """Hear that so many notifications were committed together; called on the writer thread."""

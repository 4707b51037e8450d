"""The interface through which the server reports events to its metrics."""


class Observer:
    """Ignores all events. A subclass counts them. It is called for every request, so it has to be quick."""

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Record a response to a request.

        Args:
            endpoint: the name of the endpoint; "-": there is none at this path.
            status: of the response.
            seconds: from the arrival of the headers to the response.

        """

    def authentication_failed(self, endpoint: str) -> None:
        """Record that a request to `endpoint` did not authenticate. It is then refused or quarantined."""

    def committed(self, rows: int) -> None:
        """Record a commit of so many notifications. The writer thread calls this."""

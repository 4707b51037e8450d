"""What a session repeats, and which errors end it: without a server."""

import pytest

from gatherer.model.errors import TargetError, TemporaryError
from gatherer.model.retry import RetryPolicy
from gatherer.targets.sqlserver.connection import Access
from gatherer.targets.sqlserver.errors import Category, SQLServerError, translate_errors
from gatherer.targets.sqlserver.session import Session

POLICY = RetryPolicy(attempts=3, first_wait_seconds=0.001, longest_wait_seconds=0.002, deadline_seconds=60)


class RecordingSession(Session):
    """A session that counts what happens after errors; it never connects."""

    def __init__(self) -> None:
        super().__init__(Access.parse("Server=sql01;Database=campaigns"), retry_policy=POLICY)
        self.rollbacks = self.disconnects = 0

    def rollback(self) -> None:
        self.rollbacks += 1

    def disconnect(self) -> None:
        self.disconnects += 1


@pytest.fixture
def session() -> RecordingSession:
    return RecordingSession()


class Action:
    """Raises one error per call, then returns."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def deadlock() -> SQLServerError:
    return SQLServerError("Deadlock victim", category=Category.TRANSIENT, state="40001", number=1205)


def broken() -> SQLServerError:
    return SQLServerError("Link failure", category=Category.TRANSIENT, state="08S01")


def test_a_transient_error_is_rolled_back_and_repeated(session: RecordingSession) -> None:
    action = Action(deadlock(), deadlock())
    assert session.with_retry(action) == "done"
    assert (action.calls, session.rollbacks, session.disconnects) == (3, 2, 0)


def test_a_broken_connection_is_replaced(session: RecordingSession) -> None:
    assert session.with_retry(Action(broken())) == "done"
    assert session.disconnects == 1


def test_when_the_attempts_are_used_up_the_run_ends_with_75(session: RecordingSession) -> None:
    action = Action(*(deadlock() for _ in range(9)))
    with pytest.raises(TemporaryError, match=r"error 1205\); tried 3 times, nothing is lost") as caught:
        session.with_retry(action)
    assert (action.calls, session.rollbacks) == (3, 3)
    assert caught.value.exit_code == 75


def test_a_terminal_error_is_reported_at_once(session: RecordingSession) -> None:
    action = Action(SQLServerError("Login failed", category=Category.TERMINAL, state="28000", number=18456))
    with pytest.raises(TargetError, match="check user and password"):
        session.with_retry(action)
    assert (action.calls, session.rollbacks) == (1, 1)


def test_an_error_about_a_row_is_left_to_the_caller(session: RecordingSession) -> None:
    action = Action(SQLServerError("NULL", category=Category.ROW, state="23000", number=515))
    with pytest.raises(SQLServerError):
        session.with_retry(action)
    assert (action.calls, session.rollbacks) == (1, 1)


def test_an_interrupt_closes_the_connection(session: RecordingSession) -> None:
    """The server may still execute the statement."""
    with pytest.raises(KeyboardInterrupt):
        session.with_retry(Action(KeyboardInterrupt()))
    assert (session.rollbacks, session.disconnects) == (0, 1)


def test_an_error_at_the_end_of_an_inner_block_repeats_the_whole_block(session: RecordingSession) -> None:
    """As when COMMIT fails, although the block has returned."""
    errors = [deadlock()]

    class Transaction:
        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None:
            if errors:
                raise errors.pop()

    def commit() -> int:
        nonlocal begun
        retry = session.retry()
        while True:
            with retry, Transaction():
                begun += 1
                return begun

    begun = 0
    assert commit() == 2
    assert session.rollbacks == 1


@pytest.mark.parametrize(
    ("category", "reported"),
    [
        (Category.TRANSIENT, TemporaryError),
        (Category.ROW, TargetError),
        (Category.TERMINAL, TargetError),
    ],
)
def test_errors_are_translated_by_category(category: Category, reported: type[Exception]) -> None:
    with pytest.raises(reported, match=r"^SQL Server sql01: no \(SQLSTATE 42000\); nothing was changed$"):
        with translate_errors("SQL Server sql01", effect="; nothing was changed"):
            raise SQLServerError("no", category=category, state="42000")

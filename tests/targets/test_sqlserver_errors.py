"""What errors of the driver and the server mean, with real error objects of pyodbc."""

import pytest

from gatherer.targets.sqlserver import errors, session
from gatherer.targets.sqlserver.connection import Access
from gatherer.targets.sqlserver.errors import Category

# Its wheels for Linux need the driver manager of the system, which not every account may install.
pyodbc = pytest.importorskip(
    "pyodbc", reason="LOUD: unixODBC is missing, so the table of faults was not tried", exc_type=ImportError
)

_DRIVER = "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]"


@pytest.mark.parametrize(
    ("error", "number", "category"),
    [
        (pyodbc.Error("40001", f"[40001] {_DRIVER}Deadlock victim. (1205) (SQLExecDirectW)"), 1205, Category.TRANSIENT),
        (pyodbc.OperationalError("08S01", f"[08S01] {_DRIVER}Link failure (0) (SQLExecute)"), 0, Category.TRANSIENT),
        (pyodbc.OperationalError("HYT00", "[HYT00] [Microsoft][ODBC Driver 18 for SQL Server]Login timeout expired (0) (SQLDriverConnect)"), 0, Category.TRANSIENT),
        (pyodbc.Error("IMC06", "[IMC06] [Microsoft][ODBC Driver 18 for SQL Server]The connection is broken and recovery is not possible. (0) (SQLExecDirectW)"), 0, Category.TRANSIENT),
        (pyodbc.Error("HY000", f"[HY000] {_DRIVER}The server failed to resume the transaction. (3971) (SQLExecute)"), 3971, Category.TRANSIENT),
        (pyodbc.DataError("22001", f"[22001] {_DRIVER}String would be truncated in column 'media_type'. Truncated value: 'a/b (1205) (SQLx) +15550001234'. (2628) (SQLExecute); [01000] {_DRIVER}The statement has been terminated. (3621)"), 2628, Category.ROW),
        (pyodbc.ProgrammingError("42000", f"[42000] {_DRIVER}Lock request time out. (1222) (SQLExecDirectW)"), 1222, Category.TRANSIENT),
        (pyodbc.ProgrammingError("42000", f"[42000] {_DRIVER}Database is busy. (40613) (SQLDriverConnect)"), 40613, Category.TRANSIENT),
        (pyodbc.ProgrammingError("42000", f"[42000] {_DRIVER}The service is busy. (40501) (SQLExecute)"), 40501, Category.TRANSIENT),
        (pyodbc.ProgrammingError("42000", f"[42000] {_DRIVER}The log is full. (9002) (SQLExecute)"), 9002, Category.TRANSIENT),
        (pyodbc.IntegrityError("23000", f"[23000] {_DRIVER}Duplicate key row. (2601) (SQLExecDirectW)"), 2601, Category.TRANSIENT),
        (pyodbc.IntegrityError("23000", f"[23000] {_DRIVER}Cannot insert NULL. (515) (SQLExecDirectW)"), 515, Category.ROW),
        (pyodbc.ProgrammingError("42000", f"[42000] {_DRIVER}String would be truncated in column 'emoji'. (2628) (SQLExecute)"), 2628, Category.ROW),
        (pyodbc.DataError("22001", f"[22001] {_DRIVER}String would be truncated. (8152) (SQLExecute)"), 8152, Category.ROW),
        (pyodbc.DataError("22003", f"[22003] {_DRIVER}Numeric value out of range (0) (SQLExecute)"), 0, Category.ROW),
        (pyodbc.InterfaceError("28000", f"[28000] {_DRIVER}Login failed for user 'g'. (18456) (SQLDriverConnect); [28000] {_DRIVER}Login failed (18456)"), 18456, Category.TERMINAL),
        (pyodbc.ProgrammingError("42000", f"[42000] {_DRIVER}INSERT permission was denied. (229) (SQLExecute)"), 229, Category.TERMINAL),
        (pyodbc.ProgrammingError("42S02", f"[42S02] {_DRIVER}Invalid object name 'gatherer.response'. (208) (SQLExecDirectW)"), 208, Category.TERMINAL),
        (pyodbc.ProgrammingError("42000", f"[42000] {_DRIVER}Cannot open database \"x\". (4060) (SQLDriverConnect)"), 4060, Category.TERMINAL),
        (pyodbc.OperationalError("08001", "[08001] [Microsoft][ODBC Driver 18 for SQL Server]SSL Provider: [error:0A000086:SSL routines::certificate verify failed:self-signed certificate] (-1) (SQLDriverConnect)"), -1, Category.TERMINAL),
        (pyodbc.OperationalError("08001", "[08001] [Microsoft][ODBC Driver 18 for SQL Server]TCP Provider: Error code 0x2749 (10061) (SQLDriverConnect)"), 10061, Category.TRANSIENT),
        (pyodbc.Error("IM002", "[IM002] [unixODBC][Driver Manager]Data source name not found (0) (SQLDriverConnect)"), 0, Category.TERMINAL),
        (pyodbc.Error("HY000", f"[HY000] {_DRIVER}Something new. (99999) (SQLExecute)"), 99999, Category.TERMINAL),
        (pyodbc.Error("01000", "[01000] [unixODBC][Driver Manager]Can't open lib '/x' : file not found (0) (SQLDriverConnect)"), 0, Category.TERMINAL),
    ],
)  # fmt: skip
def test_an_error_is_classified_by_number_and_state(
    error: Exception, number: int, category: Category
) -> None:
    translated = errors.from_pyodbc(error)
    assert (translated.number, translated.category) == (number, category)
    assert "[Microsoft]" not in str(translated)
    assert "\n" not in str(translated)


@pytest.mark.parametrize(
    ("number", "words", "remaining"),
    [
        (2628, "Cut in table 'd.s.t', column 'phone'. Truncated value: '+15550001234 (5) (SQLx)\nmore'.", "Cut in table 'd.s.t', column 'phone'"),
        (2628, "Abgeschnitten in Spalte 'phone'. Abgeschnittener Wert: '+15550001234'.", "Abgeschnitten in Spalte 'phone'"),
        (245, "Conversion failed when converting the nvarchar value '+15550001234' to data type int.", "Conversion failed when converting the nvarchar value"),
    ],
)  # fmt: skip
def test_values_of_rows_are_removed_from_errors(number: int, words: str, remaining: str) -> None:
    """In every language of the server. They would stay in logs, and in rejections that outlive the row."""
    error = pyodbc.DataError("22001", f"[22001] {_DRIVER}{words} ({number}) (SQLExecute)")
    assert str(errors.from_pyodbc(error)) == f"{remaining} (error {number})"


class _Connection:
    """A connection on which the second statement times out."""

    def __init__(self, *, fails: bool) -> None:
        self.statements: list[str] = []
        self.closed = False
        self._fails = fails

    def execute(self, statement: str) -> None:
        self.statements.append(statement)
        if self._fails and len(self.statements) == 2:
            raise pyodbc.OperationalError(
                "HYT00", f"[HYT00] {_DRIVER}Query timeout expired (0) (SQLExecDirectW)"
            )

    def close(self) -> None:
        self.closed = True


def test_a_connection_whose_setup_failed_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [_Connection(fails=True), _Connection(fails=False)]
    left = list(made)
    monkeypatch.setattr(session, "connect", lambda access: left.pop(0))
    opened = session.Session(Access.parse("Server=a"), setup=["first", "second", "third"])
    with pytest.raises(errors.SQLServerError):
        opened.run("SELECT 1")
    assert made[0].closed
    with pytest.raises(AttributeError, match="cursor"):  # of a connection of its own, whole this time
        opened.run("SELECT 1")
    assert made[1].statements == ["first", "second", "third"]


def test_errors_say_what_to_do_and_show_no_password() -> None:
    error = pyodbc.InterfaceError(
        "28000", f"[28000] {_DRIVER}Login failed: hunter2. (18456) (SQLDriverConnect)"
    )
    message = str(errors.from_pyodbc(error, ["hunter2"]))
    assert "hunter2" not in message
    assert "check user and password" in message
    denied = pyodbc.ProgrammingError("42000", f"[42000] {_DRIVER}Permission denied. (229) (SQLExecute)")
    assert "grants.sql" in str(errors.from_pyodbc(denied))

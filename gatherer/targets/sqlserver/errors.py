"""What an error of the driver or the server means: try again, reject one row, or stop.

The SQLSTATE and the server's own number decide; texts are only shown. The one exception, certificates, is noted
below. The numbers are those of SQL Server's `sys.messages` and of Azure SQL's documentation.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Final

from gatherer.model.errors import TargetError, TemporaryError
from gatherer.model.records import Record

if TYPE_CHECKING:
    import pyodbc

HIDDEN: Final = "********"


class Category(Enum):
    """What to do about an error."""

    TRANSIENT = "transient"  # roll back, wait, reconnect if necessary, write the whole batch again
    ROW = "row"  # the server refuses one row: find it, reject it, write the others
    TERMINAL = "terminal"  # the operator or the DBA has to change something


_T, _R, _X = Category.TRANSIENT, Category.ROW, Category.TERMINAL

# The server's number decides first.
NUMBERS: Final[dict[int, Category]] = {
    # Concurrency: a conflict with another transaction.
    1205: _T,  # deadlock victim; our priority is low, so that the server chooses us and not a report
    1222: _T,  # lock timeout
    3960: _T,  # snapshot isolation: update conflict
    3961: _T,  # snapshot isolation: the table was altered
    2601: _T,  # unique index: a program that does not take our lock inserted the key; the retry finds the row
    2627: _T,  # unique constraint: the same
    # The server lacks a resource for now.
    701: _T,  # memory
    802: _T,  # buffer pool
    1105: _T,  # the filegroup is full
    1204: _T,  # locks
    8645: _T,  # waited for memory to run the query
    8651: _T,  # memory grant
    9001: _T,  # the log is not available
    9002: _T,  # the log is full
    17830: _T, 17889: _T, 17197: _T,  # login took too long: all connections are in use
    # Starting, stopping, failing over.
    -2: _T,  # the client's timeout
    64: _T, 233: _T, 121: _T, 20: _T,  # the connection broke while it was being made
    10053: _T, 10054: _T, 10060: _T, 10061: _T, 10928: _T, 10929: _T,  # connection broken, refused; worker limits
    596: _T, 3971: _T,  # the session is being killed; its transaction cannot continue
    615: _T, 617: _T,  # the database was closed
    904: _T, 921: _T, 922: _T, 926: _T, 927: _T, 952: _T,  # offline, being recovered, restored, in transition
    976: _T, 978: _T, 983: _T, 988: _T,  # availability group: not readable here, or not joined yet
    3906: _T,  # read-only: the old primary after a failover
    4221: _T,  # login to a read-only replica that is not ready
    6005: _T, 6006: _T,  # shutdown in progress
    17142: _T, 17147: _T, 17148: _T,  # paused, being shut down
    18401: _T,  # script upgrade mode
    18456: _X,  # wrong password. Not tried again: a few more attempts would lock the account
    # Azure SQL: reconfiguration and throttling.
    40143: _T, 40166: _T, 40197: _T, 40501: _T, 40540: _T, 40544: _T, 40549: _T, 40550: _T, 40551: _T,
    40552: _T, 40553: _T, 40613: _T, 40615: _X,  # 40615: a firewall rule is missing
    40648: _T, 40671: _T, 40675: _T, 40801: _T, 40806: _T, 40815: _T,
    42108: _T, 42109: _T,  # the pool is paused, being resumed
    49510: _T, 49918: _T, 49919: _T, 49920: _T,
    41301: _T, 41302: _T, 41305: _T, 41325: _T, 41839: _T,  # memory-optimised tables
    # One row: a value does not fit, or is missing.
    511: _R,  # row larger than a page
    515: _R,  # NULL in a NOT NULL column
    547: _R,  # CHECK or foreign key
    220: _R, 232: _R, 8115: _R, 8114: _R,  # overflow, not a number
    241: _R, 242: _R, 244: _R, 245: _R, 248: _R, 295: _R, 517: _R,  # not a date or time, not a number
    1946: _R,  # index entry too long
    2628: _R, 8152: _R,  # text would be cut off; 2019 and later, and before
    13609: _R,  # not JSON
    # A retry does not help.
    102: _X, 156: _X, 207: _X, 208: _X, 213: _X, 1088: _X, 2812: _X, 2760: _X, 2706: _X, 3701: _X, 4902: _X,
    229: _X, 230: _X, 262: _X, 297: _X, 300: _X, 916: _X, 15247: _X, 15151: _X,  # rights
    911: _X, 4060: _X, 4063: _X, 4064: _X,  # no such database, or none for this login
    18450: _X, 18452: _X, 18470: _X, 18486: _X, 18487: _X, 18488: _X,  # login: untrusted, disabled, locked, expired
    195: _X, 319: _X, 325: _X, 343: _X,  # a function that this version or compatibility level lacks
}  # fmt: skip

# If the number is not listed: the first of these prefixes that the SQLSTATE has.
STATES: Final[tuple[tuple[str, Category], ...]] = (
    ("40001", _T),  # serialization failure: a deadlock
    ("40003", _T),  # the driver does not know whether the statement was executed
    ("08", _T),  # connection
    ("HYT", _T),  # timeout
    ("57P", _T),  # shutdown
    ("28", _X),  # login
    ("IMC", _T),  # connection broken, and the driver could not restore it
    ("IM", _X),  # the driver manager: no such driver, no such data source
    ("22", _R),  # data
    ("23", _R),  # constraint
)

# What to do, added to the server's own words.
ADVICE: Final[dict[int, str]] = dict.fromkeys(
    (229, 230, 262, 297, 300, 916, 15247, 15151),
    "grant the rights that `gatherer config sample grants.sql` prints; `gatherer target check` lists what is missing",
) | {
    208: "`gatherer schema check` lists what is missing, `gatherer schema apply` creates it",
    207: "`gatherer schema check` lists what is missing, `gatherer schema apply` creates it",
    18456: "check user and password of [target]; the login was tried only once, so that the account is not locked",
    18452: "Windows refuses this account: the server is in another domain, or has another name there",
    20: "if the server cannot encrypt: set encrypt = false in [target], on a private network only",
    4060: "check database of [target], and that the login has a user in it",
    911: "check database of [target]",
    40615: "add this machine's address to the firewall rules of the server",
    1105: "the disk or filegroup of the database is full: ask the database administrator",
    9002: "the transaction log is full: ask the database administrator",
}  # fmt: skip

CERTIFICATE_ADVICE: Final = (
    "this machine does not trust the server's certificate: ask the database administrator to install one that it "
    "trusts, or add the server's certificate to the trusted ones of this machine. trust_server_certificate = true "
    "does not verify the server's identity: use it on a private network only"
)

# [state] [vendor][driver][server]text (number) (SQLFunction); further records have no function. The text can repeat
# a value of the row, which can look like a number and a function: the last match is the driver's own.
_NUMBER: Final = re.compile(r" \((-?\d+)\) \(SQL\w+\)")
_BARE_NUMBER: Final = re.compile(r"\((-?\d+)\)\s*$")
# Errors whose text repeats a value of the row, and what stands before the value in every language of the server.
_BEFORE_A_VALUE: Final = {2628: ". ", 245: "'"}
_PREFIX: Final = re.compile(r"^(\[[^\]]*\]\s*)+")


class SQLServerError(Exception):
    """A statement failed. Its text is one line: the server's words, its number, and what to do."""

    def __init__(self, text: str, *, category: Category, state: str = "", number: int = 0) -> None:
        """Describe the error, for messages and for the decision whether to retry.

        Args:
            text: the server's words, without secrets and without the driver's prefixes.
            category: what to do about the error.
            state: the SQLSTATE.
            number: the number of the server or the driver; 0 if there is none.

        """
        super().__init__(text)
        self.category = category
        self.state = state
        self.number = number
        self.text = text
        self.records: Sequence[Record] = ()  # that were being written, one or more of which caused the error

    def __str__(self) -> str:
        """Return one line for the operator."""
        advice = ADVICE.get(self.number)
        if advice is None and _is_about_certificate(self.text):
            advice = CERTIFICATE_ADVICE
        code = f"error {self.number}" if self.number else f"SQLSTATE {self.state}"
        return f"{self.text} ({code}); {advice}" if advice else f"{self.text} ({code})"


def from_pyodbc(error: "pyodbc.Error", secrets: Iterable[str] = ()) -> SQLServerError:
    """Return `error` with its category. `secrets` are replaced in its text."""
    arguments = [str(argument) for argument in error.args]
    state = arguments[0] if arguments else ""
    message = arguments[1] if len(arguments) > 1 else state
    for secret in secrets:
        message = message.replace(secret, HIDDEN)
    match = next(reversed([*_NUMBER.finditer(message)]), None) or _BARE_NUMBER.search(message)
    number = int(match[1]) if match else 0
    words = _PREFIX.sub("", message[: match.start()] if match else message)
    if number in _BEFORE_A_VALUE:
        words = words.partition(_BEFORE_A_VALUE[number])[0]
    text = " ".join(words.split()).rstrip(".") or state
    return SQLServerError(text, category=_category(state, number, text), state=state, number=number)


@contextmanager
def translate_errors(name: str, *, effect: str = "") -> Iterator[None]:
    """Raise a SQLServerError of the block as the error that the command line reports.

    Args:
        name: which database it is.
        effect: what became of the data, to be added to the text.

    Raises:
        TemporaryError: the error is transient.
        TargetError: any other.

    """
    try:
        yield
    except SQLServerError as error:
        reported = TemporaryError if error.category is Category.TRANSIENT else TargetError
        raise reported(f"{name}: {error}{effect}") from None


def _category(state: str, number: int, text: str) -> Category:
    if number in NUMBERS:
        return NUMBERS[number]
    if state.startswith("08") and _is_about_certificate(text):
        return Category.TERMINAL
    return next((category for prefix, category in STATES if state.startswith(prefix)), Category.TERMINAL)


def _is_about_certificate(text: str) -> bool:
    """Return whether the TLS certificate was refused. On Linux all errors of OpenSSL have number -1: only the text tells."""
    return "certificate" in text and ("SSL Provider" in text or "TLS" in text)

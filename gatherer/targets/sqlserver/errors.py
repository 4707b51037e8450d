"""What an error of the driver or the server means: try again, leave one row out, or have a person look.

Every decision is by SQLSTATE and the server's own number; texts are only shown. One exception is noted
where it stands. Numbers are those of SQL Server's `sys.messages` and of Azure SQL's documentation.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pyodbc

HIDDEN: Final = "********"


class Class(Enum):
    """What to do about a fault."""

    TRANSIENT = "transient"  # roll back, wait, reconnect, try the whole batch again
    ROW = "row"  # one row is what the server will not take: find it, reject it, go on
    TERMINAL = "terminal"  # a person has to change something


_T, _R, _X = Class.TRANSIENT, Class.ROW, Class.TERMINAL

# The server's number decides first.
NUMBERS: Final[dict[int, Class]] = {
    # Concurrency: somebody else's transaction was in the way.
    1205: _T,  # deadlock victim; our priority is low so that it is us and not a report
    1222: _T,  # lock timeout
    3960: _T,  # snapshot isolation: update conflict
    3961: _T,  # snapshot isolation: the table was altered
    2601: _T,  # unique index: somebody inserted the key who does not take our lock; next time it is there
    2627: _T,  # unique constraint: the same
    # The server is short of something for now.
    701: _T,  # memory
    802: _T,  # buffer pool
    1105: _T,  # the filegroup is full
    1204: _T,  # locks
    8645: _T,  # waited for memory to run the query
    8651: _T,  # memory grant
    9001: _T,  # the log is not available
    9002: _T,  # the log is full
    17830: _T, 17889: _T, 17197: _T,  # login took too long: connections are used up
    # Starting, stopping, failing over.
    -2: _T,  # the client's timeout
    64: _T, 233: _T, 121: _T, 20: _T,  # the connection broke while it was being made
    10053: _T, 10054: _T, 10060: _T, 10061: _T, 10928: _T, 10929: _T,  # broken, refused; worker limits
    596: _T, 3971: _T,  # the session is being killed; its transaction cannot be gone on with
    615: _T, 617: _T,  # the database was closed
    904: _T, 921: _T, 922: _T, 926: _T, 927: _T, 952: _T,  # offline, being recovered, restored, in transition
    976: _T, 978: _T, 983: _T, 988: _T,  # availability group: not readable here, or not joined yet
    3906: _T,  # read-only: the old primary after a failover
    4221: _T,  # login to a read-only replica that is not ready
    6005: _T, 6006: _T,  # shutdown in progress
    17142: _T, 17147: _T, 17148: _T,  # paused, being shut down
    18401: _T,  # script upgrade mode
    18456: _X,  # wrong password. Never tried again: a few more and the account is locked out
    # Azure SQL: reconfiguration and throttling.
    40143: _T, 40166: _T, 40197: _T, 40501: _T, 40540: _T, 40544: _T, 40549: _T, 40550: _T, 40551: _T,
    40552: _T, 40553: _T, 40613: _T, 40615: _X,  # 40615: a firewall rule is missing
    40648: _T, 40671: _T, 40675: _T, 40801: _T, 40806: _T, 40815: _T,
    42108: _T, 42109: _T,  # the pool is paused, being resumed
    49510: _T, 49918: _T, 49919: _T, 49920: _T,
    41301: _T, 41302: _T, 41305: _T, 41325: _T, 41839: _T,  # memory-optimised tables
    # One row: a value that does not fit, or is missing.
    511: _R,  # row larger than a page
    515: _R,  # NULL where there must be a value
    547: _R,  # CHECK or foreign key
    220: _R, 232: _R, 8115: _R, 8114: _R,  # overflow, not a number
    241: _R, 242: _R, 244: _R, 245: _R, 248: _R, 295: _R, 517: _R,  # not a time, not a number
    1946: _R,  # index entry too long
    2628: _R, 8152: _R,  # text would be cut off; 2019 and later, and before
    13609: _R,  # not JSON
    # What no retry mends.
    102: _X, 156: _X, 207: _X, 208: _X, 213: _X, 1088: _X, 2812: _X, 2760: _X, 2706: _X, 3701: _X, 4902: _X,
    229: _X, 230: _X, 262: _X, 297: _X, 300: _X, 916: _X, 15247: _X, 15151: _X,  # rights
    911: _X, 4060: _X, 4063: _X, 4064: _X,  # no such database, or none for this login
    18450: _X, 18452: _X, 18470: _X, 18486: _X, 18487: _X, 18488: _X,  # login: untrusted, disabled, locked, expired
    195: _X, 319: _X, 325: _X, 343: _X,  # a function this version or compatibility level does not have
}  # fmt: skip

# Where the number says nothing: the first of these with which the SQLSTATE begins.
STATES: Final[tuple[tuple[str, Class], ...]] = (
    ("40001", _T),  # serialization failure: a deadlock
    ("40003", _T),  # whether the statement was carried out is unknown
    ("08", _T),  # connection
    ("HYT", _T),  # timeout
    ("57P", _T),  # shutdown
    ("28", _X),  # login
    ("IMC", _T),  # connection broken, and the driver could not bring it back
    ("IM", _X),  # the driver manager: no such driver, no such data source
    ("22", _R),  # data
    ("23", _R),  # constraint
)

# What to say beside the server's own words.
ADVICE: Final[dict[int, str]] = dict.fromkeys(
    (229, 230, 262, 297, 300, 916, 15247, 15151),
    "grant the rights in config/sqlserver/grants.sql; `gatherer target check` lists what is missing",
) | {
    208: "`gatherer schema check` says what is missing, `gatherer schema apply` makes it",
    207: "`gatherer schema check` says what is missing, `gatherer schema apply` makes it",
    18456: "check user and password of [target]; nothing was tried twice, so that no account is locked out",
    18452: "Windows refuses this account: the server is in another domain, or is reached by another name",
    20: "if the server cannot encrypt at all: encrypt = false in [target], for a network that nobody else is in",
    4060: "check database of [target], and that the login has a user in it",
    911: "check database of [target]",
    40615: "add this machine's address to the firewall rules of the server",
    1105: "the database has no room: ask the database administrator",
    9002: "the transaction log is full: ask the database administrator",
}  # fmt: skip

CERTIFICATE_ADVICE: Final = (
    "the server's certificate is not trusted: have the database administrator install one that this machine "
    "trusts, or trust the one it has on this machine. trust_server_certificate = true gives up on knowing which "
    "server this is; only for a network that nobody else is in"
)

# [state] [vendor][driver][server]text (number) (SQLFunction); further records have no function. The text can hold
# what somebody has sent, numbers and functions too: the last one is the driver's.
_NUMBER: Final = re.compile(r" \((-?\d+)\) \(SQL\w+\)")
_BARE_NUMBER: Final = re.compile(r"\((-?\d+)\)\s*$")
# Errors that go on with a value of the row, and what stands before it in every language of the server.
_BEFORE_A_VALUE: Final = {2628: ". ", 245: "'"}
_PREFIX: Final = re.compile(r"^(\[[^\]]*\]\s*)+")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One error of the driver, understood."""

    kind: Class
    state: str  # SQLSTATE
    number: int  # the server's or driver's own; 0 if there is none
    text: str  # for people: no secret, no driver's prefixes

    def __str__(self) -> str:
        """Return one line: the server's words, its number, and what to do."""
        advice = ADVICE.get(self.number)
        if advice is None and _is_about_certificate(self.text):
            advice = CERTIFICATE_ADVICE
        said = f"{self.text} (error {self.number})" if self.number else f"{self.text} (SQLSTATE {self.state})"
        return f"{said}; {advice}" if advice else said


def understand(error: "pyodbc.Error", secrets: Iterable[str] = ()) -> Fault:
    """Return what `error` means. `secrets` are taken out of its text."""
    arguments = [str(argument) for argument in error.args]
    state = arguments[0] if arguments else ""
    message = arguments[1] if len(arguments) > 1 else state
    for secret in secrets:
        message = message.replace(secret, HIDDEN)
    found = next(reversed([*_NUMBER.finditer(message)]), None) or _BARE_NUMBER.search(message)
    number = int(found[1]) if found else 0
    first = _PREFIX.sub("", message[: found.start()] if found else message)
    if number in _BEFORE_A_VALUE:
        first = first.partition(_BEFORE_A_VALUE[number])[0]
    text = " ".join(first.split()).rstrip(".") or state
    return Fault(kind=_classify(state, number, text), state=state, number=number, text=text)


def _classify(state: str, number: int, text: str) -> Class:
    if number in NUMBERS:
        return NUMBERS[number]
    if state.startswith("08") and _is_about_certificate(text):
        return Class.TERMINAL
    return next((kind for prefix, kind in STATES if state.startswith(prefix)), Class.TERMINAL)


def _is_about_certificate(text: str) -> bool:
    """Tell whether TLS failed. The driver on Linux has one number (-1) for all of OpenSSL: only the text tells."""
    return "certificate" in text and ("SSL Provider" in text or "TLS" in text)

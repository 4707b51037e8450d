"""Measure a run into SQL Server, beside the bare load of the same finished rows and beside the merge of dlt.

Needs a server: GATHERER_TEST_SQLSERVER is an ODBC connection string of a login that may create schemas. The
benchmark removes the schema that it creates. All figures are from the same rows:

* the floor: a load of the finished rows into a heap without indexes, by each method of the driver;
* the first run of an inbox, a run over the same facts in another inbox, and the peak memory of the client;
* with dlt installed (pip install 'dlt[mssql]'), its merge by delete-insert.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec
from memory import peak_bytes

from gatherer.inbox.base import Bounds
from gatherer.inbox.reader import LocalInbox
from gatherer.model.records import Response
from gatherer.pipeline.decode import decode_batch
from gatherer.pipeline.gather import gather_inbox
from gatherer.targets.sqlserver import connection_string, schema
from gatherer.targets.sqlserver.connection import Access, connect
from gatherer.targets.sqlserver.connection_string import get
from gatherer.targets.sqlserver.driver import find
from gatherer.targets.sqlserver.session import Session
from gatherer.targets.sqlserver.staging import as_row, chunks, encode
from gatherer.targets.sqlserver.target import SQLServerTarget
from gatherer.targets.sqlserver.upsert import staging

DRIVER_NAME: Final = "ODBC Driver 18 for SQL Server"
VARIABLE: Final = "GATHERER_TEST_SQLSERVER"


def access() -> Access:
    """Return the access to the server of the benchmark."""
    text = os.environ.get(VARIABLE)
    if not text:
        sys.exit(f"this needs a server: set {VARIABLE} to an ODBC connection string")
    return Access.parse(text)


@contextmanager
def tables() -> Iterator[str]:
    """Create the tables in a new schema for the duration of the block; yield its name."""
    name = f"gatherer_bench_{uuid.uuid4().hex[:8]}"
    session = Session(access())
    schema.apply(session, name)
    try:
        yield name
    finally:
        for statement in schema.batches("remove", name):
            session.run(statement)
        session.disconnect()


def ready_rows(inbox_path: Path) -> list[Response]:
    """Return the records of the inbox at `inbox_path`."""
    records: list[Any] = []
    after = 0
    with closing(LocalInbox(inbox_path)) as inbox:
        while notifications := inbox.read(after, Bounds()):
            after = notifications[-1].id
            records += decode_batch(notifications, frozenset()).records
    return records


# --- the floor ------------------------------------------------------------------------------------

Load = Callable[[Any, str, Sequence[Response]], None]


def _names() -> list[str]:
    return [f"[{name}]" for name in Response.__struct_fields__]


def _heap(name: str) -> str:
    """Return the statement that makes a heap with the columns of the staged rows."""
    create, _ = staging(Response)
    return create.replace("#response", name)


def by_openjson(connection: Any, name: str, rows: Sequence[Response]) -> None:
    """Load by an OPENJSON … WITH parameter for every 2 000 rows, as the target does."""
    _, stage = staging(Response)
    # The statement that the target stages with, into the heap.
    insert = stage.replace("DELETE FROM #response;", "").replace("#response", name)
    cursor = connection.cursor()
    for text, _ in chunks(rows, lambda row: encode(as_row(row))):
        cursor.execute(insert, text)
        while cursor.nextset():
            pass


def by_fast_executemany(connection: Any, name: str, rows: Sequence[Response]) -> None:
    """Load by the parameter arrays of pyodbc."""
    places = ", ".join("?" * len(_names()))
    cursor = connection.cursor()
    cursor.fast_executemany = True
    for start in range(0, len(rows), 2000):
        part = [(row.key, *as_row(row)[1:]) for row in rows[start : start + 2000]]
        cursor.executemany(f"INSERT INTO {name} ({', '.join(_names())}) VALUES ({places})", part)


def by_values(connection: Any, name: str, rows: Sequence[Response]) -> None:
    """Load by VALUES with as many rows as 2 100 parameters allow."""
    at_once = 2000 // len(_names())
    placeholders = f"({', '.join('?' * len(_names()))})"
    cursor = connection.cursor()
    for start in range(0, len(rows), at_once):
        part = [(row.key, *as_row(row)[1:]) for row in rows[start : start + at_once]]
        statement = (
            f"INSERT INTO {name} ({', '.join(_names())}) VALUES {', '.join([placeholders] * len(part))}"
        )
        cursor.execute(statement, [value for row in part for value in row])


TRANSPORTS: Final[dict[str, Load]] = {
    "openjson": by_openjson,
    "fast_executemany": by_fast_executemany,
    "values": by_values,
}


def run_floor(rows: Sequence[Response], schema_name: str, transport: str) -> float:
    """Return the seconds to load `rows` into a heap; raise if not all of them are there afterwards."""
    name = f"[{schema_name}].floor_{transport}"
    connection = connect(access())
    try:
        connection.execute(_heap(name))
        started = time.perf_counter()
        for start in range(0, len(rows), 20_000):
            connection.execute("BEGIN TRANSACTION")
            TRANSPORTS[transport](connection, name, rows[start : start + 20_000])
            connection.execute("COMMIT TRANSACTION")
        seconds = time.perf_counter() - started
        (counted,) = connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone()
        connection.execute(f"DROP TABLE {name}")
        if counted != len(rows):
            raise RuntimeError(f"{transport}: {counted} of {len(rows)} rows arrived")
        return seconds
    finally:
        connection.close()


# --- the runs ------------------------------------------------------------------------------------


def time_run(inbox_path: Path, schema_name: str) -> float:
    """Return the seconds of a run."""
    with (
        closing(LocalInbox(inbox_path)) as inbox,
        closing(SQLServerTarget(access(), schema_name=schema_name)) as target,
    ):
        return gather_inbox(inbox, target).seconds


def run_dlt(inbox_path: Path, schema_name: str) -> float:
    """Return the seconds that dlt takes to merge the rows of the inbox by delete-insert."""
    import dlt
    from dlt.destinations import mssql

    plain = [msgspec.structs.asdict(row) | {"key": row.key.hex()} for row in ready_rows(inbox_path)]
    dlt.config["restore_from_destination"] = False  # there is nothing of an earlier run
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "gatherer_bench",
            destination=mssql(_url()),
            dataset_name=f"{schema_name}_dlt",
            pipelines_dir=folder,
        )
        try:
            started = time.perf_counter()
            pipeline.run(
                plain,
                table_name="response",
                primary_key="key",
                write_disposition={"disposition": "merge", "strategy": "delete-insert"},
            )
            return time.perf_counter() - started
        finally:
            with pipeline.sql_client() as client:
                client.drop_dataset()


def _url() -> str:
    """Return the connection string of the benchmark as dlt wants it."""
    pairs = list(access().pairs)
    host, _, port = connection_string.server(pairs).removeprefix("tcp:").partition(",")
    user, password = (
        quote(get(pairs, *names) or "", safe="") for names in (("uid", "user id"), ("pwd", "password"))
    )
    options = {name: value for name, value in pairs if name.lower() in ("encrypt", "trustservercertificate")}
    options |= {"driver": DRIVER_NAME, "LongAsMax": "yes"}
    return f"mssql://{user}:{password}@{host}:{port or 1433}/{connection_string.database(pairs)}?{urlencode(options)}"


def dlt_environment(folder: Path) -> dict[str, str]:
    """Return the environment in which dlt finds our driver under the only name that it accepts."""
    import pyodbc

    driver = get(list(access().pairs), "driver") or find(pyodbc.drivers())
    if driver in pyodbc.drivers():
        return dict(os.environ)
    (folder / "odbcinst.ini").write_text(f"[{DRIVER_NAME}]\nDriver={driver}\n", encoding="utf-8")
    return os.environ | {"ODBCSYSINI": str(folder)}


def run(
    count: int = 100_000, *, transports: Sequence[str] = ("openjson", "fast_executemany")
) -> dict[str, Any]:
    """Return the figures for `count` notifications of one status each."""
    from gather import BEGAN, fill  # the same inbox as in the benchmark `gather`

    with tempfile.TemporaryDirectory() as folder, tables() as schema_name:
        inbox, again = Path(folder, "inbox.db"), Path(folder, "again.db")
        fill(inbox, count, BEGAN)
        rows = ready_rows(inbox)
        floors = {name: run_floor(rows, schema_name, name) for name in transports}
        command = [sys.executable, __file__, "--run-only", str(inbox), schema_name]
        first = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        inbox.rename(Path(folder, "done.db"))
        fill(again, count, BEGAN + 3_600_000)  # the same requests an hour later: only duplicates
        command[3] = str(again)
        duplicates = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        merged = None
        if find_spec("dlt"):
            command[2:4] = ["--dlt-only", str(Path(folder, "done.db"))]
            environment = dlt_environment(Path(folder))
            ran = subprocess.run(command, check=False, stdout=subprocess.PIPE, env=environment)
            if ran.returncode:
                print("dlt could not merge into this server: no figure for it", file=sys.stderr)
            else:
                merged = json.loads(ran.stdout.splitlines()[-1])["seconds"]
    fastest = min(floors.values())
    return {
        "notifications": count,
        "floor_per_second": {name: round(count / seconds) for name, seconds in floors.items()},
        "first_run_per_second": round(count / first["seconds"]),
        "ratio_to_floor": round(fastest / first["seconds"], 3),
        "duplicates_per_second": round(count / duplicates["seconds"]),
        "ratio_duplicates_to_first": round(first["seconds"] / duplicates["seconds"], 3),
        "dlt_per_second": merged and round(count / merged),
        "ratio_to_dlt": merged and round(merged / first["seconds"], 2),
        "peak_memory_mb": round(first["peak_mb"]),
        "peak_memory_duplicates_mb": round(duplicates["peak_mb"]),
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="bench sqlserver", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="notifications in the inbox")
    parser.add_argument(
        "--transports", nargs="+", choices=TRANSPORTS, default=["openjson", "fast_executemany"]
    )
    parser.add_argument("--run-only", nargs=2, metavar=("INBOX", "SCHEMA"), help=argparse.SUPPRESS)
    parser.add_argument("--dlt-only", nargs=2, metavar=("INBOX", "SCHEMA"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run_only:
        seconds = time_run(Path(arguments.run_only[0]), arguments.run_only[1])
        print(json.dumps({"seconds": seconds, "peak_mb": peak_bytes() / 2**20}))
    elif arguments.dlt_only:
        seconds = run_dlt(Path(arguments.dlt_only[0]), arguments.dlt_only[1])
        print(json.dumps({"seconds": seconds}))
    else:
        print(json.dumps(run(arguments.count, transports=arguments.transports), indent=2))


if __name__ == "__main__":
    main()

"""SQL Server without a server: connection strings, drivers, and the T-SQL files as they are packaged."""

import dataclasses
import re
import sys
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlglot

from gatherer.inbox.writer import InboxWriter
from gatherer.model.errors import ConfigurationError, TargetError
from gatherer.model.notification import Notification
from gatherer.model.person import Erasure, Tombstone
from gatherer.model.records import TABLES, Kind, Reason, Record, Rejected
from gatherer.targets.base import Batch
from gatherer.targets.sqlserver import (
    connection,
    connection_string,
    driver,
    inspection,
    row_errors,
    schema,
    staging,
    upsert,
)
from gatherer.targets.sqlserver.errors import Category, SQLServerError
from tests.factories import run
from tests.targets.test_contract import NOW, response

SQL = files("gatherer.targets.sqlserver") / "sql"
RENDERED = ("stage", "upsert")  # for each table
NAMES = sorted(path.stem for path in map(Path, map(str, SQL.iterdir())) if path.suffix == ".sql")
BATCHES = {
    **{name: schema.batches(name, "gatherer") for name in NAMES if name not in RENDERED},
    **{f"stage {table.table}": upsert.staging(table) for table in (*TABLES, Rejected)},
    **{f"upsert {table.table}": upsert.upsert(table, "gatherer") for table in TABLES},
}
TEMPLATES = {
    "delete_old": {"$(table)": "response"},
    "begin": {"$(milliseconds)": "1"},
    "contribute": {"$(table)": "response"},
}
_ERASURE = tuple(field.name for field in dataclasses.fields(Erasure))
# How many parameters the last batches of each file take; all others take none.
PARAMETERS = {
    "advance_position": [4],
    "blank": [1, 2],
    "choose": [0, 1, 1],
    "contribute": [1],
    "count_without_campaign": [1],
    "count_without_receipt": [2],
    "delete_old": [1, 1],
    "delete_old_pairs": [1, 1],
    "delete_rejected": [1, 1],
    "export_campaign": [9],
    "export_changes": [9],
    "export_endpoint": [9],
    "export_opt_out": [9],
    "export_response": [9],
    "export_shown": [9],
    "export_window": [9],
    "find_message_id_pair": [1],
    "find_message_map": [2],
    "find_other_event": [5],
    "find_response": [5],
    "move_cursor": [4],
    "insert_erasure": [9],
    "insert_gather_run": [17],
    "insert_rejected_notification": [1],
    "replace_ids": [1],
    "resolve_rejected": [1, 2],
    "restore_ids": [1],
    "select_kept_notifications": [2],
    "save_settings": [2],
    "upsert_message_map": [2],
    "upsert_rejected": [1],
    "upsert_tombstone": [1],
    **{f"stage {table.table}": [0, 1] for table in (*TABLES, Rejected)},
    **{f"upsert {table.table}": [1, 1] for table in TABLES},
}


@pytest.mark.parametrize("name", BATCHES)
def test_every_batch_is_t_sql(name: str) -> None:
    for batch in BATCHES[name]:
        for placeholder, value in TEMPLATES.get(name, {}).items():
            batch = batch.replace(placeholder, value)
        assert "$(" not in batch, "sqlcmd's variables are all replaced"
        # No SET of several options at once, and no transaction words, in this parser's T-SQL.
        parsed = re.sub(r"(?m)^SET (ANSI|NUMERIC|NOCOUNT|XACT)[^;]*;", "", batch)
        parsed = re.sub(r"(?s)EXEC @granted = .*?;", "", parsed)
        parsed = parsed.replace("ROLLBACK TRANSACTION", "SELECT 1").replace("BEGIN TRANSACTION;", "")
        statements = sqlglot.parse(parsed, dialect="tsql", error_level=sqlglot.ErrorLevel.RAISE)
        assert any(statement is not None for statement in statements) or not parsed.strip()


@pytest.mark.parametrize("name", BATCHES)
def test_every_batch_has_the_parameters_that_its_caller_gives(name: str) -> None:
    counted = [batch.count("?") for batch in BATCHES[name]]
    assert counted == PARAMETERS.get(name, [0] * len(counted))


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("export_")])
def test_what_is_exported_has_a_plan_for_its_ranges(name: str) -> None:
    (query,) = schema.batches(name, "gatherer")
    assert query.rstrip("; \n").endswith("OPTION (RECOMPILE)")


@pytest.mark.parametrize("table", [*TABLES, Rejected])
def test_rows_are_staged_in_the_order_of_the_fields(table: type[Record] | type[Rejected]) -> None:
    _, stage = upsert.staging(table)
    staged = re.findall(r"^\s*\[?(\w+)\]?\s+\S+ '\$\[(\d+)\]'", stage, re.MULTILINE)
    bodies = 0 if table is not Rejected else len(Rejected.body_fields)
    assert [name for name, _ in staged] == list(table.__struct_fields__)[: len(staged)]
    assert len(staged) == len(table.__struct_fields__) - bodies
    assert [int(number) for _, number in staged] == list(range(len(staged)))


@pytest.mark.parametrize(("table", "fields"), [("tombstone", Tombstone._fields), ("erasure", _ERASURE)])
def test_what_is_left_of_erasures_has_the_same_columns_in_both(table: str, fields: tuple[str, ...]) -> None:
    for package in ("gatherer.targets.sqlserver", "gatherer.targets.sqlite"):
        text = (files(package) / "sql" / "tables.sql").read_text(encoding="utf-8")
        body = re.search(rf"CREATE TABLE (?:\$\(schema\)\.)?{table} \((.*?)\n\)", text, re.DOTALL)
        assert body is not None
        columns = re.findall(r"^    (\w+)\s", body[1], re.MULTILINE)
        assert [name for name in columns if name not in ("id", "CONSTRAINT")] == list(fields)


@pytest.mark.parametrize("package", ["gatherer.targets.sqlserver", "gatherer.targets.sqlite"])
def test_the_text_of_the_same_kinds_is_blanked_as_is_indexed_for_it(package: str) -> None:
    receipts = {Kind.SENT, Kind.DELIVERED, Kind.READ, Kind.PLAYED, Kind.FAILED}
    listed = [
        kinds
        for name in ("tables", "blank")
        for kinds in re.findall(
            r"kind IN \((.*?)\)",
            (files(package) / "sql" / f"{name}.sql").read_text(encoding="utf-8"),
            re.DOTALL,
        )
    ]
    assert len(listed) >= 2
    for kinds in listed:
        assert set(re.findall(r"'(\w+)'", kinds)) == set(Kind) - receipts


def test_every_column_is_compared_before_a_delivery_counts_as_a_duplicate() -> None:
    for table in TABLES:
        insert, _ = upsert.upsert(table, "gatherer")
        conditions = insert[insert.index("WHERE") : insert.index("INSERT INTO [gatherer]")]
        for field in table.__struct_fields__:
            assert field == "key" or f"s.{field}" in conditions, (table.table, field)


def test_both_engines_have_the_same_views() -> None:
    def views(package: str) -> set[str]:
        text = (files(package) / "sql" / "views.sql").read_text(encoding="utf-8")
        return set(re.findall(r"CREATE VIEW (?:\$\(schema\)\.)?(\w+)", text))

    assert views("gatherer.targets.sqlserver") == views("gatherer.targets.sqlite") != set()


def test_the_printed_script_holds_everything_and_records_it() -> None:
    script = schema.script("campaigns")
    assert "[campaigns].response" in script
    assert "$(" not in script
    assert f"VALUES ({schema.VERSION}, {schema.VERSION});\nGO" in script


def test_the_grants_are_the_rights_that_the_check_requires() -> None:
    text = Path("config/sqlserver/grants.sql").read_text(encoding="utf-8")
    granted = {
        (table, right.strip())
        for rights, table in re.findall(r"^GRANT ([A-Z, ]+) ON \$\(schema\)\.(\w+) TO", text, re.MULTILINE)
        for right in rights.split(",")
    }
    required = {(table, right) for table, rights in inspection.RIGHTS.items() for right in rights}
    assert granted == {(table, right) for table, right in required if table not in inspection.EXPORTED_VIEWS}
    assert "GRANT SELECT ON SCHEMA::$(schema) TO gatherer_writer" in text, (
        "for the views, which are created again"
    )
    assert {table for table, _ in required} <= {*schema.created("gatherer")}


def test_one_view_alone_leaves_test_rows_out() -> None:
    """`schema apply --include-tests` takes the condition away from it."""
    views = [batch for batch in schema.batches("views", "gatherer") if "is_test = 0" in batch]
    assert [view.splitlines()[-1] for view in views] == ["WHERE is_test = 0;"]
    assert "shown_response" in views[0].splitlines()[0]


# --- connection strings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["plain", "p;w=d", "{x}", "a}b", "}}", " lead", "trail ", "", "ü€", "[a]", "=", "it's", "a\\b"]
)
def test_values_are_quoted_so_that_they_come_back(value: str) -> None:
    pairs = [("Server", "a,1"), ("PWD", value), ("Encrypt", "yes")]
    assert connection_string.parse(connection_string.build(pairs)) == pairs


def test_an_invalid_connection_string_is_refused_without_showing_it() -> None:
    for text in ("hunter2", "Server=x;hunter2", "PWD={hunter2"):
        with pytest.raises(ConfigurationError, match="connection string") as caught:
            connection.Access.parse(text)
        assert "hunter2" not in str(caught.value)


def test_defaults_are_added_and_what_is_given_stays() -> None:
    installed = ["SQLite3", "ODBC Driver 17 for SQL Server", "ODBC Driver 18 for SQL Server", "SQL Server"]
    added = connection.complete([("Server", "sql01"), ("Database", "C")], installed)
    assert added == (
        "Driver=ODBC Driver 18 for SQL Server;Server=sql01;Database=C;Encrypt=yes;ConnectRetryCount=0;APP=gatherer;"
    )
    given = [("DRIVER", "mine"), ("encrypt", "strict"), ("ConnectRetryCount", "1"), ("App", "x")]
    assert connection.complete(given, installed) == "DRIVER=mine;encrypt=strict;ConnectRetryCount=1;App=x;"


def test_a_setting_that_would_end_transactions_too_early_is_left_out() -> None:
    given = [("Driver", "mine"), ("MARS_Connection", "yes")]
    assert "MARS" not in connection.complete(given, [])


def test_a_password_is_not_shown_with_the_access_to_a_server() -> None:
    assert "hunter2" not in repr(connection.Access.parse("Server=a;Database=b;UID=c;PWD=hunter2"))


def test_a_missing_driver_is_reported_with_the_commands_that_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError) as caught:
        driver.find(["SQL Server", "ODBC Driver 13 for SQL Server", "FreeTDS"])
    assert "winget install" in str(caught.value)
    assert "pip install 'whatsapp-gatherer[sqlserver]'" in str(caught.value)


@pytest.mark.parametrize(
    ("installed", "newest"),
    [
        (["ODBC Driver 17 for SQL Server", "ODBC Driver 18 for SQL Server"], "ODBC Driver 18 for SQL Server"),
        (["ODBC Driver 9 for SQL Server", "ODBC Driver 17 for SQL Server"], "ODBC Driver 17 for SQL Server"),
        (
            ["ODBC Driver 100 for SQL Server", "ODBC Driver 18 for SQL Server"],
            "ODBC Driver 100 for SQL Server",
        ),
    ],
)
def test_the_newest_installed_driver_is_used(installed: list[str], newest: str) -> None:
    assert driver.find(installed) == newest


@pytest.mark.skipif(
    sys.platform != "linux", reason="LOUD: the driver of the package is chosen so on Linux only"
)
@pytest.mark.parametrize(
    ("distribution", "machine", "folder"),
    [
        ({"ID": "debian"}, "x86_64", "debian_ubuntu/x86_64"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "aarch64", "debian_ubuntu/arm64"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "x86_64", "rhel/x86_64"),
        ({"ID": "opensuse-leap", "ID_LIKE": "suse opensuse"}, "x86_64", "suse/x86_64"),
        ({"ID": "alpine"}, "x86_64", "alpine/x86_64"),
        ({"ID": "unheard-of"}, "x86_64", "debian_ubuntu/x86_64"),
        (None, "x86_64", "debian_ubuntu/x86_64"),  # a container without /etc/os-release
        ({"ID": "debian"}, "riscv64", None),
    ],
)
def test_without_an_installed_driver_that_of_the_package_for_this_distribution_is_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    distribution: dict[str, str] | None,
    machine: str,
    folder: str | None,
) -> None:
    def release() -> dict[str, str]:
        if distribution is None:
            raise OSError("no os-release")
        return distribution

    package = tmp_path / "mssql_python_odbc"
    for family in ("alpine", "debian_ubuntu", "rhel", "suse"):
        for processor in ("arm64", "x86_64"):
            libraries = package / "libs" / "linux" / family / processor / "lib"
            libraries.mkdir(parents=True)
            for version in ("18.3", "18.5"):
                (libraries / f"libmsodbcsql-{version}.so.1.1").touch()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(driver.platform, "freedesktop_os_release", release)
    monkeypatch.setattr(driver.platform, "machine", lambda: machine)
    if folder is None:
        with pytest.raises(ConfigurationError, match="is not installed"):
            driver.find([])
        return
    expected = package / "libs" / "linux" / folder / "lib" / "libmsodbcsql-18.5.so.1.1"
    assert driver.find(["SQL Server"]) == str(expected)


@pytest.mark.parametrize(
    ("broken", "mended_by"),
    [
        ("ImportError('libodbc.so.2: cannot open shared object file')", "apt install unixodbc"),
        ("ModuleNotFoundError('No module named pyodbc')", "pip install 'whatsapp-gatherer[sqlserver]'"),
    ],
)
@pytest.mark.parametrize("command", [["target", "check"], ["schema", "check"], ["gather"], ["export"]])
def test_a_missing_part_of_pyodbc_is_reported_with_the_commands_that_install_it(
    tmp_path: Path, command: list[str], broken: str, mended_by: str
) -> None:
    (tmp_path / "pyodbc.py").write_text(f"raise {broken}\n", encoding="utf-8")
    configuration = [
        '[target]\nkind = "sqlserver"\nserver = "127.0.0.1"\ndatabase = "x"\nauthentication = "integrated"',
        '[[endpoint]]\nname = "a"\nprovider = "meta"\npath = "/a"\napp_secrets = ["s"]',
    ]
    (tmp_path / "gatherer.toml").write_text("\n".join(configuration), encoding="utf-8")
    with closing(InboxWriter(tmp_path / "inbox.db")):
        pass
    done = run(tmp_path, *command, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count(b"\n") == 1
    assert mended_by in done.stderr.decode()


# --- staging, refusing ----------------------------------------------------------------------------


def test_rows_travel_in_parts_of_bounded_size() -> None:
    many = [response(number.to_bytes(16, "big")) for number in range(4500)]
    assert [len(part) for _, part in staging.chunks(many, staging.as_json)] == [2000, 2000, 500]
    large = [response(bytes([number]) * 16, reply_text="x" * 1_500_000) for number in range(5)]
    parts = list(staging.chunks(large, staging.as_json))
    assert [len(part) for _, part in parts] == [2, 2, 1]
    decoded = msgspec.json.decode(parts[0][0])
    assert decoded[1][0] == large[1].key.hex()


def _refusal(text: str = "too long") -> SQLServerError:
    return SQLServerError(text, category=Category.ROW, state="22001", number=8152)


def test_refused_records_are_found_one_by_one() -> None:
    records = [response(bytes([number]) * 16) for number in range(33)]
    bad = {records[3].key, records[4].key, records[32].key}
    tries = 0

    def attempt(part: Any) -> SQLServerError | None:
        nonlocal tries
        tries += 1
        return _refusal() if any(record.key in bad for record in part) else None

    refused = {record.key for record, _ in row_errors.find(records, attempt, _refusal())}
    assert refused == bad
    assert tries < 40


def _batch(count: int) -> Batch:
    sources = [
        Notification(number, "inbox-a", NOW, "apteco", "meta", b"body %d" % number) for number in range(count)
    ]
    records = [
        response(number.to_bytes(16, "big"), notification_id=number, kind=Kind.REPLIED)
        for number in range(count)
    ]
    return Batch(records=records, notifications=sources)


def test_a_refused_record_is_rejected_with_its_bytes_and_the_servers_words() -> None:
    batch = _batch(5)
    reduced = row_errors.without(batch, {batch.records[2].key: _refusal("String would be truncated")})
    assert [record.notification_id for record in reduced.records] == [0, 1, 3, 4]
    (rejection,) = reduced.rejected
    assert (rejection.body, rejection.reason_class) == (b"body 2", Reason.REFUSED)
    assert "String would be truncated" in rejection.reason
    again = row_errors.without(batch, {batch.records[2].key: _refusal("another wording")})
    assert again.rejected[0].key == rejection.key, "redelivery does not double it"


def test_too_many_refused_records_are_the_fault_of_the_tables() -> None:
    small, large = _batch(20), _batch(2000)
    nine = {record.key: _refusal() for record in small.records[:9]}
    assert len(row_errors.without(small, nine).rejected) == 9
    with pytest.raises(TargetError, match="fault of the tables"):
        row_errors.without(small, {record.key: _refusal() for record in small.records[:10]})
    assert (
        len(row_errors.without(large, {record.key: _refusal() for record in large.records[:20]}).rejected)
        == 20
    )
    with pytest.raises(TargetError, match="fault of the tables"):
        row_errors.without(large, {record.key: _refusal() for record in large.records[:21]})

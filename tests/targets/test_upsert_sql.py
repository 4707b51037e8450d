"""The upserts as they are rendered, beside this file for eyes and for tools that know T-SQL.

After a change of the templates or the record types: pytest tests/targets/test_upsert_sql.py --update-snapshots
"""

from pathlib import Path
from typing import Final

import pytest

from gatherer.model.records import TABLES, Record, Rejected
from gatherer.targets.sqlite import upsert as sqlite_upsert
from gatherer.targets.sqlserver import schema
from gatherer.targets.sqlserver import upsert as sqlserver_upsert

SNAPSHOTS: Final = Path(__file__).parent / "snapshots"


def _sqlserver(table: type[Record] | type[Rejected]) -> str:
    upsert = schema.packaged("upsert_rejected")
    if table is not Rejected:
        upsert = sqlserver_upsert.rendered("upsert", table)
    return schema.placed(f"{sqlserver_upsert.rendered('stage', table)}GO\n{upsert}", "gatherer")


RENDERED: Final = {
    **{f"sqlserver/upsert_{table.table}.sql": _sqlserver(table) for table in (*TABLES, Rejected)},
    **{f"sqlite/upsert_{table.table}.sql": sqlite_upsert.upsert(table) for table in TABLES},
}


@pytest.mark.parametrize("name", RENDERED)
def test_what_is_rendered_is_what_was_reviewed(name: str, request: pytest.FixtureRequest) -> None:
    path = SNAPSHOTS / name
    if request.config.getoption("--update-snapshots"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RENDERED[name], encoding="utf-8", newline="\n")
    assert path.read_text(encoding="utf-8") == RENDERED[name]


def test_there_are_no_other_snapshots() -> None:
    assert {path.relative_to(SNAPSHOTS).as_posix() for path in SNAPSHOTS.rglob("*.sql")} == {*RENDERED}

"""An empty target of each engine, for the suites that run on all of them."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gatherer.targets.base import Target
from tests.targets.engines import DATABASES, ENGINES, Database, SQLServerDatabase


@pytest.fixture(autouse=True)
def _not_on_babelfish(request: pytest.FixtureRequest) -> None:
    """Skip a test marked `babelfish` where the server is Babelfish, which cannot pass it. The mark says why."""
    mark = request.node.get_closest_marker("babelfish")
    if mark and request.node.get_closest_marker("sqlserver") and SQLServerDatabase.is_babelfish():
        pytest.skip(f"Babelfish {mark.args[0]}")


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return DATABASES[request.param](tmp_path)


@pytest.fixture
def target(database: Database) -> Iterator[Target]:
    with closing(database.open()) as opened:
        yield opened

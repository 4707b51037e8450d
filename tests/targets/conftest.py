"""An empty target of each engine, for the suites that all of them pass."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gatherer.targets.base import Target
from tests.targets.engines import ENGINES, PLACES, Place, SQLServerPlace


@pytest.fixture(autouse=True)
def _not_on_babelfish(request: pytest.FixtureRequest) -> None:
    """Skip a test marked `babelfish` where the server is Babelfish, which cannot pass it. The mark says why."""
    mark = request.node.get_closest_marker("babelfish")
    if mark and request.node.get_closest_marker("sqlserver") and SQLServerPlace.is_babelfish():
        pytest.skip(f"Babelfish {mark.args[0]}")


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


@pytest.fixture
def target(place: Place) -> Iterator[Target]:
    with closing(place.open()) as opened:
        yield opened

"""An empty target of each engine, for the suites that all of them pass."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gatherer.targets.base import Target
from tests.targets.engines import ENGINES, PLACES, Place


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


@pytest.fixture
def target(place: Place) -> Iterator[Target]:
    with closing(place.open()) as opened:
        yield opened

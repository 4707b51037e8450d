"""Each benchmark runs briefly and prints the figures that its documentation lists."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.server_process import ROOT
from tests.targets.test_contract import response


def run_benchmark(name: str, *options: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    script = ROOT / "scripts" / "benchmarks" / f"{name}.py"
    result = subprocess.run(
        [sys.executable, str(script), *options], check=False, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert result.returncode in codes
    figures: dict[str, Any] = json.loads(result.stdout)
    return figures


def test_the_gather_benchmark_measures_rates() -> None:
    figures = run_benchmark("gather", "--count", "300")
    assert min(figures[name] for name in figures if name.endswith("_per_second")) > 0
    assert figures["ratio_to_floor"] > 0


def test_sqlserver_loads_into_a_heap_with_the_statements_of_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a server: the statements are recorded."""
    monkeypatch.syspath_prepend(ROOT / "scripts" / "benchmarks")
    namespace = runpy.run_path(str(ROOT / "scripts" / "benchmarks" / "sqlserver.py"))
    assert namespace["_heap"]("[x].heap").startswith("CREATE TABLE [x].heap (")
    connection = mock.MagicMock()
    connection.cursor.return_value.nextset.return_value = False
    namespace["by_openjson"](connection, "[x].heap", [response(b"k" * 16)])
    [(statement, rows)] = [call.args for call in connection.cursor.return_value.execute.call_args_list]
    assert "INSERT INTO [x].heap" in statement
    assert "#" not in statement
    assert len(json.loads(rows)) == 1


@pytest.mark.nightly
def test_the_decode_benchmark_runs() -> None:
    assert run_benchmark("decode")


@pytest.mark.nightly
def test_the_pull_benchmark_loses_no_webhook() -> None:
    figures = run_benchmark("pull", "--count", "300")
    assert figures["webhooks_not_200"] == 0
    assert figures["ratio_to_local"] > 0


@pytest.mark.nightly
def test_the_soak_benchmark_loses_and_duplicates_no_record() -> None:
    figures = run_benchmark("soak", "--minutes", "0.2", "--rate", "100", codes=(0, 1))  # 1: a slow machine
    assert figures["records"]["acknowledged"] > 100
    assert (figures["records"]["lost"], figures["records"]["doubled"]) == (0, 0)


@pytest.mark.nightly
def test_the_ingest_benchmark_measures_all_servers(tmp_path: Path) -> None:
    pytest.importorskip("waitress", reason="LOUD: waitress is not installed, the benchmark was not tried")
    figures = run_benchmark("ingest", "--seconds", "0.2", "--rounds", "2", "--folder", str(tmp_path))
    for connections in (64, 256):
        measured = figures[f"{connections}_connections"]
        assert measured["durable"]["per_second"] > 0
        assert measured["durable"]["not_200"] == 0
        assert len(measured["naive_wsgi"]["each_per_second"]) == 2
        assert set(measured["durable_per_second"]) == {
            "of_without_storing",
            "of_naive_wsgi",
            "of_naive_wsgi_kept_open",
        }
    assert figures["at_3300_per_second"]["p99_ms"] > 0

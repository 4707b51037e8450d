"""`scripts/bench ingest` runs, however briefly, and prints what it promises."""

import json
import subprocess
import sys

import pytest

from tests.serving import ROOT


@pytest.mark.nightly
def test_the_ingest_benchmark_prints_figures_and_ratios(tmp_path):
    pytest.importorskip("waitress", reason="LOUD: waitress is not installed, the benchmark was not tried")
    script = ROOT / "scripts" / "benchmarks" / "ingest.py"
    command = [sys.executable, str(script), "--seconds", "0.2", "--rounds", "2", "--folder", str(tmp_path)]
    figures = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    for connections in (64, 256):
        measured = figures[f"{connections}_connections"]
        assert measured["durable"]["per_second"] > 0
        assert measured["durable"]["not_200"] == 0
        assert set(measured["durable_per_second"]) == {
            "of_without_storing",
            "of_naive_wsgi",
            "of_naive_wsgi_kept_open",
        }
        assert len(measured["naive_wsgi"]["each_per_second"]) == 2
    assert figures["at_3300_per_second"]["p99_ms"] > 0

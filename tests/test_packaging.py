"""What `pip install` gives: the command, the SQL, the type marker, and nothing that is only for us."""

import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from gatherer import __version__

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, by way of a source distribution, as an index would get it."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "setup.py", "README.rst", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("gatherer", "tests"):  # tests too, so that the wheel has a chance to take them along
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", copy / "dist", copy]
    result = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    [built] = (copy / "dist").glob("*.whl")
    return built


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_module_and_every_file_it_reads_is_inside(wheel: Path) -> None:
    """Modules, SQL scripts, the example configuration, the type marker."""
    ours = (
        path for path in (ROOT / "gatherer").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    wanted = {path.relative_to(ROOT).as_posix() for path in ours}
    packaged = {name for name in names(wheel) if name.startswith("gatherer/")}
    assert packaged == wanted
    assert {
        "gatherer/py.typed",
        "gatherer/config/example.toml",
        "gatherer/targets/sqlite/sql/0001_tables.sql",
        "gatherer/targets/sqlserver/sql/0001_tables.sql",
    } <= packaged


def test_nothing_else_is(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in names(wheel)}
    assert tops == {"gatherer", f"gatherer-{__version__}.dist-info"}


def test_the_command_and_the_requirements_are_declared(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        information = f"gatherer-{__version__}.dist-info"
        entry_points = archive.read(f"{information}/entry_points.txt").decode()
        metadata = Parser().parsestr(archive.read(f"{information}/METADATA").decode())
    assert "gatherer = gatherer.cli:main" in entry_points
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/x-rst"
    required = metadata.get_all("Requires-Dist") or []
    assert any(requirement.startswith("tomli-w") for requirement in required)
    assert [r for r in required if r.startswith("pytest") and "extra ==" not in r] == []


@pytest.mark.nightly
def test_the_wheel_works_where_nothing_else_is_installed(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all it needs from the package index: the command runs, and the whole path does."""
    monkeypatch.delenv("PYTHONPATH", raising=False)  # pip would take a checkout there for installed
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [scripts / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install", wheel]
    subprocess.run(pip, check=True, timeout=280)
    for arguments in (["--help"], ["--version"], ["demo", "--count", "20"]):
        result = subprocess.run(
            [scripts / "gatherer", *arguments], cwd=tmp_path, capture_output=True, timeout=120, check=False
        )
        assert result.returncode == 0, result.stderr

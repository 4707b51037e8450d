"""The distribution `whatsapp-gatherer`: what is in it, and the ways to install it."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from gatherer import __version__
from gatherer.config import sample
from tests import distribution
from tests.distribution import PIP_SECONDS, command

ROOT = Path(__file__).resolve().parent.parent
INFORMATION = f"whatsapp_gatherer-{__version__}.dist-info"
BIN = "Scripts" if os.name == "nt" else "bin"


def pip(environment: Path, *arguments: str | Path) -> None:
    """Run `pip install` with `arguments` in a virtual environment, made if it does not exist."""
    if not environment.exists():
        command(sys.executable, "-m", "venv", environment, cwd=environment.parent)
    python = environment / BIN / "python"
    options = ("--disable-pip-version-check", "--no-input", "--quiet")
    command(python, "-m", "pip", "install", *options, *arguments, cwd=environment.parent, seconds=PIP_SECONDS)


def assert_works(program: Path, folder: Path) -> None:
    """Run the installed command in an empty folder: version, samples, and the whole path from request to row."""
    folder.mkdir()
    assert command(program, "--version", cwd=folder).split()[-1] == __version__
    assert command(program, "config", "sample", cwd=folder).split() == sample.names()
    assert command(program, "config", "sample", "gatherer.cron", cwd=folder) == sample.text("gatherer.cron")
    command(program, "demo", "--count", "20", cwd=folder)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> distribution.Build:
    return distribution.build(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def wheelhouse(build: distribution.Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheelhouse")
    distribution.fill_wheelhouse(folder, build.wheel)
    return folder


def wheel_names(build: distribution.Build) -> set[str]:
    with zipfile.ZipFile(build.wheel) as archive:
        return set(archive.namelist())


def metadata(build: distribution.Build) -> Message:
    with zipfile.ZipFile(build.wheel) as archive:
        return Parser().parsestr(archive.read(f"{INFORMATION}/METADATA").decode())


def tracked(build: distribution.Build, folder: str) -> set[str]:
    return set(command("git", "ls-files", folder, cwd=build.source).splitlines())


def test_git_status_is_clean_after_a_build(build: distribution.Build) -> None:
    assert command("git", "status", "--porcelain", cwd=build.source) == ""


def test_the_wheel_contains_every_file_of_the_package_and_every_sample(build: distribution.Build) -> None:
    """Modules, SQL scripts, the example configuration, the type marker, the samples of config/."""
    samples = {name for name in tracked(build, "config") if not name.endswith(".rst")}
    expected = tracked(build, "gatherer") | {
        name.replace("config/", "gatherer/config/samples/", 1) for name in samples
    }
    packaged = {name for name in wheel_names(build) if name.startswith("gatherer/")}
    assert packaged == expected
    assert {
        "gatherer/py.typed",
        "gatherer/config/example.toml",
        "gatherer/config/samples/linux/gatherer-serve.service",
        "gatherer/targets/sqlite/sql/tables.sql",
        "gatherer/targets/sqlserver/sql/tables.sql",
    } <= packaged


def test_the_wheel_contains_no_other_files(build: distribution.Build) -> None:
    assert {name.partition("/")[0] for name in wheel_names(build)} == {"gatherer", INFORMATION}


def test_the_source_distribution_contains_the_files_of_a_build(build: distribution.Build) -> None:
    top = f"whatsapp_gatherer-{__version__}/"
    with tarfile.open(build.sdist) as archive:
        names = {name.removeprefix(top) for name in archive.getnames()}
    samples = {name for name in tracked(build, "config") if not name.endswith(".rst")}
    assert {"pyproject.toml", "setup.cfg", "setup.py", "README.rst", "LICENSE"} <= names
    assert tracked(build, "gatherer") | samples <= names


def test_the_metadata_names_the_distribution_its_authors_and_its_pages(build: distribution.Build) -> None:
    information = metadata(build)
    assert information["Name"] == "whatsapp-gatherer"
    assert information["Author"] == "gatherer contributors"
    assert information["Requires-Python"] == ">=3.11"
    assert information["Description-Content-Type"] == "text/x-rst"
    pages = {url.partition(",")[0] for url in information.get_all("Project-URL") or []}
    assert {"Documentation", "Source", "Issues", "Changelog"} <= pages


def test_the_command_and_the_requirements_are_declared(build: distribution.Build) -> None:
    with zipfile.ZipFile(build.wheel) as archive:
        entry_points = archive.read(f"{INFORMATION}/entry_points.txt").decode()
    assert "gatherer = gatherer.cli:main" in entry_points
    required = metadata(build).get_all("Requires-Dist") or []
    assert any(requirement.startswith("tomli-w") for requirement in required)
    assert [r for r in required if r.startswith("pytest") and "extra ==" not in r] == []


def test_the_package_index_accepts_both_files(build: distribution.Build) -> None:
    command(sys.executable, "-m", "twine", "check", "--strict", build.sdist, build.wheel, cwd=build.source)


@pytest.mark.nightly
@pytest.mark.parametrize("form", ["sdist", "wheel"])
def test_pip_installs_each_form_from_the_package_index(
    build: distribution.Build, form: str, tmp_path: Path
) -> None:
    """Into an environment where nothing else is installed: the command works."""
    pip(tmp_path / "venv", getattr(build, form))
    assert_works(tmp_path / "venv" / BIN / "gatherer", tmp_path / "work")


@pytest.mark.nightly
def test_pip_installs_from_a_wheelhouse_without_a_package_index(wheelhouse: Path, tmp_path: Path) -> None:
    pip(tmp_path / "venv", "--no-index", "--find-links", wheelhouse, "whatsapp-gatherer")
    assert_works(tmp_path / "venv" / BIN / "gatherer", tmp_path / "work")


@pytest.mark.nightly
def test_pipx_installs_the_command(
    build: distribution.Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip(tmp_path / "tool", "pipx")
    monkeypatch.setenv("PIPX_HOME", str(tmp_path / "pipx"))
    monkeypatch.setenv("PIPX_BIN_DIR", str(tmp_path / "bin"))
    monkeypatch.setenv("PIPX_MAN_DIR", str(tmp_path / "man"))
    command(tmp_path / "tool" / BIN / "pipx", "install", build.wheel, cwd=tmp_path, seconds=PIP_SECONDS)
    assert_works(tmp_path / "bin" / ("gatherer.exe" if os.name == "nt" else "gatherer"), tmp_path / "work")


@pytest.mark.nightly
def test_an_editable_install_reads_the_samples_of_the_checkout(
    build: distribution.Build, tmp_path: Path
) -> None:
    pip(tmp_path / "venv", "--editable", build.source)
    assert_works(tmp_path / "venv" / BIN / "gatherer", tmp_path / "work")
    assert command("git", "status", "--porcelain", cwd=build.source) == ""
    changed = build.source / "config" / "linux" / "gatherer.cron"
    text = changed.read_text(encoding="utf-8")
    try:
        changed.write_text("# changed\n", encoding="utf-8")
        program = tmp_path / "venv" / BIN / "gatherer"
        assert command(program, "config", "sample", "gatherer.cron", cwd=tmp_path) == "# changed\n"
    finally:
        changed.write_text(text, encoding="utf-8")


@pytest.mark.nightly
@pytest.mark.parametrize("minor", range(11, 15))
def test_each_supported_python_on_this_machine_runs_gatherer(
    build: distribution.Build, minor: int, tmp_path: Path
) -> None:
    python = shutil.which(f"python3.{minor}")
    # A version manager has commands for versions that are installed, but not active.
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"this machine has no Python 3.{minor}")
    command(python, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    pip(tmp_path / "venv", build.wheel)
    assert_works(tmp_path / "venv" / BIN / "gatherer", tmp_path / "work")

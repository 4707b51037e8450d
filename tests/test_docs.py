"""The documentation matches the program, and the samples are valid."""

import ast
import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from gatherer import __version__, config
from gatherer.cli import COMMANDS
from gatherer.config import example
from gatherer.config.base import Section
from gatherer.model import errors
from gatherer.targets.columns import tables
from gatherer.targets.sqlserver import schema
from tests.cli.test_help import parse
from tests.docs.pages import FILE, pages

ROOT = Path(__file__).resolve().parent.parent
LINUX, WINDOWS = ROOT / "config" / "linux", ROOT / "config" / "windows"
TWO_MACHINES = ROOT / "config" / "two-machines"
PAGES_OF_SAMPLES = {
    LINUX: "administrator-linux.rst",
    WINDOWS: "administrator-windows.rst",
    TWO_MACHINES: "two-machines.rst",
    ROOT / "config" / "sqlserver": "dba.rst",
}
UNITS = sorted(LINUX.glob("*.service")) + sorted(LINUX.glob("*.timer"))
TASKS = sorted(WINDOWS.glob("gatherer-*.xml"))
SCRIPTS = ("bench", "check", "demo", "docs", "test")
LONGEST_JOINT = 8  # characters between two values, as in " port ", that say nothing about a line
TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


def load_documentation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("documentation", ROOT / "scripts" / "documentation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


documentation = load_documentation()
TROUBLESHOOTING = (documentation.DOCS / "troubleshooting.rst").read_text(encoding="utf-8")
CHECKED = [path for path in documentation.documents() if not path.is_relative_to(documentation.DOCS)]


@pytest.mark.parametrize("document", CHECKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_document_is_valid(document: Path) -> None:
    assert documentation.complaints(document) == ""


@pytest.mark.parametrize(
    ("path", "content"),
    [pytest.param(*page, id=page[0].stem) for page in documentation.generated_pages().items()],
)
def test_each_generated_page_is_up_to_date(path: Path, content: str) -> None:
    assert path.read_text(encoding="utf-8") == content, "write it with: scripts/check --fix"


def test_each_key_of_the_configuration_has_a_description() -> None:
    sections = [Section]
    for section in sections:
        sections += section.__subclasses__()
        assert [key for key, field in section.model_fields.items() if not field.description] == []
    assert {config.Server, config.Basic, config.SQLServerTarget} <= {*sections}


def test_the_reference_of_the_configuration_has_each_key_of_the_example() -> None:
    """Both have the same keys, but for those of a mapping, of which the example has a few."""
    reference = documentation.generated_pages()[documentation.DOCS / "reference" / "configuration.rst"]
    described = set(re.findall(r"^   \* - ``([a-z_]+)``$", reference, re.MULTILINE))
    written = set(re.findall(r"^#?([a-z_]+) = ", example.text(), re.MULTILINE))
    of_mappings = {*config.JSONMapping.model_fields, *config.Case.model_fields}
    assert of_mappings | written <= described
    assert described - of_mappings <= written


def test_the_reference_of_the_tables_has_each_table_and_column() -> None:
    definitions = {definition.name: definition for definition in documentation.table_definitions()}
    script = schema.packaged("tables")
    assert list(definitions) == re.findall(r"^CREATE TABLE \$\(schema\)\.(\w+)", script, re.MULTILINE)
    described = sum(len(definition.columns) for definition in definitions.values())
    assert described == len(re.findall(r"^    \[?[a-z]\w*\]? +\w+.* NULL", script, re.MULTILINE))
    assert sum(len(definition.keys) for definition in definitions.values()) == len(
        re.findall(r"PRIMARY KEY|CREATE (?:UNIQUE )?INDEX", script)
    )
    for name, known in tables().items():
        names = {column.strip("`") for column, *_ in definitions[name].columns}
        assert names >= {column.name for column in known}, name


def test_each_command_in_the_documents_exists() -> None:
    """No document but the changelog, which also names former commands, mentions a command that does not exist."""
    for document in documentation.documents():
        if document.name == "CHANGELOG.rst":
            continue
        text = document.read_text(encoding="utf-8")
        commands = re.findall(r"(?:``|^ +)gatherer (?:--config \S+ )?([a-z]+)\b", text, re.MULTILINE)
        assert set(commands) <= {*COMMANDS}


def test_each_exit_code_is_documented() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    codes = {error.exit_code for error in classes if issubclass(error, errors.GathererError)}
    table = TROUBLESHOOTING.partition("Exit codes\n")[2].partition("\n\n\n")[0]
    assert {str(code) for code in {0, 1, 70, *codes}} <= set(re.findall(r"^(\d+) ", table, re.MULTILINE))


def test_links_to_files_are_valid() -> None:
    for document in documentation.documents():
        for target in re.findall(r"`[^`]+ <([^>:]+)>`_", document.read_text(encoding="utf-8")):
            assert (document.parent / target).is_file(), target


def test_the_readme_is_short() -> None:
    """Everything else is in docs/."""
    assert len((ROOT / "README.rst").read_text(encoding="utf-8").splitlines()) <= 200


def test_the_newest_version_in_the_changelog_is_that_of_the_package() -> None:
    """And every version has a date, newest first."""
    text = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    unreleased, *versions = re.findall(r"^(.+)\n-{3,}$", text, re.MULTILINE)
    assert unreleased == "Unreleased"
    parsed = [re.fullmatch(r"(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)", version) for version in versions]
    assert all(parsed)
    dates = [version[2] for version in parsed if version]
    assert parsed[0] is not None
    assert parsed[0][1] == __version__
    assert dates == sorted(dates, reverse=True)


def test_tests_that_pages_name_exist() -> None:
    for document in documentation.documents():
        for name in re.findall(r"``(tests/\S+)``", document.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize("folder", PAGES_OF_SAMPLES, ids=lambda folder: folder.name)
def test_each_sample_is_described_by_the_page_that_its_folder_links_to(folder: Path) -> None:
    page = documentation.DOCS / PAGES_OF_SAMPLES[folder]
    assert page.relative_to(ROOT).as_posix() in (folder / "README.rst").read_text(encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    assert [
        path.name for path in folder.iterdir() if path.name not in text and path.name != "README.rst"
    ] == []


def test_the_samples_use_the_configuration_path_of_the_documents() -> None:
    for path in (*UNITS, LINUX / "gatherer.cron"):
        for named in re.findall(r"--config (\S+)", path.read_text(encoding="utf-8")):
            assert named == f"/etc/gatherer/{config.DEFAULT_NAME}"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_each_unit_is_valid_and_commented(path: Path) -> None:
    unit = configparser.RawConfigParser(strict=True, comment_prefixes=("#",), delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text(encoding="utf-8"))
    assert unit["Unit"]["Description"].startswith("gatherer: ")
    if path.suffix == ".service":
        program, *arguments = unit["Service"]["ExecStart"].split()
        assert program == "/opt/gatherer/bin/gatherer"
        parse(arguments)
    assert sum(line.startswith("#") for line in path.read_text(encoding="utf-8").splitlines()) > 3


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
@pytest.mark.parametrize("with_drop_ins", [False, True])
def test_systemd_accepts_the_units_and_the_drop_ins_of_the_page(tmp_path: Path, with_drop_ins: bool) -> None:
    for path in UNITS:
        text = path.read_text(encoding="utf-8")
        (tmp_path / path.name).write_text(
            text.replace("/opt/gatherer/bin/gatherer", "/bin/true"), encoding="utf-8"
        )
    drop_ins = drop_ins_of_the_page() if with_drop_ins else {}
    assert bool(drop_ins) is with_drop_ins
    for name, text in drop_ins.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", *[str(tmp_path / path.name) for path in UNITS]]
    result = subprocess.run(
        command,
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    messages = [line for line in result.stderr.splitlines() if "gatherer" in line]
    assert messages == []


def drop_ins_of_the_page() -> dict[str, str]:
    """Return the drop-ins that the page for Linux describes, by their path in the folder of units."""
    [page] = [page for page in pages() if page.name == "administrator-linux"]
    files = {block.marks[FILE]: block.text for block in page.blocks if FILE in block.marks}
    folder = "/etc/systemd/system/"
    return {path.removeprefix(folder): text for path, text in files.items() if path.startswith(folder)}


def test_the_crontab_line_is_accepted() -> None:
    from apscheduler.triggers.cron import CronTrigger

    *_, line = (LINUX / "gatherer.cron").read_text(encoding="utf-8").splitlines()
    match = re.fullmatch(r"((?:\S+ ){5})gatherer (\S+) (.*?) >> \S+", line)
    assert match is not None
    CronTrigger.from_crontab(match[1].strip())
    parse(match[3].split())


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.name)
def test_each_task_is_valid_and_so_is_its_command_line(path: Path) -> None:
    raw = path.read_bytes()
    assert raw.isascii()  # the file means the same in every encoding
    assert not raw.startswith(b"<?xml")  # a declared encoding would be wrong after a conversion to UTF-16
    task = ElementTree.fromstring(raw.decode().encode("utf-16"))
    assert task.tag == f"{TASK}Task"

    def text(name: str) -> str:
        match = task.findtext(f".//{TASK}{name}")
        assert match is not None, name
        return match

    assert text("MultipleInstancesPolicy") == "IgnoreNew"
    assert text("StartWhenAvailable") == "true"
    assert text("WorkingDirectory") == r"C:\ProgramData\gatherer"
    assert text("Command") == r'"C:\Program Files\gatherer\Scripts\gatherer.exe"'
    assert " " not in re.sub(r'"[^"]*"', "", text("Arguments")).replace(" ", "", 4)
    parse(text("Arguments").split())
    if "gather.xml" in path.name:
        assert text("ExecutionTimeLimit") == "PT1H"
        assert text("Interval") == "PT5M"
    else:
        assert text("ExecutionTimeLimit") == "PT0S"
        assert task.find(f".//{TASK}BootTrigger") is not None
        assert task.find(f".//{TASK}RestartOnFailure") is not None


def test_both_tasks_run_under_one_account() -> None:
    accounts = {ElementTree.parse(path).findtext(f".//{TASK}UserId") for path in TASKS}
    assert len(accounts) == 1


def test_the_windows_service_is_accepted() -> None:
    service = ElementTree.parse(WINDOWS / "gatherer.winsw.xml").getroot()
    parse((service.findtext("arguments") or "").split())


def test_the_samples_for_two_machines_are_valid_and_match(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("META_VERIFY_TOKEN", "META_APP_SECRET"):
        monkeypatch.setenv(name, "a secret value")
    for name in ("web.toml", "app.toml"):
        shutil.copy(TWO_MACHINES / name, tmp_path)
    for name in ("pull_token.txt", "privacy_key.txt"):
        (tmp_path / name).write_text("a secret of sufficient length", encoding="ascii")
    web = config.load(tmp_path / "web.toml", secrets=True)
    app = config.load(tmp_path / "app.toml", secrets=True)
    inbox = app.named_inboxes["web1"]
    assert isinstance(inbox, config.OfferedInbox)
    assert web.pull is not None
    assert inbox.url.endswith(f":{web.pull.port}")
    assert inbox.ca == web.pull.tls_certificate
    rules = ElementTree.parse(TWO_MACHINES / "web.config").getroot()
    urls = [action.get("url") for action in rules.iter("action") if action.get("url")]
    nginx = (TWO_MACHINES / "nginx.conf").read_text(encoding="utf-8")
    assert urls == ["http://127.0.0.1:8080/{R:0}", "http://127.0.0.1:8443/{R:1}"]
    assert re.findall(r"proxy_pass (\S+);", nginx) == ["http://127.0.0.1:8080", "http://127.0.0.1:8443/"]


def literal_texts() -> str:
    """Return every text of the program, each on a line of its own; a tab stands for a value that is filled in."""
    lines = []
    for path in sorted((ROOT / "gatherer").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\t" for part in node.values)
                lines.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                lines.append(re.sub(r"%(?:[sdr]|\.\df)", "\t", node.value))
    return "\n".join(lines)


def lines_to_look_up() -> list[str]:
    """Return the lines of the program that the page on troubleshooting explains."""
    [page] = [page for page in pages() if page.name == "troubleshooting"]
    return [line for block in page.blocks if block.language == "text" for line in block.text.splitlines()]


def test_each_line_of_the_page_on_troubleshooting_is_one_that_the_program_prints() -> None:
    """Compares the words between the values, because nested texts are filled in at run time."""
    texts = literal_texts()
    unknown = {
        line: words
        for line in lines_to_look_up()
        for part in re.split(r"…|[:;.] |\b\d{3}\b|\binbox\b", line)
        if len(words := part.strip(" :;.()=")) > LONGEST_JOINT and words not in texts
    }
    assert unknown == {}
    assert len(lines_to_look_up()) > 40


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_reports_an_old_python_in_one_line(name: str, tmp_path: Path) -> None:
    script = (ROOT / "scripts" / name).read_text(encoding="utf-8")
    old = script.replace("sys.version_info < (3, 11)", "sys.version_info < (99, 0)")
    assert old != script
    (tmp_path / name).write_text(old, encoding="utf-8")
    assert_reports_old_python(tmp_path / name, sys.executable)


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_reports_python_3_10_in_one_line(name: str) -> None:
    python = shutil.which("python3.10")
    # A version manager has commands for versions that are installed, but not active.
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip("this machine has no Python 3.10")
    assert_reports_old_python(ROOT / "scripts" / name, python)


def assert_reports_old_python(script: Path, python: str) -> None:
    """Run `script` with `python`: it exits with 1 and prints one line."""
    result = subprocess.run([python, script], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("gatherer needs Python 3.11 or later, and this is ")
    assert result.stderr.count("\n") == 1

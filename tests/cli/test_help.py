"""The command line as a whole: fast help, complete help texts, clear usage errors."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gatherer.cli import COMMANDS, gatherer
from tests.factories import run

HEAVY = (
    "httptools",
    "apscheduler",
    "msgspec",
    "pydantic",
    "requests",
    "rich",
    "sqlite3",
    "sqlite_utils",
    "tomli_w",
)


def test_help_imports_no_heavy_library() -> None:
    """`gatherer --help` is fast because libraries are imported where they are used."""
    command_lines = [["--version"], ["--help"], *([name, "--help"] for name in COMMANDS)]
    program = (
        "import json, sys\n"
        "from gatherer.cli import main\n"
        f"for arguments in {command_lines!r}:\n"
        "    sys.argv = ['gatherer', *arguments]\n"
        "    try:\n        main()\n"
        "    except SystemExit:\n"
        f"        heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "        print(json.dumps({'arguments': arguments, 'heavy': heavy}))\n"
    )
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    result = subprocess.run([sys.executable, "-c", program], env=unmeasured, capture_output=True, check=True)
    results = [json.loads(line) for line in result.stdout.splitlines() if line.startswith(b'{"arguments"')]
    assert results == [{"arguments": arguments, "heavy": []} for arguments in command_lines]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_and_option_has_a_help_text(name: str) -> None:
    command = gatherer.get_command(click.Context(gatherer), name)
    assert command is not None
    commands = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    for subcommand in commands:
        assert subcommand.help
        assert "Example" in subcommand.help
        options = [parameter for parameter in subcommand.params if isinstance(parameter, click.Option)]
        assert [option.name for option in options if not option.help] == []


def test_the_examples_in_help_texts_are_valid_command_lines() -> None:
    """The parser accepts each example."""
    for name in COMMANDS:
        command = gatherer.get_command(click.Context(gatherer), name)
        assert command is not None
        for subcommand in list(command.commands.values()) if isinstance(command, click.Group) else [command]:
            text = re.sub(r"\\\n\s*", "", subcommand.help or "")  # an example may go on in the next line
            for line in text.splitlines():
                example = line.removeprefix("Examples:").removeprefix("Example:").strip()
                if example.startswith("gatherer "):
                    parse(example.partition(" > ")[0].split()[1:])


def parse(arguments: list[str]) -> None:
    """Parse a command line without running it; raises the usage error of the parser."""
    command: click.Command = gatherer
    context: click.Context | None = None
    rest = [argument.strip('"') for argument in arguments]
    while True:
        context = command.make_context(command.name, rest, parent=context)
        if not isinstance(command, click.Group):
            return
        name, subcommand, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert subcommand is not None, name
        command = subcommand


@pytest.mark.parametrize(
    "arguments",
    [("nope",), ("--nope",), ("--log-level", "loud", "status"), ("serv",), ("gather", "--every", "5x")],
)
def test_an_invalid_command_line_exits_2_with_one_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = run(tmp_path, *arguments)
    assert result.returncode == 2
    assert result.stdout == b""
    assert result.stderr.decode().count("Error: ") == 1
    assert b"Traceback" not in result.stderr

"""The command line as a whole: quick to answer, complete, and clear about what is wrong."""

import json
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


def test_help_imports_nothing_that_takes_time() -> None:
    """`gatherer --help` answers at once because libraries are imported where they are used."""
    asked = [["--version"], ["--help"], *([name, "--help"] for name in COMMANDS)]
    program = (
        "import json, sys\n"
        "from gatherer.cli import main\n"
        f"for arguments in {asked!r}:\n"
        "    sys.argv = ['gatherer', *arguments]\n"
        "    try:\n        main()\n"
        "    except SystemExit:\n"
        f"        heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "        print(json.dumps({'asked': arguments, 'heavy': heavy}))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    told = [json.loads(line) for line in result.stdout.splitlines() if line.startswith(b'{"asked"')]
    assert told == [{"asked": arguments, "heavy": []} for arguments in asked]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_does_and_each_option_too(name: str) -> None:
    command = gatherer.get_command(click.Context(gatherer), name)
    assert command is not None
    commands = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    for one in commands:
        assert one.help
        assert "Example" in one.help
        options = [parameter for parameter in one.params if isinstance(parameter, click.Option)]
        assert [option.name for option in options if not option.help] == []


def test_every_command_has_the_example_of_a_working_command_line() -> None:
    """The examples in the help texts are accepted by the parser."""
    for name in COMMANDS:
        command = gatherer.get_command(click.Context(gatherer), name)
        assert command is not None
        for one in list(command.commands.values()) if isinstance(command, click.Group) else [command]:
            for line in (one.help or "").splitlines():
                example = line.removeprefix("Examples:").removeprefix("Example:").strip()
                if example.startswith("gatherer "):
                    parse(example.partition(" > ")[0].split()[1:])


def parse(arguments: list[str]) -> None:
    """Parse a command line without running it; raises what the parser has against it."""
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
def test_a_wrong_command_line_exits_2_with_one_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = run(tmp_path, *arguments)
    assert result.returncode == 2
    assert result.stdout == b""
    assert result.stderr.decode().count("Error: ") == 1
    assert b"Traceback" not in result.stderr

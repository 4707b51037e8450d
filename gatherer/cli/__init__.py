"""The command line: one module per command, which parses options, calls one function, prints and exits."""

import errno
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from gatherer import __version__
from gatherer.cli.logs import LEVELS, describe_error, set_up
from gatherer.model.errors import DEFECT_EXIT_CODE, GathererError, TemporaryError

# In the order in which an operator needs them.
COMMANDS: Final = (
    "demo",
    "init",
    "config",
    "target",
    "schema",
    "serve",
    "gather",
    "replay",
    "status",
    "map",
    "quarantine",
    "inbox",
    "privacy",
    "export",
    "decode",
    "providers",
    "simulate",
)


class _Commands(click.Group):
    """Each command is in the module of its name. It is imported when the command runs, with what it needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"gatherer.cli.{cmd_name}").command
        return command


class _FileName(click.Path):
    """The path of a file. Click would take an empty one, as of a variable that is not set, for the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("the name of the file is empty", param, ctx)
        return super().convert(value, param, ctx)


_FILE: Final = _FileName(dir_okay=False, path_type=Path)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--config",
    "config_path",
    type=_FILE,
    metavar="FILE",
    help="Configuration file. Default: $GATHERER_CONFIG, else ./gatherer.toml.",
)
@click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    default="info",
    show_default=True,
    help="What to log.",
)
@click.option(
    "--log-file",
    type=_FILE,
    metavar="FILE",
    help="Log to this file, not to stderr. It is rotated at 10 MB, and 5 old files are kept.",
)
@click.version_option(__version__, prog_name="gatherer")
@click.pass_context
def gatherer(context: click.Context, config_path: Path | None, log_level: str, log_file: Path | None) -> None:
    """Gather WhatsApp campaign responses from webhooks into SQL, once each, none lost.

    \b
    Exit codes: 0 done; 1 only with --fail-on-rejected, after a failed step of
    [[after_run]], if an inbox has lost notifications, or after Ctrl-C; 2 usage
    or configuration; 3 inbox or target unusable, and trying again will not
    help; 75 try again later; 70 a defect of gatherer.
    """
    set_up(log_level, log_file)
    context.obj = config_path


def main() -> None:
    """Run the command line. Every error that the operator can act on becomes one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):  # Windows consoles and pipes default to other encodings
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        gatherer()
    except GathererError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            _exit_after_defect(error)
        click.echo(f"Error: the output could not be written: {error.strerror}", err=True)
        sys.exit(TemporaryError.exit_code)
    except Exception as error:  # noqa: BLE001 - the last chance to make it one line
        _exit_after_defect(error)


def _exit_after_defect(error: Exception) -> NoReturn:
    import logging

    logging.getLogger(__name__).debug("the defect", exc_info=error)
    click.echo(
        f"Error: a defect in gatherer, {describe_error(error)}; --log-level debug shows where", err=True
    )
    sys.exit(DEFECT_EXIT_CODE)

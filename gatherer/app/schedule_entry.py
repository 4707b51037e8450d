"""The entry of cron or Task Scheduler that repeats `gatherer gather`."""

import getpass
import os
import shlex
import sys
from datetime import timedelta
from pathlib import Path

from gatherer import config
from gatherer.config import Configuration
from gatherer.model.errors import ConfigurationError

_HOUR, _DAY = 60, 24 * 60  # minutes


def minutes_of(every: timedelta) -> int:
    """Return `every` in minutes.

    Raises:
        ConfigurationError: cron cannot repeat at this interval.

    """
    minutes, rest = divmod(int(every.total_seconds()), 60)
    if rest or not minutes or (_HOUR % minutes and (minutes % _HOUR or _DAY % minutes)):
        raise ConfigurationError(
            "a schedule needs minutes that divide an hour, or hours that divide a day: 1m, 5m, 15m, 1h …"
        )
    return minutes


def entry(configuration: Configuration, path: Path, minutes: int) -> str:
    """Return the text that repeats a run: a line for cron, on Windows a command for PowerShell.

    Args:
        configuration: of the runs.
        path: its file.
        minutes: the time between two runs, from `minutes_of`.

    """
    log = configuration.inbox.path.with_name("gather.log")
    arguments = ["--config", str(path.absolute()), "--log-file", str(log), "gather"]
    if os.name == "nt":
        return _for_task_scheduler(arguments, minutes, configuration.target)
    when = f"*/{minutes} * * * *" if minutes < _HOUR else f"0 */{minutes // _HOUR} * * *"
    command = " ".join(shlex.quote(word) for word in [*_program(), *arguments]).replace("%", r"\%")
    return f"{when} {command} > /dev/null"


def _for_task_scheduler(arguments: list[str], minutes: int, target: config.Target) -> str:
    program, *first = _program()
    quoted = " ".join(f'"{word}"' if " " in word else word for word in [*first, *arguments])
    account = "-User SYSTEM"
    if isinstance(target, config.SQLServerTarget) and target.authentication == "integrated":
        name = f"{os.environ.get('USERDOMAIN', '.')}\\{getpass.getuser()}"
        account = f"-User {_literal(name)} -Password (Read-Host {_literal(f'Password of {name}')})"
    return (
        r"Register-ScheduledTask -TaskPath '\gatherer\' -TaskName gather "
        f"-Action (New-ScheduledTaskAction -Execute {_literal(program)} -Argument {_literal(quoted)}) "
        "-Trigger (New-ScheduledTaskTrigger -Once -At (Get-Date) "
        f"-RepetitionInterval (New-TimeSpan -Minutes {minutes})) "
        "-Settings (New-ScheduledTaskSettingsSet -StartWhenAvailable -ExecutionTimeLimit (New-TimeSpan -Hours 1)) "
        f"{account}"
    )


def _literal(text: str) -> str:
    """Return `text` as a string of PowerShell."""
    return "'" + text.replace("'", "''") + "'"


def _program() -> list[str]:
    """Return the command `gatherer` of this installation."""
    command = Path(sys.executable).with_name("gatherer.exe" if os.name == "nt" else "gatherer")
    return [str(command)] if command.exists() else [sys.executable, "-m", "gatherer"]

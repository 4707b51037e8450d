"""`[[after_run]]`: the steps of a run when rows are new. A step that fails changes no row, and is taken again.

A step has a cursor, as an export does: up to which change of the target it has succeeded. So a run also takes the steps
that an earlier run missed, because they failed or because the machine went down.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from gatherer.config import AfterRun, Configuration, SQLServerTarget
from gatherer.model import timestamps
from gatherer.model.errors import GathererError
from gatherer.pipeline.export import Cursor
from gatherer.targets.base import NO_END, ChangePoint, Export, Run, Target

log = logging.getLogger(__name__)

TIMED_OUT: Final = 124  # exit codes as of timeout(1) and the shells
NOT_STARTED: Final = 127
_TAIL_BYTES: Final = 4096
_LONGEST_LINE: Final = 500  # characters


def take_steps(configuration: Configuration, target: Target) -> list[Run]:
    """Take each step of `[[after_run]]` that is due, log it, record it in `gather_run`, and return the rows there."""
    if not configuration.after_run:
        return []
    runs: list[Run] = []
    horizon = NO_END  # of the first step for all: a step may need what one before it does
    for step in configuration.after_run:
        cursor = Cursor(target, step.name, kind="after-run")
        started_at = timestamps.now()
        try:
            changed_after, changed_to = cursor.read()
            horizon = ChangePoint(*map(min, horizon, changed_to))
            changes = Export(view="changes", changed_after=changed_after, changed_to=horizon)
            if not (step.always or list(target.export(changes))):
                continue
            exit_code, output = _take(configuration, step)
        except GathererError as error:  # the next steps are taken all the same
            exit_code, output = error.exit_code, str(error)
        runs.append(
            Run(
                started_at=started_at,
                finished_at=timestamps.now(),
                exit_code=exit_code,
                step=step.name,
                last_line=_last_line(output),
            )
        )
        level = logging.ERROR if exit_code else logging.INFO
        log.log(level, "step %s: exit code %d: %s", step.name, exit_code, runs[-1].last_line or "no output")
        try:
            target.record_run(runs[-1])
            # For the same reason it is due again with the one that failed.
            if not any(run.exit_code for run in runs):
                cursor.write(horizon)
        except GathererError as error:
            log.warning("step %s could not be recorded: %s", step.name, error)
    return runs


def _take(configuration: Configuration, step: AfterRun) -> tuple[int, str]:
    """Return the exit code and the end of the output of `step`.

    Raises:
        GathererError: the statement of SQL failed, or took too long.

    """
    if step.sql is not None:
        _execute(configuration, step.sql, step.timeout_seconds)
        return 0, ""
    command = step.command or _export_command(configuration, step)
    return _run(command, step.timeout_seconds, configuration.path.parent)


def _execute(configuration: Configuration, sql: str, timeout_seconds: int) -> None:
    """Execute `sql` in a connection of its own, once. After an error, the server rolls back what is not committed."""
    from gatherer.app.resources import sqlserver_access
    from gatherer.targets.sqlserver.errors import translate_errors
    from gatherer.targets.sqlserver.session import Session

    assert isinstance(configuration.target, SQLServerTarget)  # noqa: S101 - the configuration is checked
    session = Session(replace(sqlserver_access(configuration.target), query_timeout_seconds=timeout_seconds))
    with translate_errors(session.name):
        try:
            session.run(sql)
        finally:
            session.disconnect()


def _export_command(configuration: Configuration, step: AfterRun) -> list[str]:
    """Return the command line of the export: in a process of its own, it can be ended after its time."""
    assert step.export is not None  # noqa: S101 - one of the three kinds
    command = [sys.executable, "-P", "-m", "gatherer", "--config", str(configuration.path), "export"]
    for name, value in ({"since_last": step.name} | step.export.model_dump(exclude_defaults=True)).items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            command.append(option)
        else:
            command += [f"{option}={part}" for part in (value if isinstance(value, list) else [value])]
    return command


def _run(command: list[str], timeout_seconds: int, folder: Path) -> tuple[int, str]:
    """Run `command` in `folder`, and return its exit code and the end of its output."""
    with (
        tempfile.TemporaryFile() as output
    ):  # not a pipe: a child that outlives the command would hold it open
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator configured it
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # has no effect on Windows
            )
        except OSError as error:
            return NOT_STARTED, f"{command[0]} cannot be started: {error.strerror or error}"
        try:
            exit_code = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return TIMED_OUT, f"ended after {timeout_seconds} s: it had not finished"
        finally:
            if process.poll() is None:
                _kill_with_children(process)
        output.seek(max(0, output.seek(0, os.SEEK_END) - _TAIL_BYTES))
        # Windows returns 32 bits without a sign.
        return (exit_code + 2**31) % 2**32 - 2**31, output.read().decode("utf-8", "replace")


def _kill_with_children(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        taskkill = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(taskkill, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)  # noqa: S603
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(output: str) -> str | None:
    """Return the last line of `output` that is not empty, without control characters and not too long."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or [""]
    line = "".join(character if character.isprintable() else " " for character in lines[-1])
    return line[:_LONGEST_LINE] or None

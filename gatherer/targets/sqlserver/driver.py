"""pyodbc, and Microsoft's ODBC driver for SQL Server: the installed one, or the one from PyPI."""

import os
import platform
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from gatherer.model.errors import ConfigurationError

OLDEST_DRIVER: Final = 17
_MICROSOFT: Final = re.compile(r"ODBC Driver (\d+) for SQL Server")
_PACKAGE: Final = "mssql_python_odbc"

NO_PYODBC: Final = (
    "SQL Server needs pyodbc, which is not installed: pip install 'whatsapp-gatherer[sqlserver]'"
)
NO_MANAGER: Final = (
    "pyodbc is installed, but a library that it needs is missing (%s). "
    "Linux: apt install unixodbc, or dnf install unixODBC. macOS: brew install unixodbc. "
    "Windows: winget install --id Microsoft.VCRedist.2015+.x64"
)
NO_DRIVER: Final = (
    "Microsoft's ODBC driver for SQL Server (17 or later) is not installed. "
    "Windows: winget install --id Microsoft.msodbcsql.18. "
    "Linux: pip install 'whatsapp-gatherer[sqlserver]' brings one, or add Microsoft's package source "
    "(learn.microsoft.com, 'Install the Microsoft ODBC driver') and: apt install msodbcsql18, or "
    "dnf install msodbcsql18. [target] driver names one that is elsewhere"
)


def load() -> Any:
    """Return pyodbc.

    Raises:
        ConfigurationError: it cannot be loaded; the message has the commands that install it.

    """
    try:
        import pyodbc
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{NO_PYODBC} ({error})") from None
    except ImportError as error:  # its wheels for Linux come without the driver manager
        raise ConfigurationError(NO_MANAGER % error) from None
    return pyodbc


def find(installed: Sequence[str]) -> str:
    """Return Microsoft's newest driver: a name among `installed`, else the path of the one from PyPI.

    Raises:
        ConfigurationError: there is no driver; the message has the commands that install one.

    """
    versions = {int(match[1]): name for name in installed if (match := _MICROSOFT.fullmatch(name))}
    newest = max(versions, default=0)
    if newest >= OLDEST_DRIVER:
        return versions[newest]
    # The driver manager of Windows loads installed drivers only; unixODBC loads a driver by its path.
    if os.name != "nt" and (packaged := _packaged_driver()) is not None:
        return str(packaged)
    raise ConfigurationError(NO_DRIVER)


def _packaged_driver() -> Path | None:
    """Return the path of the driver for this system in the package `mssql-python-odbc`; None if there is none."""
    package = find_spec(_PACKAGE)
    if package is None or package.origin is None:
        return None
    libraries = Path(package.origin).parent / "libs"
    machine = {"aarch64": "arm64", "amd64": "x86_64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if sys.platform == "darwin":
        folders, pattern = [libraries / "macos" / machine / "lib"], "libmsodbcsql*.dylib"
    else:
        folders = [libraries / "linux" / family / machine / "lib" for family in _families()]
        pattern = "libmsodbcsql-*.so*"
    return next((path for folder in folders for path in sorted(folder.glob(pattern), reverse=True)), None)


def _families() -> list[str]:
    """Return the package's folder names for Linux distributions, best match for this machine first."""
    folders = {
        "alpine": "alpine",
        "debian": "debian_ubuntu",
        "ubuntu": "debian_ubuntu",
        "rhel": "rhel",
        "fedora": "rhel",
        "centos": "rhel",
        "suse": "suse",
        "sles": "suse",
    }
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    matches = [folders[name] for name in names if name in folders]
    return list(dict.fromkeys([*matches, "debian_ubuntu", "rhel", "suse"]))

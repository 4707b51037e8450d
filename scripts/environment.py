"""The virtual environment of the scripts. Standard library only: it runs before anything is installed."""

import hashlib
import os
import shutil
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path
from typing import Final, NoReturn

ROOT: Final = Path(__file__).resolve().parent.parent
VENV: Final = ROOT / ".venv"
PYTHON: Final = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP: Final = VENV / "installed"  # one line: a hash of the declarations, and the extras that are installed
PACKAGES: Final = {  # of Debian, by the program or, without "lib", the library that tests need
    "strace": "strace",
    "fiu-run": "fiu-utils",
    "faketime": "faketime",
    "mkfs.ext4": "e2fsprogs",
    "odbc": "unixodbc",
    "nginx": "nginx-light",
    "caddy": "caddy",
    "ip": "iproute2",
    "git": "git",
}
SERVERS: Final = {"nginx-light", "caddy"}  # not installed where systemd would start them at once
# Builds docs/ in the folder of the project. A warning is an error.
SPHINX: Final = ("-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", "docs", "build/docs")
DECLARED_IN: Final = ("pyproject.toml", "setup.cfg", "setup.py")


def prepare(*extras: str) -> None:
    """Install this checkout with `extras` into `.venv`, unless it is installed.

    The folder has a file with the installed extras and a hash of the files that declare them. If both match, nothing
    is installed. The installation is editable: the scripts run the files of the checkout.
    Ends the process with one line on standard error if the installation fails.
    """
    wanted = _declared()
    installed = _installed(wanted)
    if installed is not None and installed >= set(extras) and _works():
        return
    if installed is None or not _works():
        _make()
    extras = tuple(sorted({*extras, *(installed or ())}))
    requirement = f".[{','.join(extras)}]" if extras else "."
    _tell(f"installing {requirement.replace('.', 'gatherer', 1)} with pip: this takes a minute or two, once")
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "install"]
    if _call([*pip, "--use-pep517", "--editable", requirement], ROOT):
        _give_up(
            "pip failed, see its messages above. Is the package index reachable? "
            "Behind a proxy set HTTPS_PROXY, for a mirror PIP_INDEX_URL; then run this again."
        )
    STAMP.write_text(" ".join((wanted, *extras)) + "\n", encoding="ascii")


def run(*arguments: str, folder: Path | None = None) -> int:
    """Run the environment's Python with `arguments`, in `folder` if given, and return its exit code."""
    return _call([str(PYTHON), *arguments], folder)


def offer(*names: str) -> None:
    """Install the Debian packages with the programs and libraries `names`, as root; else tell which tests are skipped."""
    missing = {PACKAGES[name] for name in names if not _is_installed(name)}
    if not missing or not sys.platform.startswith("linux"):
        return
    packages = " ".join(sorted(missing))
    wanted = missing - (SERVERS if Path("/run/systemd/system").exists() else set())
    if wanted and os.geteuid() == 0 and shutil.which("apt-get"):
        _tell(f"installing {' '.join(sorted(wanted))} with apt-get, for tests that need them")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        # In runlevel 1 the installation of a package starts no service.
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for command in (
            ["apt-get", "update"],
            ["apt-get", "install", "-y", "--no-install-recommends", *sorted(wanted)],
        ):
            subprocess.run(command, check=False, env=environment, **quiet)  # type: ignore[call-overload]
    if not all(_is_installed(name) for name in names):
        _tell(f"tests that need {packages} will be skipped: on Debian and Ubuntu, apt-get install {packages}")


def _is_installed(name: str) -> bool:
    """Tell whether the system has the program or the library `name`."""
    return shutil.which(name) is not None or find_library(name) is not None


def _declared() -> str:
    """Return a hash of everything that determines the contents of the environment."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {ROOT}".encode())
    for name in DECLARED_IN:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _installed(wanted: str) -> set[str] | None:
    """Return the extras that are installed, or None when the environment is missing or out of date."""
    try:
        stamp, *extras = STAMP.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return set(extras) if stamp == wanted else None


def _works() -> bool:
    """Tell whether the Python of the environment starts: a system upgrade can remove the one that it links to."""
    try:
        return subprocess.run([PYTHON, "-c", ""], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _make() -> None:
    """Create the virtual environment, unless one that works has the same version of Python."""
    if _works() and _same_version():
        return
    _tell(f"creating a virtual environment in {VENV}")
    if VENV.is_dir():
        shutil.rmtree(VENV, ignore_errors=True)
    if _call([sys.executable, "-m", "venv", str(VENV)]):
        shutil.rmtree(VENV, ignore_errors=True)
        _give_up(
            f"the virtual environment {VENV} cannot be created. On Debian and Ubuntu: "
            f"apt install python3-venv; otherwise check that the folder is writable and the disk has free space."
        )


def _same_version() -> bool:
    ask = "import sys; print(*sys.version_info[:2])"
    version = subprocess.run([PYTHON, "-c", ask], check=False, capture_output=True, text=True).stdout.split()
    return version == [str(part) for part in sys.version_info[:2]]


def _call(command: list[str], folder: Path | None = None) -> int:
    """Run `command` and return its exit code. Ctrl-C reaches the command, too: wait for its end."""
    with subprocess.Popen(command, cwd=folder) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue


def _tell(message: str) -> None:
    print(f"scripts/{Path(sys.argv[0]).name}: {message}", file=sys.stderr, flush=True)


def _give_up(message: str) -> NoReturn:
    _tell(message)
    sys.exit(1)

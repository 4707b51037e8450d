"""Runs the shell blocks of one page, in order, as root of a machine of its own.

The machine is this one with Linux namespaces: system folders are overlaid, so that changes stay inside; the network
has the loopback interface alone; and all processes end with the page.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.docs.pages import EXIT_CODE, FILE, FIRST, NOT_RUN, READY, ROOT, Block, Page

OVERLAID: Final = ("etc", "home", "opt", "root", "srv", "usr", "var")
START_SECONDS: Final = 60
STAND_INS: Final = Path(__file__).parent / "stand_ins"  # of commands that need systemd
PROGRAMS: Final = "/usr/lib/page/bin"  # with the command `gatherer` of this checkout
# For `.. first: fill-campaign`: gathers the campaign of the SQL examples in the current folder.
CAMPAIGN: Final = ("fill-campaign", "tests.docs.campaign")
_NAMESPACES: Final = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
_MARK: Final = "\x1e"  # separates the outputs of blocks
_MACHINE: Final = f"""\
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$OVERLAYS"
for folder in {" ".join(OVERLAID)}; do
    mkdir -p "$OVERLAYS/$folder.upper" "$OVERLAYS/$folder.work"
    options="lowerdir=/$folder,upperdir=$OVERLAYS/$folder.upper,workdir=$OVERLAYS/$folder.work"
    mount -t overlay -o "$options" overlay "/$folder"
done
ip link set lo up
chmod 755 /root  # Python may be there, and services run under accounts of their own
mkdir -p {PROGRAMS} /home/reader
write_program() {{
    printf '#!/bin/sh\\nPYTHONPATH=%q exec %q -m %q "$@"\\n' "$CHECKOUT" "$PYTHON" "$2" >"{PROGRAMS}/$1"
    chmod 755 "{PROGRAMS}/$1"
}}
write_program gatherer gatherer
write_program {" ".join(CAMPAIGN)}
cd /home/reader
"""
_READY: Final = f"""\
until grep -qF -- {{text}} {{log}}; do
    if ! kill -0 $! 2>/dev/null || (( ++waited > {START_SECONDS * 10} )); then cat {{log}}; exit 99; fi
    sleep 0.1
done
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one block."""

    output: str  # standard output and standard error
    finished: bool  # False: one of its commands failed, or the page ended earlier


def unavailable() -> str | None:
    """Return why this machine cannot run pages; None if it can."""
    if sys.platform != "linux" or not all(map(shutil.which, ("unshare", "ip", "bash"))):
        return "needs Linux with unshare, ip and bash"
    if os.geteuid() != 0:
        return "needs root, for namespaces with system folders of their own"
    probe = subprocess.run([*_NAMESPACES, "true"], capture_output=True, text=True, check=False)
    return f"needs namespaces: {probe.stderr.strip()}" if probe.returncode else None


def run(page: Page, folder: Path, variables: Mapping[str, str]) -> dict[int, Result]:
    """Run the shell blocks of `page` and write its files, and return what became of each by its line.

    Args:
        page: the page.
        folder: an empty one, for what the run itself needs.
        variables: of the environment, in addition to the few that every shell has.

    """
    (folder / "overlays").mkdir()
    (folder / "logs").mkdir()
    environment = {
        "HOME": "/home/reader",
        "LANG": "C.UTF-8",
        "OVERLAYS": str(folder / "overlays"),
        "CHECKOUT": str(ROOT),
        "PYTHON": sys.executable,
        "PATH": os.pathsep.join(
            # What a page installs comes before the command of the checkout.
            [str(STAND_INS), "/usr/local/bin", PROGRAMS, str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        **variables,
    }
    blocks = [block for block in page.blocks if is_executed(block)]
    script = folder / "page.sh"
    script.write_text(_MACHINE + "".join(_step(block, folder / "logs") for block in blocks), encoding="utf-8")
    process = subprocess.run(
        [*_NAMESPACES, "bash", script],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600 if page.nightly else 280,
        check=False,
    )
    printed = process.stdout.decode("utf-8", "replace")
    return {block.line: _result(block, printed) for block in blocks}


def is_executed(block: Block) -> bool:
    """Tell whether a page does something with `block`: run it in the shell, or write it to a file."""
    return NOT_RUN not in block.marks and (block.language == "sh" or FILE in block.marks)


def _step(block: Block, logs: Path) -> str:
    """Return the lines of the script for one block, with marks around its output."""
    first = f"({block.marks[FIRST]}\n) >/dev/null\n" if FIRST in block.marks else ""
    if FILE in block.marks:
        path = shlex.quote(block.marks[FILE])
        body = f"mkdir -p \"$(dirname {path})\"\ncat >{path} <<'end of the block'\n{block.text}end of the block\n"
    elif READY in block.marks:
        log = logs / f"{block.line}.log"
        text, name = shlex.quote(block.marks[READY]), shlex.quote(str(log))
        body = f"( {block.text}) >{name} 2>&1 &\nwaited=0\n{_READY.format(text=text, log=name)}"
    elif EXIT_CODE in block.marks:
        body = f'set +e\n{block.text}code=$?\nset -e\n[ "$code" = {block.marks[EXIT_CODE]} ]\n'
    else:
        body = block.text
    begin, end = f"printf '{_MARK}begin {block.line}{_MARK}'", f"printf '{_MARK}end {block.line}{_MARK}'"
    return f"{begin}\n{first}{body}{end}\n"


def _result(block: Block, printed: str) -> Result:
    """Return what `printed`, the output of the whole page, says of `block`."""
    _, begun, rest = printed.partition(f"{_MARK}begin {block.line}{_MARK}")
    if not begun:
        return Result(
            output=f"an earlier block failed, or the machine did not start:\n{printed}", finished=False
        )
    output, ended, _ = rest.partition(f"{_MARK}end {block.line}{_MARK}")
    return Result(output=re.sub(r"\x1b\[[0-9;]*m", "", output), finished=bool(ended))

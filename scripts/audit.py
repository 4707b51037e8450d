"""Ask whether a package that is installed here has a known vulnerability. Needs the package index.

Exits 0 when there is none, and also, loudly, when the index cannot be asked; 1 when there is one.
"""

import json
import subprocess
import sys
import urllib.request
from importlib.metadata import version
from typing import Final

# What pip-audit asks about every package and its version.
INDEX: Final = f"https://pypi.org/pypi/click/{version('click')}/json"
SECONDS: Final = 10


def unreachable() -> str | None:
    """Return why the index cannot be asked; None if it can."""
    try:
        with urllib.request.urlopen(INDEX, timeout=SECONDS) as answer:
            known = json.loads(answer.read())
    except (OSError, ValueError) as error:
        return str(error)
    return None if "vulnerabilities" in known else "it tells nothing about vulnerabilities"


def main() -> int:
    """Print what is known, and return the exit code."""
    problem = unreachable()
    if problem is not None:
        print(f"SKIPPED: packages were NOT checked for known vulnerabilities: {INDEX}: {problem}")
        return 0
    command = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--format", "json"]
    audit = subprocess.run(
        [*command, "--progress-spinner", "off"], stdout=subprocess.PIPE, text=True, check=False
    )
    try:
        packages = json.loads(audit.stdout)["dependencies"]
    except (ValueError, LookupError):
        print("SKIPPED: packages were NOT checked for known vulnerabilities: pip-audit broke off (see above)")
        return 0
    vulnerable = 0
    for package in packages:
        for found in package.get("vulns", ()):
            vulnerable = 1
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
        if "skip_reason" in package and package["name"] != "whatsapp-gatherer":
            print(f"NOT checked: {package['skip_reason']}")
    return vulnerable


if __name__ == "__main__":
    sys.exit(main())

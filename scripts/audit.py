"""Check the installed packages for known vulnerabilities. Needs the package index.

Exits 0 if there are none, 1 if there are, and 0 with a line that begins with SKIPPED if the index does not answer.
"""

import json
import subprocess
import sys
import urllib.request
from importlib.metadata import version
from typing import Final

# pip-audit requests such a page for each package and its version.
INDEX: Final = f"https://pypi.org/pypi/click/{version('click')}/json"
SECONDS: Final = 10


def unreachable() -> str | None:
    """Return why the index cannot be used; None if it can."""
    try:
        with urllib.request.urlopen(INDEX, timeout=SECONDS) as response:
            page = json.loads(response.read())
    except (OSError, ValueError) as error:
        return str(error)
    return None if "vulnerabilities" in page else "its pages have no vulnerabilities"


def main() -> int:
    """Print the known vulnerabilities, and return the exit code."""
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
        print("SKIPPED: packages were NOT checked for known vulnerabilities: pip-audit failed (see above)")
        return 0
    vulnerable = 0
    for package in packages:
        for vulnerability in package.get("vulns", ()):
            vulnerable = 1
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}")
        if "skip_reason" in package and package["name"] != "whatsapp-gatherer":
            print(f"NOT checked: {package['skip_reason']}")
    return vulnerable


if __name__ == "__main__":
    sys.exit(main())

"""A stand-in for the response gatherer: `response_gatherer.py FOLDER DATABASE`.

It picks up the files in FOLDER by the pattern of their names, stores their rows in DATABASE, and deletes them. As with
the real one, a row that comes twice is there twice.
"""

import csv
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

PATTERNS = {"whatsapp_*": "\t", "opt-outs_*": ","}


def main(folder: Path, database: Path) -> None:
    """Load every file that is complete."""
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS loaded (file TEXT, written_at REAL, row TEXT)")
        files = 0
        for pattern, delimiter in PATTERNS.items():
            for path in sorted(folder.glob(pattern)):
                with path.open(encoding="utf-8", newline="") as file:
                    rows = list(csv.DictReader(file, delimiter=delimiter))
                written_at = path.stat().st_mtime
                with connection:
                    connection.executemany(
                        "INSERT INTO loaded VALUES (?, ?, ?)",
                        [(path.name, written_at, json.dumps(row)) for row in rows],
                    )
                path.unlink()
                files += 1
    sys.stdout.write(f"{files} files loaded\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

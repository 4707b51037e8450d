"""`gatherer config sample`: the files of config/, listed and printed."""

from pathlib import Path

from gatherer.config import sample
from tests.factories import call

ROOT = Path(__file__).resolve().parent.parent.parent


def test_without_a_name_every_sample_is_listed(tmp_path: Path) -> None:
    files = (path for path in (ROOT / "config").rglob("*") if path.is_file() and path.suffix != ".rst")
    expected = sorted(path.relative_to(ROOT / "config").as_posix() for path in files)
    assert call(tmp_path, "config", "sample").stdout.decode().split() == expected


def test_each_sample_is_printed_unchanged(tmp_path: Path) -> None:
    for name in sample.names():
        printed = call(tmp_path, "config", "sample", name).stdout.decode().replace("\r\n", "\n")
        assert printed == (ROOT / "config" / name).read_text(encoding="utf-8")


def test_a_sample_is_found_by_its_file_name_and_with_backslashes(tmp_path: Path) -> None:
    expected = (ROOT / "config" / "linux" / "gatherer.cron").read_text(encoding="utf-8")
    for name in ("gatherer.cron", "linux/gatherer.cron", r"linux\gatherer.cron"):
        assert call(tmp_path, "config", "sample", name).stdout.decode().replace("\r\n", "\n") == expected


def test_an_unknown_or_ambiguous_name_is_an_error_that_lists_the_samples(tmp_path: Path) -> None:
    unknown = call(tmp_path, "config", "sample", "apache.conf")
    assert unknown.returncode == 2
    assert b"nginx/gatherer.conf" in unknown.stderr
    ambiguous = call(tmp_path, "config", "sample", "web.config")
    assert ambiguous.returncode == 2
    assert b"iis/web.config, two-machines/web.config" in ambiguous.stderr

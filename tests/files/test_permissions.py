"""Warnings of files that every account can read or change: by mode, on Windows by access control list."""

import sys
from pathlib import Path

import pytest

from gatherer.files import permissions
from gatherer.files.permissions import every_account_can
from tests.certificates import Authority
from tests.server_process import ENDPOINT, run_server

posix = pytest.mark.skipif(sys.platform == "win32", reason="LOUD: Windows has no modes")
PRIVATE = "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;LS)"


@pytest.mark.parametrize(
    ("descriptor", "readable", "writable"),
    [
        (PRIVATE, False, False),
        ("O:BAG:SYD:AI(A;ID;FA;;;BA)(A;ID;0x1200a9;;;BU)", True, False),  # inherited from C:\\
        ("D:AI(A;ID;0x1301bf;;;AU)", True, True),
        ("D:(A;;FR;;;WD)", True, False),
        ("D:(A;;FA;;;WD)", True, True),
        ("D:(A;;GW;;;AN)", False, True),
        ("D:(A;;FRFW;;;S-1-5-21-1-2-3-1001)", False, False),
        ("D:(D;;FA;;;WD)(A;;FA;;;BA)", False, False),
        ("D:(A;OICIIO;FA;;;BU)(A;;FA;;;BA)", False, False),  # only for new files inside
        ("D:NO_ACCESS_CONTROL", True, True),
        ("", True, True),
        ("D:", False, False),  # an empty list allows nothing
        ("D:PS:(AU;SAFA;FA;;;WD)", False, False),  # an audit entry is no access
    ],
)
def test_access_of_every_account_is_read_from_an_access_control_list(descriptor, readable, writable):
    assert every_account_can(descriptor) == (readable, writable)


@pytest.mark.parametrize(
    ("descriptor", "replaceable"),
    [
        (PRIVATE, False),
        (
            "D:AI(A;OICIID;0x1200a9;;;BU)(A;CIID;LC;;;BU)(A;CIID;DC;;;BU)",
            False,
        ),  # C:\\ProgramData: new files only
        ("D:(A;OICI;FA;;;WD)", True),
        ("D:(A;OICI;0x1301ff;;;AU)", True),
    ],
)
def test_permission_to_delete_files_in_a_folder_differs_from_permission_to_create_them(
    descriptor, replaceable
):
    assert every_account_can(descriptor, of_folder=True)[1] is replaceable


@posix
@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o600, []),
        (0o660, []),
        (0o640, []),
        (0o644, ["read"]),
        (0o602, ["changed"]),
        (0o666, ["read", "changed"]),
    ],
)
def test_access_of_every_account_is_read_from_the_mode(tmp_path, mode, words):
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    lines = list(permissions.problems(path))
    assert [
        word for word in ("read", "changed") if any(f"can be {word} by" in line for line in lines)
    ] == words
    tmp_path.chmod(0o777)
    assert any("can replace files" in line for line in permissions.problems(path))
    tmp_path.chmod(0o1777)
    assert not any("can replace files" in line for line in permissions.problems(path))
    assert list(permissions.problems(tmp_path / "missing")) == []


@pytest.mark.skipif(sys.platform != "win32", reason="LOUD: needs Windows: its access control lists")
def test_the_access_control_list_of_a_real_file_is_read_on_windows(tmp_path: Path) -> None:
    import subprocess

    path = tmp_path / "file"
    path.touch()
    subprocess.run(["icacls", path, "/inheritance:r", "/grant", "*S-1-5-18:F"], check=True, timeout=60)
    assert list(permissions.problems(path)) == []
    subprocess.run(["icacls", path, "/grant", "*S-1-1-0:R"], check=True, timeout=60)
    assert any("can be read" in line for line in permissions.problems(path))


@posix
def test_serve_warns_of_files_that_every_account_can_read_or_change(tmp_path):
    with run_server(tmp_path) as server:
        assert "every account" not in server.log()
        server.stop()
    (tmp_path / "inbox.quarantine.db").touch()
    authority = Authority(tmp_path)
    pull = authority.issue(as_="pull")
    authority.certificate("pull").chmod(0o646)
    for name in ("inbox.db", "inbox.db-wal", "inbox.quarantine.db", "pull.key"):
        (tmp_path / name).chmod(0o644)
    (tmp_path / "token.txt").touch(0o600)
    (tmp_path / "token.txt").write_text("t" * 40)
    secret = tmp_path / "secret.txt"
    secret.write_text("app-secret")
    secret.chmod(0o604)
    (tmp_path / "gatherer.toml").chmod(0o646)
    with run_server(
        tmp_path,
        ENDPOINT.replace('["app-secret"]', '[{ file = "secret.txt" }]'),
        settings=f'[pull]\nport = 0\ntokens = [{{ file = "token.txt" }}]\n{pull}',
        server="",
    ) as server:
        log = server.log()
        assert server.post(b"x").status == 200
    for name in ("inbox.db", "inbox.db-wal", "secret.txt", "inbox.quarantine.db", "pull.key"):
        assert f"{name} can be read by every account" in log
    for name in ("gatherer.toml", "pull.pem"):
        assert f"{name} can be changed by every account" in log
    assert "pull.pem can be read" not in log
    assert "gatherer.toml can be read" not in log, "it contains no secret"

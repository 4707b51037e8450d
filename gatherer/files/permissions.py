"""Which files accounts that have no business with them can read or change.

On Linux by mode: whatever "others" may do. On Windows by the access control list: whatever it allows to groups that
everybody is in. What one account or a group of some was given on purpose is nobody's business here.
"""

import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# Of the security descriptor definition language: Everyone, Users, Authenticated Users, Interactive, Network,
# Guests, Guest, Anonymous. https://learn.microsoft.com/windows/win32/secauthz/sid-strings
_EVERYBODY: Final = {"WD", "BU", "AU", "IU", "NU", "BG", "LG", "AN"}
_ENTRY: Final = re.compile(r"\((\w+);(\w*);(\w*);[^;]*;[^;]*;([\w-]+)[^)]*\)")
# https://learn.microsoft.com/windows/win32/secauthz/ace-strings
_READING: Final = {"GA", "GR", "FA", "FR", "CC"}
_WRITING: Final = {"GA", "GW", "FA", "FW", "DC", "LC", "SD", "WD", "WO"}
_READ_BITS: Final = 0x1 | 0x80000000 | 0x10000000  # read data; generic read, all
_WRITE_BITS: Final = (
    0x2 | 0x4 | 0x10000 | 0x40000 | 0x80000 | 0x40000000 | 0x10000000
)  # …, delete, DAC, owner


def problems(path: Path, *, may_be_read: bool = False) -> Iterator[str]:
    """Yield a line for each thing that everybody on this machine may do with the file `path`, if it is there.

    With `may_be_read`, reading it is none.
    """
    try:
        readable, writable = _open_to_all(path)
        _, replaceable = _open_to_all(path.parent)
    except OSError:
        return  # not there, or not ours to look at: then whoever opens it says so
    if readable and not may_be_read:
        yield f"{path} can be read by every account on this machine{_remedy(path)}"
    if writable:
        yield f"{path} can be changed by every account on this machine{_remedy(path)}"
    if replaceable:
        yield f"every account on this machine can replace files in {path.parent}{_remedy(path.parent)}"


def open_to_all(descriptor: str, *, of_folder: bool = False) -> tuple[bool, bool]:
    """Return whether a Windows security descriptor, as text, lets everybody read, and lets everybody write.

    An entry that denies is not weighed against those that allow: where somebody needed one, a look is worth it.
    """
    access = re.search(r"D:(NO_ACCESS_CONTROL|[A-Z]*)((?:\([^)]*\))*)", descriptor)
    if access is None or access[1] == "NO_ACCESS_CONTROL":
        return True, True  # no list at all: everybody may do everything
    readable = writable = False
    for kind, flags, rights, who in _ENTRY.findall(access[2]):
        # What is only inherited by new files does not count here.
        if kind not in ("A", "XA") or who not in _EVERYBODY or "IO" in re.findall("..", flags):
            continue
        if rights.startswith("0x"):
            bits, names = int(rights, 16), set()
        else:
            bits, names = 0, set(re.findall("..", rights))
        readable = readable or bool(bits & _READ_BITS or names & _READING)
        if of_folder:  # new files there harm nobody; to delete or replace somebody's file does
            writable = writable or bool(bits & (0x40 | 0x10000000) or names & {"GA", "FA", "DT"})
        else:
            writable = writable or bool(bits & _WRITE_BITS or names & _WRITING)
    return readable, writable


def _remedy(path: Path) -> str:
    if sys.platform == "win32":
        return f": icacls {path} /inheritance:r and grant it to the accounts that need it"
    return f": chmod o-rwx {path}"


if sys.platform == "win32":

    def _open_to_all(path: Path) -> tuple[bool, bool]:
        return open_to_all(_descriptor(path), of_folder=path.is_dir())

    def _descriptor(path: Path) -> str:
        """Return who may do what with `path`, as text.

        Raises:
            OSError: it cannot be found out.

        """
        import ctypes
        from ctypes import wintypes

        security, kernel = ctypes.WinDLL("advapi32"), ctypes.WinDLL("kernel32")
        file_object, access_list, revision = 1, 4, 1  # SE_FILE_OBJECT, DACL_SECURITY_INFORMATION
        found, text = ctypes.c_void_p(), wintypes.LPWSTR()
        failed = security.GetNamedSecurityInfoW(
            wintypes.LPCWSTR(str(path)), file_object, access_list, None, None, None, None, ctypes.byref(found)
        )
        if failed:
            raise ctypes.WinError(failed)
        kernel.LocalFree.argtypes = [ctypes.c_void_p]
        try:
            if not security.ConvertSecurityDescriptorToStringSecurityDescriptorW(
                found, revision, access_list, ctypes.byref(text), None
            ):
                raise ctypes.WinError()
            return text.value or ""
        finally:
            kernel.LocalFree(ctypes.cast(text, ctypes.c_void_p))
            kernel.LocalFree(found)

else:

    def _open_to_all(path: Path) -> tuple[bool, bool]:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):  # with the sticky bit, as /tmp has it, nobody replaces what is another's
            return False, bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX
        return bool(mode & stat.S_IROTH), bool(mode & stat.S_IWOTH)

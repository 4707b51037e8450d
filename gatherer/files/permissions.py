"""Finds files that every account of this machine can read or change.

On Linux this depends on the mode bits for "others". On Windows it depends on what the access control list allows the
groups that every account belongs to. Access that an administrator gave to single accounts or groups is not reported.
"""

import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# In the security descriptor definition language: Everyone, Users, Authenticated Users, Interactive, Network,
# Guests, Guest, Anonymous. https://learn.microsoft.com/windows/win32/secauthz/sid-strings
_EVERY_ACCOUNT: Final = {"WD", "BU", "AU", "IU", "NU", "BG", "LG", "AN"}
_ENTRY: Final = re.compile(r"\((\w+);(\w*);(\w*);[^;]*;[^;]*;([\w-]+)[^)]*\)")
# https://learn.microsoft.com/windows/win32/secauthz/ace-strings
_READING: Final = {"GA", "GR", "FA", "FR", "CC"}
_WRITING: Final = {"GA", "GW", "FA", "FW", "DC", "LC", "SD", "WD", "WO"}
_READ_BITS: Final = 0x1 | 0x80000000 | 0x10000000  # read data; generic read, all
_WRITE_BITS: Final = (
    0x2 | 0x4 | 0x10000 | 0x40000 | 0x80000 | 0x40000000 | 0x10000000
)  # …, delete, DAC, owner


def problems(path: Path, *, public: bool = False) -> Iterator[str]:
    """Yield a line for each way in which every account can access the file `path`, and must not.

    Args:
        path: of the file; if it does not exist, or this account cannot look at it, there are no lines.
        public: whether every account may read the file; none may change it.

    """
    try:
        readable, writable = _every_account_can(path)
        _, replaceable = _every_account_can(path.parent)
    except OSError:
        return  # the code that opens the file reports it
    if readable and not public:
        yield f"{path} can be read by every account on this machine{_remedy(path)}"
    if writable:
        yield f"{path} can be changed by every account on this machine{_remedy(path)}"
    if replaceable:
        yield f"every account on this machine can replace files in {path.parent}{_remedy(path.parent)}"


def every_account_can(descriptor: str, *, of_folder: bool = False) -> tuple[bool, bool]:
    """Return whether a Windows security descriptor lets every account read, and lets every account write.

    Entries that deny are not subtracted from entries that allow: where an administrator needed one, the
    administrator should look at the list.

    Args:
        descriptor: in the security descriptor definition language.
        of_folder: whether the descriptor is of a folder: then "write" means to delete or replace the files in it.

    """
    access = re.search(r"D:(NO_ACCESS_CONTROL|[A-Z]*)((?:\([^)]*\))*)", descriptor)
    if access is None or access[1] == "NO_ACCESS_CONTROL":
        return True, True  # without a list every account may do everything
    readable = writable = False
    for kind, flags, rights, account in _ENTRY.findall(access[2]):
        # An entry with "IO" applies to new files inside the folder, not to the folder.
        if kind not in ("A", "XA") or account not in _EVERY_ACCOUNT or "IO" in re.findall("..", flags):
            continue
        if rights.startswith("0x"):
            bits, names = int(rights, 16), set()
        else:
            bits, names = 0, set(re.findall("..", rights))
        readable = readable or bool(bits & _READ_BITS or names & _READING)
        if of_folder:  # adding a file does no harm; deleting or replacing the file of another account does
            writable = writable or bool(bits & (0x40 | 0x10000000) or names & {"GA", "FA", "DT"})
        else:
            writable = writable or bool(bits & _WRITE_BITS or names & _WRITING)
    return readable, writable


def _remedy(path: Path) -> str:
    if sys.platform == "win32":
        return f": icacls {path} /inheritance:r and grant it to the accounts that need it"
    return f": chmod o-rwx {path}"


if sys.platform == "win32":

    def _every_account_can(path: Path) -> tuple[bool, bool]:
        return every_account_can(_descriptor(path), of_folder=path.is_dir())

    def _descriptor(path: Path) -> str:
        """Return the security descriptor of `path`, in the security descriptor definition language.

        Raises:
            OSError: Windows cannot return it.

        """
        import ctypes
        from ctypes import wintypes

        security, kernel = ctypes.WinDLL("advapi32"), ctypes.WinDLL("kernel32")
        file_object, access_list, revision = 1, 4, 1  # SE_FILE_OBJECT, DACL_SECURITY_INFORMATION
        security_descriptor, text = ctypes.c_void_p(), wintypes.LPWSTR()
        failed = security.GetNamedSecurityInfoW(
            wintypes.LPCWSTR(str(path)),
            file_object,
            access_list,
            None,
            None,
            None,
            None,
            ctypes.byref(security_descriptor),
        )
        if failed:
            raise ctypes.WinError(failed)
        kernel.LocalFree.argtypes = [ctypes.c_void_p]
        try:
            if not security.ConvertSecurityDescriptorToStringSecurityDescriptorW(
                security_descriptor, revision, access_list, ctypes.byref(text), None
            ):
                raise ctypes.WinError()
            return text.value or ""
        finally:
            kernel.LocalFree(ctypes.cast(text, ctypes.c_void_p))
            kernel.LocalFree(security_descriptor)

else:

    def _every_account_can(path: Path) -> tuple[bool, bool]:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):  # the sticky bit, as on /tmp, lets each account replace its own files only
            return False, bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX
        return bool(mode & stat.S_IROTH), bool(mode & stat.S_IWOTH)

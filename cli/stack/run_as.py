"""Program: become another than root, then become the given command. PostgreSQL refuses to run as root.

    python run_as.py namespace COMMAND ...   a user namespace in which root's files belong to an ordinary user
    python run_as.py user:NAME COMMAND ...   the system user NAME

The process id stays the same, signals reach the command directly. Exits with 96 when this is refused here. Needs
nothing but the standard library, and imports no package, so that it starts in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from pathlib import Path

REFUSED = 96
CLONE_NEWUSER = 0x10000000
INSIDE_ID = 1000


def enter_namespace() -> None:
    """Make a user namespace in which the files of uid 0 are those of INSIDE_ID; raises OSError when that is refused."""
    unshare = getattr(ctypes.CDLL(None, use_errno=True), "unshare", None)
    if unshare is None:
        raise OSError("this system has no user namespaces")
    if unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    # The kernel accepts a group map from here only once setgroups is given up.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{INSIDE_ID} 0 1")
    Path("/proc/self/gid_map").write_text(f"{INSIDE_ID} 0 1")
    if os.geteuid() == 0:
        raise OSError("still root inside the namespace")


def become_user(name: str) -> None:
    """Give up root for good; raises KeyError for an unknown user, OSError when it is refused."""
    user = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def main() -> None:
    """Run the program; see the module text."""
    how, command = sys.argv[1], sys.argv[2:]
    try:
        if how == "namespace":
            enter_namespace()
        else:
            become_user(how.removeprefix("user:"))
        os.execv(command[0], command)  # noqa: S606  # the launcher passes a full path, and no shell is wanted
    except (OSError, KeyError) as error:
        print(f"cannot run as {how}: {error}", file=sys.stderr)
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()

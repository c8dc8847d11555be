"""Runs a command in a network namespace of its own, where loopback is all there is: as a machine whose plant network is gone.

unshare --net python no_network.py COMMAND...
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys

SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
"""linux/sockios.h, linux/if.h"""
SOMEWHERE = ("192.0.2.1", 9)
"""RFC 5737: an address of nobody, to which packets would be routed all the same."""


def main() -> None:
    """Becomes the command. Exits with a message where something outside this machine can be reached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", IFF_UP | IFF_RUNNING, b""))
        reached = control.connect_ex(SOMEWHERE)
    if reached != errno.ENETUNREACH:
        sys.exit(f"there is a way to {SOMEWHERE[0]}: {os.strerror(reached)}")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()

"""A GigE Vision camera that is not ours: Aravis's fake camera on the loopback interface, with a trigger wire.

Runs under the system's Python, which has Aravis's bindings. Prints a line once it listens; then obeys lines on standard input:
`fire` is a pulse on the wire, `lose 1` loses every packet from then on, `lose 0` none.
"""

from __future__ import annotations

import sys

PACKAGES = "python3-gi gir1.2-aravis-0.8 aravis-tools"
"""What has to be installed for it (Debian)."""
TRIGGER_SOFTWARE = 0x30C
"""The fake camera's register: writing 1 exposes, and through memory instead of the network it is a wire."""


def main() -> None:
    """Serves until standard input ends."""
    import gi

    gi.require_version("Aravis", "0.8")
    from gi.repository import Aravis

    camera = Aravis.GvFakeCamera.new("lo", "GV01")
    if not camera.is_running():
        raise SystemExit("the fake camera cannot have its port")
    print("listening", flush=True)
    for line in sys.stdin:
        word, _, value = line.strip().partition(" ")
        if word == "fire":
            camera.get_fake_camera().write_register(TRIGGER_SOFTWARE, 1)
        elif word == "lose":
            camera.set_property("gvsp-lost-ratio", float(value))


if __name__ == "__main__":
    main()

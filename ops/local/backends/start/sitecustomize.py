"""Run first by each Python process that the local server starts, one for each version of a model that it loads.

What it imports before it can serve takes most of its start (140 ms of processor time for numpy, 40 for onnxruntime), on cores where
other versions judge parts meanwhile. So it is imported here, in a thread that yields to them. A thread, because a process that has
become less urgent may not take that back; and it has ended before the model's session is made, whose threads would inherit it.
"""

from __future__ import annotations

import importlib
import os
import threading

YIELDS = 10
"""`nice`, above that of the process. Not all that there is: on a machine that is busy throughout the version would never come."""
LEAST_URGENT = 19
IMPORTED = ("numpy", "onnxruntime")


def _import() -> None:
    urgency = min(LEAST_URGENT, os.getpriority(os.PRIO_PROCESS, 0) + YIELDS)
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), urgency)  # on Linux a thread has its own
    for package in IMPORTED:
        importlib.import_module(package)


_importing = threading.Thread(target=_import, name="import")
_importing.start()
_importing.join()

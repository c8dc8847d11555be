"""Memory that the inference server on the same machine reads requests from and writes answers to, instead of copying them.

One slot per request under way, as large as the largest request so far. A slot whose request did not end well is not used
again: the server may still write to it. It is taken back (`settle`) once the server has proved that it is past it.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

FOLDER = Path("/dev/shm")
TYPES = {np.dtype(np.uint8): "UINT8", np.dtype(np.float32): "FP32"}
_ALIGNED_BYTES = 64

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOutput:
    """One row of an output tensor, as an earlier answer to a request of the same kind showed it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def size_bytes(self, rows: int) -> int:
        """Of so many rows."""
        return int(rows * np.prod(self.shape, dtype=np.int64) * self.dtype.itemsize)


@dataclass(slots=True, kw_only=True)
class Slot:
    """A region that both sides have mapped."""

    name: str
    size_bytes: int
    memory: mmap.mmap
    used_bytes: int = field(default=0)

    def place(self, size_bytes: int) -> int:
        """The offset of the next piece."""
        at = -(-self.used_bytes // _ALIGNED_BYTES) * _ALIGNED_BYTES
        self.used_bytes = at + size_bytes
        return at

    def view(self, at: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The array that lies at an offset."""
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(self.memory, dtype, count=count, offset=at).reshape(shape)


class SharedTensors:
    """The slots of one client. `owner` names it on this machine: what its former life left behind is removed."""

    def __init__(self, *, client: InferenceServerClient, owner: str, timeout_s: float) -> None:
        self._client = client
        self._prefix = f"linesight-{owner}-"
        self._timeout_s = timeout_s
        self._life = uuid4().hex[:8]  # a pid may be that of the life before, in a container it always is
        self._numbers = count()
        self._free: list[Slot] = []
        # the server keeps what it has mapped until it is told otherwise
        self._doubtful: list[str] = [left_over.name for left_over in FOLDER.glob(f"{self._prefix}*")]
        self._files: set[str] = set()
        for name in self._doubtful:
            self._unlink(name)

    async def slot(self, size_bytes: int) -> Slot:
        """A free slot of at least this size, registered with the server. Raises InferenceServerException, OSError."""
        for slot in self._free:
            if slot.size_bytes >= size_bytes:
                self._free.remove(slot)
                slot.used_bytes = 0
                return slot
        if self._free:
            await self._let_go(self._free.pop().name)
        return await self._new(size_bytes)

    def give_back(self, slot: Slot) -> None:
        """Its request was answered."""
        self._free.append(slot)

    def give_up(self, slot: Slot) -> None:
        """Its request failed, and may still be under way."""
        self._doubtful.append(slot.name)
        self._unlink(slot.name)

    async def settle(self) -> None:
        """The server works, after a failure: nothing older is under way, and it may have forgotten every region."""
        names = [*self._doubtful, *(slot.name for slot in self._free)]
        self._doubtful, self._free = [], []
        for name in names:
            await self._let_go(name)

    async def close(self) -> None:
        """Leaves nothing behind here. The server lets go of what is idle; of what a failed request may still use, never before its end."""
        for slot in self._free:
            await self._let_go(slot.name)
        self._free.clear()
        for name in list(self._files):
            self._unlink(name)

    async def _new(self, size_bytes: int) -> Slot:
        name = f"{self._prefix}{self._life}-{next(self._numbers)}"
        handle = os.open(FOLDER / name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._files.add(name)
        try:
            os.posix_fallocate(handle, 0, size_bytes)  # a full /dev/shm is an error here, not a SIGBUS later
            memory = mmap.mmap(handle, size_bytes)
            await self._client.register_system_shared_memory(
                name, f"/{name}", size_bytes, client_timeout=self._timeout_s
            )
        except BaseException:
            self._doubtful.append(name)  # it may have been registered all the same
            self._unlink(name)
            raise
        finally:
            os.close(handle)
        return Slot(name=name, size_bytes=size_bytes, memory=memory)

    async def _let_go(self, name: str) -> None:
        """Gives a region back on both sides; where the server does not answer, `settle` tries again."""
        self._unlink(name)
        try:
            await self._client.unregister_system_shared_memory(name, client_timeout=self._timeout_s)
        except InferenceServerException:
            self._doubtful.append(name)

    def _unlink(self, name: str) -> None:
        (FOLDER / name).unlink(missing_ok=True)
        self._files.discard(name)


def request_bytes(inputs: Mapping[str, Sequence[Array]], outputs: Mapping[str, RowOutput], rows: int) -> int:
    """What a request needs of a slot, gaps included."""
    sizes = [sum(part.nbytes for part in parts) for parts in inputs.values()]
    sizes += [output.size_bytes(rows) for output in outputs.values()]
    return sum(size + _ALIGNED_BYTES for size in sizes)


def lay_inputs(slot: Slot, inputs: Mapping[str, Sequence[Array]]) -> list[InferInput]:
    """Writes the parts of each input one after the other into the slot."""
    tensors = []
    for name, parts in inputs.items():
        shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
        size_bytes = sum(part.nbytes for part in parts)
        at = slot.place(size_bytes)
        np.concatenate(parts, out=slot.view(at, shape, parts[0].dtype))
        tensor = InferInput(name, list(shape), TYPES[parts[0].dtype])
        tensor.set_shared_memory(slot.name, size_bytes, at)
        tensors.append(tensor)
    return tensors


def want_outputs(
    slot: Slot, outputs: Mapping[str, RowOutput], rows: int
) -> tuple[list[InferRequestedOutput], dict[str, Array]]:
    """Where the server shall write, and the arrays that will be there then; copy them before the slot is given back."""
    wanted, arrays = [], {}
    for name, output in outputs.items():
        size_bytes = output.size_bytes(rows)
        at = slot.place(size_bytes)
        tensor = InferRequestedOutput(name)
        tensor.set_shared_memory(slot.name, size_bytes, at)
        wanted.append(tensor)
        arrays[name] = slot.view(at, (rows, *output.shape), output.dtype)
    return wanted, arrays

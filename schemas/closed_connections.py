"""Connections that the broker has closed: an error of the connection under uvloop, too.

asyncio takes what is written to a closed transport without a word; uvloop raises RuntimeError. aiokafka 0.14 expects OSError
(https://github.com/aio-libs/aiokafka/issues/1038). Where it happens in the task that keeps the metadata up to date, that task is gone,
and the consumer waits for it for good: it never finds its group again, and no commit succeeds until the process is started anew.
"""

from __future__ import annotations

from typing import Any

from aiokafka import conn
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError


def accept_closed_connections() -> None:
    """From now on a closed connection is replaced, whatever the event loop calls it. Doing so twice is harmless."""
    conn.AIOKafkaConnection = _Connection


class _Connection(AIOKafkaConnection):  # type: ignore[misc]
    """A connection whose errors are Kafka errors."""

    def send(self, request: Any, expect_response: bool = True) -> Any:
        try:
            return super().send(request, expect_response=expect_response)
        except KafkaError:  # a RuntimeError as well
            raise
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error

"""Which nodes of a PLC have news: one subscription for all stations of a session, for PLCs bound how many a session may have."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

from gateways.opcua_notifications import Publication
from gateways.opcua_session import NodeFault, OpcUaSession
from gateways.opcua_subscriptions import Monitored, Subscription


class NodeWatch:
    """Calls `changed` with the identifier of each node that changed, and once for each when it is added.

    It says that there is news, not which: values are read afterwards, so nothing depends on a queue's depth.
    """

    def __init__(self, session: OpcUaSession, *, publishing_ms: float, changed: Callable[[str], None]) -> None:
        self._session = session
        self._publishing_ms = publishing_ms
        self._changed = changed
        self._numbers = itertools.count()
        self._watched: dict[int, str] = {}
        self._granted: dict[str, tuple[int, int]] = {}  # identifier: our number of its item, and the PLC's
        self._subscription: Subscription | None = None
        self._one_at_a_time = asyncio.Lock()

    async def add(self, identifiers: Sequence[str]) -> None:
        """Watches these as well. One that is watched already is watched anew: a node that was taken away and put back has a dead item.

        Raises `NodeFault` where the PLC refuses some; the others are watched then.
        """
        async with self._one_at_a_time:
            if self._subscription is None:
                self._subscription = await self._session.subscribe(self._publishing_ms, self._told)
            await self._forget(self._subscription, identifiers)
            items = [Monitored(next(self._numbers), node, self._publishing_ms, 1) for node in identifiers]
            self._watched |= {item.item: item.identifier for item in items}
            refused = []
            for item, granted in zip(items, await self._session.monitor(self._subscription, items), strict=True):
                if granted.refused:
                    del self._watched[item.item]
                    refused.append(f"{item.identifier} cannot be watched: {granted.refused}")
                else:
                    self._granted[item.identifier] = item.item, granted.id
        if refused:
            raise NodeFault(f"node {'; node '.join(refused)}")

    async def _forget(self, subscription: Subscription, identifiers: Sequence[str]) -> None:
        known = [self._granted.pop(node) for node in identifiers if node in self._granted]
        for number, _ in known:
            del self._watched[number]
        if known:
            await self._session.unmonitor(subscription, [granted for _, granted in known])

    def _told(self, publication: Publication) -> None:
        items = {report.item for report in publication.reports} & self._watched.keys()
        for node in {self._watched[item] for item in items}:
            self._changed(node)

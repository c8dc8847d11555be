"""The subscriptions of one OPC UA session: created, published, watched over.

asyncua's own ones make an object and a task of every value, end without a word where the server says BadNoSubscription, and leave it to
the client to notice one that fell silent. Here a response is decoded once (`opcua_notifications.py`) and handed over whole,
and whatever ends a subscription (its lifetime, the server, silence) loses the session, which its keeper opens anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from math import ceil
from typing import Any, NamedTuple

from asyncua import Client, ua
from asyncua.ua.ua_binary import struct_from_binary

from gateways.opcua_notifications import Publication, read_publication

KEEP_ALIVE_MS = 1000
"""A server with nothing to report says so as often."""
SILENT_KEEP_ALIVES = 4
"""After so many keep-alives that did not come, the subscription is taken for dead."""
LIFETIME_MS = 30_000
"""So long the server keeps a subscription that nobody asks for."""
ITEMS_PER_REQUEST = 500
"""Servers bound what one request may create (MaxMonitoredItemsPerCall); 500 is below what is usual."""


class Monitored(NamedTuple):
    """What a server is asked to sample: under which number it is told of, which node, how often, how many samples the server keeps until
    they are published, and how far a value has to move to be reported (in its own unit; 0: any change)."""

    item: int
    identifier: str
    sampling_ms: float
    queue: int
    deadband: float = 0.0


class Granted(NamedTuple):
    """What the server made of it. `refused` is the OPC UA name of its status, empty where it samples; `id` is the server's number of it."""

    refused: str
    sampling_ms: float
    queue: int
    id: int = 0


class Subscription(NamedTuple):
    """A subscription of the session, with the publishing interval that the server granted."""

    id: int
    publishing_ms: float
    keep_alive_ms: float


class Subscriptions:
    """All subscriptions of `client`'s session, with one publish request outstanding. `lose` is called with why, once they are of no use."""

    def __init__(self, client: Client, *, node_id: Callable[[str], ua.NodeId], lose: Callable[[str], None]) -> None:
        self._client = client
        self._node_id = node_id
        self._lose = lose
        self._told: dict[int, Callable[[Publication], None]] = {}
        self._heard: dict[int, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def create(self, publishing_ms: float, told: Callable[[Publication], None]) -> Subscription:
        """A subscription whose publications go to `told`. Raises what asyncua raises."""
        request = ua.CreateSubscriptionRequest()
        request.Parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=publishing_ms,
            RequestedLifetimeCount=ceil(LIFETIME_MS / publishing_ms),
            RequestedMaxKeepAliveCount=max(1, round(KEEP_ALIVE_MS / publishing_ms)),
            MaxNotificationsPerPublish=0,
            PublishingEnabled=True,
            Priority=0,
        )
        answer = struct_from_binary(ua.CreateSubscriptionResponse, await self._client.uaclient._send_request(request))
        answer.ResponseHeader.ServiceResult.check()
        made = answer.Parameters
        interval_ms = float(made.RevisedPublishingInterval)
        subscription = Subscription(
            int(made.SubscriptionId), interval_ms, interval_ms * max(1, int(made.RevisedMaxKeepAliveCount))
        )
        self._told[subscription.id] = told
        self._heard[subscription.id] = 0
        if not self._tasks:
            self._keep(self._publish())
        self._keep(self._guard(subscription))
        return subscription

    async def monitor(self, subscription: Subscription, items: Sequence[Monitored]) -> list[Granted]:
        """Has the server sample `items`, and says for each what was granted, in their order. Raises what asyncua raises."""
        granted: list[Granted] = []
        for first in range(0, len(items), ITEMS_PER_REQUEST):
            wanted = [
                _create_request(item, self._node_id(item.identifier))
                for item in items[first : first + ITEMS_PER_REQUEST]
            ]
            parameters = ua.CreateMonitoredItemsParameters(
                SubscriptionId=subscription.id, TimestampsToReturn=ua.TimestampsToReturn.Both, ItemsToCreate=wanted
            )
            granted += [_granted(result) for result in await self._client.uaclient.create_monitored_items(parameters)]
        return granted

    async def unmonitor(self, subscription: Subscription, ids: Sequence[int]) -> None:
        """Ends items by the server's numbers; one that the server does not know any more is no fault. Raises what asyncua raises."""
        for first in range(0, len(ids), ITEMS_PER_REQUEST):
            parameters = ua.DeleteMonitoredItemsParameters(
                SubscriptionId=subscription.id, MonitoredItemIds=list(ids[first : first + ITEMS_PER_REQUEST])
            )
            await self._client.uaclient.delete_monitored_items(parameters)

    def mute(self) -> None:
        """Nobody is told anything any more."""
        self._told.clear()

    def end(self) -> None:
        """Ends the tasks, once the session is closed: the server drops its subscriptions."""
        for task in self._tasks:
            task.cancel()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """An error of whoever was told must not end the subscription without a word."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._lose(f"a publication could not be worked on: {error!r}")

    async def _publish(self) -> None:
        """One publication after the other; the server keeps what it has meanwhile."""
        acknowledged: list[ua.SubscriptionAcknowledgement] = []
        while True:
            request = ua.PublishRequest()
            request.Parameters.SubscriptionAcknowledgements = acknowledged
            try:  # no time limit: a server answers when it has something to say, and `_guard` looks after the rest
                publication = read_publication(await self._client.uaclient._send_request(request, timeout=0))
            except (TimeoutError, OSError, ua.UaError) as error:
                self._lose(f"subscriptions ended: {error!r}")
                return
            acknowledged = []
            if publication.has_data:
                acknowledged.append(
                    ua.SubscriptionAcknowledgement(
                        SubscriptionId=publication.subscription, SequenceNumber=publication.sequence
                    )
                )
            self._hand_over(publication)

    def _hand_over(self, publication: Publication) -> None:
        told = self._told.get(publication.subscription)
        if told is None:  # muted, or of one that the server has created and whose answer is on its way
            return
        self._heard[publication.subscription] += 1
        if publication.reports or publication.ended is None:
            told(publication)
        if publication.ended is not None:
            self._lose(f"subscription ended by the PLC: {ua.StatusCode(publication.ended).name}")

    async def _guard(self, subscription: Subscription) -> None:
        """Counts keep-alives that did not come, not seconds: a process that was stopped for a minute finds them waiting."""
        silent = 0
        while silent < SILENT_KEEP_ALIVES:
            heard = self._heard[subscription.id]
            await asyncio.sleep(subscription.keep_alive_ms / 1000)
            silent = silent + 1 if self._heard[subscription.id] == heard else 0
        self._lose(f"the subscription is silent: no sign of life in {silent * subscription.keep_alive_ms / 1000:g} s")


def _create_request(item: Monitored, node: ua.NodeId) -> ua.MonitoredItemCreateRequest:
    parameters = ua.MonitoringParameters(
        ClientHandle=item.item,
        SamplingInterval=item.sampling_ms,
        QueueSize=item.queue,
        # a full queue keeps what it has in one piece, and flags the place where something is missing
        DiscardOldest=False,
    )
    if item.deadband > 0:
        parameters.Filter = ua.DataChangeFilter(
            Trigger=ua.DataChangeTrigger.StatusValue,
            DeadbandType=ua.DeadbandType.Absolute,
            DeadbandValue=item.deadband,
        )
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=parameters,
    )


def _granted(result: ua.MonitoredItemCreateResult) -> Granted:
    refused = "" if result.StatusCode.is_good() else str(result.StatusCode.name)
    return Granted(
        refused, float(result.RevisedSamplingInterval), int(result.RevisedQueueSize), int(result.MonitoredItemId)
    )

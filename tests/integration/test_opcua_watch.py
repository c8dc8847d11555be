"""Watching a PLC's nodes: news of each change whatever its number, and no subscription that is dead without a word."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from asyncua import ua
from broker import until
from plant_floor import STATION, Floor

from gateways.node_watch import NodeWatch
from gateways.opcua_session import NodeFault, OpcUaSession
from gateways.plc_link import PlcLink
from gateways.station_nodes import station_nodes
from schemas.telemetry import Stage

NODES = station_nodes(Floor().plc.nodes, STATION)
LINE = [NODES.line_mode, NODES.line_cause]


async def forget_subscriptions(floor: Floor) -> None:
    """The PLC drops every subscription, and tells nobody; its sessions live on."""
    service = floor.server._server.iserver.subscription_service
    await service.delete_subscriptions(list(service.subscriptions))


async def test_a_burst_of_changes_is_news_and_the_last_value_is_what_is_read(tmp_path: Path) -> None:
    async with Floor() as floor:
        session = await OpcUaSession.open(floor.plc, plant_dir=tmp_path, name="test")
        news: list[str] = []
        await NodeWatch(session, publishing_ms=20, changed=news.append).add(LINE)
        await until(lambda: set(news) == set(LINE), "each node once at the start")
        news.clear()
        for number in range(300):
            await floor.set("line_cause", f"cause {number}")
        await until(lambda: bool(news), "news of the burst")
        assert set(news) == {NODES.line_cause}, "of that node alone"
        assert await session.read([NODES.line_cause]) == ["cause 299"]
        await session.close()


async def test_what_is_watched_anew_is_told_again_and_watched_once(tmp_path: Path) -> None:
    async with Floor() as floor:
        session = await OpcUaSession.open(floor.plc, plant_dir=tmp_path, name="test")
        news: list[str] = []
        watch = NodeWatch(session, publishing_ms=20, changed=news.append)
        for _ in range(3):
            await watch.add(LINE)
            await until(lambda: set(news) == set(LINE), "each node once with each time")
            news.clear()
        (subscription,) = floor.server._server.iserver.subscription_service.subscriptions.values()
        assert len(subscription.monitored_item_srv._monitored_items) == len(LINE)
        await floor.set("line_cause", "news")
        await until(lambda: news == [NODES.line_cause], "and a change is told once")
        await session.close()


async def test_a_watched_node_that_goes_bad_is_news_and_its_value_is_not_used(tmp_path: Path) -> None:
    async with Floor() as floor:
        session = await OpcUaSession.open(floor.plc, plant_dir=tmp_path, name="test")
        news: list[str] = []
        await NodeWatch(session, publishing_ms=20, changed=news.append).add(LINE)
        await until(lambda: set(news) == set(LINE), "each node once at the start")
        news.clear()
        server = floor.server._server
        node = session._node_id(NODES.line_mode)
        await server.write_attribute_value(node, ua.DataValue(None, ua.StatusCode(ua.StatusCodes.BadNotConnected)))
        await until(lambda: news == [NODES.line_mode], "news of the status")
        with pytest.raises(NodeFault, match=r"BadNotConnected"):
            await session.read(LINE)
        assert not session.lost
        await session.close()


async def test_a_subscription_that_the_plc_dropped_without_a_word_is_made_anew(tmp_path: Path) -> None:
    async with Floor() as floor:
        news: list[str] = []
        link = PlcLink(plc=floor.plc, plant_dir=tmp_path, stage=Stage("plc_gateway"))

        async def work(session: OpcUaSession) -> None:
            await NodeWatch(session, publishing_ms=20, changed=news.append).add([NODES.line_cause])
            await session.until_lost()

        running = asyncio.create_task(link.run(work))
        await until(lambda: bool(news), "the subscription stands")
        await forget_subscriptions(floor)
        news.clear()
        await until(lambda: bool(news), "it stands again, and tells what there is", within_s=30)
        news.clear()
        await floor.set("line_cause", "after it")
        await until(lambda: bool(news), "a change is news again")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await until(lambda: floor.sessions == 0, "no session is left behind", within_s=45)


async def test_a_plc_with_nothing_to_say_keeps_its_session(tmp_path: Path) -> None:
    async with Floor() as floor:
        session = await OpcUaSession.open(floor.plc, plant_dir=tmp_path, name="test")
        published: list[int] = []
        subscription = await session.subscribe(20, lambda publication: published.append(publication.published_at_ns))
        await until(lambda: len(published) >= 6, "six signs of life", within_s=30)
        assert not session.lost
        assert subscription.keep_alive_ms == 1000
        await session.close()

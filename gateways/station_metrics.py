"""What a PLC gateway counts and shows by station."""

from __future__ import annotations

from gateways.station_link import node_fault_gauge
from schemas.telemetry import Stage


class StationMetrics:
    """Metrics with the label `station`, made once per stage."""

    def __init__(self, stage: Stage) -> None:
        self.node_fault = node_fault_gauge(stage)
        self.writes_allowed = stage.gauge(
            "writes_allowed", "1 where the PLC's bit allows writes, 0 where it forbids them.", "station"
        )
        self.told_before = stage.counter(
            "events_told_before", "Ring entries that were read again and are on the topic already.", "station"
        )

"""What is told of changes of the configuration."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from epp.core.clock import Clock
from epp.core.probe import Probe
from epp.telemetry.exposition import spell_labels
from epp.telemetry.numbers import Number, Numbers


class ConfigMetrics(Probe):
    """The families of the configuration; ours, as the Go pickers read it once."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._loads = {"success": Number(), "failure": Number()}
        self._is_last_right = Number()
        self._loaded_at = Number()
        registry.register(
            Numbers(
                "epp_config_loads_total",
                "Configurations that were read: taken over, or wrong and not used.",
                "counter",
                lambda: [(spell_labels({"result": k}), n.value) for k, n in self._loads.items()],
            )
        )
        registry.register(
            Numbers(
                "epp_config_last_load_successful",
                "Whether the configuration that was read last is in force.",
                "gauge",
                lambda: [("", self._is_last_right.value)],
            )
        )
        registry.register(
            Numbers(
                "epp_config_last_success_timestamp_seconds",
                "When the configuration in force was read, in Unix time.",
                "gauge",
                lambda: [("", self._loaded_at.value)],
            )
        )

    def config_loaded(self, succeeded: bool) -> None:
        self._loads["success" if succeeded else "failure"].value += 1
        self._is_last_right.value = int(succeeded)
        if succeeded:
            self._loaded_at.value = self._clock.timestamp()

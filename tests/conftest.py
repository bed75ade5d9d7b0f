from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

import epp.plugins
from tests.skips import skip_line

# How long an example takes says something about the machine, not about the code.
# In CI the examples are always the same ones; people try new ones every time. EXAMPLES says how many
# each property gets: few where somebody waits for the result.
settings.register_profile(
    "epp",
    max_examples=int(os.environ.get("EXAMPLES", "100")),
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("epp")


@pytest.fixture(scope="session", autouse=True)
def default_loop() -> Iterator[None]:
    """Own the loop that pytest-asyncio puts back after each test; else nobody would close it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()


@pytest.fixture(scope="session", autouse=True)
def plugin_catalogue() -> None:
    """Every plugin type is in the catalogue, as in a running picker."""
    epp.plugins.load()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing that is skipped goes unseen: this is said after everything else."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    # A skip's text is its place and "Skipped: " with the reason.
    texts = [str(report.longrepr[2]) for report in reporter.stats.get("skipped", [])]
    if line := skip_line(text.removeprefix("Skipped: ") for text in texts):
        reporter.write_line(line)

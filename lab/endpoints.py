"""Endpoints as the lab hands them to the picker (a file) and to Envoy (the pool cluster)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import yaml


class LabEndpoint(msgspec.Struct, frozen=True):
    """One address that answers inference requests."""

    name: str
    address: str
    port: int
    namespace: str = "default"
    labels: Mapping[str, str] = {}


def consecutive(
    first_port: int, count: int, *, address: str = "127.0.0.1", prefix: str = "model-server"
) -> list[LabEndpoint]:
    """Endpoints on neighbouring ports, named ``model-server-0``, ``model-server-1``, ..."""
    return [LabEndpoint(f"{prefix}-{i}", address, first_port + i) for i in range(count)]


def write_endpoints(path: Path, endpoints: Sequence[LabEndpoint]) -> None:
    """Write the picker's endpoints file; readers see the old or the new one, never a part."""
    document = {
        "endpoints": [
            {
                "name": endpoint.name,
                "namespace": endpoint.namespace,
                "address": endpoint.address,
                "port": str(endpoint.port),
                "labels": dict(endpoint.labels),
            }
            for endpoint in endpoints
        ]
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".new")
    scratch.write_text(yaml.safe_dump(document, sort_keys=False))
    os.replace(scratch, path)

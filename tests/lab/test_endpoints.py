from __future__ import annotations

from pathlib import Path

import yaml

from lab.endpoints import LabEndpoint, consecutive, write_endpoints


def test_neighbouring_endpoints_have_distinct_names_and_ports() -> None:
    endpoints = consecutive(8001, 3)
    assert [e.port for e in endpoints] == [8001, 8002, 8003]
    assert len({e.name for e in endpoints}) == 3


def test_the_endpoints_file_spells_the_port_as_a_string(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "endpoints.yaml"
    write_endpoints(path, [LabEndpoint("a", "127.0.0.2", 8001, labels={"role": "decode"})])
    assert yaml.safe_load(path.read_text()) == {
        "endpoints": [
            {
                "name": "a",
                "namespace": "default",
                "address": "127.0.0.2",
                "port": "8001",
                "labels": {"role": "decode"},
            }
        ]
    }
    assert list(path.parent.iterdir()) == [path]

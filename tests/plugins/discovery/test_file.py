from __future__ import annotations

from epp.plugins.discovery.file import FileDiscovery, FileDiscoveryParams
from tests.fakes import make_handle


def test_a_declaration_says_where_the_list_is() -> None:
    declared = FileDiscovery(FileDiscoveryParams(path="/etc/endpoints.yaml"), make_handle())
    assert (declared.path, declared.watch_file) == ("/etc/endpoints.yaml", False)

from __future__ import annotations

from epp.core.datalayer import MODELS_PAGE, ModelList
from epp.plugins.extractors.models_data import ModelsDataExtractor


def test_a_list_of_models_is_read() -> None:
    extractor = ModelsDataExtractor()
    assert (extractor.reads, extractor.reading) == (MODELS_PAGE, ModelList())

"""``models-data-extractor``: the models that an endpoint says it serves."""

from __future__ import annotations

from epp.core.datalayer import MODELS_PAGE, Extractor, ModelList
from epp.core.plugin import NoParams, Stability, plugin


@plugin("models-data-extractor", params=NoParams, stability=Stability.BETA)
class ModelsDataExtractor(Extractor):
    """Give endpoints the names of their models, and of adapters what they belong to.

    Source: llm-d-router v0.10, models-data-extractor.
    """

    reads = MODELS_PAGE
    reading = ModelList()

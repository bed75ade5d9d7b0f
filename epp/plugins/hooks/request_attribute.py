"""``request-attribute-reporter``: tell the proxy a number made of an answer's token counts."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from epp.core.decision import SchedulingResult
from epp.core.errors import ParameterError
from epp.core.plugin import Handle, Params, ResponseObserver, Stability, plugin
from epp.core.request import InferenceRequest, Usage
from epp.core.response import Metadata, ResponseEnd

CEL = "cel_expr_python.cel"


class AttributeKey(msgspec.Struct, frozen=True):
    """What the number is called in the proxy's dynamic metadata."""

    name: Annotated[str, Meta(min_length=1)]
    namespace: str = "envoy.lb"


class ReportedAttribute(msgspec.Struct, frozen=True):
    """A number: its key, the CEL expression that makes it, and when it is told."""

    key: AttributeKey
    expression: Annotated[str, Meta(min_length=1)]
    condition: str = ""


class RequestAttributeReporterParams(Params, frozen=True):
    """What to tell."""

    attributes: Annotated[
        tuple[ReportedAttribute, ...],
        Meta(min_length=1, max_length=1, description="Exactly one."),
    ]


@plugin(
    "request-attribute-reporter",
    params=RequestAttributeReporterParams,
    stability=Stability.BETA,
)
class RequestAttributeReporter(ResponseObserver):
    """Evaluate a CEL expression over ``usage`` when an answer has ended.

    ``usage`` is OpenAI's: ``prompt_tokens``, ``completion_tokens``, ``total_tokens`` and
    ``prompt_tokens_details.cached_tokens``; what the model server did not count is 0. Without any
    usage, where the condition does not hold, and for the value 0 nothing is told.

    Raises:
        ParameterError: an expression cannot be compiled, or there is no CEL.

    Source: llm-d-router v0.10, request-attribute-reporter.
    """

    def __init__(self, params: RequestAttributeReporterParams, handle: Handle) -> None:
        (attribute,) = params.attributes
        cel = import_cel()
        kinds = cel.Type
        environment = cel.NewEnv(variables={"usage": kinds.Map(kinds.STRING, kinds.DYN)})
        self._key = attribute.key
        self._expression = _compile(
            environment,
            attribute.expression,
            "attributes[0].expression",
            (kinds.INT, kinds.UINT, kinds.DOUBLE, kinds.DYN),
        )
        self._condition = attribute.condition and _compile(
            environment,
            attribute.condition,
            "attributes[0].condition",
            (kinds.BOOL, kinds.DYN),
        )

    def response_ended(
        self, request: InferenceRequest, result: SchedulingResult, end: ResponseEnd
    ) -> Iterable[Metadata]:
        if end.usage is None:
            return ()
        data = {"usage": _usage(end.usage)}
        if self._condition and not _evaluate(self._condition, data, bool):
            return ()
        value = float(_evaluate(self._expression, data, int, float))
        if value == 0 or not isfinite(value):
            return ()
        return (Metadata(self._key.namespace, self._key.name, value),)


def import_cel(module: str = CEL) -> Any:
    """The language's implementation.

    Raises:
        ParameterError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ParameterError(
            "attributes", "needs CEL, which is not installed: pip install 'epp[cel]'"
        ) from None


def _compile(environment: Any, text: str, key: str, kinds: Iterable[Any]) -> Any:
    try:
        compiled = environment.compile(text)
    except Exception as error:  # whatever the library raises, the expression is to blame
        raise ParameterError(key, f"is no CEL expression: {error}") from None
    kind = compiled.return_type()
    if not any(kind == allowed for allowed in kinds):
        names = " or ".join([allowed.name() for allowed in kinds if allowed.name() != "DYN"])
        raise ParameterError(key, f"expected {names}, not {kind.name()}")
    return compiled


def _evaluate(compiled: Any, data: Mapping[str, object], *kinds: type) -> Any:
    value = compiled.eval(data=data).value()
    if type(value) not in kinds:
        raise TypeError(f"CEL: {value}")  # an error is a value there, the text of it
    return value


def _usage(usage: Usage) -> dict[str, object]:
    return {
        "prompt_tokens": usage.prompt_tokens or 0,
        "completion_tokens": usage.completion_tokens or 0,
        "total_tokens": usage.total_tokens or 0,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
    }

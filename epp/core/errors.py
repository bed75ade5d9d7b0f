"""What a client is told when its request cannot be served.

Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/util/error; llm-d-router v0.10 for the
drop reasons.
"""

from __future__ import annotations

from typing import ClassVar


class EppError(Exception):
    """A refusal with a definite HTTP status; only the wire turns it into an answer.

    ``model`` is the name that the client sent, where it was read before the refusal.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "Internal"

    def __init__(self, message: str, *, model: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.model = model

    @property
    def body(self) -> str:
        """The text of the immediate response."""
        return f"inference gateway: {self.code} - {self.message}"


class BadRequestError(EppError):
    """The client's request cannot be read."""

    status = 400
    code = "BadRequest"


class PreconditionFailedError(EppError):
    """What the client asked for under a condition does not meet it."""

    status = 412
    code = "PreconditionFailed"


class ResourceExhaustedError(EppError):
    """The pool is too busy for this request, or no profile found an endpoint."""

    status = 429
    code = "InferencePoolResourceExhausted"


class InternalError(EppError):
    """The picker could not do its part."""


class ServiceUnavailableError(EppError):
    """There is no endpoint that may serve the request."""

    status = 503
    code = "ServiceUnavailable"


class StartError(Exception):
    """The picker cannot start; the text is one line that says where and why."""


class ParameterError(ValueError):
    """A plugin cannot be made from its parameters: ``key`` as in YAML, and the rule."""

    def __init__(self, key: str, rule: str) -> None:
        super().__init__(f"{key}: {rule}" if key else rule)
        self.key = key
        self.rule = rule

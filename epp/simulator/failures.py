"""Failures on purpose: a share of requests is refused before it is looked at.

Source: llm-d-inference-sim v0.7.1, failure injection.
"""

from __future__ import annotations

from random import Random

from epp.simulator.errors import ApiError
from epp.simulator.options import FailureType, Options


def injected_failure(options: Options, random: Random) -> ApiError | None:
    """The failure that the next request meets, if it is unlucky."""
    if random.randint(1, 100) > options.failure_injection_rate:
        return None
    kind = random.choice(options.failure_types or tuple(FailureType))
    return _failure(kind, options.aliases[0])


def _failure(kind: FailureType, model: str) -> ApiError:
    match kind:
        case FailureType.RATE_LIMIT:
            return ApiError(
                f"Rate limit reached for {model} in organization org-xxx on requests per min "
                "(RPM): Limit 3, Used 3, Requested 1.",
                status=429,
            )
        case FailureType.INVALID_API_KEY:
            return ApiError("Incorrect API key provided.", status=401)
        case FailureType.CONTEXT_LENGTH:
            return ApiError(
                "This model's maximum context length is 4096 tokens. However, your messages "
                "resulted in 4500 tokens.",
                param="messages",
            )
        case FailureType.SERVER_ERROR:
            return ApiError("The server is overloaded or not ready yet.", status=503)
        case FailureType.INVALID_REQUEST:
            return ApiError("Invalid request: missing required parameter 'model'.", param="model")
        case FailureType.MODEL_NOT_FOUND:
            message = f"The model '{model}-nonexistent' does not exist"
            return ApiError(message, status=404, param="model")

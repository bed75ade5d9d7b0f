from __future__ import annotations

import pytest

from epp.core.errors import (
    BadRequestError,
    EppError,
    InternalError,
    PreconditionFailedError,
    ResourceExhaustedError,
    ServiceUnavailableError,
)


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (BadRequestError("x"), 400, "inference gateway: BadRequest - x"),
        (PreconditionFailedError("x"), 412, "inference gateway: PreconditionFailed - x"),
        (
            ResourceExhaustedError("x"),
            429,
            "inference gateway: InferencePoolResourceExhausted - x",
        ),
        (InternalError("x"), 500, "inference gateway: Internal - x"),
        (ServiceUnavailableError("x"), 503, "inference gateway: ServiceUnavailable - x"),
    ],
)
def test_an_error_has_a_status_and_a_text(error: EppError, status: int, body: str) -> None:
    assert (error.status, error.body, str(error)) == (status, body, "x")

"""Refusals that a client of the simulator sees."""

from __future__ import annotations

from http import HTTPStatus

_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}


class ApiError(Exception):
    """A request that gets an OpenAI-style error instead of an answer."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param

    @property
    def kind(self) -> str:
        """The ``type`` of the error body."""
        if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return "InternalServerError"
        return _TYPES.get(self.status, "APIConnectionError")

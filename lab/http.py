"""Small blocking HTTP requests to loopback, for probes and for reading figures."""

from __future__ import annotations

import http.client


def get(
    port: int, path: str, *, address: str = "127.0.0.1", timeout_seconds: float = 2.0
) -> tuple[int, str]:
    """Status and body of a GET.

    Raises:
        OSError: nobody answers, or the answer is no HTTP.
    """
    connection = http.client.HTTPConnection(address, port, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    except http.client.HTTPException as error:
        raise OSError(f"GET {path} on port {port}: {error!r}") from error
    finally:
        connection.close()


def answers(port: int, path: str, *, address: str = "127.0.0.1") -> bool:
    """Whether a GET is answered with 200. ``OSError`` passes through."""
    return get(port, path, address=address)[0] == 200

"""Where the API server is and who we are there, by the loaders of the ``kubernetes`` package.

Source: controller-runtime v0.22.4, pkg/client/config, for the order of the places.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_kube_config
from kubernetes.aio.config.incluster_config import (
    SERVICE_CERT_FILENAME,
    SERVICE_HOST_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
    InClusterConfigLoader,
)
from yaml import YAMLError

Loader: TypeAlias = Callable[[], Awaitable[Configuration]]


class CredentialsError(Exception):
    """There is no usable configuration; one line that says where it was looked for."""


def find_loader(
    flag: str,
    environ: Mapping[str, str],
    *,
    token_file: str = SERVICE_TOKEN_FILENAME,
    ca_file: str = SERVICE_CERT_FILENAME,
) -> Loader:
    """How to load the configuration: ``--kubeconfig``, ``$KUBECONFIG``, the pod's, the user's.

    ``flag`` and ``$KUBECONFIG`` are paths, the latter several with colons between them. The loader
    may be called again whenever the API server no longer takes what it gave: it reads all files
    anew, and runs the command that a kubeconfig may name. What is in the pod is read every minute.

    Raises:
        CredentialsError: there is none. The loader raises it for one that cannot be used.
    """
    if flag:
        return lambda: _from_file(flag)
    if path := environ.get("KUBECONFIG", ""):
        return lambda: _from_file(path)
    if environ.get(SERVICE_HOST_ENV_NAME):
        return lambda: _from_pod(environ, token_file, ca_file)
    home = Path(environ.get("HOME", "/")) / ".kube" / "config"
    if home.is_file():
        return lambda: _from_file(str(home))
    raise CredentialsError(
        "no Kubernetes configuration: no --kubeconfig, no $KUBECONFIG, "
        f"no ${SERVICE_HOST_ENV_NAME} as in a pod, no file {home}"
    )


async def _from_file(path: str) -> Configuration:
    if not any(Path(part).is_file() for part in path.split(os.pathsep)):  # noqa: ASYNC240 - at start
        raise CredentialsError(f"{path}: no such file")
    configuration = Configuration()
    try:
        loader = await load_kube_config(
            path, client_configuration=configuration, persist_config=False
        )
        user = loader._user
        is_somebody = user is not None and bool(user.value)
    except (TypeError, KeyError, AttributeError) as error:  # it looks without asking
        raise CredentialsError(f"{path}: not a kubeconfig: {_one_line(error)}") from None
    except (ConfigException, YAMLError, OSError, ValueError) as error:
        raise CredentialsError(f"{path}: {_one_line(error)}") from None
    # Without credentials we would be anonymous from here on, and never be told to load them again.
    if is_somebody and not (configuration.api_key or configuration.cert_file):
        raise CredentialsError(f"{path}: the context's user gives no credentials")
    return configuration


async def _from_pod(environ: Mapping[str, str], token_file: str, ca_file: str) -> Configuration:
    configuration = Configuration()
    try:
        InClusterConfigLoader(token_file, ca_file, environ=environ).load_and_set(configuration)
    except (ConfigException, OSError, ValueError) as error:
        raise CredentialsError(f"the pod's service account: {_one_line(error)}") from None
    # Differs: $HTTPS_PROXY does not count in a pod. Where it is set, $NO_PROXY has the API server's
    # address as one of a range, which Go understands and the HTTP client here does not.
    configuration.client_session_kwargs = {"trust_env": False}
    return configuration


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

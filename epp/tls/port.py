"""The TLS of one port, from its start on and through every change of its files."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from epp.filewatch import POLL_SECONDS, changes, file_states
from epp.tls.certificates import (
    CertificateError,
    KeyPair,
    key_pair_files,
    make_self_signed,
    read_authorities,
    read_key_pair,
)
from epp.tls.contexts import LiveContext, TlsRules, server_context

logger = logging.getLogger("tls")


class PortTls:
    """The certificate of a port: ``pair``, and ``context`` to serve with.

    Without ``folder`` it is one made for this start; ``client_ca`` is a PEM file of those who sign
    for the clients, who then must show a certificate.

    Raises:
        CertificateError: a file cannot be used, or OpenSSL has none of the suites.
    """

    def __init__(self, rules: TlsRules, folder: str = "", *, client_ca: str = "") -> None:
        self._rules = rules
        self._folder = Path(folder) if folder else None
        self._client_ca = Path(client_ca) if client_ca else None
        self._files = [*key_pair_files(self._folder)] if self._folder else []
        self._files += [self._client_ca] if self._client_ca else []
        self._since = file_states(self._files)  # before they are read: no change is missed
        self.pair, context = self._load()
        self.context = LiveContext(context)

    async def follow(self, *, poll_seconds: float = POLL_SECONDS) -> None:
        """Use what the files say after every change, until cancelled; not without files.

        Files that are broken, gone, or do not belong together change nothing, and are an error line
        once for each content. Connections that are open keep what they have.
        """
        if not self._files:
            return
        reported: tuple[str, list[bytes]] | None = None
        async for _ in changes(
            self._files, since=self._since, settle=True, poll_seconds=poll_seconds
        ):
            try:
                # in another thread: checking a long RSA key takes 0.1 s
                self.pair, self.context.current = await asyncio.to_thread(self._load)
            except CertificateError as error:
                failure = (str(error), [_content(path) for path in self._files])
                if failure != reported:
                    reported = failure
                    _log(logging.ERROR, "Keeping the last good certificate", error=str(error))
            else:
                reported = None
                _log(logging.INFO, "Loaded the new certificate", folder=str(self._folder))

    def _load(self) -> tuple[KeyPair, ssl.SSLContext]:
        rules = self._rules
        pair = (
            read_key_pair(self._folder)
            if self._folder
            else make_self_signed(is_rsa=rules.demands_rsa)
        )
        authorities = read_authorities(self._client_ca) if self._client_ca else b""
        return pair, server_context(pair, rules, authorities=authorities)


def _log(level: int, msg: str, **fields: str) -> None:
    logger.log(level, msg, extra={"fields": fields}, stacklevel=2)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError):
        return b""

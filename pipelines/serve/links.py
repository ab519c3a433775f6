"""The addresses of the pages of findings, as an alert's annotation links to them."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from pipelines.serve.access import Guard
from schemas.errors import OutputError

FINDINGS = "/findings/"
_ANYWHERE = {"0.0.0.0", "::"}  # noqa: S104 (compared with, not listened on)


def pages_of(url: str | None, listen: str, guard: Guard | None) -> str:
    """Return the address of the pages of a server, up to the finding's id.

    Parameters
    ----------
    url : by which others reach the server; None: by what it listens on.

    Raises
    ------
    OutputError
        When the URL is none that a browser opens.
    """
    if url is None:
        return _own_url(listen, guard) + FINDINGS
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        message = f"--url {url}: not a URL; write one such as https://tidegauge.example.org"
        raise OutputError(message)
    return url.rstrip("/") + FINDINGS


def _own_url(listen: str, guard: Guard | None) -> str:
    """Return the URL of a server by what it listens on; by its host's name where that is any."""
    host, _, port = listen.rpartition(":")
    if host.removeprefix("[").removesuffix("]") in _ANYWHERE:
        host = socket.gethostname()
    scheme = "http" if guard is None or guard.certificate is None else "https"
    return f"{scheme}://{host}:{port}"

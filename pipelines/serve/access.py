"""Who may read the metrics: a TLS certificate, and users with hashed passwords.

A line of a file of users is ``name:hash``, with the hash as a PHC string of scrypt
(RFC 7914), such as ``$scrypt$ln=14,r=8,p=1$SALT$HASH``. This makes one, and asks for the password::

    python -m pipelines.serve.password NAME >> users
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from schemas.errors import OutputError

_PHC = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{4,})\$([A-Za-z0-9+/]{22,})"
)
_MOST = 64 << 20  # bytes of memory that one check of a password may take


@dataclass(frozen=True, slots=True)
class Guard:
    """Files that protect a server; without any, everyone who can connect may ask."""

    certificate: Path | None = None  #: PEM, with its chain; then the server speaks TLS only
    key: Path | None = None  #: of the certificate; in the certificate's own file when left out
    users: Path | None = None  #: lines of name:hash; then a name and password are asked for


class Users:
    """Names and hashed passwords. A password that was right once is then checked fast."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = hashes
        self._secret = os.urandom(32)
        self._right: dict[str, bytes] = {}
        # A name that is not known takes as long as one that is.
        self._nobody = next(iter(hashes.values()))
        self._one_at_a_time = Lock()  # guesses take turns: 16 MB and some 50 ms each

    def allows(self, header: str | None) -> bool:
        """Say whether an Authorization header (RFC 7617) names a user and the user's password."""
        scheme, _, encoded = (header or "").partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return False
        name, colon, password = given.partition(":")
        if scheme.lower() != "basic" or not colon:
            return False
        mark = hmac.digest(self._secret, given.encode(), "sha256")
        if hmac.compare_digest(mark, self._right.get(name, b"")):
            return True
        with self._one_at_a_time:
            right = verify(password, self._hashes.get(name, self._nobody))
        if right and name in self._hashes:
            self._right[name] = mark
            return True
        return False


def load_users(path: Path) -> Users:
    """Read a file of users; empty lines and lines that begin with # are skipped.

    Raises
    ------
    OutputError
        When it cannot be read, has a line of another form, or no user.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: the users cannot be read: {reason}") from error
    hashes: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, hashed = line.strip().partition(":")
        if not name or not _is_usable(hashed):
            raise OutputError(
                f"{path}:{number}: not name:$scrypt$...; make the line with "
                f"`python -m pipelines.serve.password NAME`"
            )
        hashes[name] = hashed
    if not hashes:
        raise OutputError(
            f"{path}: no user in it; add one with `python -m pipelines.serve.password NAME`"
        )
    return Users(hashes)


def hash_password(password: str) -> str:
    """Return a PHC string with a fresh salt."""
    salt = os.urandom(16)
    key = hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1, maxmem=_MOST)
    return f"$scrypt$ln=14,r=8,p=1${_encoded(salt)}${_encoded(key)}"


def verify(password: str, hashed: str) -> bool:
    """Say whether a password has a hash; takes the same time whatever differs."""
    found = _PHC.fullmatch(hashed)
    if found is None:
        return False
    ln, r, p, salt, wanted = found.groups()
    key = _decoded(wanted)
    given = hashlib.scrypt(
        password.encode(),
        salt=_decoded(salt),
        n=2 ** int(ln),
        r=int(r),
        p=int(p),
        maxmem=2 * _MOST,
        dklen=len(key),
    )
    return hmac.compare_digest(given, key)


def tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Return what speaks TLS 1.2 or later with a certificate.

    Raises
    ------
    OutputError
        When the files cannot be used.
    """
    for path in (certificate, key or certificate):
        try:
            path.open("rb").close()
        except OSError as error:
            raise OutputError(f"{path}: cannot be read: {error.strerror or error}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key with a passphrase is refused, not asked for on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise OutputError(
            f"{certificate}: not a PEM certificate that goes with the key in {key or certificate}, "
            f"which must have no passphrase: {reason.replace('_', ' ').lower()}"
        ) from error
    return context


def _is_usable(hashed: str) -> bool:
    found = _PHC.fullmatch(hashed)
    if found is None:
        return False
    ln, r, p = (int(number) for number in found.groups()[:3])
    memory = 128 * 2**ln * r
    try:
        _decoded(found[4]), _decoded(found[5])
    except ValueError:
        return False
    return ln > 0 and r > 0 and 0 < p <= 16 and memory <= _MOST


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)

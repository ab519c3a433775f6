from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.serve import access
from pipelines.serve.access import Users, hash_password, load_users, tls_context, verify
from schemas.errors import OutputError
from tests.servers.certificates import write_certificate

ROOT = Path(__file__).parents[3]


def basic(name: str, password: str) -> str:
    """Return the Authorization header of a name and a password."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_hash_is_the_phc_string_of_scrypt() -> None:
    """Salt and key are in base 64 without padding, after the parameters that made them."""
    _, name, parameters, salt, key = hash_password("correct horse").split("$")
    assert (name, parameters) == ("scrypt", "ln=14,r=8,p=1")
    made = hashlib.scrypt(
        b"correct horse", salt=base64.b64decode(salt + "=="), n=2**14, r=8, p=1, maxmem=2**26
    )
    assert base64.b64decode(key + "==").startswith(made)


def test_password_is_verified_against_a_foreign_hash() -> None:
    """The vector of RFC 7914, section 12, with the password `password` and the salt `NaCl`."""
    key = bytes.fromhex(
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
        "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
    )
    encoded = base64.b64encode(key).decode().rstrip("=")
    hashed = f"$scrypt$ln=10,r=8,p=16$TmFDbA${encoded}"
    assert verify("password", hashed)
    assert not verify("passwort", hashed)


@pytest.mark.parametrize("password", ["", "x", "ünï:cødé", "a" * 2000])
def test_right_password_is_allowed_and_no_other(password: str) -> None:
    """The first time and when it is remembered; colons and any letters may be in it."""
    users = Users({"ann": hash_password(password)})
    for _ in range(2):
        assert users.allows(basic("ann", password))
        assert not users.allows(basic("ann", password + "!"))
        assert not users.allows(basic("bob", password))


def test_remembered_password_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape costs one hash at the first time only; a wrong one costs it always."""
    users = Users({"ann": hash_password("pw")})
    assert users.allows(basic("ann", "pw"))
    hashed = []
    monkeypatch.setattr(access, "verify", lambda *given: hashed.append(given))
    assert users.allows(basic("ann", "pw"))
    assert not hashed
    assert not users.allows(basic("ann", "other"))
    assert not users.allows(basic("nobody", "pw"))  # as slow as a name that is known
    assert len(hashed) == 2


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic !", "Basic bm9jb2xvbg==", "Bearer YW5uOnB3", "Basic gIA6gIA="],
)
def test_header_that_is_none_is_refused(header: str | None) -> None:
    """Nothing, another scheme, no base 64, no colon, no UTF-8."""
    assert not Users({"ann": hash_password("pw")}).allows(header)


def test_line_is_made_by_a_command_and_read_back(tmp_path: Path) -> None:
    """The password comes from the standard input, and is not in the file."""
    made = subprocess.run(
        [sys.executable, "-m", "pipelines.serve.password", "ann"],
        input="s3cret\n",
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert made.stderr == ""
    assert "s3cret" not in made.stdout
    (tmp_path / "users").write_text(f"# who may scrape\n\n{made.stdout}")
    users = load_users(tmp_path / "users")
    assert users.allows(basic("ann", "s3cret"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no user in it; add one with"),
        ("# nobody\n", "no user in it; add one with"),
        ("ann:secret\n", r"users:1: not name:\$scrypt\$"),
        (f"bob:{hash_password('x')}\nann\n", "users:2: not name"),
        (f":{hash_password('x')}\n", "users:1: not name"),
        ("ann:$scrypt$ln=30,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA\n", "users:1: not name"),
        ("ann:$scrypt$ln=14,r=0,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA\n", "users:1: not name"),
    ],
)
def test_file_of_users_that_is_none_is_an_output_error(
    tmp_path: Path, text: str, says: str
) -> None:
    """The line is named, a hash that would take gigabytes is refused; what is in it is not told."""
    (tmp_path / "users").write_text(text)
    with pytest.raises(OutputError, match=says) as refused:
        load_users(tmp_path / "users")
    assert "secret" not in str(refused.value)


def test_missing_file_of_users_is_an_output_error(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(OutputError, match="nothing: the users cannot be read: No such file"):
        load_users(tmp_path / "nothing")


def test_wrong_certificates_are_output_errors(tmp_path: Path) -> None:
    """A file that is missing, is none, has another's key, or a key with a passphrase."""
    certificate, key = write_certificate(tmp_path)
    other = write_certificate(tmp_path, "other")[1]
    locked = write_certificate(tmp_path, "locked", passphrase=b"pw")
    (tmp_path / "empty").write_text("")
    tls_context(certificate, key)
    with pytest.raises(OutputError, match=r"nothing: cannot be read: No such file"):
        tls_context(tmp_path / "nothing", key)
    with pytest.raises(OutputError, match=r"nothing: cannot be read: No such file"):
        tls_context(certificate, tmp_path / "nothing")
    for wrong in [(tmp_path / "empty", key), (certificate, None), (certificate, other), locked]:
        with pytest.raises(OutputError, match="not a PEM certificate that goes with the key in"):
            tls_context(*wrong)

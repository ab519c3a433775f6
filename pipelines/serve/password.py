"""Makes a line of the file of users; see `pipelines.serve.access`."""

from __future__ import annotations

import getpass
import sys

from pipelines.serve.access import hash_password


def main() -> None:
    """Ask for a password and print the line of the user named on the command line."""
    if len(sys.argv) != 2 or ":" in sys.argv[1]:
        sys.exit("name the user, without a colon: python -m pipelines.serve.password NAME")
    name = sys.argv[1]
    terminal = sys.stdin.isatty()
    password = getpass.getpass(f"password of {name}: ") if terminal else sys.stdin.readline()
    sys.stdout.write(f"{name}:{hash_password(password.rstrip(chr(10)))}\n")


if __name__ == "__main__":
    main()

"""Prints the part of requirements.lock that the installed packages need: no tools, no extras.

`python deploy/runtime_lock.py` in the checkout's root, or with `--tools` what builds packages from
source. The lock names for each package what asked for it ("via"); needed is what leads back to the
`dependencies` of pyproject.toml, or to the extra `kafka`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

TOOLS = {"packaging", "pip", "setuptools", "wheel"}


def pins(lock: str) -> list[tuple[str, str]]:
    """Return the name and the lines of each pin; a name has one for each range of Pythons."""
    found = re.split(r"(?m)^(?=[a-z0-9])", lock)
    return [(re.split("[=[ ]", block, maxsplit=1)[0], block) for block in found if block]


def runtime(lock: str, dependencies: list[str]) -> set[str]:
    """Return the names of the project's dependencies and of all that these ask for."""
    needed = {
        re.sub(r"[-_.]+", "-", name)
        for name in (re.split(r"[^\w.-]", text, maxsplit=1)[0].lower() for text in dependencies)
    }
    asked_for_by: dict[str, set[str]] = {}
    for name, block in pins(lock):
        comments = re.findall(r"^\s+#\s+(?:via\s+)?(\S+)$", block, re.MULTILINE)
        asked_for_by.setdefault(name, set()).update(comments)
    while more := {name for name, by in asked_for_by.items() if by & needed} - needed:
        needed |= more
    return needed


def main() -> None:
    """Print the chosen part."""
    lock = Path("requirements.lock").read_text(encoding="utf-8")
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["kafka"]
    chosen = TOOLS if "--tools" in sys.argv else runtime(lock, wanted)
    sys.stdout.write("".join(block for name, block in pins(lock) if name in chosen))


if __name__ == "__main__":
    main()

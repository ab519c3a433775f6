"""The virtual environments of the peers: made once, pinned, kept out of git and out of the project.

Their pins contradict each other and ours (NumPy, pandas), so each peer has one of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import DATA

FOLDER = DATA / "peers"
REQUIREMENTS = Path(__file__).resolve().parent / "requirements"


def python_of(peer: str) -> Path:
    """Return the interpreter of a peer; what has no requirements of its own runs in ours.

    Raises
    ------
    SystemExit
        When the environment cannot be made.
    """
    requirements = REQUIREMENTS / f"{peer}.txt"
    if not requirements.exists():
        return Path(sys.executable)
    home = FOLDER / peer
    python, stamp = home / "bin" / "python", home / "installed.txt"
    wanted = requirements.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"peers: installing {peer} into {home}", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (DATA / ".gitignore").write_text("*\n")
    try:
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        subprocess.run([*pip, "--requirement", requirements], check=True)
    except subprocess.CalledProcessError as error:
        sys.exit(f"peers: the environment of {peer} could not be made ({error})")
    stamp.write_text(wanted)
    return python

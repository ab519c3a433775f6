"""What an operator runs stands alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
OURS = {"schemas", "transforms", "monitors", "pipelines", "benchmarks", "tests"}


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.py")), ids=lambda path: path.name)
def test_deploy_imports_nothing_of_ours(path: Path) -> None:
    """A script of deploy/ runs where tidegauge is not installed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert found
    assert not found & OURS

"""The documentation's examples run, its commands exist, and its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from pipelines.cli import app
from schemas.stream_file import parse_stream

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"https?://|mailto:|#")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str


def blocks() -> list[Block]:
    """Return the fenced blocks of all pages."""
    return [
        Block(page, text.count("\n", 0, match.start()) + 2, match[1], match[2])
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for match in FENCE.finditer(text)
    ]


BLOCKS = blocks()


def name_of(value: Path | Block) -> str:
    """Return where a page or a block is, as a test's id."""
    page = value if isinstance(value, Path) else value.page
    line = "" if isinstance(value, Path) else f":{value.line}"
    return page.relative_to(ROOT).as_posix() + line


PYTHON_PAGES = sorted({block.page for block in BLOCKS if block.language == "python"})
STREAM_FILES = [b for b in BLOCKS if b.language == "yaml" and b.text.startswith("tidegauge:")]
COMMANDS = [
    pytest.param(line, id=f"{name_of(block)}: {line}")
    for block in BLOCKS
    if block.language == "sh"
    for line in block.text.splitlines()
    if line.startswith(("tidegauge ", "make "))
]


def test_the_pages_have_examples() -> None:
    """The patterns find what they are written for."""
    assert ROOT / "docs" / "library.md" in PYTHON_PAGES
    assert {block.page.name for block in STREAM_FILES} >= {"README.md", "stream-file.md"}
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=name_of)
def test_python_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of a page run in their order, in one namespace."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "example"}
    for block in BLOCKS:
        if block.page == page and block.language == "python":
            lines = (
                "\n" * (block.line - 1) + block.text
            )  # so that a traceback names the page's line
            exec(compile(lines, str(page), "exec"), namespace)  # noqa: S102 (our own pages)


@pytest.mark.parametrize("block", STREAM_FILES, ids=name_of)
def test_stream_files_are_valid(block: Block) -> None:
    """A YAML block that begins as a stream file is one."""
    parse_stream(block.text, name_of(block))


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist(line: str) -> None:
    """Each verb, flag and make target is there, and takes as many arguments as it is given."""
    program, verb, *rest = shlex.split(line, comments=True)
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert verb in targets
        return
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    command.make_context(verb, rest)  # reads the arguments, runs nothing


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files(page: Path) -> None:
    """Every relative link names a file or folder of the checkout, and a heading that it has."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if ELSEWHERE.match(target):
            continue
        path, _, heading = target.partition("#")
        linked = (page.parent / path).resolve()
        assert linked.is_relative_to(ROOT), target
        assert linked.exists(), target
        assert not heading or heading in headings(linked), target


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in plain}

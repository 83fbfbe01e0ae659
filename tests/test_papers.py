"""The papers say what the code does: links, paths, variables, figures and pins are those that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_type_hints

import pytest

from chatsite.generation.figures import Figures
from chatsite.generation.models import Generation
from chatsite.generation.shown_figures import figures_ms
from inference import env
from inference.contract import GenerationRequest, Result, Stamp
from tests.support.chromium import NAMES

ROOT = Path(__file__).resolve().parent.parent
PAPERS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
NAMED_PATH = re.compile(r"[\w.-]+(/[\w.@-]+)+/?")
TOP = {path.name for path in ROOT.iterdir() if path.name != "var"}
LOCKS = sorted(ROOT.glob("requirements*.lock"))

NOT_FIGURES = {"dtype", "device", "model", "preset", "segments"}
"""What figures_ms names beside figures: what made the answer, and the waterfall's bars."""


def anchors_of(paper: Path) -> set[str]:
    """The anchors of a paper's headings, as GitHub makes them."""
    headings = HEADING.findall(paper.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def first_column(paper: str, *, section: str | None = None) -> set[str]:
    """The names between backticks in the first column of a paper's tables, or of one section's."""
    text = (ROOT / paper).read_text()
    if section is not None:
        text = text.partition(f"## {section}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    return {name for cell in cells for name in CODE.findall(cell)}


def pins_of(lock: Path) -> dict[str, str]:
    """The version of each package in a lock file."""
    lines = [line for line in lock.read_text().splitlines() if line[:1].isalnum()]
    return {name: rest.split()[0] for name, _, rest in (line.partition("==") for line in lines)}


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_every_link_leads_somewhere(paper: Path) -> None:
    broken = []
    for target in LINK.findall(paper.read_text()):
        path, _, anchor = target.partition("#")
        if path.startswith(("http://", "https://")):
            continue
        page = (paper.parent / path).resolve() if path else paper
        if not page.exists() or (anchor and anchor not in anchors_of(page)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_every_path_that_a_paper_names_is_there(paper: Path) -> None:
    named = {name for name in CODE.findall(paper.read_text()) if NAMED_PATH.fullmatch(name)}
    ours = {name for name in named if name.split("/")[0] in TOP}
    assert {name for name in ours if not (ROOT / name).exists()} == set()


def test_every_paper_is_in_the_readmes_list() -> None:
    linked = {target.partition("#")[0] for target in LINK.findall((ROOT / "README.md").read_text())}
    papers = {str(paper.relative_to(ROOT)) for paper in PAPERS}
    assert papers - linked - {"README.md"} == set()


def test_the_configuration_has_every_variable_that_the_code_may_read() -> None:
    assert first_column("docs/configuration.md") == env.VARIABLES


def test_the_figures_of_a_request_are_those_that_programs_get() -> None:
    assert first_column("docs/measures.md", section="One request") == (
        set(figures_ms(Generation())) - NOT_FIGURES
    )


def test_every_figure_of_the_arithmetic_is_among_them() -> None:
    shown = {name.removesuffix("_us") for name in Figures().as_row()} - {"token_offsets"}
    named = first_column("docs/measures.md", section="One request")
    assert shown <= {name.removesuffix("_ms") for name in named}


def test_every_stamp_that_crosses_the_boundary_is_defined() -> None:
    crossing = {
        name
        for message in (GenerationRequest, Result)
        for name, kind in get_type_hints(message).items()
        if kind in (Stamp, Stamp | None)
    }
    assert crossing
    assert crossing <= first_column("docs/measures.md", section="Stamps")


def test_the_lock_files_have_the_projects_pins_with_hashes_and_no_address() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    direct = [*project["dependencies"], *(pin for extra in extras for pin in extra)]
    wanted = {re.sub(r"\[.*?\]", "", pin).partition("==")[::2] for pin in direct}
    locked = {pin for lock in LOCKS for pin in pins_of(lock).items()}
    assert {name for name, _ in wanted - locked} == {"torch"}
    for lock in LOCKS:
        text = lock.read_text()
        assert text.count("--hash=sha256:") >= len(pins_of(lock))
        assert "://" not in text


def test_the_makefile_installs_the_torch_that_the_project_pins() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pin,) = (pin for pin in project["dependencies"] if pin.startswith("torch=="))
    assert f"TORCH  ?= {pin}\n" in (ROOT / "Makefile").read_text()


def test_the_browser_tests_take_every_chromium_that_make_test_is_content_with() -> None:
    script = (ROOT / "scripts" / "ensure_chromium.sh").read_text()
    (names,) = re.findall(r"for name in ([\w -]+);", script)
    assert tuple(names.split()) == NAMES

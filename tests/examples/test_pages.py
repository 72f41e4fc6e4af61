"""The pages quote the code as it is, and point to things that are there."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md"), ROOT / "examples" / "README.md"])
FENCE = re.compile(r"^```(.*?)\n(.*?)^```$", re.M | re.S)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")


def quotes(text):
    """(file, lines) of every block whose fence names a file of the package."""
    for info, block in FENCE.findall(text):
        if "/" in info:
            lines = [line.strip() for line in block.splitlines() if line.strip()]
            yield info.split()[-1], lines


def missing_line(lines, source):
    """The first line that does not follow the one before it in the source, or None."""
    there = iter([line.strip() for line in source.splitlines()])
    return next((line for line in lines if line not in there), None)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(["a", "c"], None), (["c", "a"], "a"), (["b", "x"], "x"), (["a", "a"], "a")],
)
def test_missing_line_itself(lines, expected):
    assert missing_line(lines, "a\n  b\nc\n") == expected


@pages
def test_quoted_lines_stand_in_the_code(page):
    for name, lines in quotes(page.read_text(encoding="utf-8")):
        source = (ROOT / name).read_text(encoding="utf-8")
        assert lines
        assert missing_line(lines, source) is None, f"{page.name} quotes {name}"


def test_the_pages_do_quote():
    assert sum(len(list(quotes(p.read_text(encoding="utf-8")))) for p in PAGES) > 12


@pages
def test_paths_and_links_exist(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:scratchgrad|examples|tests)/[\w./]*)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    targets = [link.partition("#")[0] for link in links]
    assert [t for t in targets if t and not (page.parent / t).exists()] == []


@pages
def test_fences_are_closed_and_doctests_end_in_a_blank_line(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("\n```") % 2 == 0
    # Without the blank line, doctest would take the fence for expected output.
    for _, block in FENCE.findall(text):
        assert ">>>" not in block or block.endswith("\n\n"), block


def test_every_page_is_in_the_index():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    names = [path.name for path in DOCS.glob("*.md") if path.name != "README.md"]
    assert [name for name in names if f"]({name})" not in index] == []


def test_pictures_are_drawn_by_the_scripts():
    scripts = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("pictures*.py"))
    names = {path.name for path in (DOCS / "images").glob("*")}
    # The curve of the loss is drawn by a training run.
    assert names - set(re.findall(r'"(\w+\.png)"', scripts)) == {"loss.png"}


def test_the_pictures_of_the_checks_can_be_drawn(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(DOCS))
    pictures = importlib.import_module("pictures")
    checking = importlib.import_module("pictures_checking")
    monkeypatch.setattr(pictures, "FOLDER", tmp_path)
    for draw in checking.PICTURES:
        draw()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"steps.png", "ones.png", "kink.png", "taylor.png"}
    assert all(0 < size < 60 * 1024 for size in sizes.values()), sizes


def test_the_pictures_of_sampling_can_be_drawn(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(DOCS))
    pictures = importlib.import_module("pictures")
    sampling = importlib.import_module("pictures_sampling")
    monkeypatch.setattr(pictures, "FOLDER", tmp_path)
    for draw in sampling.PICTURES:
        draw()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"samplers.png", "cache.png"}
    assert all(0 < size < 30 * 1024 for size in sizes.values()), sizes


def test_the_pictures_of_heads_and_rope_can_be_drawn(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(DOCS))
    pictures = importlib.import_module("pictures")
    monkeypatch.setattr(pictures, "FOLDER", tmp_path)
    for draw in importlib.import_module("pictures_gpt").PICTURES:
        draw()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"heads.png", "window.png", "rope_turns.png", "rope_distance.png"}
    assert all(0 < size < 60 * 1024 for size in sizes.values()), sizes


def test_pictures_are_used_and_small():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    pictures = list((DOCS / "images").glob("*"))
    assert [p.name for p in pictures if f"images/{p.name}" not in text] == []
    assert sum(p.stat().st_size for p in pictures) < 500 * 1024

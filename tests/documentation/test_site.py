"""The site is built strictly: no page without a place, no broken link or anchor."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def test_every_page_has_a_place_in_the_navigation():
    def pages(entries):
        for entry in entries:
            for value in entry.values():
                yield from pages(value) if isinstance(value, list) else [value]

    listed = set(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert {path.name for path in ROOT.glob("docs/*.md")} <= listed


def test_the_site_builds_strictly(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    home = (tmp_path / "site" / "index.html").read_text()
    assert "says how far to trust it" in home
    assert not re.search(r'<(script|link)[^>]*(src|href)="https?://', home), "nothing is fetched from elsewhere"
    assert "--split_group" in (tmp_path / "site" / "commands" / "index.html").read_text()
    assert "<blockquote" not in (tmp_path / "site" / "api" / "index.html").read_text(), "an example outside `Examples:`"
    assert "<span>--from_search</span> results/" in (tmp_path / "site" / "cream" / "index.html").read_text()
    assert "Kendall" in (tmp_path / "site" / "study" / "index.html").read_text()

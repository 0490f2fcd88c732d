"""What a release is made of: one version, metadata, licences, files for people who contribute."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib

import pytest

import odograph
from support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_the_same_everywhere() -> None:
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert PROJECT["version"] == workspace == odograph.__version__
    assert f"version {workspace}" in (ROOT / "CHANGELOG.md").read_text()
    for manifest in sorted((ROOT / "crates").glob("*/Cargo.toml")):
        assert tomllib.loads(manifest.read_text())["package"]["version"] == {"workspace": True}, manifest


def test_the_changelog_has_the_headings_of_keep_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## \[Unreleased\]$", text, re.M)
    kinds = set(re.findall(r"^### (.*)$", text, re.M))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_metadata_names_places_and_tested_versions() -> None:
    assert {"Homepage", "Documentation", "Repository", "Changelog", "Issues"} <= set(PROJECT["urls"])
    assert PROJECT["keywords"] == sorted(PROJECT["keywords"])
    for version in ("3.11", "3.13"):
        assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


def test_all_crates_may_be_given_on_under_our_license() -> None:
    """What the crates of the lock file say of themselves, by the list that cargo-deny checks."""
    allowed = set(tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]["allow"])
    line = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline"]
    line += ["--filter-platform", "x86_64-unknown-linux-gnu"]
    run = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip("cargo has not fetched the crates of the lock file")
    packages = json.loads(run.stdout)["packages"]
    assert len(packages) > 20
    for package in packages:
        choices = re.split(r"\s+OR\s+|/", (package["license"] or "").strip("()"))
        ways = [set(re.split(r"\s+AND\s+", choice.strip("() "))) for choice in choices]
        assert any(way <= allowed for way in ways), (package["name"], package["license"])


def test_workflows_call_the_same_script_as_we_do_and_pin_their_actions() -> None:
    flows = {path.name: path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml")}
    assert ".ci/run" in flows["ci.yml"]
    assert "make wheel" in flows["wheels.yml"]
    for name, text in flows.items():
        for action in re.findall(r"uses: (\S+)", text):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), (
                f"{name}: {action} is not pinned by its hash"
            )
        assert "permissions:\n  contents: read" in text, name


@pytest.mark.parametrize(
    "target", ["run", "test", "lint", "wheel", "docs", "coverage", "acceptance", "bench", "fuzz"]
)
def test_make_knows_the_target(target: str) -> None:
    subprocess.run(["make", "--dry-run", "--always-make", target], cwd=ROOT, capture_output=True, check=True)

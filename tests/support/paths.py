"""Where things lie: the repository, the test programs, the corpus."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CORPUS", "PROGRAMS", "ROOT", "TESTS"]

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
PROGRAMS = TESTS / "programs"
"""Sources of programs that tests compile and record."""
CORPUS = TESTS / "corpus"
"""Recordings that earlier versions made."""

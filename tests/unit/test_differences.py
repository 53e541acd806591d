"""docs/from-go.md lists each difference to the Go service that a test is marked with."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_file_with_marked_tests_has_a_line() -> None:
    marked = {
        path.stem
        for path in (ROOT / "tests/conformance").glob("test_*.py")
        if "mark.beyond" in path.read_text()
    }
    listed = re.findall(r"^\| `(test_\w+)` \|", (ROOT / "docs/from-go.md").read_text(), re.M)
    assert sorted(marked) == sorted(listed)

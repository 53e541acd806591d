"""What docs/filestore.md shows is what happens: its session, and its shell and Python."""

from __future__ import annotations

import doctest
import re
import subprocess
from pathlib import Path

import pytest

from gobbler.filestore import FileStore, names
from gobbler.fs.lease import EXPIRY_SECONDS, RENEW_SECONDS

PAGE = Path(__file__).parents[2] / "docs" / "filestore.md"
TEXT = PAGE.read_text()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def blocks(kind: str, heading: str) -> list[str]:
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)


def test_the_session() -> None:
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    parser = doctest.DocTestParser()
    session = "".join(blocks("pycon", "A session"))
    test = parser.get_doctest(session, {"FileStore": FileStore}, PAGE.name, str(PAGE), 0)
    runner = doctest.DocTestRunner(optionflags=flags)
    said: list[str] = []
    runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)
    assert runner.tries > 20


def test_shell_and_python_side_by_side() -> None:
    heading = "With a shell on the other side"
    publish, take = blocks("sh", heading)
    (handle,) = blocks("python", heading)
    subprocess.run(["sh", "-euc", publish], check=True)
    exec(compile(handle, str(PAGE), "exec"), {"FileStore": FileStore})
    assert len(FileStore("answers").list("new")) == 3
    subprocess.run(["sh", "-euc", take], check=True)
    assert Path("squares").read_text() == "1\n4\n9\n"
    for name in ("tasks", "answers"):
        store = FileStore(name)
        assert store.list("new") == store.list("cur") == store.list("tmp") == []


def test_the_figures() -> None:
    assert f"more than {names.LONGEST} bytes" in TEXT
    assert EXPIRY_SECONDS == 600
    assert "10 minutes of silence" in TEXT
    assert f"every {RENEW_SECONDS:g} seconds" in " ".join(TEXT.split())


def test_the_marks() -> None:
    for name in re.findall(r"\S+~[0-9a-f]{12}-[0-9a-f]+", TEXT):
        assert names.claimant_of(name)
        assert names.published_name(name) in ("x", "`x", "(`x", "sums.csv")
    for name in re.findall(r"\.\.claimant-[0-9a-f]+", TEXT):
        assert names.claimant_of_lease(name)

"""``gobbler demo``: publish, fetch and compare real data."""

from __future__ import annotations

import filecmp
import os
import platform
import shutil
import stat
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click
from rich.filesize import decimal

from gobbler.cli import terminal
from gobbler.cli.amounts import Amount, count
from gobbler.cli.signals import stopping_cleanly
from gobbler.client import Client
from gobbler.client.testing import TestService, make_directories
from gobbler.errors import Code, Fault
from gobbler.fs.directories import entries_below
from gobbler.fs.removal import remove_tree_quietly
from gobbler.model.names import file_name_problem, is_internal

PROJECT, ASSET = "python", "stdlib"
CHANGED = "this.py"
"""The file that differs in the second version."""

JOBS = 4


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(as_json: bool) -> None:
    """Publish the standard library of this Python, fetch it and compare.

    The command starts a real service on a free port, with directories of its own in the
    temporary directory, and removes everything at the end, also after an error or Ctrl-C.
    It takes less than a minute, and about four times the space of the standard library.

    \b
    Example:
      gobbler demo
    """
    demo = Demo(quiet=as_json)
    with stopping_cleanly(), _temporary_directory() as root:
        demo.run(root)
    if as_json:
        terminal.print_json({"steps": demo.steps})
        return
    click.echo()
    terminal.print_table(
        ["step", ">files", ">bytes", ">seconds"],
        [
            [
                step.title,
                str(step.files) if step.files else "",
                decimal(step.bytes) if step.files else "",
                f"{step.seconds:.2f}",
            ]
            for step in demo.steps
        ],
        on_terminal=True,
    )
    click.echo("\nEvery file came back unchanged. Service and directories are removed.")


@dataclass
class Step:
    """One line of the table at the end."""

    title: str
    files: int
    bytes: int
    seconds: float


@dataclass
class Demo:
    """The demonstration; it adds to ``steps``."""

    quiet: bool = False
    steps: list[Step] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Print ``text`` unless only the result is wanted."""
        if not self.quiet:
            click.echo(text)

    def run(self, root: str) -> None:
        """Run all steps in the directory ``root``."""
        source = self.collect(os.path.join(root, "source"))
        staging, registry = make_directories(root)
        begun = time.monotonic()
        service = TestService(staging, registry)
        try:
            self.say(f"Started a service at {service.url}")
            self.steps.append(Step("start the service", 0, 0, time.monotonic() - begun))
            self.use(Client(service.url), source, os.path.join(root, "cache"))
        finally:
            service.stop()

    def collect(self, source: str) -> str:
        """Copy the standard library to ``source``."""
        library = sysconfig.get_path("stdlib")
        self.say(f"Data: {library}")
        copied = copy_tree(library, source)
        self.say(f"  {Amount(copied.files, copied.bytes)}")
        for reason, number in copied.left_out.items():
            self.say(f"  left out: {reason} ({number})")
        if not os.path.exists(os.path.join(source, CHANGED)):
            raise Fault(
                f"there is no {CHANGED} in {library}: is it a standard library?",
                code=Code.FILE_NOT_FOUND,
            )
        return source

    def use(self, client: Client, source: str, cache: str) -> None:
        """Publish two versions of ``source``, then list, fetch and compare."""
        first = platform.python_version()
        second = f"{first}-patched"
        client.admin.create_project(PROJECT)
        self.publish(client, source, first)
        with open(os.path.join(source, CHANGED), "a", encoding="utf-8") as file:
            file.write("# Changed for the second version.\n")
        self.publish(client, source, second)
        self.list(client)
        remote = Client(client.url, cache=cache, force_remote=True)
        self.fetch(remote, source, f"{PROJECT}/{ASSET}/{second}")

    def publish(self, client: Client, source: str, version: str) -> None:
        """Publish ``source`` as ``version``, and print what was stored and linked."""
        begun = time.monotonic()
        published = client.upload(PROJECT, ASSET, version, source, concurrent=JOBS)
        seconds = time.monotonic() - begun
        stored, linked = count(published.manifest())
        self.say(f"Published {PROJECT}/{ASSET}/{version}")
        self.say(f"  stored: {stored}")
        self.say(f"  linked: {linked}")
        files, size = stored.files + linked.files, stored.bytes + linked.bytes
        self.steps.append(Step(f"publish {version}", files, size, seconds))

    def list(self, client: Client) -> None:
        """Print the versions in the registry."""
        asset = client.asset(PROJECT, ASSET)
        latest = asset.latest()
        for version in asset:
            mark = "  (latest)" if version == latest else ""
            self.say(f"Listed {version}{mark}")
        self.say(f"The project uses {decimal(client.project(PROJECT).usage())}.")

    def fetch(self, client: Client, source: str, version: str) -> None:
        """Fetch one file, then the whole version over HTTP, and compare with ``source``."""
        begun = time.monotonic()
        file = client.fetch_file(f"{version}/{CHANGED}")
        seconds = time.monotonic() - begun
        if not same_content(os.path.join(source, CHANGED), file):
            raise Fault(f"{CHANGED} came back with different content", code=Code.CONTENT_MISMATCH)
        self.steps.append(Step("fetch one file", 1, os.path.getsize(file), seconds))
        begun = time.monotonic()
        directory = client.fetch_directory(version, concurrent=JOBS)
        seconds = time.monotonic() - begun
        published = self.steps[-2]
        files, size = published.files, published.bytes
        self.say(f"Fetched {version} over HTTP")
        self.steps.append(Step("fetch the version", files, size, seconds))
        begun = time.monotonic()
        found = differences(source, directory)
        if found:
            listed = "\n  ".join(found[:10])
            raise Fault(
                f"the fetched version differs in {len(found)} places:\n  {listed}",
                code=Code.CONTENT_MISMATCH,
            )
        self.say("Compared byte by byte: no difference")
        self.steps.append(Step("compare", files, size, time.monotonic() - begun))


@contextmanager
def _temporary_directory() -> Iterator[str]:
    root = tempfile.mkdtemp(prefix="gobbler-demo-")
    try:
        yield root
    finally:
        remove_tree_quietly(root)


LEFT_OUT = ("site-packages", "dist-packages")
"""Directories in the standard library that are not part of it."""


@dataclass
class Copied:
    """The result of :func:`copy_tree`, with the number of skipped entries for each reason."""

    files: int = 0
    bytes: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str) -> None:
        """Count an entry that is left out."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1


def copy_tree(source: str, target: str) -> Copied:
    """Copy ``source`` to ``target``, without entries that a registry refuses."""
    copied = Copied()
    pending = [""]
    os.mkdir(target)
    while pending:
        directory = pending.pop()
        with os.scandir(os.path.join(source, directory)) as entries:
            for entry in entries:
                path = os.path.join(directory, entry.name)
                reason = _reason_against(entry)
                if reason:
                    copied.leave_out(reason)
                elif entry.is_dir(follow_symlinks=False):
                    os.mkdir(os.path.join(target, path))
                    pending.append(path)
                else:
                    shutil.copyfile(entry.path, os.path.join(target, path))
                    copied.files += 1
                    copied.bytes += os.path.getsize(os.path.join(target, path))
    return copied


def _reason_against(entry: os.DirEntry[str]) -> str | None:
    """Why the demonstration leaves out ``entry``; ``None`` if it does not."""
    if entry.name in LEFT_OUT:
        return "directories of installed packages"
    if is_internal(entry.name) or file_name_problem(entry.name):
        return "names that a registry refuses"
    if entry.is_symlink():
        return "symbolic links"
    mode = entry.stat(follow_symlinks=False).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return "special files"
    if not os.access(entry.path, os.R_OK):
        return "files that you can't read"
    return None


def differences(expected: str, got: str) -> list[str]:
    """The differences of two trees, byte by byte, without records of the registry in ``got``."""
    left, right = dict(_entries(expected)), dict(_entries(got))
    found = [f"{path} is missing" for path in sorted(left.keys() - right.keys())]
    found += [f"{path} is unexpected" for path in sorted(right.keys() - left.keys())]
    for path in sorted(left.keys() & right.keys()):
        if left[path] != right[path]:
            found.append(f"{path} is a directory in one place and a file in the other")
        elif not left[path] and not same_content(
            os.path.join(expected, path), os.path.join(got, path)
        ):
            found.append(f"{path} has different content")
    return found


def same_content(one: str, other: str) -> bool:
    """Whether two files are equal byte by byte."""
    return filecmp.cmp(one, other, shallow=False)


def _entries(root: str) -> Iterator[tuple[str, bool]]:
    """Relative paths below ``root``, and whether each is a directory."""
    for path, is_directory in entries_below(root):
        if is_directory or not is_internal(os.path.basename(path)):
            yield path, is_directory

"""Start of the service and of commands, a busy disk, and the clients."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from bench import data
from bench.cases.base import Case, numbers, seconds
from bench.cases.uploading import Upload
from bench.measuring import Sample
from bench.original import UPLOAD
from bench.peers import Peer, StartedService
from bench.session import IN_MEMORY, LeftOut, Session, filesystem


class FirstAnswer(Case):
    """From the start of the service until it has answered ``/info``, with an empty registry."""

    title = "first answer after start"
    unit = "starts"
    amount = 1
    within = 0.2

    @classmethod
    def sides(cls, session: Session) -> list[Case]:
        without = [peer.name for peer in session.peers if peer.command is None]
        if without:
            raise LeftOut(f"no command is known that starts {' or '.join(without)}")
        return super().sides(session)

    def measure(self) -> Sample:
        return Sample(seconds(self._start))

    def _start(self) -> None:
        assert self.peer.command is not None
        self.started = StartedService(self.session.place(), self.peer.name, self.peer.command)

    def after(self) -> None:
        self.started.stop()


class Version(Case):
    """The command ``gobbler --version``, as often as makes the least time certain."""

    title = "command `gobbler --version`"
    unit = "commands"
    amount = 1
    within = 0.12
    words: tuple[str, ...] = ("--version",)

    @classmethod
    def sides(cls, session: Session) -> list[Case]:
        if not command().exists():
            raise LeftOut(f"there is no {command()}")
        return [cls(session.peers[0], session)]  # a command is not of the protocol

    @classmethod
    def rounds(cls, cases: Sequence[Case], runs: int) -> Generator[None, None, None]:
        return super().rounds(cases, 3 * runs)

    def measure(self) -> Sample:
        place = {
            "GOBBLER_URL": self.peer.url,
            "GOBBLER_STAGING": str(self.peer.staging),
            "GOBBLER_REGISTRY": str(self.peer.registry),
        }
        words = [str(command()), *self.words]
        return Sample(
            seconds(
                lambda: subprocess.run(
                    words, check=True, env={**os.environ, **place}, stdout=subprocess.DEVNULL
                )
            )
        )


class List(Version):
    """The command ``gobbler ls``, of the projects of the service."""

    title = "command `gobbler ls`"
    words = ("ls",)


def command() -> Path:
    """The command ``gobbler`` of this interpreter."""
    return Path(sys.executable).with_name("gobbler")


class BusyDisk(Upload):
    """Two files of 4 KiB, again and again, while another process writes 6 GB."""

    title = "upload of two files while another process writes 6 GB to the same disk"
    amount = 2
    within = 0.05
    is_typical = True
    on_quiet_disk = False

    @classmethod
    def sides(cls, session: Session) -> list[Case]:
        kind = filesystem(session.top)
        if kind in IN_MEMORY:
            raise LeftOut(f"{kind} has no disk that could be busy: choose another --directory")
        size = session.scaled(6000) << 20
        if shutil.disk_usage(session.top).free < 2 * size:
            raise LeftOut(f"there is no place for {2 * size >> 20:,} MiB")
        return super().sides(session)

    @classmethod
    def rounds(cls, cases: Sequence[Case], runs: int) -> Generator[None, None, None]:
        del runs
        session = cases[0].session
        file = session.place()
        words = ["dd", "if=/dev/zero", f"of={file}", "bs=1M", f"count={session.scaled(6000)}"]
        writer = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        try:
            while writer.poll() is None:
                yield
        finally:
            writer.kill()
            writer.wait()
            file.unlink(missing_ok=True)
        if writer.returncode != 0:
            raise RuntimeError(f"dd ended with {writer.returncode}")

    def prepare(self) -> None:
        self.source = data.small_files(self.staged(), 2, 4096)

    def least(self) -> list[str] | None:
        return None


class ClientUpload(Case):
    """The same function of ``pygobbler``, ours and the original one, with our service."""

    title = "original client's upload and ours, 3,000 small files"
    goal = 4.0

    def __init__(self, peer: Peer, session: Session, python: Sequence[str]) -> None:
        super().__init__(peer, session)
        self._python = python

    @classmethod
    def sides(cls, session: Session) -> list[Case]:
        if session.original is None:
            raise LeftOut("it needs the original client: see --original")
        # PYTHONPATH may lead to a checkout of ours, which the original must not find.
        pythons = [sys.executable], [str(session.original), "-E"]
        return [cls(session.peers[0], session, python) for python in pythons]

    def prepare(self) -> None:
        self.amount = self.scaled(3000)
        self.source = data.small_files(self.session.place(), self.amount, 4096)

    def measure(self) -> Sample:
        peer, asset = self.peer, f"asset-{next(numbers)}"
        words = [peer.url, str(peer.staging), str(peer.registry), str(self.source)]
        done = subprocess.run(
            [*self._python, "-c", UPLOAD, *words, self.project, asset],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{self._python[0]}: {done.stderr.strip()[-500:]}")
        told = json.loads(done.stdout)
        if told["files"] != len([path for path in self.source.rglob("*") if path.is_file()]):
            raise RuntimeError(f"{self._python[0]}: {told['files']} files were published")
        return Sample(told["seconds"], told["processor"])


class ClientUploadLarge(ClientUpload):
    """One file of 256 MiB."""

    title = "original client's upload and ours, 256 MiB"
    unit = "MB"
    goal = 3.0

    def prepare(self) -> None:
        self.amount = (self.scaled(256) << 20) // 10**6
        self.source = data.one_file(self.session.place(), self.scaled(256) << 20)

"""Changes of several files that happen all together: prepared, committed, undone, redone.

What is new is written into a job below ``..incoming`` first, what goes is moved into the
job; so a change is a list of renames between the job and the registry. The list (the
*intent*) is flushed before the first of them, which is the commit point. (Where the first
would only replace a file, a marker in the job is renamed before it: unlike a replaced
file, it tells whether it was renamed.)

- If a rename **fails**, those before it are taken back, in reverse.
- If the process is **killed**, recovery finds the intent. Nothing had been renamed: the job
  is swept. Something had: the rest is renamed.

Usage and latest are not redone but computed anew, for others may have changed them since.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from gobbler.fs.atomic_write import remove_quietly, replace, write_new
from gobbler.fs.flush import Durability, flush_directory
from gobbler.fs.open import exists
from gobbler.model.names import project_usage
from gobbler.model.records import Usage, encode
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Intent, Move, Workspace, done_path

if TYPE_CHECKING:
    from types import TracebackType


BEGIN = "begin"
BEGUN = "begun"
ANSWER = "answer"


class Journal:
    """The renames of one change, in order.

    Paths in the registry are relative to it; names in the job are bare. ``marked``: the
    first rename replaces a file.
    """

    def __init__(self, registry: Registry, workspace: Workspace, *, marked: bool) -> None:
        self._registry = registry
        self._job = workspace
        self._marked = marked
        self._moves: list[Move] = []
        self._ways: list[Callable[[_Undo, str, str], None]] = []
        if marked:
            write_new(self.inside(BEGIN), b"")

    def inside(self, name: str) -> str:
        """The absolute path of ``name`` in the job."""
        return f"{self._job.path}/{name}"

    def bring(self, name: str, target: str) -> None:
        """``name`` of the job goes to ``target``, over what may stand there."""
        self._add(Move(name, target, out=False), _Undo.put)

    def bring_link(self, name: str, target: str) -> None:
        """The symbolic link ``name`` of the job goes to ``target``, most often over another."""
        self._add(Move(name, target, out=False), _Undo.put_link)

    def bring_new(self, name: str, target: str) -> None:
        """``name`` of the job goes to ``target``, where nothing stands."""
        self._add(Move(name, target, out=False), _Undo.rename)

    def _add(self, move: Move, way: Callable[[_Undo, str, str], None]) -> None:
        self._moves.append(move)
        self._ways.append(way)

    def write(self, name: str, data: bytes, target: str) -> None:
        """The content ``data`` goes to ``target``, over what may stand there."""
        write_new(self.inside(name), data)
        self.bring(name, target)

    def add_usage(self, name: str, project: str, added: int) -> None:
        """The usage of ``project`` grows by ``added`` bytes (or shrinks, never below 0).

        The caller holds the lock of the usage, or of the registry.
        """
        total = max(0, self._registry.usage(project).total + added)
        self.write(name, encode(Usage(total)), project_usage(project))

    def take_out(self, target: str, name: str) -> None:
        """What stands at ``target`` goes out of sight, to ``name`` of the job."""
        self._add(Move(name, target, out=True), _Undo.rename)

    def record(self, intent: Intent | None, answer: Mapping[str, object] | None = None) -> None:
        """Write down ``intent`` with the renames so far; flushed before :meth:`commit`.

        ``answer``: what the requester is told when all is done. The change of a task
        leaves it in ``..incoming``, for whoever must find out whether it was made. ``None``
        for ``intent``: nothing follows the renames; if there is but one, which is whole by itself,
        nothing need be written down.
        """
        if self._job.task:
            remove_quietly(self.inside(ANSWER))
            self.write(ANSWER, msgspec.json.encode(answer or {}), done_path(self._job.task))
        if intent is None and len(self._moves) == 1 and not self._marked:
            return
        full = msgspec.structs.replace(
            intent or Intent(moves=[]), moves=list(self._moves), marked=self._marked
        )
        replace(self._job.intent, encode(full), flush=False)

    def flush_moves(self, durability: Durability) -> None:
        """Flush the directories between which the renames went, rather than everything."""
        paths = [self._registry.path(move.target) for move in self._moves]
        for directory in dict.fromkeys([*map(os.path.dirname, paths), self._job.path]):
            flush_directory(directory, durability)

    def commit(self, then: Callable[[], None] = lambda: None) -> None:
        """Do all renames and what comes ``then``, or nothing of it."""
        with _Undo(self._job) as undo:
            if self._marked:
                undo.rename(self.inside(BEGIN), self.inside(BEGUN))
            for move, way in zip(self._moves, self._ways, strict=True):
                inside, target = self.inside(move.name), self._registry.path(move.target)
                way(undo, *((target, inside) if move.out else (inside, target)))
            then()


def is_committed(workspace: Workspace, intent: Intent) -> bool:
    """Whether the change has begun."""
    if intent.marked:
        return exists(f"{workspace.path}/{BEGUN}")
    return bool(intent.moves) and _is_done(workspace, intent.moves[0])


def redo(registry: Registry, workspace: Workspace, intent: Intent) -> None:
    """Do the renames of ``intent`` that are missing. Safe to repeat."""
    for move in intent.moves:
        if not _is_done(workspace, move):
            inside, target = f"{workspace.path}/{move.name}", registry.path(move.target)
            try:
                os.rename(*((target, inside) if move.out else (inside, target)))
            except FileNotFoundError:
                continue  # what it belongs to was removed since


def _is_done(workspace: Workspace, move: Move) -> bool:
    return exists(f"{workspace.path}/{move.name}") == move.out


class _Undo:
    """Renames that are taken back, in reverse, when the block fails.

    Should taking back fail as well, it ends there, and the job is left for recovery to
    complete: with the first rename taken back, too, it would count as not begun.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._job = workspace
        self._steps: list[Callable[[], None]] = []

    def __enter__(self) -> _Undo:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            return
        for step in reversed(self._steps):
            try:
                step()
            except OSError:
                self._job.unfinished = True
                return

    def rename(self, old: str, new: str) -> None:
        """Rename ``old`` to ``new``, where nothing stands."""
        os.rename(old, new)
        self._steps.append(partial(os.rename, new, old))

    def put(self, inside: str, target: str) -> None:
        """Rename ``inside`` to ``target``, keeping what may stand there for the way back."""
        former = f"{inside}.former"
        try:
            _link(target, former)
        except FileNotFoundError:
            self.rename(inside, target)
        else:
            os.rename(inside, target)
            self._steps.append(partial(_put_back, inside, former, target))

    def put_link(self, inside: str, target: str) -> None:
        """The same where another symbolic link stands, most often; its text is kept."""
        try:
            text = os.readlink(target)
        except OSError:
            self.put(inside, target)
        else:
            os.rename(inside, target)
            self._steps.append(partial(_put_link_back, inside, text, target))


def _put_back(inside: str, former: str, target: str) -> None:
    # First of all the new file gets its name in the job again: recovery needs it, should the
    # process be killed on the way back.
    _link(target, inside)
    os.rename(former, target)


def _put_link_back(inside: str, text: str, target: str) -> None:
    # The link that was replaced has left an inode for this one.
    former = f"{inside}.former"
    os.symlink(text, former)
    _put_back(inside, former, target)


def _link(old: str, new: str) -> None:
    os.link(old, new, follow_symlinks=False)

"""The journal: a change of several files is committed as a whole, or not at all.

New files are written into a workspace first, and removed files are moved into it. So a change is
a list of renames between the workspace and the registry. The journal writes that list, the
*intent*, to the workspace and flushes it before the first rename. The first rename *commits* the
change. (If it only replaces a file, the journal renames a marker in the workspace before it: a
replaced file does not show whether the rename was done.)

- If a rename **fails**, the journal *rolls back* the renames before it, in reverse.
- If the process is **killed**, recovery reads the intent. If the change was committed, recovery
  *rolls it forward*: it does the remaining renames. If not, it removes the workspace.

The intent holds no usage and no latest version: other changes may follow before the recovery,
which therefore computes both again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from gobbler.errors import GobblerError
from gobbler.fs.atomic_write import remove_quietly, replace, write_new
from gobbler.fs.flush import Durability, flush_paths
from gobbler.fs.open import exists
from gobbler.fs.record_file import read_file
from gobbler.model.names import LOGS, VersionKey, project_usage
from gobbler.model.records import Usage, encode
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace, answer_path

if TYPE_CHECKING:
    from types import TracebackType


MARKER = "begin"
COMMITTED_MARKER = "begun"
ANSWER = "answer"


class Move(Struct, frozen=True):
    """One rename between a workspace and the registry.

    ``name`` is in the workspace, ``target`` in the registry; ``out``: the rename goes from the
    registry into the workspace.
    """

    name: str
    target: str
    out: bool


class Intent(Struct, frozen=True, omit_defaults=True):
    """``..incoming/{name}/intent``: how recovery completes a change that was committed.

    ``moves``: the renames, in order. ``marked``: a marker commits the change, rather than the first
    rename. ``recount``: projects whose usage must be recomputed. ``latest``: the latest version of
    the asset must be recomputed. ``adopted``: files of the version were hard-linked from ``source``
    (a directory of ``staging``), and their names there must be removed.
    """

    moves: list[Move]
    marked: bool = False
    project: str = ""
    asset: str = ""
    version: str = ""
    recount: list[str] = []
    latest: bool = False
    staging: str = ""
    source: str = ""
    adopted: bool = False

    @property
    def key(self) -> VersionKey:
        """The version that is changed."""
        return VersionKey(self.project, self.asset, self.version)


class Journal:
    """The renames of one change, in order.

    Paths in the registry are relative to it; names in the workspace are bare. Set ``marked`` if
    the first rename replaces a file.
    """

    def __init__(self, registry: Registry, workspace: Workspace, *, marked: bool) -> None:
        self._registry = registry
        self._workspace = workspace
        self._marked = marked
        self._moves: list[Move] = []
        self._renames: list[Callable[[_Rollback, str, str], None]] = []
        self._unflushed: list[str] = []
        self._logs = False
        if marked:
            write_new(self.inside(MARKER), b"")

    def clear(self) -> None:
        """Forget the renames so far; files in the workspace stay."""
        self._moves.clear()
        self._renames.clear()
        self._unflushed.clear()

    def inside(self, name: str) -> str:
        """The absolute path of ``name`` in the workspace."""
        return f"{self._workspace.path}/{name}"

    def add(self, name: str, target: str) -> None:
        """Rename ``name`` of the workspace to ``target``, where nothing stands."""
        self._append(Move(name, target, out=False), _Rollback.rename)

    def replace(self, name: str, target: str) -> None:
        """Rename ``name`` of the workspace to ``target``, over a file that may stand there."""
        self._append(Move(name, target, out=False), _Rollback.replace)

    def replace_link(self, name: str, target: str) -> None:
        """Rename the symbolic link ``name`` to ``target``, mostly over another symbolic link."""
        self._append(Move(name, target, out=False), _Rollback.replace_link)

    def remove(self, target: str, name: str) -> None:
        """Rename what stands at ``target`` to ``name`` of the workspace."""
        self._append(Move(name, target, out=True), _Rollback.rename)

    def write(self, name: str, data: bytes | Iterator[bytes], target: str) -> None:
        """Write ``data`` (or parts) to ``name`` of the workspace; :meth:`replace` ``target``."""
        write_new(self.inside(name), data)
        self.replace(name, target)
        self._unflushed.append(target)

    def add_usage(self, name: str, project: str, added: int) -> None:
        """Add ``added`` bytes to the usage of ``project``; they may be negative.

        The caller holds the lock of the usage, or of the registry.
        """
        total = max(0, self._registry.usage(project).total + added)
        self.write(name, encode(Usage(total)), project_usage(project))

    def _append(self, move: Move, rename: Callable[[_Rollback, str, str], None]) -> None:
        self._moves.append(move)
        self._renames.append(rename)

    def prepare(self, intent: Intent | None, answer: Mapping[str, object] | None = None) -> None:
        """Write the intent with the renames so far; the caller flushes it before :meth:`commit`.

        ``answer``: the fields of the answer to the request. In a resumable workspace the change
        leaves it in ``..incoming``, for the process that finds out whether it was committed.
        Without ``intent`` nothing follows the renames; a single rename is atomic by itself, and
        then needs no intent.
        """
        if self._workspace.is_resumable:
            remove_quietly(self.inside(ANSWER))
            target = answer_path(self._workspace.name)
            self.write(ANSWER, msgspec.json.encode(answer or {}), target)
        self._unflushed.clear()
        if intent is None and len(self._moves) == 1 and not self._marked:
            return
        full = msgspec.structs.replace(
            intent or Intent(moves=[]), moves=list(self._moves), marked=self._marked
        )
        replace(self._workspace.intent, encode(full), flush=False)

    def flush(
        self, durability: Durability, *, made: Sequence[str] = (), changed: Sequence[str] = ()
    ) -> None:
        """Flush the change after :meth:`commit`.

        That is what was written since :meth:`prepare`, and the directories between which the
        renames went. ``made`` and ``changed``: other files that were made or changed since, by
        their paths in the registry.
        """
        path = self._registry.path
        places = map(path, (*(move.target for move in self._moves), *made))
        logs = [path(LOGS)] if self._logs else []
        flush_paths(
            map(path, (*self._unflushed, *made, *changed)),
            [*map(os.path.dirname, places), *logs, self._workspace.path],
            durability,
            within=self._registry.root,
        )

    def commit(self, log: Callable[[], None] | None = None) -> None:
        """Do all renames, and call ``log``, which publishes the entry of the log.

        If any of it fails, roll back all of it.
        """
        self._logs = log is not None
        with _Rollback(self._workspace) as rollback:
            if self._marked:
                rollback.rename(self.inside(MARKER), self.inside(COMMITTED_MARKER))
            for move, rename in zip(self._moves, self._renames, strict=True):
                inside, target = self.inside(move.name), self._registry.path(move.target)
                rename(rollback, *((target, inside) if move.out else (inside, target)))
            if log is not None:
                log()


def is_committed(workspace: Workspace, intent: Intent) -> bool:
    """Whether the change of an abandoned workspace was committed."""
    if intent.marked:
        return exists(f"{workspace.path}/{COMMITTED_MARKER}")
    return bool(intent.moves) and _is_done(workspace, intent.moves[0])


def roll_forward(registry: Registry, workspace: Workspace, intent: Intent) -> None:
    """Do the remaining renames of a change that was committed. Safe to repeat."""
    for move in intent.moves:
        if not _is_done(workspace, move):
            inside, target = f"{workspace.path}/{move.name}", registry.path(move.target)
            try:
                os.rename(*((target, inside) if move.out else (inside, target)))
            except FileNotFoundError:
                continue  # a later change has removed the target's directory


def _is_done(workspace: Workspace, move: Move) -> bool:
    return exists(f"{workspace.path}/{move.name}") == move.out


class _Rollback:
    """Does renames, and rolls them back in reverse if the block fails.

    If the roll-back fails as well, it ends there, and the workspace stays for recovery, which
    rolls the change forward. With the first rename rolled back, the change would not count as
    committed.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._steps: list[Callable[[], None]] = []

    def __enter__(self) -> _Rollback:
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
                self._workspace.keep = True
                return

    def rename(self, old: str, new: str) -> None:
        """Rename ``old`` to ``new``, where nothing stands."""
        os.rename(old, new)
        self._steps.append(partial(os.rename, new, old))

    def replace(self, inside: str, target: str) -> None:
        """Rename ``inside`` to ``target``, and keep a replaced file for the roll-back."""
        former = f"{inside}.former"
        if _keep(target, former):
            os.rename(inside, target)
            self._steps.append(partial(_put_back, inside, former, target))
        else:
            self.rename(inside, target)

    def replace_link(self, inside: str, target: str) -> None:
        """The same, but of a replaced symbolic link keep only the text."""
        try:
            text = os.readlink(target)
        except OSError:
            self.replace(inside, target)
        else:
            os.rename(inside, target)
            self._steps.append(partial(_put_link_back, inside, text, target))


def _keep(target: str, former: str) -> bool:
    """Keep what stands at ``target`` as ``former``; ``False`` if there is nothing worth keeping."""
    try:
        _link(target, former)
    except FileNotFoundError:
        return False
    except PermissionError:
        # An administrator may have made a record by hand, and the kernel lets no account link to
        # a file of another one.
        try:
            data = read_file(target, target)
        except (GobblerError, OSError):
            return False
        write_new(former, data)
    return True


def _put_back(inside: str, former: str, target: str) -> None:
    # The new file gets its name in the workspace back first: if the process is killed between the
    # two calls, recovery needs it.
    _link(target, inside)
    os.rename(former, target)


def _put_link_back(inside: str, text: str, target: str) -> None:
    # The replaced link has freed an inode for this one, also on a full filesystem.
    former = f"{inside}.former"
    os.symlink(text, former)
    _put_back(inside, former, target)


def _link(old: str, new: str) -> None:
    os.link(old, new, follow_symlinks=False)

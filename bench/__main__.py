"""``make bench``: time what a service does against yardsticks, or against another service.

Runs of all sides take turns, so that a slow moment of the machine hits all of them; the
minimum is what counts. Files are created at very uneven speed on small virtual machines:
look at processor seconds and system calls as well.

::

    make bench                                     # our service against yardsticks
    make bench ARGS="--case small --scale 0.1"     # try some cases quickly
    make bench PEER="other -staging {staging} -registry {registry} -admin {user} -port {port}"
    python -m bench --peer URL STAGING REGISTRY    # one that runs already

With a peer it prints a table: the times of both, how many times as fast ours is, and the goal.
The bench starts the command of a peer itself, with ``{staging}``, ``{registry}``, ``{port}`` and
``{user}`` filled in. A peer that runs already must run on this machine, and have the present user
as its administrator. With two peers, the first takes the place of ours.

Interrupted, it stops what it has started and removes what it has made. ``--history`` adds a whole
table to ``docs/performance.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path

from bench import history, report
from bench.cases import CASES, TABLE, Case
from bench.comparison import Comparison, compare, rows
from bench.limit import Limit
from bench.measuring import listener, resident
from bench.peers import OURS, Peer, StartedService, filled
from bench.session import LeftOut, Session, filesystem
from docs.generate import measured

FAILURES = (
    RuntimeError,
    AssertionError,
    OSError,
    HTTPException,
    ValueError,  # an answer that is no JSON
    subprocess.CalledProcessError,
)
"""What a service may do in a case: refuse, answer nonsense, or be gone. The other cases go on."""

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""


def main() -> int:
    """Run the cases that the command line asks for."""
    options = _options()
    versus = bool(options.peer or options.peer_command)
    chosen = list(_chosen(options.case, TABLE if versus else CASES))
    if not chosen:
        print(f"no case is called {' or '.join(options.case)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    found: list[Comparison] = []
    try:
        with ExitStack() as stack:
            session = _session(options, stack)
            if versus:
                _print_table(chosen, session, options, found)
            else:
                for comparison in _compared(chosen, session, options.runs, thorough=True):
                    found.append(comparison)
                    report.print_case(comparison)
    except KeyboardInterrupt:
        print("interrupted: the other cases are left out", file=sys.stderr)
        return INTERRUPTED
    finally:
        if options.json:
            figures = [row for comparison in found for row in rows(comparison)]
            Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if session.failed else 0


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


def _chosen(words: list[str], among: tuple[type[Case], ...]) -> Iterator[type[Case]]:
    for case in among:
        if not any(word in case.title for word in words) if words else case.by_name:
            continue
        if case.needs and shutil.which(case.needs) is None:
            print(f"left out, for it needs {case.needs}: {case.title}", file=sys.stderr)
            continue
        yield case


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--case", action="append", default=[], help="words of a title; repeatable")
    parser.add_argument("--runs", type=int, help="runs of each side (5; 4 with a peer)")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the data (1)")
    parser.add_argument(
        "--directory", help="where staging and registry are made, such as /dev/shm or on a disk"
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    parser.add_argument(
        "--peer",
        nargs=3,
        action="append",
        default=[],
        metavar=("URL", "STAGING", "REGISTRY"),
        help="compare with this service, which runs already; repeatable",
    )
    parser.add_argument(
        "--peer-command",
        action="append",
        default=[],
        metavar="COMMAND",
        help="compare with the service that this starts: {staging}, {registry}, {port}, {user}",
    )
    parser.add_argument(
        "--original",
        type=Path,
        default=Path("build/original/bin/python"),
        metavar="PYTHON",
        help="an interpreter that has the original client (build/original/bin/python)",
    )
    parser.add_argument("--history", action="store_true", help="add the table to the history")
    parser.add_argument("--name", default="", help="what the history calls the peer")
    parser.add_argument(
        "--commit", default="", help="what the history calls our side, if it is another checkout"
    )
    options = parser.parse_args()
    versus = len(options.peer) + len(options.peer_command)
    if options.history and (options.scale != 1 or not versus):
        parser.error("--history is for a table of full scale: give a peer, and no --scale")
    if versus > 2:
        parser.error("a table has two sides: give one or two peers")
    for command in options.peer_command:
        try:
            filled(command, staging="", registry="", port=0)
        except ValueError as error:
            parser.error(str(error))
    options.runs = options.runs or (4 if versus else 5)
    return options


def _session(options: argparse.Namespace, stack: ExitStack) -> Session:
    """The services, and the place for all data, which ``stack`` removes."""
    top = Path(
        stack.enter_context(
            tempfile.TemporaryDirectory(
                dir=options.directory, prefix="gobbler-bench-", ignore_cleanup_errors=True
            )
        )
    )
    top.chmod(0o755)
    commands: list[tuple[str, str]] = []
    if not options.peer and not options.peer_command:
        commands = [("full durability", OURS), ("relaxed", f"{OURS} --durability relaxed")]
    elif len(options.peer) + len(options.peer_command) == 1:
        commands = [("ours", OURS)]
    commands += [(Path(command.split()[0]).name, command) for command in options.peer_command]
    peers = []
    for number, (name, command) in enumerate(commands):
        service = StartedService(top / f"service-{number}", name, command)
        stack.callback(service.stop)
        peers.append(service.peer)
    for url, staging, registry in options.peer:
        address = url.rstrip("/")
        pid = listener(address)
        peers.append(Peer(address, address, Path(staging), Path(registry), pid))
    peers[-1].name = options.name or peers[-1].name
    session = Session(top, peers, options.scale)
    stack.callback(session.finish)
    try:
        session.limit = Limit(top)
    except RuntimeError as error:
        print(f"left out, the distance to a C program: {error}", file=sys.stderr)
    if options.original.exists():
        session.original = options.original.absolute()
    return session


def _compared(
    chosen: list[type[Case]], session: Session, runs: int, *, thorough: bool
) -> Iterator[Comparison]:
    for kind in chosen:
        try:
            yield compare(kind, session, runs, thorough=thorough)
        except LeftOut as why:
            print(f"left out, for {why}: {kind.title}", file=sys.stderr)
        except FAILURES as error:
            session.failed.append(kind.title)
            session.reconnect()
            print(f"left out, for it failed: {kind.title}: {error}", file=sys.stderr)


def _print_table(
    chosen: list[type[Case]],
    session: Session,
    options: argparse.Namespace,
    found: list[Comparison],
) -> None:
    """Print a row when a case is done, and add the case to ``found``; in the end, what remains."""
    machine = history.machine()
    print(
        f"{machine['processor']}, {machine['processors']} processors, Linux {machine['kernel']},"
        f" Python {machine['python']}, {filesystem(session.top)}; the least of"
        f" {options.runs} alternating runs, scale {options.scale:g}\n"
    )
    print(measured.head(*(peer.name for peer in session.peers)), flush=True)
    for comparison in _compared(chosen, session, options.runs, thorough=False):
        found.append(comparison)
        print(measured.row(comparison.kind.title, history.case_of(comparison)), flush=True)
        _record([comparison], session, options, {})  # at once: the bench may be killed
    sides = zip(("ours", "peer"), session.peers, strict=True)
    memory = {side: resident(peer.pid) for side, peer in sides if peer.pid is not None}
    print(measured.memory_row(memory))
    _record([], session, options, memory)
    cases = {each.kind.title: history.case_of(each) for each in found}
    if limits := measured.limit_table(cases):
        print(f"\nThe least that the same costs, in milliseconds:\n\n{limits}")
    if phases := measured.phase_table(cases):
        print(f"\nThe phases of ours, in milliseconds:\n\n{phases}")


def _record(
    found: list[Comparison],
    session: Session,
    options: argparse.Namespace,
    memory: dict[str, int],
) -> None:
    if not options.history:
        return
    line = history.line_of(
        found,
        commit=options.commit or history.present_commit(),
        filesystem=filesystem(session.top),
        peer=session.peers[-1].name,
        runs=options.runs,
        memory=memory,
    )
    history.record(line)


if __name__ == "__main__":
    sys.exit(main())

"""``make bench``: time what a service does against yardsticks, or two services against each other.

Runs of all sides take turns, so that a slow moment of the machine hits all of them; the
minimum is what counts. Files are created at very uneven speed on small virtual machines:
look at processor seconds and system calls as well.

::

    make bench                                     # our service, started here
    make bench ARGS="--case small --scale 0.1"     # try some cases quickly
    python -m bench --peer URL STAGING REGISTRY --peer URL STAGING REGISTRY

A peer is a service that runs here with the present user as administrator.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.cases import CASES, Case
from bench.measuring import Sample, measured, system_calls, watching
from bench.peers import OurService, Peer


def main() -> int:
    """Run the cases that the command line asks for."""
    options = _options()
    chosen = list(_chosen(options.case))
    if not chosen:
        print(f"no case is called {' or '.join(options.case)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="gobbler-bench-") as top:
        Path(top).chmod(0o755)
        services = [] if options.peer else _ours(Path(top))
        peers = [service.peer for service in services] + [
            Peer(url, url.rstrip("/"), Path(staging), Path(registry))
            for url, staging, registry in options.peer
        ]
        results = []
        made: list[Case] = []
        try:
            for kind in chosen:
                results += _compare(kind, peers, options, made)
        finally:
            for case in made:
                case.finish()
            for service in services:
                service.stop()
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2) + "\n")
    return 0


def _chosen(words: list[str]) -> Iterator[type[Case]]:
    for case in CASES:
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
    parser.add_argument("--runs", type=int, default=5, help="runs of each side (5)")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the data (1)")
    parser.add_argument("--directory", help="where staging and registry are made")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    parser.add_argument(
        "--peer",
        nargs=3,
        action="append",
        default=[],
        metavar=("URL", "STAGING", "REGISTRY"),
        help="measure this service instead of one that is started; repeatable",
    )
    return parser.parse_args()


def _ours(top: Path) -> list[OurService]:
    return [
        OurService(top, "full durability"),
        OurService(top, "relaxed", "--durability", "relaxed"),
    ]


def _compare(
    kind: type[Case], peers: list[Peer], options: argparse.Namespace, made: list[Case]
) -> list[dict[str, object]]:
    cases = [kind(peer, options.scale) for peer in peers]
    made += cases
    samples: list[list[Sample]] = [[] for _ in cases]
    yard: list[Sample] = []
    calls: list[dict[str, int] | None] = [None for _ in cases]
    memory = [0 for _ in cases]
    for number in range(1 if kind.by_name else options.runs):
        for index, case in enumerate(cases):
            case.before()
            if kind.by_name and case.peer.pid is not None:
                with watching(case.peer.pid) as seen:
                    samples[index].append(measured(case.work, case.peer.pid))
                memory[index] = max(seen)
            else:
                samples[index].append(measured(case.work, case.peer.pid))
            case.after()
        if kind.yardstick is not Case.yardstick:
            yard.append(measured(cases[number % len(cases)].yardstick, None))
    for index, case in enumerate(cases):
        if case.peer.pid is not None and kind.yardstick is not Case.yardstick:
            case.before()
            calls[index] = system_calls(case.work, case.peer.pid)
            case.after()
            with watching(case.peer.pid) as seen:
                case.before()
                case.work()
                case.after()
            memory[index] = max(seen)
    found = [
        _row(case, ingested, yard, counted, most)
        for case, ingested, counted, most in zip(cases, samples, calls, memory, strict=True)
    ]
    _print(kind, cases, found, yard)
    return found


def _row(
    case: Case,
    ingested: list[Sample],
    yard: list[Sample],
    calls: dict[str, int] | None,
    memory: int,
) -> dict[str, object]:
    walls = [sample.wall for sample in ingested]
    used = [sample.processor for sample in ingested if sample.processor is not None]
    row: dict[str, object] = {
        "case": case.title,
        "peer": case.peer.name,
        "unit": case.unit,
        "amount": case.amount,
        "seconds": min(walls),
        "median": statistics.median(walls),
        "rate": case.amount / min(walls),
        "processor": min(used) if used else None,
    }
    if yard:
        row["yardstick"] = case.yardstick_title
        row["wall_ratio"] = min(walls) / min(sample.wall for sample in yard)
        least = min(sample.processor or 0.0 for sample in yard)
        if used and least:
            row["processor_ratio"] = min(used) / least
    if memory:
        row["memory"] = memory
    if calls is not None:
        row["calls_each"] = sum(calls.values()) / case.amount
        row["calls"] = dict(sorted(calls.items(), key=lambda item: -item[1])[:8])
    row.update(case.found)
    return row


def _print(
    kind: type[Case], cases: list[Case], rows: list[dict[str, object]], yard: list[Sample]
) -> None:
    print(f"\n{kind.title}")
    for case, row in zip(cases, rows, strict=True):
        line = f"  {row['peer']:16} {row['seconds']:8.3f} s (median {row['median']:.3f})"
        line += f" {row['rate']:12,.0f} {row['unit']}/s"
        if row["processor"] is not None:
            line += f" {row['processor']:7.2f} s of processor"
        print(line)
        more = [
            f"{name} {row[key]:.2f}"
            for key, name in (
                ("wall_ratio", "time by yardstick"),
                ("processor_ratio", "processor by yardstick"),
                ("calls_each", f"calls for each of the {row['unit']}"),
            )
            if key in row
        ]
        if "memory" in row:
            more.append(f"memory {int(str(row['memory'])) / 1e6:.0f} MB")
        more += [f"{name} {value:.2f}" for name, value in case.found.items()]
        if more:
            print(f"  {'':16} {', '.join(more)}")
    if yard:
        least = min(sample.wall for sample in yard)
        used = min(sample.processor or 0.0 for sample in yard)
        name = rows[0]["yardstick"]
        print(f"  {name!s:16} {least:8.3f} s{'':>28} {used:7.2f} s of processor")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

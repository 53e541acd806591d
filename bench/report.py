"""How the bench prints a case that is compared with its yardstick."""

from __future__ import annotations

import sys

from bench.comparison import Comparison, rows


def print_case(comparison: Comparison) -> None:
    """One case: a line for each side, its yardstick, and the least that it can cost."""
    print(f"\n{comparison.kind.title}")
    for side, row in zip(comparison.sides, rows(comparison), strict=True):
        line = f"  {row['peer']:16} {row['seconds']:8.3f} s (median {row['median']:.3f})"
        line += f" {row['rate']:12,.0f} {row['unit']}/s"
        if side.processor is not None:
            line += f" {side.processor:7.2f} s of processor"
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
        if side.memory:
            more.append(f"memory {side.memory / 1e6:.0f} MB")
        more += [f"{name} {value:.2f}" for name, value in side.case.found.items()]
        if more:
            print(f"  {'':16} {', '.join(more)}")
    if comparison.yard:
        least = min(sample.wall for sample in comparison.yard)
        used = min(sample.processor or 0.0 for sample in comparison.yard)
        name = comparison.sides[0].case.yardstick_title
        print(f"  {name:16} {least:8.3f} s{'':>28} {used:7.2f} s of processor")
    for threads, took in comparison.least.items():
        print(f"  {f'C, threads: {threads}':16} {took:8.3f} s")
    sys.stdout.flush()

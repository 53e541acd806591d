"""What operations cost as files, versions and users grow, as the tables of docs/growth.md.

::

    python -m bench.growth                        # an hour's patience: up to a million files
    python -m bench.growth --files 1000 10000 --versions 10 100
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import data
from bench.cases.base import seconds
from bench.cases.reading import get
from bench.measuring import watching
from bench.peers import OurService, Peer

_numbers = itertools.count(1)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--files", type=int, nargs="*", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--versions", type=int, nargs="*", default=[10, 100, 1_000, 10_000])
    parser.add_argument("--users", type=int, nargs="*", default=[10, 1_000, 10_000])
    parser.add_argument("--runs", type=int, default=3, help="of which the smallest time counts (3)")
    parser.add_argument("--directory", help="where staging and registry are made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory, prefix="gobbler-growth-") as top:
        Path(top).chmod(0o755)
        service = OurService(Path(top), "service")
        index = OurService(Path(top), "index", "--index", f"{top}/index.sqlite")
        try:
            _table("uploaders of a project", given.users, _of_users(service.peer, given))
            _table("versions of a registry", given.versions, _of_versions(service, index, given))
            _table("files of a version", given.files, _of_files(service.peer))
        finally:
            service.stop()
            index.stop()
    return 0


def _table(what: str, sizes: list[int], measure: Callable[[int], dict[str, str]]) -> None:
    for number, size in enumerate(sorted(sizes)):
        row = measure(size)
        if number == 0:
            print(f"\n| {what} | {' | '.join(row)} |")
            print("| ---: " * (len(row) + 1) + "|")
        print(f"| {size:,} | {' | '.join(row.values())} |", flush=True)


def _told(found: float) -> str:
    return f"{found:.1f} s" if found >= 1 else f"{found * 1000:.0f} ms"


def _best(work: Callable[[], object], runs: int) -> str:
    return _told(min(seconds(work) for _ in range(runs)))


def _of_files(peer: Peer) -> Callable[[int], dict[str, str]]:
    project = peer.project()

    def measure(files: int) -> dict[str, str]:
        source = data.small_files(peer.staging / f"source-{files}", files, 100, seed=files)
        asset = f"asset-{files}"
        version = {"project": project, "asset": asset, "version": "1"}
        listed = f"{peer.url}/list?path={project}/{asset}/1&recursive=true"
        assert peer.pid is not None
        with watching(peer.pid) as seen:
            row = {
                "upload": _told(seconds(lambda: peer.upload(f"{project}/{asset}/1", source))),
                "the same again": _told(
                    seconds(lambda: peer.upload(f"{project}/{asset}/2", source))
                ),
                "validate": _told(seconds(lambda: peer.ask("validate_version", **version))),
                "reindex": _told(seconds(lambda: peer.ask("reindex_version", **version))),
                "list": _told(seconds(lambda: get(listed))),
            }
        manifest = (peer.registry / project / asset / "1/..manifest").stat().st_size
        row["manifest"] = f"{manifest / 1e6:.1f} MB"
        row["memory"] = f"{max(seen) / 1e6:.0f} MB"
        return row

    return measure


def _of_versions(
    service: OurService, index: OurService, given: argparse.Namespace
) -> Callable[[int], dict[str, str]]:
    sides = [service.peer, index.peer]
    projects = [peer.project() for peer in sides]
    sources = [data.small_files(peer.staging / "three", 3, 64) for peer in sides]
    made = [0]

    def measure(versions: int) -> dict[str, str]:
        # Assets of ten versions, each a chain of links to its first.
        for peer, project, source in zip(sides, projects, sources, strict=True):
            _publish(peer, project, source, range(made[0], versions))
        made[0] = versions
        peer, project, source = sides[0], projects[0], sources[0]
        new = (f"{project}/asset-0/new-{next(_numbers)}" for _ in itertools.count())
        asset = {"project": project, "asset": "asset-0"}
        doomed = [{"project": project, "asset": "asset-0", "version": "0"}]
        others = [{**doomed[0], "project": projects[1]}]

        def reroute(peer: Peer, to_delete: list[dict[str, str]]) -> Callable[[], object]:
            return lambda: peer.ask("reroute_links", to_delete=to_delete, dry_run=True)

        return {
            "one version more": _best(lambda: peer.upload(next(new), source), given.runs),
            "refresh latest": _best(lambda: peer.ask("refresh_latest", **asset), given.runs),
            "refresh usage": _best(lambda: peer.ask("refresh_usage", project=project), given.runs),
            "reroute": _best(reroute(peer, doomed), given.runs),
            "reroute, with index": _best(reroute(sides[1], others), given.runs),
        }

    return measure


def _publish(peer: Peer, project: str, source: Path, versions: range) -> None:
    waiting: Iterator[int] = iter(sorted({number // 10 for number in versions}))
    guard = threading.Lock()

    def many() -> None:
        mine = peer.again()
        while True:
            with guard:
                asset = next(waiting, None)
            if asset is None:
                return
            for number in range(asset * 10, asset * 10 + 10):
                if number in versions:
                    mine.upload(f"{project}/asset-{asset}/{number % 10}", source)

    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _of_users(peer: Peer, given: argparse.Namespace) -> Callable[[int], dict[str, str]]:
    source = data.small_files(peer.staging / "one", 1, 64)

    def measure(users: int) -> dict[str, str]:
        project = peer.project()
        everyone = [{"id": f"user-{number}"} for number in range(users)]

        def allow() -> None:
            peer.ask("set_permissions", project=project, permissions={"uploaders": everyone})

        allowed = _best(allow, given.runs)
        new = (f"{project}/asset/{number}" for number in itertools.count())
        published = _best(lambda: peer.upload(next(new), source), given.runs)
        size = (peer.registry / project / "..permissions").stat().st_size
        return {
            "set permissions": allowed,
            "upload of one file": published,
            "permissions": f"{size / 1e3:.0f} kB",
        }

    return measure


if __name__ == "__main__":
    sys.exit(main())

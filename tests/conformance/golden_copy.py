"""Copies of the registry that the Go service wrote; see golden/README.md."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .launch import Process, new_directories
from .service import Service

GOLDEN = Path(__file__).parent / "golden" / "registry-by-go-0.5.0.tar.gz"

STATIONS = "weather/stations"
REPORT = "weather/report"
DROP_BOX = "Open Data ü/drop box"

ARCHIVED = Path("/srv/archive/ref.dat")
"""What a link of it leads to, below a directory that was whitelisted; and its content."""
ARCHIVED_CONTENT = b"ref\n"


@contextmanager
def continued_in(directory: Path, *, whitelist: Path | None = None) -> Iterator[Service]:
    """Our service on a copy of that registry, made in ``directory``."""
    staging, registry = new_directories(directory)
    with tarfile.open(GOLDEN) as archive:
        if hasattr(tarfile, "fully_trusted_filter"):
            archive.extraction_filter = tarfile.fully_trusted_filter
        for member in archive:
            if "..logs/" in member.name:
                continue  # they are older than a week: the service removes them when it likes
            member.uid, member.gid = os.getuid(), os.getgid()
            archive.extract(member, registry)
    flags = [f"--whitelist={whitelist}"] if whitelist else []
    with Process(staging, registry, flags=flags) as process:
        client = Service(process.url, staging, registry)
        yield client
        client.check_nothing_is_left_in_the_making()
        client.close()

"""What the mount of a directory means: its kind of filesystem, and its options."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from gobbler.doctor.filesystems import LOCAL_LOCKS, kind_of, locks_stay_here, no_locks
from gobbler.doctor.findings import Finding, Topic, Verdict
from gobbler.doctor.places import Place
from gobbler.fs.mounts import Mount, is_below

POWER = (
    "Leave that option out, unless the disks have a write cache that survives a power cut: what "
    "is acknowledged may be lost."
)


def filesystem(topic: Topic, place: Place, mount: Mount) -> Finding:
    """What is to be known about the kind of filesystem."""
    kind = kind_of(mount.kind)
    verdict = kind.registry if place.what == "registry" else kind.staging
    if verdict is Verdict.OK:
        return topic.ok(f"{mount.kind}, mounted at {mount.point}: {kind.note}")
    sentence = f"{place} is on {mount.kind} (mounted at {mount.point}): {kind.note}"
    make = topic.warning if verdict is Verdict.WARNING else topic.fault
    return make(sentence, kind.remedy)


def options(topic: Topic, place: Place, mount: Mount) -> Iterator[Finding]:
    """What the options of a mount mean, if anything."""
    found = [
        *_writing(topic, place, mount),
        *(_locking(topic, mount) if place.what == "registry" else ()),
        *_surviving(topic, mount),
    ]
    yield from found or [topic.ok("nothing that would be in the way")]


def _writing(topic: Topic, place: Place, mount: Mount) -> Iterator[Finding]:
    if "ro" in mount.options:
        yield topic.fault(
            f"{mount.point} is mounted read-only", f"mount -o remount,rw {mount.point}"
        )
    if place.what == "registry" and "nosymfollow" in mount.options:
        yield topic.fault(
            "nosymfollow: links are not followed, so files that did not change can't be read",
            "Mount it without nosymfollow.",
        )


def _locking(topic: Topic, mount: Mount) -> Iterator[Finding]:
    if option := no_locks(mount.kind, mount.options):
        yield topic.fault(
            f"{option}: there are no locks, and every change fails", "Mount it with -o flock."
        )
    elif option := locks_stay_here(mount.kind, mount.options):
        yield topic.warning(
            f"{option}: locks hold on this host only",
            f"Serve the registry from one host only, or mount it without {option} everywhere. "
            f"{LOCAL_LOCKS}",
        )


def _surviving(topic: Topic, mount: Mount) -> Iterator[Finding]:
    for option in sorted(mount.options & {"nobarrier", "barrier=0", "eio", "nointegrity"}):
        yield topic.warning(f"{option}: a power cut may damage the filesystem", POWER)
    if mount.kind.startswith("nfs") and mount.options & {"soft", "softerr"}:
        yield topic.warning(
            "soft: when the file server is slow, reading and writing fail",
            "Mount it with hard, the default: then they wait.",
        )


def inside(topic: Topic, registry: Place, mounts: Sequence[Mount]) -> Finding:
    """Whether anything is mounted inside of the registry, where renames would not lead."""
    root = os.path.realpath(registry.path)
    found = sorted({m.point for m in mounts if m.point != root and is_below(m.point, root)})
    if found:
        return topic.fault(
            f"something is mounted inside of the registry: {', '.join(found)}",
            "Versions can't be renamed across mounts, even of one filesystem: unmount it.",
        )
    return topic.ok("none")

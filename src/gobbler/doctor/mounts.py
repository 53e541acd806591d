"""The mount of a directory: its kind of filesystem, and its options."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from gobbler.doctor.findings import Finding, Place, Topic, Verdict
from gobbler.fs.mounts import Mount, is_below


class Kind(NamedTuple):
    """A kind of filesystem: what to know about it, and how fit it is for each directory."""

    note: str
    registry: Verdict = Verdict.OK
    staging: Verdict = Verdict.OK
    remedy: str = ""


OK, WARNING, FAULT = Verdict.OK, Verdict.WARNING, Verdict.FAULT

_OTHER = "Use a local filesystem such as ext4 or XFS, or NFS, Lustre, GPFS or CephFS."

_LOCAL = Kind("local; good for one host, and for NFS to export")
_NFS = Kind(
    "locks reach all clients; new files appear on other clients some seconds late; export it with "
    "sync; the server may map root to nobody"
)
_CIFS = Kind(
    "owners may come from the mount instead of the users, and links may be missing",
    WARNING,
    FAULT,
    "Use NFS or a local filesystem: the owner of a file identifies the user.",
)
_FAT = Kind("it has no owners, modes or links", FAULT, FAULT, _OTHER)
_NTFS = Kind("owners and modes depend on how it is mounted", WARNING, WARNING, _OTHER)
_MEMORY = Kind(
    "in memory: a restart of the host loses everything",
    WARNING,
    OK,
    "Put the registry on a disk, except for a trial.",
)
_CLUSTER = Kind("shared by hosts; locks reach all of them")
_GUEST = Kind(
    "shared with the host of a virtual machine, which has locks and caches of its own",
    WARNING,
    WARNING,
    "Use a disk of the virtual machine or NFS, except for a trial.",
)
_LAYERED = Kind(
    "layers, as in a container: its files vanish with the container, and directories of a lower "
    "layer can't be renamed",
    WARNING,
    OK,
    "Mount a volume for the registry.",
)

KINDS = {
    "ext4": _LOCAL,
    "xfs": _LOCAL,
    "zfs": _LOCAL,
    "f2fs": _LOCAL,
    "bcachefs": _LOCAL,
    "ext3": _LOCAL,
    "jfs": _LOCAL,
    "btrfs": Kind("local; a project must not be a subvolume of its own"),
    "ext2": Kind("it has no journal", WARNING, OK, "Mount it as ext4 after tune2fs -j."),
    "nfs": _NFS,
    "nfs4": _NFS,
    "lustre": Kind("locks reach all hosts if it is mounted with flock"),
    "gpfs": Kind("locks reach all hosts; check NFSv4 ACLs with mmgetacl"),
    "ceph": _CLUSTER,
    "beegfs": Kind("locks reach all hosts only with tuneUseGlobalFileLocks = true"),
    "gfs2": _CLUSTER,
    "ocfs2": _CLUSTER,
    "fuse.glusterfs": _CLUSTER,
    "fuse.ceph-fuse": _CLUSTER,
    "fuse.juicefs": _CLUSTER,
    "cifs": _CIFS,
    "smb3": _CIFS,
    "vfat": _FAT,
    "msdos": _FAT,
    "exfat": _FAT,
    "ntfs3": _NTFS,
    "fuseblk": _NTFS,
    "tmpfs": _MEMORY,
    "ramfs": _MEMORY,
    "overlay": _LAYERED,
    "aufs": _LAYERED,
    "9p": _GUEST,
    "virtiofs": _GUEST,
    "vboxsf": _GUEST,
}

_FUSE = Kind(
    "a program implements it; many of these do not rename atomically, or have no owners",
    WARNING,
    WARNING,
    "Rely on the other probes. " + _OTHER,
)
_UNKNOWN = Kind("unknown to the doctor: rely on the other probes")


def kind_of(name: str) -> Kind:
    """The properties of the filesystem type ``name``."""
    return KINDS.get(name, _FUSE if name.startswith("fuse") else _UNKNOWN)


def no_locks(kind: str, options: AbstractSet[str]) -> str:
    """The mount option that makes ``flock`` fail; empty if there is none."""
    if kind == "lustre" and "noflock" in options:
        return "noflock"
    return ""


_LOCKS_STAY_HERE = {
    "lustre": ("localflock",),
    "nfs": ("nolock", "local_lock=flock", "local_lock=all"),
    "nfs4": ("nolock", "local_lock=flock", "local_lock=all"),
    "cifs": ("nobrl",),
    "smb3": ("nobrl",),
    "ocfs2": ("localflocks",),
    "gfs2": ("localflocks",),
}


def locks_stay_here(kind: str, options: AbstractSet[str]) -> str:
    """The mount option that keeps ``flock`` on one host; empty if there is none."""
    return next((name for name in _LOCKS_STAY_HERE.get(kind, ()) if name in options), "")


POWER = (
    "Remove that option unless the write cache of the disks survives a power cut: acknowledged "
    "changes may be lost."
)


def filesystem(topic: Topic, place: Place, mount: Mount) -> Finding:
    """Whether the kind of filesystem is fit."""
    kind = kind_of(mount.kind)
    verdict = kind.registry if place.what == "registry" else kind.staging
    if verdict is Verdict.OK:
        return topic.ok(f"{mount.kind}, mounted at {mount.point}: {kind.note}")
    sentence = f"{place} is on {mount.kind} (mounted at {mount.point}): {kind.note}"
    finding = topic.warning if verdict is Verdict.WARNING else topic.fault
    return finding(sentence, kind.remedy)


def options(topic: Topic, place: Place, mount: Mount) -> Iterator[Finding]:
    """The effects of the options of a mount."""
    found = [
        *_writing(topic, place, mount),
        *(_locking(topic, mount) if place.what == "registry" else ()),
        *_surviving(topic, mount),
    ]
    yield from found or [topic.ok("no harmful options")]


def _writing(topic: Topic, place: Place, mount: Mount) -> Iterator[Finding]:
    if "ro" in mount.options:
        yield topic.fault(
            f"{mount.point} is mounted read-only", f"mount -o remount,rw {mount.point}"
        )
    if place.what == "registry" and "nosymfollow" in mount.options:
        yield topic.fault(
            "nosymfollow: users can't read linked files",
            "Remount it without nosymfollow.",
        )


def _locking(topic: Topic, mount: Mount) -> Iterator[Finding]:
    if option := no_locks(mount.kind, mount.options):
        yield topic.fault(
            f"{option}: flock fails, and so does every change", "Remount it with -o flock."
        )
    elif option := locks_stay_here(mount.kind, mount.options):
        yield topic.warning(
            f"{option}: locks exclude processes of this host only",
            f"Serve the registry from one host, or remount it without {option} everywhere.",
        )


def _surviving(topic: Topic, mount: Mount) -> Iterator[Finding]:
    for option in sorted(mount.options & {"nobarrier", "barrier=0", "eio", "nointegrity"}):
        yield topic.warning(f"{option}: a power cut may damage the filesystem", POWER)
    if mount.kind.startswith("nfs") and mount.options & {"soft", "softerr"}:
        yield topic.warning(
            "soft: reads and writes fail while the file server is slow",
            "Remount it with hard, the default, so that they wait.",
        )


def inside(topic: Topic, registry: Place, mounts: Sequence[Mount]) -> Finding:
    """Whether anything is mounted below the registry. Renames don't cross mounts."""
    root = os.path.realpath(registry.path)
    found = sorted({m.point for m in mounts if m.point != root and is_below(m.point, root)})
    if found:
        return topic.fault(
            f"there are mounts inside the registry: {', '.join(found)}",
            "Unmount them: versions can't be renamed across mounts, even of one filesystem.",
        )
    return topic.ok("none")

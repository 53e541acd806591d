"""What is known about kinds of filesystems, before anything is tried."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gobbler.doctor.findings import Verdict


@dataclass(frozen=True)
class Kind:
    """A kind of filesystem: what to know, and how fit it is for each directory."""

    note: str
    registry: Verdict = Verdict.OK
    staging: Verdict = Verdict.OK
    remedy: str = ""


OK, WARNING, FAULT = Verdict.OK, Verdict.WARNING, Verdict.FAULT

_OTHER = "Use a local filesystem such as ext4 or XFS, or NFS, Lustre, GPFS or CephFS."

_LOCAL = Kind("local; good for one host, and for NFS to export")
_NFS = Kind(
    "locks reach all its clients; they see each other's new files some seconds late; the server "
    "should export it with sync, and may map root to nobody"
)
_CIFS = Kind(
    "owners may be those of the mount rather than of the users, and links may be missing",
    WARNING,
    FAULT,
    "Users are told apart by who owns their files: use NFS, or a local filesystem.",
)
_FAT = Kind("it knows neither owners nor modes nor links", FAULT, FAULT, _OTHER)
_NTFS = Kind("owners and modes depend on how it is mounted", WARNING, WARNING, _OTHER)
_MEMORY = Kind(
    "in memory: all is lost when the host restarts",
    WARNING,
    OK,
    "Good for trials only: put the registry on a disk.",
)
_CLUSTER = Kind("shared by hosts, and locks reach all of them")
_GUEST = Kind(
    "shared with the host of a virtual machine, whose locks and caches are its own",
    WARNING,
    WARNING,
    "Good for trials; a service should have a disk of its own, or NFS.",
)
_LAYERED = Kind(
    "layers over each other, such as in a container: gone with it, and directories of the lower "
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
    "gpfs": Kind("locks reach all hosts; with NFSv4 ACLs, look at them with mmgetacl"),
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
    "a program carries it out, and many such do not rename in one step, or know no owners",
    WARNING,
    WARNING,
    "Go by what the other probes say. " + _OTHER,
)
_UNKNOWN = Kind("nothing is known about it beforehand: go by the other probes")


def kind_of(name: str) -> Kind:
    """What is known about the filesystem type ``name`` of a mount."""
    return KINDS.get(name, _FUSE if name.startswith("fuse") else _UNKNOWN)


LOCAL_LOCKS = "Locks of one host don't keep another one out, which only matters if there is one."


def no_locks(kind: str, options: AbstractSet[str]) -> str:
    """The option by which ``flock`` fails for everybody; empty if there is none."""
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
    """The option by which ``flock`` holds on one host only; empty if there is none."""
    return next((name for name in _LOCKS_STAY_HERE.get(kind, ()) if name in options), "")

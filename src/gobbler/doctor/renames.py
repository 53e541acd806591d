"""Renames and links: what a publication rests on."""

from __future__ import annotations

import errno
import os
import stat

from gobbler.doctor.contenders import PATIENCE, Parties, Party, gathered
from gobbler.doctor.findings import Finding, Topic
from gobbler.doctor.places import Place
from gobbler.doctor.scratch import make
from gobbler.fs.open import exists
from gobbler.model.names import INCOMING

REPLACEMENTS = 200
SIZE = 8192
LETTERS = b"abcdefgh"
LAST = "z"

ANOTHER = "Use a local filesystem, or NFS, Lustre or GPFS, and see that it is mounted as those are."


def publication(topic: Topic, directory: str, target: str) -> Finding:
    """Whether a directory moves from ``directory`` to the free path ``target`` in one step."""
    tree = f"{directory}/tree"
    os.mkdir(tree)
    make(f"{tree}/file", b"content")
    try:
        os.rename(tree, target)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return topic.fault(
                f"a version can't be renamed out of {INCOMING}: it is on another filesystem than "
                f"the registry, or in another project of its quotas",
                f"{INCOMING} must be an ordinary directory of the registry: unmount it, and let "
                f"the service make it anew.",
                refused=True,
            )
        return topic.fault(f"a directory can't be renamed: {error.strerror}", ANOTHER, refused=True)
    if exists(tree) or not exists(f"{target}/file"):
        return topic.fault("a renamed directory is not where it should be", ANOTHER, refused=True)
    os.rename(target, tree)
    return topic.ok(f"a directory moves from {INCOMING} to its place in one step")


def over_directories(topic: Topic, directory: str) -> Finding:
    """Whether a rename over a directory that holds something is refused."""
    new, empty, full = (f"{directory}/{name}" for name in ("new", "empty", "full"))
    for path in (new, empty, full):
        os.mkdir(path)
    for path in (new, full):
        make(f"{path}/file", path.encode())
    try:
        os.rename(new, full)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    else:
        return topic.fault(
            "a directory can be renamed over one that holds files: a published version could be "
            "replaced",
            ANOTHER,
            refused=True,
        )
    try:
        os.rename(new, empty)
    except OSError:
        return topic.warning(
            "a directory can't be renamed over an empty one, as it should be: a version's empty "
            "directory that another service left keeps its name taken",
            ANOTHER,
        )
    return topic.ok("over an empty directory only, never over one that holds files")


def replacing(topic: Topic, directory: str, party: Parties = Party) -> Finding:
    """Whether a reader sees the old or the new file while one is renamed over another."""
    record, beside = f"{directory}/record", f"{directory}/beside"
    make(record, LETTERS[:1] * SIZE)
    with gathered(directory, 1, party) as (reader,):
        reader.tell("watch", "record", LAST, PATIENCE / 2)
        for number in range(REPLACEMENTS):
            last = number == REPLACEMENTS - 1
            letter = LAST.encode() if last else LETTERS[number % 8 : number % 8 + 1]
            make(beside, letter * (SIZE + number))
            os.rename(beside, record)
        looks, missing, damaged = map(int, reader.hear().split())
    if missing or damaged:
        return topic.fault(
            f"replacing a file is not atomic: of {looks} looks, {missing} found no file and "
            f"{damaged} found a damaged one",
            ANOTHER,
        )
    return topic.ok(f"a file is replaced in one step: {looks} looks found it whole")


def one_filesystem(topic: Topic, registry: Place) -> Finding:
    """Whether the registry's directories are on one filesystem, so that renames stay on it."""
    device = os.stat(registry.path).st_dev
    other, linked = [], []
    with os.scandir(registry.path) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed meanwhile
            if stat.S_ISLNK(status.st_mode):
                linked.append(entry.name)
            elif stat.S_ISDIR(status.st_mode) and status.st_dev != device:
                other.append(entry.name)
    if other:
        return topic.fault(
            f"on another filesystem than the registry: {_some(other)}",
            "Versions are renamed into place, which works on one filesystem only: make these "
            "ordinary directories (and btrfs subvolumes, too).",
            refused=INCOMING in other,
        )
    if linked:
        return topic.warning(
            f"symbolic links directly in the registry: {_some(linked)}; the service takes none of "
            f"them for a project",
            "Make them ordinary directories.",
        )
    return topic.ok("all projects are on it")


def how_many(topic: Topic, staging: Place, registry: Place) -> Finding:
    """Whether files can get from staging to the registry without being copied."""
    if os.stat(staging.path).st_dev == os.stat(registry.path).st_dev:
        return topic.ok("one for both: files of the service's account can be moved, not copied")
    return topic.ok("one for each: all files are copied")


def _some(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def hard_links(topic: Topic, directory: str) -> Finding:
    """Whether a file can have a second name; log entries come about so."""
    one, other = f"{directory}/one", f"{directory}/other"
    make(one)
    try:
        os.link(one, other, follow_symlinks=False)
    except OSError as error:
        return topic.fault(
            f"there are no hard links ({error.strerror}): nothing can be published", ANOTHER
        )
    same = os.path.samestat(os.stat(one), os.stat(other)) and os.stat(one).st_nlink == 2
    if not same:
        return topic.fault("a hard link is not the same file", ANOTHER)
    return topic.ok("hard links work")


def symbolic_links(topic: Topic, directory: str) -> Finding:
    """Whether links are kept as they are written, and followed."""
    make(f"{directory}/aim", b"aim")
    link = f"{directory}/link"
    try:
        os.symlink("../" * 3 + "elsewhere", link)
        kept = os.readlink(link)
        os.unlink(link)
        os.symlink("aim", link)
        with open(link, "rb") as file:
            followed = file.read()
    except OSError as error:
        return topic.fault(
            f"there are no symbolic links ({error.strerror}): files that did not change can't be "
            f"stored once",
            f"Remove a mount option such as nosymfollow. {ANOTHER}",
        )
    if kept != "../../../elsewhere" or followed != b"aim":
        return topic.fault("symbolic links are not kept as they are written", ANOTHER)
    return topic.ok("symbolic links work")

"""Renames, links and exclusive creation, on which a publication depends."""

from __future__ import annotations

import errno
import os
import stat
import time

from gobbler.doctor.contenders import ANSWER_WITHIN, Contender, ContenderType, contenders
from gobbler.doctor.findings import Finding, Place, Topic
from gobbler.doctor.scratch import create_file
from gobbler.fs.open import exists
from gobbler.model.names import INCOMING

RACERS = 4
ROUNDS = 64
HEAD_START = 0.01

REPLACEMENTS = 200
SIZE = 8192
LETTERS = b"abcdefgh"
LAST = "z"

REMEDY = "Use a local filesystem, NFS, Lustre or GPFS, with its usual mount options."


def exclusive_creation(topic: Topic, directory: str, new: ContenderType = Contender) -> Finding:
    """Whether exactly one of several processes creates each of many files."""
    with contenders(directory, RACERS, new) as racers:
        start = time.monotonic() + HEAD_START
        for racer in racers:
            racer.send("race", "race-", ROUNDS, start)
        won = [racer.receive() for racer in racers]
    winners = [sum(digits[number] == "1" for digits in won) for number in range(ROUNDS)]
    wrong = sum(count != 1 for count in winners)
    if wrong:
        return topic.fault(
            f"exclusive creation is not exclusive: {RACERS} processes raced for {ROUNDS} files, "
            f"and {wrong} files did not have exactly one creator",
            "Use another filesystem or other mount options: requests could run twice, and versions "
            "could be mixed.",
            refused=True,
        )
    return topic.ok(f"one winner in each of {ROUNDS} races of {RACERS} processes")


def publication(topic: Topic, directory: str, target: str) -> Finding:
    """Whether a rename moves a directory from ``directory`` to the free path ``target``."""
    tree = f"{directory}/tree"
    os.mkdir(tree)
    create_file(f"{tree}/file", b"content")
    try:
        os.rename(tree, target)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return topic.fault(
                f"a version can't be renamed out of {INCOMING}, which is on another filesystem "
                f"than the registry, or in another project of its quotas",
                f"Unmount {INCOMING}, so that it is an ordinary directory of the registry; the "
                f"service creates it again.",
                refused=True,
            )
        return topic.fault(f"a directory can't be renamed: {error.strerror}", REMEDY, refused=True)
    if exists(tree) or not exists(f"{target}/file"):
        return topic.fault("a renamed directory is not in its new place", REMEDY, refused=True)
    os.rename(target, tree)
    return topic.ok(f"a rename moves a directory from {INCOMING} to its place")


def over_directories(topic: Topic, directory: str) -> Finding:
    """Whether a rename over a directory fails unless that is empty."""
    new, empty, full = (f"{directory}/{name}" for name in ("new", "empty", "full"))
    for path in (new, empty, full):
        os.mkdir(path)
    for path in (new, full):
        create_file(f"{path}/file", path.encode())
    try:
        os.rename(new, full)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    else:
        return topic.fault(
            "a rename can replace a directory with files: a published version could be replaced",
            REMEDY,
            refused=True,
        )
    try:
        os.rename(new, empty)
    except OSError:
        return topic.warning(
            "a rename can't replace an empty directory: one that another service left keeps the "
            "name of its version",
            REMEDY,
        )
    return topic.ok("a rename replaces empty directories only")


def replacing(topic: Topic, directory: str, new: ContenderType = Contender) -> Finding:
    """Whether a reader sees the old or the new file during a rename over it."""
    record, beside = f"{directory}/record", f"{directory}/beside"
    create_file(record, LETTERS[:1] * SIZE)
    with contenders(directory, 1, new) as (reader,):
        reader.send("watch", "record", LAST, ANSWER_WITHIN / 2)
        for number in range(REPLACEMENTS):
            last = number == REPLACEMENTS - 1
            letter = LAST.encode() if last else LETTERS[number % 8 : number % 8 + 1]
            create_file(beside, letter * (SIZE + number))
            os.rename(beside, record)
        reads, missing, damaged = map(int, reader.receive().split())
    if missing or damaged:
        return topic.fault(
            f"replacing a file is not atomic: of {reads} reads, {missing} found no file and "
            f"{damaged} a damaged one",
            REMEDY,
        )
    return topic.ok(f"replacing a file is atomic: {reads} reads found it whole")


def one_filesystem(topic: Topic, registry: Place) -> Finding:
    """Whether all directories of the registry are on one filesystem, as renames need."""
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
            "Make these ordinary directories, no mounts or btrfs subvolumes: renames work within "
            "one filesystem.",
            refused=INCOMING in other,
        )
    if linked:
        return topic.warning(
            f"symbolic links directly in the registry, which the service ignores: {_some(linked)}",
            "Replace them by ordinary directories.",
        )
    return topic.ok("all projects are on one filesystem")


def how_many(topic: Topic, staging: Place, registry: Place) -> Finding:
    """Whether a file can move from staging to the registry without a copy."""
    if os.stat(staging.path).st_dev == os.stat(registry.path).st_dev:
        return topic.ok("one for both: files of the service's account are moved, not copied")
    return topic.ok("one for each: all files are copied")


def _some(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def hard_links(topic: Topic, directory: str) -> Finding:
    """Whether a file can have a second name, as each log entry needs."""
    one, other = f"{directory}/one", f"{directory}/other"
    create_file(one)
    try:
        os.link(one, other, follow_symlinks=False)
    except OSError as error:
        return topic.fault(
            f"there are no hard links ({error.strerror}): nothing can be published", REMEDY
        )
    same = os.path.samestat(os.stat(one), os.stat(other)) and os.stat(one).st_nlink == 2
    if not same:
        return topic.fault("a hard link is not the same file", REMEDY)
    return topic.ok("hard links work")


def symbolic_links(topic: Topic, directory: str) -> Finding:
    """Whether symbolic links are stored unchanged, and followed."""
    create_file(f"{directory}/aim", b"aim")
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
            f"there are no symbolic links ({error.strerror}): unchanged files can't be linked",
            f"Remove a mount option such as nosymfollow. {REMEDY}",
        )
    if kept != "../../../elsewhere" or followed != b"aim":
        return topic.fault("symbolic links come back changed", REMEDY)
    return topic.ok("symbolic links work")

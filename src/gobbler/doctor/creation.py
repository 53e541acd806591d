"""Is there one winner when several processes create one file, and what mode has it?"""

from __future__ import annotations

import os
import stat
import time

from gobbler.doctor.contenders import Parties, Party, gathered
from gobbler.doctor.findings import Finding, Topic
from gobbler.fs.atomic_write import DIRECTORY_MODE, FILE_MODE

RACERS = 4
ROUNDS = 64
HEAD_START = 0.01


def exclusive_creation(topic: Topic, directory: str, party: Parties = Party) -> Finding:
    """Whether each of many files is created by exactly one of several processes."""
    with gathered(directory, RACERS, party) as racers:
        start = time.monotonic() + HEAD_START
        for racer in racers:
            racer.tell("race", "race-", ROUNDS, start)
        won = [racer.hear() for racer in racers]
    winners = [sum(digits[number] == "1" for digits in won) for number in range(ROUNDS)]
    wrong = sum(count != 1 for count in winners)
    if wrong:
        return topic.fault(
            f"exclusive creation is not exclusive: of {ROUNDS} files that {RACERS} processes "
            f"raced for, {wrong} did not have exactly one creator",
            "Requests could be carried out twice, and versions be mixed. Use another filesystem, "
            "or other mount options.",
            refused=True,
        )
    return topic.ok(f"one winner in each of {ROUNDS} races of {RACERS} processes")


def modes_made(topic: Topic, directory: str) -> Finding:
    """Whether files and directories come out with the mode that the service gives them."""
    new_file, new_directory = f"{directory}/file", f"{directory}/directory"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    os.close(os.open(new_file, flags, FILE_MODE))
    os.mkdir(new_directory, DIRECTORY_MODE)
    found = [os.stat(path) for path in (new_file, new_directory)]
    if any(status.st_uid != os.geteuid() for status in found):
        return topic.fault(
            "what the service makes does not belong to it",
            "The mount or the file server maps accounts (CIFS uid=, NFS all_squash or "
            "root_squash). Owners are the only authentication there is: switch that off.",
        )
    modes = [stat.S_IMODE(status.st_mode) for status in found]
    shown = f"files get mode {modes[0]:04o}, directories {modes[1]:04o}"
    mend = "Remove default ACLs (setfacl -k), and mount options such as file_mode and umask."
    wanted = (FILE_MODE, DIRECTORY_MODE)
    if any(mode & 0o022 for mode in modes):
        everybody = any(mode & 0o002 for mode in modes)
        return topic.fault(f"{shown}: others can write what is published", mend, refused=everybody)
    if any(want & ~mode for mode, want in zip(modes, wanted, strict=True)):
        return topic.fault(f"{shown}: users can't read what is published", mend)
    return topic.ok(shown)

"""The findings of probes: a verdict, a sentence and a remedy, about a place or the host."""

from __future__ import annotations

import enum
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Concatenate, NamedTuple, ParamSpec

from gobbler.errors import GobblerError
from gobbler.fs.layout import OwnDirectory, registry_directories, staging_directories

P = ParamSpec("P")


class Verdict(str, enum.Enum):
    """The severity of a finding, from good to bad."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


class Finding(NamedTuple):
    """The result of a probe.

    ``where`` is ``staging``, ``registry``, ``both`` or ``host``; ``what`` names the subject.
    ``sentence`` has no full stop; ``remedy`` says what to do. With ``refused`` the service does not
    start, since it would be unsafe, or would not work.
    """

    where: str
    what: str
    verdict: Verdict
    sentence: str
    remedy: str = ""
    refused: bool = False


class Topic(NamedTuple):
    """The subject of a probe. Makes the findings about it."""

    where: str
    what: str

    def ok(self, sentence: str) -> Finding:
        """A finding that nothing is wrong."""
        return Finding(self.where, self.what, Verdict.OK, sentence)

    def warning(self, sentence: str, remedy: str = "") -> Finding:
        """A finding that it works, with a limit."""
        return Finding(self.where, self.what, Verdict.WARNING, sentence, remedy)

    def fault(self, sentence: str, remedy: str = "", *, refused: bool = False) -> Finding:
        """A finding that it does not work, or is not safe."""
        return Finding(self.where, self.what, Verdict.FAULT, sentence, remedy, refused)

    def attempt(
        self, probe: Callable[Concatenate[Topic, P], Finding], *args: P.args, **kwargs: P.kwargs
    ) -> Finding:
        """The finding of ``probe``; a fault if the probe itself fails."""
        return next(self.attempt_all(lambda topic: [probe(topic, *args, **kwargs)]))

    def attempt_all(
        self,
        probe: Callable[Concatenate[Topic, P], Iterable[Finding]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Iterator[Finding]:
        """The findings of ``probe``; the last one is a fault if the probe itself fails."""
        try:
            yield from probe(self, *args, **kwargs)
        except TimeoutError as error:
            yield self.fault(f"the probe failed: {system_message(error)}", TRY_AGAIN)
        except OSError as error:
            yield self.fault(f"the probe failed: {system_message(error)}")
        except GobblerError as error:
            yield self.fault(f"the probe failed: {error}", error.hint)


class Place(NamedTuple):
    """One of the two directories: ``what`` is ``staging`` or ``registry``."""

    what: str
    path: str

    def __str__(self) -> str:
        return f"the {self.what} directory {self.path}"

    @property
    def shell(self) -> str:
        """The path, quoted for a shell."""
        return shlex.quote(self.path)

    def topic(self, what: str) -> Topic:
        """The topic of findings about ``what`` of this directory."""
        return Topic(self.what, what)

    @property
    def own(self) -> tuple[OwnDirectory, ...]:
        """The service's own directories in it."""
        directories = staging_directories if self.what == "staging" else registry_directories
        return directories(self.path)


TRY_AGAIN = "Try again when the machine and its file servers are less busy."


def system_message(error: OSError) -> str:
    """The message of the system, such as ``No space left on device``."""
    return error.strerror or str(error)


def worst(findings: Iterable[Finding]) -> Verdict:
    """The worst verdict of all ``findings``; OK if there are none."""
    order = list(Verdict)
    return max((finding.verdict for finding in findings), key=order.index, default=Verdict.OK)

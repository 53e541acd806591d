"""What a probe answers: a verdict, a sentence in plain words, and a remedy."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Concatenate, ParamSpec

from gobbler.errors import GobblerError

P = ParamSpec("P")


class Verdict(str, enum.Enum):
    """How bad it is; in this order."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """What was found about one thing.

    ``where`` is ``staging``, ``registry``, ``both`` or ``host``; ``what`` names the thing.
    ``refused``: the service does not even start with it, because nothing it does would be
    safe, or nothing would work.
    """

    where: str
    what: str
    verdict: Verdict
    sentence: str
    remedy: str = ""
    refused: bool = False


@dataclass(frozen=True)
class Topic:
    """What a probe looks at; makes the findings about it."""

    where: str
    what: str

    def ok(self, sentence: str) -> Finding:
        """All is well."""
        return Finding(self.where, self.what, Verdict.OK, sentence)

    def warning(self, sentence: str, remedy: str = "") -> Finding:
        """It works, but there is something to know."""
        return Finding(self.where, self.what, Verdict.WARNING, sentence, remedy)

    def fault(self, sentence: str, remedy: str = "", *, refused: bool = False) -> Finding:
        """It does not work, or is not safe."""
        return Finding(self.where, self.what, Verdict.FAULT, sentence, remedy, refused)

    def attempt(
        self, probe: Callable[Concatenate[Topic, P], Finding], *args: P.args, **kwargs: P.kwargs
    ) -> Finding:
        """What ``probe`` finds; a fault if it can't do its work."""
        return next(self.attempt_all(lambda topic: [probe(topic, *args, **kwargs)]))

    def attempt_all(
        self,
        probe: Callable[Concatenate[Topic, P], Iterable[Finding]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Iterator[Finding]:
        """What ``probe`` finds up to where it can't go on, and that then, as a fault."""
        try:
            yield from probe(self, *args, **kwargs)
        except TimeoutError as error:
            yield self.fault(f"it could not be found out: {plainly(error)}", TRY_AGAIN)
        except OSError as error:
            yield self.fault(f"it could not be found out: {plainly(error)}")
        except GobblerError as error:
            yield self.fault(f"it could not be found out: {error}", error.hint)


TRY_AGAIN = "Try again when the machine and its file servers are less busy."


def plainly(error: OSError) -> str:
    """What the system says, e.g. ``No space left on device``."""
    return error.strerror or str(error)


def worst(findings: Iterable[Finding]) -> Verdict:
    """The verdict about all of them."""
    order = list(Verdict)
    return max((finding.verdict for finding in findings), key=order.index, default=Verdict.OK)

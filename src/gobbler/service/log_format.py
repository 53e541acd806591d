"""The format of log lines: text, or one JSON object a line."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import logging
from typing import Any

import msgspec

from gobbler.errors import json_printable, printable


class LogFormat(str, enum.Enum):
    """The format of log lines."""

    TEXT = "text"
    JSON = "json"


class TextFormatter(logging.Formatter):
    """``2026-11-20T09:15:02+01:00 INFO message``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line of ``record``, safe from names of files that would start another line."""
        line = super().formatMessage(record)
        if line.isprintable():
            return line
        return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in line)

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802 - logging's name and type
        """The traceback, indented: no message in it can look like a line of the log."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """The stack, indented in the same way."""
        return _indented(super().formatStack(stack_info))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """The time of ``record`` with the host's offset; ignores ``datefmt``."""
        del datefmt
        return _time(record)


def fields(**values: object) -> dict[str, object]:
    """What a log line is about, as ``extra`` of a call of a logger.

    The line of JSON has each value as a field, but not those that are empty.
    """
    return {"fields": values}


class JsonFormatter(logging.Formatter):
    """``{"time": ..., "level": ..., "logger": ..., "message": ...}``, and :func:`fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """``record`` as one line of JSON, with the traceback where there is one."""
        line: dict[str, object] = {
            **{
                name: _text(value)
                for name, value in getattr(record, "fields", {}).items()
                if value not in (None, "")
            },
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _text(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = _text(self.formatException(record.exc_info))
        return json_printable(msgspec.json.encode(line).decode())


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in printable(text).split("\n"))


def _text(value: object) -> object:
    # A name that is not UTF-8 must not suppress the line.
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _time(record: logging.LogRecord) -> str:
    second = int(record.created)
    before, after = _around_milliseconds(second)
    return f"{before}.{int((record.created - second) * 1000):03d}{after}"


@functools.lru_cache(maxsize=4)
def _around_milliseconds(second: int) -> tuple[str, str]:
    """The time ``second`` with the host's offset, up to the second and after it."""
    moment = dt.datetime.fromtimestamp(second, dt.timezone.utc).astimezone()
    text = moment.isoformat(timespec="seconds")
    return text[:19], text[19:]


def log_config(form: LogFormat, *, debug: bool) -> dict[str, Any]:
    """A ``logging.config`` dictionary for the service."""
    formatter = JsonFormatter if form is LogFormat.JSON else TextFormatter
    level = "DEBUG" if debug else "INFO"
    console = {"handlers": ["console"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": f"{__name__}.{formatter.__name__}"}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "stream": "ext://sys.stderr",
            },
        },
        "loggers": {
            "gobbler": {**console, "level": level},
        },
    }

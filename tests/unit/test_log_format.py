"""Log lines: one event a line, whatever users put into it."""

from __future__ import annotations

import json
import logging
import logging.config
import re
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.service.log_format import (
    JsonFormatter,
    LogFormat,
    TextFormatter,
    fields,
    log_config,
)

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"


def record(message: str, *arguments: object, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("gobbler.x", level, "file", 1, message, arguments, None)


def failed() -> logging.LogRecord:
    made = record("it failed", level=logging.ERROR)
    try:
        raise ValueError("the cause")
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_a_line_of_text_has_time_level_and_message() -> None:
    line = TextFormatter().format(record("hello %s", "you"))
    assert re.fullmatch(TIME + r" INFO +hello you", line)


def test_a_line_of_json_has_time_level_logger_and_message() -> None:
    line = json.loads(JsonFormatter().format(record("hello %s", "you", level=logging.WARNING)))
    assert re.fullmatch(TIME, line.pop("time"))
    assert line == {"level": "warning", "logger": "gobbler.x", "message": "hello you"}


@given(st.text(st.characters(codec="utf-8")))
def test_nothing_in_a_message_starts_another_line(text: str) -> None:
    line = TextFormatter().format(record("%s", text))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    line = JsonFormatter().format(record("%s", text))
    assert line.isprintable()
    assert json.loads(line)["message"] == text


@pytest.mark.parametrize("text", ["\ud800", "a\udcff"])
def test_a_message_that_is_not_utf_8_is_still_a_line(text: str) -> None:
    for formatter in (TextFormatter(), JsonFormatter()):
        assert len(formatter.format(record("%s", text)).encode().splitlines()) == 1


def test_a_traceback_follows_the_line_of_text_and_stands_in_the_json() -> None:
    text = TextFormatter().format(failed())
    assert "it failed\n" in text
    assert "ValueError: the cause" in text
    line = JsonFormatter().format(failed())
    assert "\n" not in line
    assert "ValueError: the cause" in json.loads(line)["traceback"]


def test_a_traceback_can_not_look_like_other_lines_and_sends_nothing_to_a_terminal() -> None:
    made = record("it failed", level=logging.ERROR)
    hostile = "x\n2026-11-20T09:15:02.000+01:00 INFO forged\x1b[2J\x9b5n\u202e\u2028\udcff"
    try:
        raise ValueError(hostile)
    except ValueError:
        made.exc_info = sys.exc_info()
    first, *more = TextFormatter().format(made).split("\n")
    assert "it failed" in first
    assert any("forged" in line for line in more)
    assert all(line.startswith("  ") and line.isprintable() for line in more)
    line = JsonFormatter().format(made)
    assert line.isprintable()
    assert "forged" in json.loads(line)["traceback"]


@pytest.fixture
def restored() -> Iterator[None]:
    """Loggers as they were, afterwards."""
    loggers = [logging.getLogger(name) for name in ("gobbler",)]
    before = [(x, x.handlers[:], x.level, x.propagate) for x in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.mark.parametrize("form", LogFormat)
@pytest.mark.parametrize("debug", [False, True])
def test_the_package_logs_to_standard_error(
    restored: None, capsys: pytest.CaptureFixture[str], form: LogFormat, debug: bool
) -> None:
    logging.config.dictConfig(log_config(form, debug=debug))
    logging.getLogger("gobbler.somewhere").info("reported")
    logging.getLogger("gobbler.somewhere").debug("whispered")
    output = capsys.readouterr().err
    assert "reported" in output
    assert ("whispered" in output) == debug
    if form is LogFormat.JSON:
        assert all("message" in json.loads(line) for line in output.splitlines())


def test_what_a_line_is_about_is_in_fields_of_its_own() -> None:
    made = record("uploaded")
    for name, value in fields(
        project="p", version="\udcff", status=200, spoof="", code=None
    ).items():
        setattr(made, name, value)
    line = json.loads(JsonFormatter().format(made))
    assert (line["project"], line["version"], line["status"]) == ("p", "\\udcff", 200)
    assert not {"spoof", "code"} & set(line)
    assert line["message"] == "uploaded"


def test_fields_do_not_replace_what_every_line_has() -> None:
    made = record("true")
    made.fields = {"message": "forged", "level": "debug"}
    line = json.loads(JsonFormatter().format(made))
    assert (line["message"], line["level"]) == ("true", "info")

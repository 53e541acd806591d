"""A file that breaks off goes on; what is wrong is found out; what remains is used."""

from __future__ import annotations

import gzip
import hashlib
import os

import pytest

from gobbler.client.download import PIECE_BYTES, SMALL_FILE, download, download_small
from gobbler.client.errors import NoAnswer
from gobbler.client.expected import ContentMismatch, file_problem
from gobbler.client.http import Http
from gobbler.client.parallel import Stop
from gobbler.errors import Cancelled, Fault, Missing
from gobbler.model.records import Entry

DATA = os.urandom(3 * SMALL_FILE + 17)
PATH = "p/a/v/f"
WHERE = "/fetch/p/a/v/f"
TAG = '"one"'


class ActionDoc:
    """Progress that is added up."""

    def __init__(self):
        self.files = self.bytes = 0

    def expect(self, files, size):
        pass

    def advance(self, files, size):
        self.files += files
        self.bytes += size


def entry_of(data: bytes) -> Entry:
    return Entry(len(data), hashlib.md5(data).hexdigest())


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("gobbler.client.retry.READ_PAUSE", 0.001)


@pytest.fixture
def reported():
    return ActionDoc()


@pytest.fixture
def fetch(web, tmp_path, reported):
    def fetch(data=DATA, **options):
        entry = options.pop("entry", entry_of(data))
        stop = options.pop("stop", Stop())
        return download(Http(web.url), PATH, tmp_path, entry, reported, stop).path.read_bytes()

    return fetch


def offer(web, data=DATA, **headers):
    web.put(WHERE, data, **(headers or {"ETag": TAG}))
    web.answers[WHERE].ranges = True
    return web.answers[WHERE]


def test_a_file_comes_and_can_not_be_written(web, fetch, reported, tmp_path):
    offer(web)
    assert fetch() == DATA
    assert (reported.files, reported.bytes) == (1, len(DATA))
    assert (tmp_path / "content").stat().st_mode & 0o777 == 0o444
    assert web.ranges == [None]


@pytest.mark.parametrize("headers", [{"ETag": TAG}, {"Last-Modified": "yesterday"}])
def test_it_goes_on_where_the_connection_broke(web, fetch, reported, headers):
    offer(web, **headers).breaks_after = [SMALL_FILE, SMALL_FILE, PIECE_BYTES + 5, 5]
    assert fetch() == DATA
    reached = 2 * SMALL_FILE + PIECE_BYTES + 5
    ends = [SMALL_FILE, 2 * SMALL_FILE, reached, reached + 5]
    assert web.ranges == [None, *(f"bytes={end}-" for end in ends)]
    assert (reported.files, reported.bytes) == (1, len(DATA))


def test_a_connection_that_brings_nothing_is_given_up(web, fetch, reported, tmp_path):
    offer(web).breaks_after = [SMALL_FILE] + [0] * 9
    with pytest.raises(NoAnswer):
        fetch()
    assert len(web.seen) == 3
    assert (tmp_path / "content").read_bytes() == DATA[:SMALL_FILE]


@pytest.mark.parametrize("headers", [{"ETag": 'W/"weak"'}, {"Content-Type": "x/y"}])
def test_without_a_validator_it_starts_over(web, fetch, reported, headers):
    offer(web, **headers).breaks_after = [SMALL_FILE]
    assert fetch() == DATA
    assert web.ranges == [None, None]
    assert (reported.files, reported.bytes) == (1, len(DATA))


def test_another_attempt_goes_on(web, fetch, reported, tmp_path):
    offer(web)
    (tmp_path / "content").write_bytes(DATA[:SMALL_FILE])
    (tmp_path / "validator").write_text(TAG)
    assert fetch() == DATA
    assert web.ranges == [f"bytes={SMALL_FILE}-"]
    assert (reported.files, reported.bytes) == (1, len(DATA))


def test_a_file_that_changed_starts_over(web, fetch, reported, tmp_path):
    offer(web)
    (tmp_path / "content").write_bytes(b"of another state" * 99)
    (tmp_path / "validator").write_text('"another"')
    assert fetch() == DATA
    assert (reported.files, reported.bytes) == (1, len(DATA))
    assert (tmp_path / "validator").read_text() == TAG


def test_what_was_glued_together_wrongly_starts_over(web, fetch, reported, tmp_path):
    offer(web)
    (tmp_path / "content").write_bytes(b"x" * SMALL_FILE)
    (tmp_path / "validator").write_text(TAG)
    assert fetch() == DATA
    assert web.ranges == [f"bytes={SMALL_FILE}-", None]
    assert (reported.files, reported.bytes) == (1, len(DATA))


@pytest.mark.parametrize("have", [DATA, DATA + b"more"])
def test_all_is_there_already_or_more_than_all(web, fetch, tmp_path, have):
    offer(web)
    (tmp_path / "content").write_bytes(have)
    (tmp_path / "validator").write_text(TAG)
    assert fetch() == DATA


@pytest.mark.parametrize("sent", [DATA[:-1], DATA + b"x", b"x" + DATA[1:], b"<html>Log in</html>"])
def test_what_is_not_what_the_manifest_says_is_an_error(web, fetch, tmp_path, sent):
    offer(web, sent)
    with pytest.raises(ContentMismatch, match=r"\"p/a/v/f\" is not what the manifest") as caught:
        fetch()
    assert not (tmp_path / "content").exists()
    assert isinstance(caught.value, Fault)
    assert len(web.seen) == 1


def test_what_is_in_no_manifest_is_taken_as_it_is(web, fetch):
    offer(web, b"anything")
    assert fetch(entry=None) == b"anything"


def test_a_body_that_was_packed_on_its_way(web, fetch):
    packed = gzip.compress(DATA)
    offer(web, packed, **{"Content-Encoding": "gzip", "ETag": TAG})
    assert fetch() == DATA


def test_it_stops_on_request(web, fetch, tmp_path):
    offer(web)
    stop = Stop()
    stop.set()
    with pytest.raises(Cancelled):
        fetch(stop=stop)


def test_what_is_missing_is_not_asked_for_again(web, fetch):
    with pytest.raises(Missing):
        fetch()
    assert len(web.seen) == 1


def test_a_small_file(web, reported, tmp_path):
    offer(web, b"12345").breaks_after = [2]
    target = tmp_path / "f"
    download_small(Http(web.url), PATH, target, entry_of(b"12345"), reported)
    assert target.read_bytes() == b"12345"
    assert (reported.files, reported.bytes) == (1, 5)


@pytest.mark.parametrize("wanted", [b"1234", b"54321"])
def test_a_small_file_that_is_wrong_is_not_written(web, reported, tmp_path, wanted):
    offer(web, b"12345")
    with pytest.raises(ContentMismatch):
        download_small(Http(web.url), PATH, tmp_path / "f", entry_of(wanted), reported)
    assert list(tmp_path.iterdir()) == []


def test_differences(tmp_path):
    (tmp_path / "f").write_bytes(DATA)
    assert file_problem(tmp_path / "f", entry_of(DATA), Stop()) is None
    assert "bytes instead of" in (file_problem(tmp_path / "f", entry_of(b""), Stop()) or "")
    other = Entry(len(DATA), "0" * 32)
    assert "MD5" in (file_problem(tmp_path / "f", other, Stop()) or "")


def test_what_was_received_from_its_beginning_is_not_read_again(web, fetch, monkeypatch):
    offer(web).breaks_after = [SMALL_FILE]

    def read(*_):
        raise AssertionError("it is read")

    monkeypatch.setattr("gobbler.client.download.file_problem", read)
    assert fetch() == DATA


def test_what_an_earlier_attempt_has_left_is_read(web, fetch, tmp_path, monkeypatch):
    offer(web).breaks_after = [SMALL_FILE] + [0] * 9
    with pytest.raises(NoAnswer):
        fetch()
    read = []
    real = file_problem

    def reading(*arguments):
        read.append(arguments)
        return real(*arguments)

    monkeypatch.setattr("gobbler.client.download.file_problem", reading)
    offer(web)
    assert fetch() == DATA
    assert len(read) == 1

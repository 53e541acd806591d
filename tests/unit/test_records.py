"""The files of a registry and their JSON (protocol, section 2)."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gobbler.errors import Fault, Refused
from gobbler.model import records
from gobbler.model.names import VersionKey
from gobbler.model.records import (
    Entry,
    Latest,
    Link,
    Links,
    LogEntry,
    LoosePermissions,
    LooseUploader,
    Manifest,
    Permissions,
    Quota,
    Summary,
    Uploader,
    Usage,
    check_uploaders,
    decode,
    decode_manifest,
    encode,
    encode_parts,
    format_time,
    parse_time,
)

from .strategies import (
    file_names,
    golden_files,
    keys,
    links,
    manifests,
    paths,
    permissions,
    plain_links,
    sizes,
    summaries,
)

KINDS: dict[str, Any] = {
    "..manifest": Manifest,
    "..links": Links,
    "..permissions": Permissions,
    "..summary": Summary,
    "..latest": Latest,
    "..usage": Usage,
    "..quota": Quota,
}

MD5 = "0123456789abcdef0123456789abcdef"


@given(manifests)
def test_a_manifest_reads_as_it_was_written(manifest: Manifest) -> None:
    assert decode_manifest(encode(manifest), "m") == manifest


@given(st.dictionaries(file_names, links, max_size=4))
def test_links_read_as_they_were_written(found: Links) -> None:
    assert decode(encode(found), Links, "l") == found


@pytest.mark.parametrize("entries", [1, 2, 3])
@given(manifest=manifests)
def test_parts_of_a_record_are_the_whole(entries: int, manifest: Manifest) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "ENCODED_ENTRIES", entries)
        assert b"".join(encode_parts(manifest)) == encode(manifest)


@given(manifest=manifests)
def test_a_large_manifest_reads_as_a_small_one(manifest: Manifest) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "DECODED_BYTES", 1)
        read = decode_manifest(encode(manifest), "m")
        assert read == manifest
        assert list(read) == sorted(manifest)
        assert decode_manifest(msgspec.json.encode(manifest), "m") == manifest


@given(manifest=manifests, at=st.floats(0, 1), length=st.integers(0, 8), put=st.binary(max_size=3))
@example({"a": Entry(1, MD5), "b": Entry(1, MD5)}, 0.99, 0, b",")
def test_a_damaged_large_manifest_is_read_as_a_small_one(
    manifest: Manifest, at: float, length: int, put: bytes
) -> None:
    data = encode(manifest)
    begin = int(at * len(data))
    damaged = data[:begin] + put + data[begin + length :]

    def outcome(read: Callable[[], Manifest]) -> Manifest | str:
        try:
            return read()
        except Fault as error:
            return error.reason

    whole = outcome(lambda: decode(damaged, dict[str, Entry], "m"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "DECODED_BYTES", 1)
        assert outcome(lambda: decode_manifest(damaged, "m")) == whole


def test_links_of_a_large_manifest_share_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million links would take twice the memory otherwise."""
    key = VersionKey("p", "a", "1")
    data = encode({path: Entry(1, MD5, Link.to(key, path)) for path in ("some", "other")})
    monkeypatch.setattr(records, "DECODED_BYTES", 1)
    read = decode_manifest(data, "m")
    links = [entry.link for entry in read.values() if entry.link is not None]
    assert len({id(link.project) for link in links}) == 1
    assert all(any(link.path is path for path in read) for link in links)


@given(permissions)
def test_permissions_read_as_they_were_written(found: Permissions) -> None:
    assert decode(encode(found), Permissions, "p") == found


@given(summaries)
def test_a_summary_reads_as_it_was_written(summary: Summary) -> None:
    assert decode(encode(summary), Summary, "s") == summary
    assert ("on_probation" in json.loads(encode(summary))) == summary.on_probation


@given(sizes)
def test_usage_reads_as_it_was_written(total: int) -> None:
    assert decode(encode(Usage(total)), Usage, "u") == Usage(total)


@given(manifests)
def test_json_has_four_spaces_and_keys_in_order(manifest: Manifest) -> None:
    value = json.loads(encode(manifest))
    assert encode(manifest).decode() == json.dumps(value, indent=4, ensure_ascii=False)
    assert list(value) == sorted(value)


@pytest.mark.parametrize("path", [p for p in golden_files() if p.rpartition("/")[2] in KINDS])
def test_what_go_wrote_is_written_again_byte_for_byte(path: str) -> None:
    data = golden_files()[path]
    name = path.rpartition("/")[2]
    written = encode(decode(data, KINDS[name], path))
    if json.loads(data).get("uploaders", ()) is None:
        assert json.loads(written) == {**json.loads(data), "uploaders": []}
    else:
        assert json.loads(written) == json.loads(data)
        one_line = data.startswith(b"{ ")  # as it writes what it makes a project with
        assert one_line or written == data.rstrip(b"\n")


@pytest.mark.parametrize("path", [p for p in golden_files() if p.startswith("..logs/")])
def test_log_entries_that_go_wrote_mean_the_same_to_us(path: str) -> None:
    data = golden_files()[path]
    assert json.loads(encode(decode(data, LogEntry, path))) == json.loads(data)


@pytest.mark.parametrize(
    ("data", "kind", "expected"),
    [
        (b"{}", Permissions, Permissions()),
        (b'{"owners": null, "uploaders": null, "global_write": null}', Permissions, Permissions()),
        (b'{"owners": ["a"], "later": {"x": []}}', Permissions, Permissions(("a",))),
        (
            b'{"uploaders": [{"id": "u", "asset": null, "until": null, "trusted": null}]}',
            Permissions,
            Permissions((), (Uploader("u"),)),
        ),
        (b'{"total": 7, "more": 1}', Usage, Usage(7)),
        (b'{"version": "1", "at": null}', Latest, Latest("1")),
        (
            b'{"upload_user_id": "u", "upload_start": "s", "upload_finish": "f", '
            b'"on_probation": null, "x": 1}',
            Summary,
            Summary("u", "s", "f"),
        ),
        (
            b'{"a": {"size": 1, "md5sum": "%s", "link": null, "x": 1}}' % MD5.encode(),
            Manifest,
            {"a": Entry(1, MD5)},
        ),
        (
            b'{"a": {"project": "p", "asset": "a", "version": "v", "path": "f", "ancestor": null}}',
            Links,
            {"a": Link("p", "a", "v", "f")},
        ),
    ],
)
def test_null_and_unknown_fields_are_taken_as_absent(
    data: bytes, kind: Any, expected: object
) -> None:
    assert decode(data, kind, "w") == expected


@pytest.mark.parametrize(
    ("data", "kind", "place"),
    [
        (b'{"owners": [1]}', Permissions, "$.owners[0]"),
        (b'{"uploaders": [{"id": "a"}, {"id": 5}]}', Permissions, "$.uploaders[1].id"),
        (b'{"uploaders": [{}]}', Permissions, "$.uploaders[0]"),
        (b'{"total": -1}', Usage, "$.total"),
        (b'{"total": 1.5}', Usage, "$.total"),
        (b'{"upload_user_id": 1, "upload_start": "", "upload_finish": ""}', Summary, "$.upload_u"),
        (b'{"d/x y": {"size": "1"}}', Manifest, '$["d/x y"].size'),
        (b'{"ok": {"size": 1, "md5sum": ""}, "q\\"": {"size": 1}}', Manifest, '$["q\\""]'),
        (b'{"a": {"size": 1, "md5sum": "XYZ"}}', Manifest, '$["a"].md5sum'),
        (b'{"a": {"size": 1, "md5sum": "%s"}}' % MD5.upper().encode(), Manifest, '$["a"].md5sum'),
        (b'{"a": {"size": 1, "md5sum": "%s\\n"}}' % MD5.encode(), Manifest, '$["a"].md5sum'),
        (b'{"a": {"size": 1, "md5sum": "", "link": {"project": 2}}}', Manifest, ".link.project"),
        (b'{"a": {"project": "p"}}', Links, '$["a"]'),
        (b'{"a": 1, ', Manifest, "is damaged"),
        (b'{"a": {"size": "x"}, ', Manifest, "is damaged"),
        (b"", Manifest, "is damaged"),
        (b"[]", Latest, "is damaged"),
        (b'{"version": "\xff"}', Latest, "is damaged"),
        (b'{"x": ' + b"[" * 64, Latest, "nested too deeply"),
        (b'{"x": %s%s, "version": "1"}' % (b"[" * 64, b"]" * 64), Latest, "nested too deeply"),
        (b'{"a": {"x": ' + b"[" * 10_000_000, Manifest, "nested too deeply"),
    ],
)
def test_what_is_damaged_is_reported_with_the_file_and_the_place(
    data: bytes, kind: Any, place: str
) -> None:
    with pytest.raises(Fault) as caught:
        decode(data, kind, "p/a/1/..file")
    assert caught.value.reason.startswith("p/a/1/..file is damaged: ")
    assert place in caught.value.reason


@given(st.binary() | manifests.map(encode).flatmap(lambda d: st.just(d[: len(d) // 2])))
def test_no_content_of_a_file_does_anything_but_decode_or_be_a_fault(data: bytes) -> None:
    for kind in KINDS.values():
        with contextlib.suppress(Fault):
            decode(data, kind, "w")


@given(keys, paths, st.none() | plain_links)
def test_a_link_knows_its_version_and_its_end(
    key: VersionKey, path: str, ancestor: Link | None
) -> None:
    link = Link.to(key, path, ancestor)
    assert link.key == key
    assert link.end == (ancestor or link)
    assert link.end.ancestor is None


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20T09:15:02+01:00",
        "2026-11-20T09:15:02Z",
        "2026-11-20t09:15:02z",
        "2026-11-20T09:15:02.5-00:30",
        "2026-11-20T09:15:02.123456789Z",
        "0001-01-01T00:00:00Z",
    ],
)
def test_rfc_3339_is_a_time(text: str) -> None:
    moment = parse_time(text)
    assert moment is not None
    assert moment.utcoffset() is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-11-20",
        "2026-11-20 09:15:02Z",
        "2026-11-20T09:15:02",
        "20261120T091502Z",
        "2026-02-30T00:00:00Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T09:15:02+25:00",
        "1792000000",
        "2026-11-20T09:15Z",
        " 2026-11-20T09:15:02Z",
        "2026-11-20T09:15:02+0100",
        "2026-11-20T9Z",
    ],
)
def test_anything_else_is_no_time(text: str) -> None:
    assert parse_time(text) is None


zones = st.integers(-14 * 60, 14 * 60).map(lambda m: dt.timezone(dt.timedelta(minutes=m)))


@given(
    st.datetimes(
        min_value=dt.datetime(1, 1, 3),  # noqa: DTZ001 - the zone is drawn
        max_value=dt.datetime(9999, 12, 29),  # noqa: DTZ001
        timezones=zones,
    )
)
def test_a_time_reads_as_it_was_written(moment: dt.datetime) -> None:
    assert parse_time(format_time(moment)) == moment.replace(microsecond=0)


def test_times_are_written_in_whole_seconds_with_offset() -> None:
    zone = dt.timezone(dt.timedelta(hours=1))
    moment = dt.datetime(2026, 11, 20, 9, 15, 2, 999_999, zone)
    assert format_time(moment) == "2026-11-20T09:15:02+01:00"


@pytest.mark.parametrize(
    ("uploaders", "place"),
    [
        ([LooseUploader("u"), LooseUploader("")], "`$.x[1].id`"),
        ([LooseUploader("u", until="soon")], "`$.x[0].until`"),
        ([LooseUploader("u", until="2026-11-20T09:15:02")], "`$.x[0].until`"),
    ],
)
def test_an_uploader_that_can_never_match_is_refused_with_its_place(
    uploaders: list[LooseUploader], place: str
) -> None:
    with pytest.raises(Refused) as caught:
        check_uploaders(uploaders, "$.x")
    assert place in caught.value.reason


def test_other_uploaders_are_not_refused() -> None:
    check_uploaders([LooseUploader("u", until="2026-11-20T09:15:02Z"), LooseUploader("v")], "$.x")


@given(permissions)
def test_what_is_loose_becomes_strict_without_loss(found: Permissions) -> None:
    loose = msgspec.json.decode(encode(found), type=LoosePermissions)
    assert loose.strict() == found
    assert LoosePermissions().strict() == Permissions()

"""Addresses as people write them."""

from __future__ import annotations

import pytest

from gobbler.client import Client
from gobbler.client.address import Address, deletion_target, listed_paths, parse, parse_as
from gobbler.client.client import resolve_latest
from gobbler.errors import Fault, Missing, Refused
from gobbler.model.requests import DeletionTarget


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", Address()),
        ("/", Address()),
        ("p/", Address("p")),
        ("p/a", Address("p", "a")),
        ("p/a/@latest", Address("p", "a", "@latest")),
        ("p/a/v/x/y", Address("p", "a", "v", "x/y")),
    ],
)
def test_parse(text, address):
    assert parse(text) == address
    assert str(address) == text.rstrip("/")


@pytest.mark.parametrize("text", ["/p", "p//v", "..p", "p/./v"])
def test_names_that_can_be_none(text):
    with pytest.raises(Refused, match="invalid"):
        parse(text)


def test_only_what_is_asked_for():
    assert parse_as("p/a", "project", "asset") == Address("p", "a")
    assert parse_as("p/a/v/", "version") == Address("p", "a", "v")
    for text, kinds, said, hint in (
        ("p", ("asset",), '"p" is not the address of an asset', "project/asset."),
        ("p/a/v", ("project", "asset"), "of a project or asset", "project or project/asset."),
        ("p/a/v/x", ("version",), "of a version", "project/asset/version."),
        ("", ("project",), "of a project", "project."),
    ):
        with pytest.raises(Refused, match=said) as caught:
            parse_as(text, *kinds)
        assert caught.value.hint == f"Write it as {hint}"


def test_latest(tmp_path):
    (tmp_path / "p" / "a").mkdir(parents=True)
    client = Client(registry=tmp_path)
    address = Address("p", "a", "@latest", "x")
    with pytest.raises(Missing, match="no latest version"):
        resolve_latest(client, address)
    (tmp_path / "p" / "a" / "..latest").write_text('{"version": "7"}')
    assert resolve_latest(client, address) == Address("p", "a", "7", "x")
    assert resolve_latest(client, Address("p")) == Address("p")


def test_what_is_to_be_deleted():
    assert deletion_target(Address("p")) == DeletionTarget("p")
    assert deletion_target(Address("p", "a", "v")) == DeletionTarget("p", "a", "v")


@pytest.mark.parametrize(
    "bad", ["", "..", ".", "a/../b", "a//b", "/a", "../a", "a/..", "a\0b", "/"]
)
@pytest.mark.parametrize("others", [[], ["a", "b/c"], ["d/"]])
def test_one_path_that_leaves_the_directory_spoils_a_listing(bad, others):
    for listing in ([bad, *others], [*others, bad]):
        with pytest.raises(Fault, match="would leave the directory"):
            listed_paths(listing)
    assert listed_paths(others) == others

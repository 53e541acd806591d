"""Configuration files: what they say, and what is said of those that make no sense."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.client import config, config_editor
from gobbler.client.config import InvalidConfiguration, ServiceTable, parse_config
from gobbler.errors import Forbidden, Missing, Refused

WHOLE = """\
# mine
default = "lab"
cache = "~/data/$WHO/cache"

[service.lab] # the nearest
url = "http://lab.example.org:8080/"
staging = "/data/staging"
registry = "${DATA}/registry"

[service.files-only]
staging = "/other/staging"
registry = "/other/registry"
"""
AROUND = {"HOME": "/home/ada", "WHO": "ada", "DATA": "/data"}


def test_what_a_file_says():
    found = parse_config(WHOLE, "/f", AROUND)
    assert found.default == "lab"
    assert found.cache == "/home/ada/data/ada/cache"
    assert found.services == {
        "lab": ServiceTable("http://lab.example.org:8080", "/data/staging", "/data/registry"),
        "files-only": ServiceTable(None, "/other/staging", "/other/registry"),
    }
    assert found.place("default") == "/f, line 2"


def test_an_empty_file_says_nothing():
    found = parse_config("", "/f", {})
    assert (found.default, found.cache, dict(found.services)) == (None, None, {})


BAD = {
    'x = 1\n\ndefault = "a\n': (3, ""),
    'default = "a"\ndefault = "b"': (2, ""),
    "[service.lab": (1, ""),
    '\ndefualt = "lab"': (2, '"defualt" is not a setting'),
    'cache = "/a"\n[service.lab]\nulr = "http://x"': (3, "service.lab.ulr is not a setting"),
    '[service.lab]\nurl = "http://x"\nstaging = 1': (3, "service.lab.staging is not text"),
    '[service.lab]\nstaging = [\n"/a",\n"/b"]\n': (4, "service.lab.staging is not text"),
    'service = "lab"': (1, "service is not a table"),
    'service.lab = "http://x"': (1, "service.lab is not a table"),
    '[service."the lab"]\nurl = "http://x"': (1, '"the lab" is not a name for a service'),
    '[service.lab]\nurl = "lab.example.org"': (2, "is not the address of a service"),
    '[service.lab]\nurl = "http://x:port"': (2, "is not the address of a service"),
    '[service.lab]\n\nregistry = "data"': (3, "is not an absolute path"),
    'cache = "a/$UNKNOWN"\ndefault = ""': (2, "default is not text"),
    'default = ""': (1, "default is not text"),
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file_is_reported_by_file_and_line(text):
    line, what = BAD[text]
    with pytest.raises(InvalidConfiguration) as caught:
        parse_config(text, "/home/ada/config.toml", {})
    assert caught.value.reason.startswith(f"/home/ada/config.toml, line {line}: ")
    assert what in caught.value.reason
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 3


@given(st.text(max_size=40))
def test_whatever_stands_there_is_read_or_refused(text):
    try:
        parse_config(text, "/f", {})
    except InvalidConfiguration as error:
        refused = error
    else:
        return
    assert refused.reason.startswith("/f, line ")


@pytest.fixture
def around(tmp_path, monkeypatch):
    """An environment with a user's and a site's directory for configuration."""
    monkeypatch.delenv("GOBBLER_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path}/site:{tmp_path}/site2")
    monkeypatch.setattr(config, "SITE_DIRECTORY", str(tmp_path / "etc"))
    monkeypatch.setenv("WHO", "ada")
    monkeypatch.setenv("DATA", "/data")
    return os.environ


def write(path: str | Path, text: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return str(path)


def test_where_files_are(around, tmp_path):
    assert config.read_configs(around) == []
    assert config.user_config(around) == f"{tmp_path}/user/gobbler/config.toml"
    places = ["user", "site", "site2", "etc"]
    paths = [f"{tmp_path}/{place}/gobbler/config.toml" for place in places]
    assert [config.user_config(around), *config.site_configs(around)] == paths
    for path in paths:
        write(path, WHOLE)
    assert [found.path for found in config.read_configs(around)] == paths
    monkeypatched = {**around, "GOBBLER_CONFIG": paths[2]}
    assert [found.path for found in config.read_configs(monkeypatched)] == [paths[2]]


def test_a_user_whose_home_has_no_configuration_uses_that_of_the_site():
    assert config.site_configs({}) == ["/etc/gobbler/config.toml"]


def test_files_that_cannot_be_read(around, tmp_path):
    path = Path(config.user_config(around))
    path.mkdir(parents=True)
    with pytest.raises(InvalidConfiguration, match="can't be read: Is a directory"):
        config.read_configs(around)
    path.rmdir()
    path.write_bytes(b'\ndefault = "\xff"')
    with pytest.raises(InvalidConfiguration, match=r"config.toml, line 2: not UTF-8"):
        config.read_configs(around)
    path.write_bytes(b"#" * (config.MAX_CONFIG_BYTES + 1))
    with pytest.raises(InvalidConfiguration, match="larger than 1 MiB"):
        config.read_configs(around)
    nowhere = {"GOBBLER_CONFIG": str(tmp_path / "nowhere")}
    with pytest.raises(InvalidConfiguration, match=r"GOBBLER_CONFIG names .*nowhere, which does"):
        config.read_configs(nowhere)


def test_setting_keeps_what_is_there(around):
    path = write(config.user_config(around), '# mine\ncache = "/a" # short\n')
    os.chmod(path, 0o600)
    for key, value in {
        "service.lab.url": "http://x",
        "service.lab.registry": "/data",
        "default": "lab",
        "cache": "/b",
    }.items():
        config_editor.set_value(path, key, value, around)
    text = Path(path).read_text()
    assert text.startswith("# mine\n")
    assert "# short" in text
    found = parse_config(text, path, around)
    assert (found.default, found.cache) == ("lab", "/b")
    assert found.services == {"lab": ServiceTable("http://x", None, "/data")}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(os.path.dirname(path)) == ["config.toml"]


def test_a_new_file_is_made_where_there_is_none(around):
    path = config.user_config(around)
    config_editor.set_value(path, "service.lab.url", "http://x", around)
    assert parse_config(Path(path).read_text(), path, {}).services == {
        "lab": ServiceTable("http://x")
    }


def test_a_link_to_the_file_stays_one(around, tmp_path):
    real = write(tmp_path / "dotfiles" / "gobbler.toml", "")
    path = Path(config.user_config(around))
    path.parent.mkdir(parents=True)
    path.symlink_to(real)
    config_editor.set_value(str(path), "cache", "/a", around)
    assert path.is_symlink()
    assert Path(real).read_text() == 'cache = "/a"\n'


def test_unsetting(around):
    path = write(config.user_config(around), WHOLE)
    config_editor.unset_value(path, "service.lab.staging", around)
    config_editor.unset_value(path, "service.files-only", around)
    config_editor.unset_value(path, "cache", around)
    for key in ("cache", "service.none", "service.lab.staging"):
        with pytest.raises(Missing, match="is not set"):
            config_editor.unset_value(path, key, around)
    found = parse_config(Path(path).read_text(), path, around)
    assert found.services == {
        "lab": ServiceTable("http://lab.example.org:8080", None, "/data/registry")
    }
    assert "# the nearest" in found.text


def test_the_last_setting_takes_its_service_along(around):
    path = config.user_config(around)
    config_editor.set_value(path, "service.lab.url", "http://x", around)
    config_editor.unset_value(path, "service.lab.url", around)
    assert dict(parse_config(Path(path).read_text(), path, {}).services) == {}


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("url", "http://x", '"url" is not a setting'),
        ("service.lab.port", "1", "is not a setting"),
        ("service.lab.url", "x", "service.lab.url is not the address"),
        ("service.the lab.url", "http://x", "is not a name for a service"),
        ("cache", "here", "cache is not an absolute path"),
        ("default", "none", "there is no service"),
    ],
)
def test_nothing_is_written_that_makes_no_sense(around, key, value, reason):
    path = write(config.user_config(around), 'cache = "/a"\n')
    with pytest.raises((Refused, Missing), match=reason) as caught:
        config_editor.set_value(path, key, value, around)
    assert caught.value.hint
    assert "line" not in caught.value.reason
    assert Path(path).read_text() == 'cache = "/a"\n'


def test_a_bad_file_is_not_changed(around):
    path = write(config.user_config(around), "cache = ")
    with pytest.raises(InvalidConfiguration, match="line 1"):
        config_editor.set_value(path, "cache", "/a", around)
    assert Path(path).read_text() == "cache = "


def test_a_file_that_cannot_be_written_stays_whole(around, monkeypatch):
    path = write(config.user_config(around), 'cache = "/a"\n')

    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(Forbidden, match="you can't write"):
        config_editor.set_value(path, "cache", "/b", around)
    assert Path(path).read_text() == 'cache = "/a"\n'
    assert os.listdir(os.path.dirname(path)) == ["config.toml"]

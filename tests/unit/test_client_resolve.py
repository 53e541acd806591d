"""Which service is meant: the rule, on values."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.client.config import InvalidConfiguration, parse_config
from gobbler.client.resolve import (
    DEFAULT_URL,
    DIRECTORIES,
    SETTINGS,
    check_default_service,
    resolve_cache,
    resolve_service,
)
from gobbler.errors import Code, GobblerError, Missing, Refused
from gobbler.fs.listeners import listeners
from gobbler.service.settings import Settings

LAB = '[service.lab]\nurl = "http://lab"\nstaging = "/lab/staging"\nregistry = "/lab/registry"\n'
TWO = LAB + '[service.two]\nurl = "http://two"\n[service.disk]\nstaging = "/s"\nregistry = "/r"\n'


def found(given=None, service=None, environment=None, user=None, site=None):
    """Settings by name; and which service it is, if it has a name."""
    texts = {"/user": user, "/site": site}
    files = [parse_config(text, path, {}) for path, text in texts.items() if text is not None]
    located = resolve_service(given or {}, service, environment or {}, files)
    settings = {name: each.value for name, each in located.settings.items()}
    return settings, located.service and located.service.value


ALL_OF_LAB = {"url": "http://lab", "staging": "/lab/staging", "registry": "/lab/registry"}


def test_nothing_is_configured():
    assert found() == ({"url": DEFAULT_URL}, None)
    assert resolve_service({}, None, {}, []).is_default
    assert not resolve_service({"url": DEFAULT_URL}, None, {}, []).is_default
    assert found(environment={"GOBBLER_REGISTRY": "/r"}) == ({"registry": "/r"}, None)


def test_the_default_is_where_a_service_listens_by_default():
    assert f"http://{Settings.host}:{Settings.port}" == DEFAULT_URL


def test_the_only_service_is_the_one():
    assert found(user=LAB) == (ALL_OF_LAB, "lab")
    assert found(site=LAB) == (ALL_OF_LAB, "lab")


def test_the_default_is_the_users_then_the_sites():
    two, lab = 'default = "two"\n', 'default = "lab"\n'
    assert found(site=two + TWO) == ({"url": "http://two"}, "two")
    assert found(user=lab, site=two + TWO) == (ALL_OF_LAB, "lab")


def test_several_without_a_default_have_to_be_chosen_from():
    with pytest.raises(InvalidConfiguration, match=r"several services \(disk, lab, two\)"):
        found(user=TWO)
    assert found(service="two", user=TWO) == ({"url": "http://two"}, "two")
    assert found(environment={"GOBBLER_SERVICE": "two"}, user=TWO) == ({"url": "http://two"}, "two")
    assert found({"url": "http://x"}, user=TWO) == ({"url": "http://x"}, None)
    assert found({"registry": "/r"}, user=TWO) == ({"registry": "/r"}, None)


def test_what_is_nearer_counts():
    environment = {"GOBBLER_URL": "http://env", "GOBBLER_REGISTRY": "/env", "GOBBLER_STAGING": ""}
    assert found(environment=environment, user=LAB)[0] == {"url": "http://env", "registry": "/env"}
    assert found({"url": "http://x"}, environment=environment, user=LAB)[0] == {"url": "http://x"}


def test_directories_belong_to_their_address():
    """Those beside the same address count, and those that stand alone."""
    assert found({"url": "http://lab/"}, user=LAB)[0] == {**ALL_OF_LAB, "url": "http://lab/"}
    assert found(environment={"GOBBLER_URL": "http://lab"}, user=LAB)[0] == ALL_OF_LAB
    mounted = {"GOBBLER_REGISTRY": "/mnt"}
    assert found(environment=mounted, user=LAB)[0] == {**ALL_OF_LAB, "registry": "/mnt"}
    assert found({"url": "http://x"}, environment=mounted)[0] == {
        "url": "http://x",
        "registry": "/mnt",
    }


def test_a_service_of_several_files():
    user = '[service.lab]\nregistry = "/mnt"\n'
    assert found(user=user, site=LAB)[0] == {**ALL_OF_LAB, "registry": "/mnt"}
    user = '[service.lab]\nurl = "http://moved"\n'
    assert found(user=user, site=LAB)[0] == {"url": "http://moved"}


def test_a_chosen_service_is_taken_as_it_is():
    environment = {"GOBBLER_URL": "http://env", "GOBBLER_STAGING": "/env"}
    settings = {"staging": "/s", "registry": "/r"}
    assert found(service="disk", environment=environment, user=TWO) == (settings, "disk")
    given = {"staging": "/mine"}
    assert found(given, "disk", environment, TWO) == ({**settings, **given}, "disk")


def test_a_service_without_an_address_does_not_mix_with_one():
    disk = '[service.disk]\nstaging = "/s"\nregistry = "/r"\n'
    assert found({"url": "http://x"}, user=disk) == ({"url": "http://x"}, None)


def test_contradictions_are_reported():
    with pytest.raises(Refused, match="the address and the name"):
        found({"url": "http://lab"}, "lab", user=TWO)
    both = {"GOBBLER_URL": "http://x", "GOBBLER_SERVICE": "lab"}
    with pytest.raises(InvalidConfiguration, match="GOBBLER_URL and GOBBLER_SERVICE"):
        found(environment=both, user=TWO)
    both["GOBBLER_URL"] = "http://lab/"
    assert found(environment=both, user=TWO)[1] == "lab"


def test_a_service_that_is_not_there():
    with pytest.raises(Missing, match=r'no service "none" in the configuration .--service') as e:
        found(service="none", user=TWO)
    assert "disk, lab, two" in e.value.hint
    with pytest.raises(Missing, match=r"/user, line 1"):
        found(user='default = "none"\n' + TWO)
    with pytest.raises(Missing, match="GOBBLER_SERVICE"):
        found(environment={"GOBBLER_SERVICE": "none"})


def test_the_cache():
    files = [parse_config(f'cache = "/{name}"', f"/{name}", {}) for name in ("user", "site")]
    assert resolve_cache({}, files) == ("/user", "/user")
    assert resolve_cache({}, files[1:]) == ("/site", "/site")
    assert resolve_cache({"GOBBLER_CACHE": "/env"}, files) == ("/env", "GOBBLER_CACHE")
    assert resolve_cache({}, []) is None


layers = st.fixed_dictionaries(
    {},
    optional={
        "url": st.sampled_from(["http://a", "http://b"]),
        "staging": st.sampled_from(["/1", "/2"]),
        "registry": st.sampled_from(["/3", "/4"]),
    },
)


def _file(table):
    lines = "".join(f'{key} = "{value}"\n' for key, value in table.items())
    return f"[service.lab]\n{lines}" if table else ""


@given(layers, layers, layers, layers)
def test_no_directory_is_taken_from_beside_another_address(given, env, user, site):
    environment = {f"GOBBLER_{key.upper()}": value for key, value in env.items()}
    try:
        settings, _ = found(given, None, environment, _file(user), _file(site))
    except GobblerError:
        pytest.fail("nothing of this contradicts itself")
    ordered = [given, env, user, site]
    default = None if any(ordered) else DEFAULT_URL
    assert settings.get("url") == next((x["url"] for x in ordered if "url" in x), default)
    for name in DIRECTORIES:
        if name in settings:
            beside = [x for x in ordered if x.get(name) == settings[name]]
            assert any(x.get("url") in (None, settings.get("url")) for x in beside)
    assert set(settings) <= set(SETTINGS)
    assert {**settings, **given} == settings, "what is given counts in any case"


def table(tmp_path: Path, *rows: tuple[str, str, int]) -> list[str]:
    """A file in the format of /proc/net/tcp: address and port, state and user of each socket."""
    lines = ["  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid"]
    for number, (local, state, uid) in enumerate(rows):
        lines.append(
            f"{number}: {local} 00000000:0000 {state} 0:0 00:0 0 {uid} 0 1 1 0 100 0 0 10 0"
        )
    (tmp_path / "tcp").write_text("\n".join(lines) + "\n")
    return [str(tmp_path / "tcp"), str(tmp_path / "absent")]


DEFAULT_PORT = f"{8080:04X}"


@pytest.mark.parametrize("local", ["0100007F", "00000000", "0" * 32])
def test_a_default_service_of_another_account_is_refused(tmp_path: Path, local: str) -> None:
    foreign = os.geteuid() + 54_321
    found = table(tmp_path, (f"{local}:{DEFAULT_PORT}", "0A", foreign))
    with pytest.raises(Refused, match="belongs to another account") as refused:
        check_default_service(found)
    assert refused.value.code == Code.MISCONFIGURED
    assert "gobbler config set" in refused.value.hint


def test_a_default_service_of_ones_own_or_of_root_is_used(tmp_path: Path) -> None:
    foreign = os.geteuid() + 54_321
    check_default_service(
        table(
            tmp_path,
            (f"0100007F:{DEFAULT_PORT}", "0A", os.geteuid()),
            (f"0100007F:{DEFAULT_PORT}", "0A", 0),
            (f"0100007F:{DEFAULT_PORT}", "01", foreign),  # a connection, and no listener
            ("0100007F:1F91", "0A", foreign),
        )
    )


def test_the_kernel_says_who_listens() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        (found,) = listeners(port)
        assert (found.user, found.process()) == (os.geteuid(), os.getpid())

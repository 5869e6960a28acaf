"""The signing key: as it is written, and the file that it is in."""

from __future__ import annotations

import base64
import stat
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from sequential_core.driver.keys import read_key, signing_key, write_key
from sequential_core.errors import ConfigurationError, OperatorError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("SEQUENTIAL_SIGNING_KEY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    return tmp_path / "sequential"


def test_a_key_is_read_as_it_is_written():
    key = bytes(range(200, 232))
    assert read_key(write_key(key), "x") == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("whsec_" + base64.b64encode(bytes(64)).decode(), bytes(64)),
        ("a text of thirty-two characters.", b"a text of thirty-two characters."),
        ("  a text of thirty-two characters.\n", b"a text of thirty-two characters."),
        ("ü" * 16, "ü".encode() * 16),
    ],
)
def test_a_key_is_base64_behind_its_prefix_or_else_the_text_itself(text, key, monkeypatch):
    monkeypatch.setenv("SEQUENTIAL_SIGNING_KEY", text)
    assert signing_key() == key


@pytest.mark.parametrize(
    "text", ["short", "x" * 31, "whsec_", "whsec_" + "A" * 40, "whsec_" + "!" * 64, "whsec_" + "A" * 63]
)
def test_what_is_no_key_is_refused_and_not_told(text, monkeypatch):
    monkeypatch.setenv("SEQUENTIAL_SIGNING_KEY", text)
    with pytest.raises(ConfigurationError) as caught:
        signing_key()
    assert str(caught.value).startswith("SEQUENTIAL_SIGNING_KEY: ")
    assert text not in str(caught.value).replace("whsec_ it", "")


def test_a_key_that_is_needed_is_made_and_stays(home):
    key = signing_key()
    assert len(key) == 32
    assert signing_key() == key
    assert [each.name for each in home.iterdir()] == ["signing-key"]
    assert stat.S_IMODE((home / "signing-key").stat().st_mode) == 0o600


def test_of_several_that_need_a_key_all_get_the_same():
    with ThreadPoolExecutor(16) as threads:
        assert len(set(threads.map(lambda _: signing_key(), range(64)))) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_use_is_none(home, mode):
    signing_key()
    (home / "signing-key").chmod(mode)
    with pytest.raises(OperatorError, match="chmod 600"):
        signing_key()


@pytest.mark.parametrize("content", [b"", b"whsec_AAAA", b"\xff" * 10])
def test_a_file_that_has_no_key_is_told_and_not_replaced(home, content):
    signing_key()
    (home / "signing-key").write_bytes(content)
    with pytest.raises(ConfigurationError, match="signing-key"):
        signing_key()
    assert (home / "signing-key").read_bytes() == content


def test_a_place_where_no_key_can_be_is_told(home):
    home.write_text("a file")
    with pytest.raises(OperatorError, match="set SEQUENTIAL_SIGNING_KEY"):
        signing_key()

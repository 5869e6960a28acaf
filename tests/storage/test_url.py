from __future__ import annotations

import contextlib
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from contracts.tasks import a_task

from sequential_core.errors import InvalidRequestError, InvalidStorageURLError, StorageError
from sequential_core.storage import MemoryStorage, SqliteStorage, storage_from_url
from sequential_core.storage import url as urls
from sequential_core.storage.dynamodb import DynamoDBStorage
from sequential_core.storage.url import default_url, shared_storage


@pytest.fixture(autouse=True)
def _nothing_is_shared(monkeypatch):
    monkeypatch.setattr(urls, "_opened", {})
    monkeypatch.setenv("AWS_REGION", "eu-central-1")


@pytest.mark.parametrize("url", ["memory:", "memory://"])
def test_memory_urls(url):
    assert isinstance(storage_from_url(url), MemoryStorage)
    assert storage_from_url(url) is not storage_from_url(url)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///tasks.db", "tasks.db"),
        ("sqlite:///folder/tasks.db", "folder/tasks.db"),
        ("sqlite:///./tasks.db", "tasks.db"),
        ("sqlite:////data/tasks.db", "/data/tasks.db"),
        ("sqlite:////data/with%20space.db", "/data/with space.db"),
        ("sqlite:////data/with space.db", "/data/with space.db"),
        ("sqlite:////data/%C3%A9%3F%23%25.db", "/data/é?#%.db"),
        ("sqlite:////data/100%2525.db", "/data/100%25.db"),
        ("sqlite:////data/日本.db", "/data/日本.db"),
        ("sqlite:///a;b@c:d&e=f.db", "a;b@c:d&e=f.db"),
    ],
)
def test_sqlite_urls(url, path):
    storage = storage_from_url(url)
    assert isinstance(storage, SqliteStorage)
    assert storage._path == Path(path).absolute()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("dynamodb://Tasks", {}),
        ("dynamodb://tasks-1.a_b?region=eu-central-1", {"region": "eu-central-1"}),
        ("dynamodb://tasks?region=x&endpoint=http://127.0.0.1:1", {"region": "x", "endpoint": "http://127.0.0.1:1"}),
    ],
)
def test_dynamodb_urls(url, options):
    storage = storage_from_url(url)
    assert isinstance(storage, DynamoDBStorage)
    assert storage._table == url.removeprefix("dynamodb://").partition("?")[0]
    assert {"region": None, "endpoint": None, **options}.items() <= storage._options.items()


def test_bucket_of_a_dynamodb_url():
    assert storage_from_url("dynamodb://tasks?bucket=states")._bucket._name == "states"
    assert storage_from_url("dynamodb://tasks")._bucket is None


def test_dynamodb_without_its_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "sequential_core.storage.dynamodb", None)
    with pytest.raises(InvalidStorageURLError, match=r"sequential-core\[aws\]"):
        storage_from_url("dynamodb://tasks")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "dynamodb:",
        "dynamodb://",
        "dynamodb://ab",
        "dynamodb://" + "a" * 256,
        "dynamodb://tasks/x",
        "dynamodb:///tasks",
        "dynamodb://a b c",
        "dynamodb://tasks?region",
        "dynamodb://tasks?region=",
        "dynamodb://tasks?region=a&region=b",
        "dynamodb://tasks?color=red",
        "dynamodb://tasks?item_bytes=1",
        "dynamodb://tasks#x",
        "tasks.db",
        "/data/tasks.db",
        "memory",
        "memory:x",
        "memory:///",
        "memory:?x=1",
        "sqlite",
        "sqlite:",
        "sqlite:tasks.db",
        "sqlite:/tasks.db",
        "sqlite://",
        "sqlite:///",
        "sqlite://tasks.db",
        "sqlite://host/tasks.db",
        "sqlite:///tasks.db?mode=ro",
        "sqlite:///tasks.db#part",
        "postgres://host/db",
        "file:///tasks.db",
        "://",
        "sqlite://[/tasks.db",
        "postgres://[::1/db",
        "sqlite:///a%00b.db",
    ],
)
def test_url_of_no_known_kind_is_refused(url):
    with pytest.raises(InvalidStorageURLError) as caught:
        storage_from_url(url)
    assert caught.value.field == "storage"
    assert isinstance(caught.value, InvalidRequestError)


def test_refusal_names_the_scheme_and_not_the_rest_which_may_hold_a_password():
    with pytest.raises(InvalidStorageURLError, match="'postgres' is no kind") as caught:
        storage_from_url("postgres://user:hunter2@host/db")
    assert "hunter2" not in str(caught.value)


def test_a_file_is_made_when_it_is_first_needed(tmp_path):
    path = tmp_path / "é ?#%.db"
    storage = storage_from_url(f"sqlite:///{tmp_path}/%C3%A9%20%3F%23%25.db")
    assert not path.exists()
    storage.save(a_task())
    storage.close()
    assert path.exists()


def test_environment_names_the_default(monkeypatch):
    monkeypatch.setenv("SEQUENTIAL_STORAGE", "memory:")
    assert default_url() == "memory:"


@pytest.mark.parametrize("unset", [None, ""])
def test_default_is_a_file_in_the_data_directory_of_the_user(monkeypatch, tmp_path, unset):
    if unset is None:
        monkeypatch.delenv("SEQUENTIAL_STORAGE", raising=False)
    else:
        monkeypatch.setenv("SEQUENTIAL_STORAGE", unset)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "é #?%"))
    storage = storage_from_url(default_url())
    assert storage._path == tmp_path / "é #?%" / "sequential" / "tasks.db"
    assert stat.S_IMODE(storage._path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("platform", "folder"), [("linux", ".local/share/sequential"), ("darwin", "Library/Application Support/sequential")]
)
def test_default_without_a_data_directory_is_below_home(monkeypatch, tmp_path, platform, folder):
    monkeypatch.delenv("SEQUENTIAL_STORAGE", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", platform)
    assert storage_from_url(default_url())._path == tmp_path / folder / "tasks.db"


def test_url_is_opened_once_in_a_process():
    assert shared_storage("memory:") is shared_storage("memory:")


def test_data_directory_that_cannot_be_made_is_an_error_of_ours(monkeypatch, tmp_path):
    monkeypatch.delenv("SEQUENTIAL_STORAGE", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError):
        default_url()


def test_shared_memory_is_never_dropped():
    shared_storage("memory:").save(a_task())
    for number in range(20):
        shared_storage(f"sqlite:///unused-{number}.db")
    assert shared_storage("memory:").load("task-1") is not None


def test_two_threads_that_open_one_url_get_one_storage(monkeypatch):
    both_inside = threading.Barrier(2)

    def opened(url):
        # Broken: the other waits outside, as it should.
        with contextlib.suppress(threading.BrokenBarrierError):
            both_inside.wait(0.2)
        return storage_from_url(url)

    monkeypatch.setattr(urls, "storage_from_url", opened)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(shared_storage, ["memory:", "memory:"])
    assert first is second

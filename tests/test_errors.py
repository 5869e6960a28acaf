from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from sequential_core import errors
from sequential_core.errors import SequentialError
from sequential_core.model import Status

#: One of each class, made as the code makes it; beside it the standard kind that it also is.
EXAMPLES = [
    (errors.InvalidRequestError("ttl", "too long"), ValueError),
    (errors.InvalidTaskIdError("it is empty"), ValueError),
    (errors.InvalidAnswerError("none"), ValueError),
    (errors.InvalidStorageURLError("no scheme"), ValueError),
    (errors.TaskNotFoundError("a'b"), LookupError),
    (errors.TaskExistsError("a"), Exception),
    (errors.TaskConflictError("a", "too late"), Exception),
    (errors.TaskEndedError("a", "completed"), Exception),
    (errors.UnknownRequestError("a", 3, (1, 2)), LookupError),
    (errors.TooManyEventsError("a", 100, 1024), Exception),
    (errors.InvalidEventTokenError(), Exception),
    (errors.IdempotencyKeyReusedError("a"), Exception),
    (errors.InvalidCodeError("not text"), ValueError),
    (errors.CodeTooLargeError(2, 1), ValueError),
    (errors.CodeSyntaxError("unexpected token", 1, 2), ValueError),
    (errors.CodeSyntaxError("unexpected token", None, None), ValueError),
    (errors.CodeTooComplexError("it is nested too deeply"), ValueError),
    (errors.StateCorruptedError("cut"), ValueError),
    (errors.StateFormatError(2, 1), ValueError),
    (errors.GuestMismatchError("ab" * 32, ("cd" * 32,)), ValueError),
    (errors.GuestNotFoundError(), LookupError),
    (errors.StripperNotFoundError(), LookupError),
    (errors.CacheDirectoryError("/tmp/x", "others can write"), PermissionError),
    (errors.NoSigningKeyError(), LookupError),
    (errors.ConfigurationError("SEQUENTIAL_STORAGE", "it is missing"), ValueError),
    (errors.StorageError("disk"), OSError),
    (errors.StorageFullError("disk"), OSError),
    (errors.StorageFormatError("not ours"), OSError),
    (errors.StorageBusyError(), Exception),
    (errors.StorageBusyError("throttled"), Exception),
    (errors.OutcomeUnknownError("a"), Exception),
]
BRANCHES = (
    errors.CallerError,
    errors.CodeError,
    errors.StateError,
    errors.OperatorError,
    errors.RetryableError,
)
CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if each.__module__ == errors.__name__]

each_example = pytest.mark.parametrize(
    ("error", "kind"), EXAMPLES, ids=lambda value: type(value).__name__ if isinstance(value, Exception) else ""
)


def test_every_class_that_is_raised_has_an_example():
    assert {type(error) for error, _ in EXAMPLES} | {*BRANCHES, SequentialError} == set(CLASSES)


@pytest.mark.parametrize("cls", [each for each in CLASSES if each is not SequentialError])
def test_every_error_is_in_one_branch(cls):
    assert issubclass(cls, SequentialError)
    assert sum(issubclass(cls, branch) for branch in BRANCHES) == 1


@each_example
def test_error_is_of_its_standard_kind(error, kind):
    assert isinstance(error, kind)


@each_example
def test_error_survives_being_copied_and_sent_to_another_process(error, kind):
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


@each_example
def test_message_has_the_evidence(error, kind):
    message = str(error)
    assert message
    assert "\n" not in message
    for value in vars(error).values():
        if isinstance(value, (int, str)) and value != "answer":
            assert str(value) in message or repr(value) in message


def test_messages():
    assert str(errors.TaskNotFoundError("a")) == "there is no task 'a': it never was, has ended, or has expired"
    assert str(errors.UnknownRequestError("a", 3, ())) == "task 'a' has no request 3; pending: none"
    assert str(errors.UnknownRequestError("a", None, (1, 2))) == (
        "task 'a' waits for events only, and an answer to one needs its requestId; pending: 1, 2"
    )
    assert str(errors.UnknownRequestError("a", None, ())) == "task 'a' waits for timers only, and takes no answer"
    assert str(errors.TaskEndedError("a", Status.COMPLETED)) == "task 'a': it has ended, its status is 'completed'"
    assert str(errors.CodeSyntaxError("bad", None, None)) == "SyntaxError: bad"
    assert str(errors.CodeSyntaxError("bad", 3, 7)) == "SyntaxError: bad (line 3, column 7)"
    assert str(errors.GuestMismatchError("ab", ())) == "the state needs guest ab; installed: none"

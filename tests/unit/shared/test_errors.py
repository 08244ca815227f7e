from __future__ import annotations

import pytest

from shared import errors


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.InvalidInput, 422),
        (errors.NotFound, 404),
        (errors.Conflict, 409),
        (errors.TooLarge, 413),
        (errors.RateLimited, 429),
        (errors.NotAuthorised, 401),
        (errors.Unavailable, 503),
        (errors.UnusableImage, 422),
        (errors.TrainingFailed, 422),
    ],
)
def test_each_kind_has_its_status(kind: type[errors.CountersignError], status: int) -> None:
    fault = errors.Fault("a_code", "what is wrong", "line 1")
    error = kind("a_code", "what is wrong", (fault,))
    assert (error.status, error.code, str(error), error.faults) == (status, "a_code", "what is wrong", (fault,))


def test_a_full_disk_is_a_kind_of_unavailable() -> None:
    error = errors.StorageFull()
    assert isinstance(error, errors.Unavailable)
    assert (error.status, error.code) == (507, "storage_full")

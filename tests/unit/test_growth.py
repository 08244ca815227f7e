"""The soak's measure of growth: what it must not miss, and what is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.faults.growth import ALL_KINDS, Growth, Lives
from tests.faults.soak import Tally

COLD, WARM = 90.0, 580.0  # megabytes of a scoring process before and after its first job


def lived(held: Callable[[int], float], files: Callable[[int], int] = lambda jobs: 20, jobs: int = 180) -> float:
    """The excess of two processes, the first killed after some jobs, that hold ``held(jobs)`` megabytes."""
    lives, ended = Lives(), Counter[str]()
    for pid, most in ((100, 130), (101, jobs)):
        for done in range(most):
            lives.note("score's child", pid, "1", ended, held(done), files(done))
            ended[("verify", "verify", "identify", "train")[done % 4]] += 1
        lives.note("score's child", pid, "1", ended, None, None)
    return lives.growth()["score's child"].excess


def test_a_leak_of_half_a_megabyte_a_job_is_told() -> None:
    assert lived(lambda jobs: COLD if jobs == 0 else WARM + 0.5 * jobs + jobs % 3) > 1


def test_a_file_left_open_by_each_third_job_is_told() -> None:
    assert lived(lambda jobs: WARM, lambda jobs: 20 + jobs // 3) > 1


def test_warming_up_steps_and_starting_again_are_no_growth() -> None:
    assert lived(lambda jobs: COLD if jobs < 2 else WARM + jobs % 3 + 30 * (jobs > 30)) < 1


def test_what_is_taken_little_by_little_at_first_is_no_growth() -> None:
    """A scoring process meets batches of ever other sizes for its first hundred jobs."""
    assert lived(lambda jobs: COLD if jobs < 2 else WARM + 0.4 * min(jobs, 60)) < 1


def test_a_process_that_saw_few_jobs_is_not_judged() -> None:
    lives = Lives()
    for jobs in range(12):
        lives.note("web", 7, "1", dict.fromkeys(ALL_KINDS, jobs), 100.0 * jobs, 10)
    assert lives.growth() == {}


def test_a_training_process_is_judged_by_fewer_jobs() -> None:
    lives = Lives()
    for jobs in range(50):
        lives.note("train's child", 7, "1", {"train": jobs}, 600.0 + 0.5 * jobs, 10)
    assert lives.growth()["train's child"].megabytes == 0.5


def test_a_number_used_again_is_another_process() -> None:
    lives = Lives()
    for start, held in (("1", 100.0), ("2", 900.0)):
        for jobs in range(0, 100, 5):
            lives.note("web", 7, start, dict.fromkeys(ALL_KINDS, jobs), held, 10)
    assert lives.growth() == {"web": Growth(0.0, 0.0, 135)}


def test_jobs_that_ended_are_counted_by_kind() -> None:
    tally = Tally(jobs=Counter({"verify succeeded": 3, "verify failed": 1, "sent again: verify": 7, "train failed": 2}))
    assert tally.ended() == {"verify": 4, "train": 2, "identify": 0}

"""Jobs on threads of their own, and what they leave of torch's."""

from __future__ import annotations

import threading

import pytest
import torch

from SSRKDCore.side_by_side import side_by_side


@pytest.fixture
def _four_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_four_threads")
def test_jobs_share_the_threads_of_torch_and_give_them_back() -> None:
    def job() -> tuple[int, int]:
        return threading.get_ident(), torch.get_num_threads()

    for at_a_time, share in ((2, 2), (3, 1), (8, 1)):
        meet = threading.Barrier(min(at_a_time, 3))

        def met(meet: threading.Barrier = meet) -> tuple[int, int]:
            meet.wait(30)
            return job()

        found = side_by_side([met] * min(at_a_time, 3), at_a_time)
        assert len({thread for thread, _ in found}) == min(at_a_time, 3)
        assert {threads for _, threads in found} == {4 // min(at_a_time, 3)} == {share}
        assert torch.get_num_threads() == 4
    assert side_by_side([job, job], 1) == [(threading.get_ident(), 4)] * 2, "in turn with all of them"


@pytest.mark.usefixtures("_four_threads")
def test_threads_are_given_back_after_an_error() -> None:
    def fails() -> None:
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        side_by_side([fails, lambda: None], 2)
    assert torch.get_num_threads() == 4

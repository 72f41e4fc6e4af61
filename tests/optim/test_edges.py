"""The optimiser's rarer paths: each was wrong in a mutant that no other test caught."""

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import CheckpointError
from scratchgrad.optim import AdamW, clip_grad_norm


def parameter(size: int) -> sg.Tensor:
    return sg.tensor(np.ones(size, np.float32), requires_grad=True)


def test_an_eps_of_zero_is_allowed() -> None:
    p = parameter(1)
    p.grad = np.ones(1, np.float32)
    AdamW([p], lr=0.5, eps=0.0, weight_decay=0.0).step()
    assert p.data.tolist() == pytest.approx([0.5])


@pytest.mark.parametrize("size", [2, 4])
def test_a_state_of_another_size_is_refused(size: int) -> None:
    state = AdamW([parameter(size)]).state_dict()
    with pytest.raises(CheckpointError, match=r"m\.0 should have shape"):
        AdamW([parameter(3)]).load_state_dict(state)


def test_a_gradient_as_long_as_the_bound_is_left_as_it_is() -> None:
    p = parameter(2)
    p.grad = np.array([3, 4], np.float32)
    assert clip_grad_norm([p], 5.0) == 5
    assert p.grad.tolist() == [3, 4]

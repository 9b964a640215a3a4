"""Learning rates, sample orders and averaged weights."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from kdn.recipe import OptimiseRecipe
from kdn.train.schedule import EpochBatches, rate_at, update_average


def test_one_cycle_is_torch_s():
    steps, rate = 41, 3e-3
    weight = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.RMSprop([weight], lr=rate)
    top = (0.3 * (steps - 1) + 1) / steps  # torch counts the top of the rise from step 1
    schedule = OneCycleLR(
        optimiser,
        rate,
        total_steps=steps,
        pct_start=top,
        final_div_factor=1e4,
        cycle_momentum=False,
    )
    recipe = OptimiseRecipe(rate=rate, schedule="one_cycle")
    for step in range(steps):
        ours = rate_at(recipe, step / (steps - 1))
        assert ours == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-6)
        optimiser.step()
        if step < steps - 1:
            schedule.step()


def test_steps_fall_where_the_paper_s_epochs_do():
    recipe = OptimiseRecipe(rate=1e-4, schedule="steps")
    rates = [rate_at(recipe, epoch / 40) for epoch in (0, 14.9, 15, 29.9, 30, 40)]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6])


def test_constant_rate():
    recipe = OptimiseRecipe(rate=2e-4, schedule="constant")
    assert {rate_at(recipe, share / 7) for share in range(8)} == {2e-4}


@pytest.mark.parametrize("progress", [-0.01, 1.01])
def test_progress_must_be_a_share(progress):
    with pytest.raises(ValueError, match=r"progress must be in \[0, 1\]"):
        rate_at(OptimiseRecipe(), progress)


def test_batches_of_an_epoch_are_a_permutation_without_its_rest():
    batches = EpochBatches(23, batch=5, seed=3)
    batches.epoch = 2
    drawn = list(batches)
    assert [len(b) for b in drawn] == [5] * 4 == [5] * len(batches)
    seen = [index for batch in drawn for index in batch]
    assert len(set(seen)) == 20
    assert set(seen) <= set(range(23))
    assert drawn == list(batches)  # the same epoch gives the same order
    batches.epoch = 3
    assert list(batches) != drawn


def test_every_sample_has_its_turn_over_the_epochs():
    batches = EpochBatches(23, batch=5, seed=3)
    seen = set()
    for batches.epoch in range(10):
        seen |= {index for batch in batches for index in batch}
    assert seen == set(range(23))


def test_processes_share_each_batch():
    whole = EpochBatches(23, batch=6, seed=3)
    parts = [EpochBatches(23, batch=6, seed=3, rank=rank, world=3) for rank in range(3)]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert all(len(share) == 2 for share in shares)
        assert sorted(i for share in shares for i in share) == sorted(batch)


def test_fewer_samples_than_a_batch_make_one():
    assert [sorted(b) for b in EpochBatches(3, batch=10, seed=0)] == [[0, 1, 2]]


def test_a_batch_must_divide_among_the_processes():
    with pytest.raises(ValueError, match="batch must be a multiple of the 3 processes, got 10"):
        EpochBatches(23, batch=10, seed=0, world=3)


def test_the_average_by_hand():
    model = nn.BatchNorm1d(2)
    average = copy.deepcopy(model)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.running_mean.fill_(10.0)  # type: ignore[union-attr]
        model.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    update_average(average, model, decay=0.9, step=1000)
    torch.testing.assert_close(average.weight, torch.full((2,), 0.9 * 1 + 0.1 * 3))
    torch.testing.assert_close(average.running_mean, torch.full((2,), 1.0))
    assert average.num_batches_tracked == 7
    update_average(average, model, decay=0.9, step=0)  # the decay is 1/10 at first
    torch.testing.assert_close(average.weight, torch.full((2,), 0.1 * 1.2 + 0.9 * 3))

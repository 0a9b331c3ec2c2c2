import copy

import pytest
import torch
from torch import nn

from course_lib.training import evaluate, train_one_epoch


def batches(count=3, size=4):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, size, 3, 5, 5, generator=generator)
    y = torch.randint(4, (count, size), generator=generator)
    return list(zip(x, y))


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(54, 4)
    )


def test_one_epoch_is_the_loop_that_everyone_writes():
    ours, by_hand = net(), net()
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    seen = train_one_epoch(ours.eval(), batches(), optimizer, scheduler=schedule)

    losses, right = [], 0
    for step, (x, y) in enumerate(batches()):
        logits = by_hand(x)
        loss = nn.functional.cross_entropy(logits, y)
        by_hand.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in by_hand.parameters():
                p -= 0.1 * 0.5**step * p.grad
        losses.append(loss.item())
        right += (logits.argmax(1) == y).sum().item()
    for a, b in zip(ours.state_dict().values(), by_hand.state_dict().values()):
        torch.testing.assert_close(a, b)
    assert seen["loss"] == pytest.approx(sum(losses) / 3)
    assert seen["accuracy"] == right / 12
    assert seen["images"] == 12
    assert ours.training


def test_evaluate_leaves_the_model_as_it_was():
    model = net().train()
    model[1].eval()  # a frozen BN must stay frozen
    before = copy.deepcopy(model.state_dict())
    uneven = [*batches(), (torch.randn(1, 3, 5, 5), torch.tensor([2]))]
    seen = evaluate(model, uneven)
    assert [m.training for m in model.modules()] == [True, True, False, True, True]
    for a, b in zip(before.values(), model.state_dict().values()):
        assert torch.equal(a, b)
    model.eval()
    logits = torch.cat([model(x) for x, _ in uneven])
    labels = torch.cat([y for _, y in uneven])
    torch.testing.assert_close(seen["logits"], logits.detach())
    assert torch.equal(seen["labels"], labels)
    loss = nn.functional.cross_entropy(logits, labels).item()
    assert seen["loss"] == pytest.approx(loss, rel=1e-5)
    assert seen["accuracy"] == pytest.approx(
        (logits.argmax(1) == labels).float().mean().item()
    )
    assert not seen["logits"].requires_grad


def test_the_mode_comes_back_after_an_error():
    model = net().train()
    with pytest.raises(RuntimeError):
        evaluate(model, [(torch.randn(2, 9, 5, 5), torch.zeros(2).long())])
    assert all(module.training for module in model.modules())


def test_bad_input_is_named():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="no batch"):
        train_one_epoch(model, [], optimizer)
    with pytest.raises(ValueError, match="no batch"):
        evaluate(model, [])
    with pytest.raises(ValueError, match="float16"):
        train_one_epoch(model, batches(), optimizer, amp=torch.float16)
    x, y = batches()[0]
    weights = copy.deepcopy(model.state_dict())
    with pytest.raises(FloatingPointError, match="learning rate"):
        train_one_epoch(model, [(x * torch.nan, y)], optimizer)
    for name, value in model.named_parameters():
        assert torch.equal(value, weights[name])  # no step with a broken loss

import copy

import pytest
import torch
from torch import nn

from course_lib.training import evaluate, pick_device, train_one_epoch, training_steps


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
    x, y = batches()[0]
    weights = copy.deepcopy(model.state_dict())
    with pytest.raises(FloatingPointError, match="learning rate"):
        train_one_epoch(model, [(x * torch.nan, y)], optimizer)
    for name, value in model.named_parameters():
        assert torch.equal(value, weights[name])  # no step with a broken loss


def test_float16_gets_a_scaler_of_its_own():
    """Without one, gradients below 6e-8 would be 0 and teach nothing."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(75, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e6)
    before = model[1].weight.detach().clone()

    def faint(logits, labels):
        return 1e-9 * nn.functional.cross_entropy(logits.float(), labels)

    train_one_epoch(model, batches(), optimizer, loss_function=faint, amp=torch.float16)
    faint_moves = (model[1].weight - before).abs()
    assert (faint_moves > 0).float().mean() > 0.9


def test_steps_are_told_before_they_change_the_weights():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = batches()[0]
    with torch.no_grad():
        z = copy.deepcopy(model).train()(x)
    ((loss, correct, images),) = training_steps(model, [(x, y)], optimizer)
    torch.testing.assert_close(loss, nn.functional.cross_entropy(z, y))
    assert correct == (z.argmax(1) == y).sum() and images == 4


def test_clipped_gradients_have_the_largest_norm_allowed():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = [p.detach().clone() for p in model.parameters()]
    train_one_epoch(model, batches(count=1), optimizer, clip=0.01)
    moves = [(p - old).flatten() for p, old in zip(model.parameters(), before)]
    assert torch.cat(moves).norm().item() == pytest.approx(0.01, rel=1e-4)


def test_the_model_is_judged_as_a_whole_not_by_batches():
    """Batches of 4 and 1: a mean of means would weigh the last image four times."""
    x, y = torch.randn(5, 3, 5, 5), torch.tensor([0, 1, 2, 3, 0])
    seen = evaluate(net(), [(x[:4], y[:4]), (x[4:], y[4:])])
    assert seen["loss"] == pytest.approx(evaluate(net(), [(x, y)])["loss"], rel=1e-5)


@pytest.mark.parametrize(
    "cuda, mps, expected",
    [(False, False, "cpu"), (False, True, "mps"), (True, True, "cuda")],
)
def test_auto_takes_the_first_device_that_is_there(monkeypatch, cuda, mps, expected):
    asked = machine(monkeypatch, cuda, mps)
    assert pick_device().type == expected
    assert asked == [expected]
    assert pick_device("cpu").type == "cpu"


def test_a_device_that_does_not_work_is_left_out_with_a_warning(monkeypatch):
    machine(monkeypatch, True, True, broken="cuda")
    with pytest.warns(UserWarning, match="'cuda' does not work: too old"):
        assert pick_device().type == "mps"
    with pytest.raises(ValueError, match=r"too old; choose from cuda, mps, cpu"):
        pick_device("cuda")


@pytest.mark.parametrize("name", ["mps", "cuda", "cuda:3", "gpu", "meta", "xpu", ""])
def test_a_named_device_that_is_not_there_is_an_error(monkeypatch, name):
    machine(monkeypatch, False, False)
    with pytest.raises(ValueError, match=f"device '{name}' .*; choose from cpu$"):
        pick_device(name)


def machine(monkeypatch, cuda, mps, broken=None):
    """Pretend these devices; the list holds those that were tried."""
    asked, ones = [], torch.ones

    def tried(*shape, device):
        asked.append(device)
        if device == broken:
            raise RuntimeError("too old\nand more")
        return ones(*shape)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch, "ones", tried)
    return asked

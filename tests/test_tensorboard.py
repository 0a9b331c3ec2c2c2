import copy
import importlib
import sys

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from course_lib.resnet import BasicBlock, ResNet
from course_lib.trainer.tensorboard import TensorBoardLog

EVERYTHING = {"scalars": 0, "histograms": 0, "tensors": 0}


def read(folder):
    return EventAccumulator(str(folder), size_guidance=EVERYTHING).Reload()


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 6)
    )


def row(epoch):
    return {
        "epoch": epoch,
        "learning_rate": 0.1 / epoch,
        "train_loss": 2.0 / epoch,
        "validation_loss": 3.0 / epoch,
        "validation_macro_f1": 0.5,
        "seconds": 7,
    }


def test_scalars_come_back(tmp_path):
    with TensorBoardLog(tmp_path / "a" / "run") as log:
        for epoch in (1, 2, 3):
            log.epoch(row(epoch), nn.Identity())
    assert log.all_writers is None  # closed
    seen = read(tmp_path / "a" / "run")
    expected = {"learning_rate", "loss/train", "loss/validation", "seconds"}
    assert set(seen.Tags()["scalars"]) == expected | {"macro_f1/validation"}
    events = seen.Scalars("loss/train")
    assert [event.step for event in events] == [1, 2, 3]
    assert [event.value for event in events] == pytest.approx([2, 1, 2 / 3])
    rates = [event.value for event in seen.Scalars("learning_rate")]
    assert rates == pytest.approx([0.1, 0.05, 0.1 / 3])


def test_histograms_are_those_of_weights_and_gradients(tmp_path):
    model = net()
    model(torch.randn(5, 3, 5, 5)).square().sum().backward()
    model[4].bias.grad = None  # frozen parameters have none
    names = dict(model.named_parameters())
    gradients = {n: p.grad.clone() for n, p in names.items() if p.grad is not None}
    with TensorBoardLog(tmp_path) as log:
        log.epoch({"epoch": 1}, model)
        model.zero_grad()
        log.epoch({"epoch": 2}, model)
    seen = read(tmp_path)
    expected = {f"weights/{name}" for name in names}
    expected |= {f"gradients/{name}" for name in names if name != "4.bias"}
    assert set(seen.Tags()["histograms"]) == expected
    for tag in expected:
        kind, name = tag.split("/")
        tensor = names[name] if kind == "weights" else gradients[name]
        values = tensor.detach().double().numpy().ravel()
        events = seen.Histograms(tag)
        assert [e.step for e in events] == ([1, 2] if kind == "weights" else [1])
        h = events[0].histogram_value
        assert (h.min, h.max, h.num) == (values.min(), values.max(), values.size)
        assert h.sum == pytest.approx(values.sum())
        assert h.sum_squares == pytest.approx((values**2).sum())
        assert sum(h.bucket) == values.size
        # Counted up to each bucket's limit, independently.
        below = [(values <= limit + 1e-6).sum() for limit in h.bucket_limit]
        least = [(values <= limit - 1e-6).sum() for limit in h.bucket_limit]
        counted = np.cumsum(h.bucket)
        assert (least <= counted).all() and (counted <= below).all()


def test_broken_gradients_do_not_stop_the_log(tmp_path):
    model = nn.Linear(2, 2)
    model.weight.grad = torch.tensor([[1.0, torch.nan], [torch.inf, 3.0]])
    model.bias.grad = torch.full((2,), torch.nan)
    with TensorBoardLog(tmp_path) as log:
        log.epoch({"epoch": 1, "train_loss": float("nan")}, model)
    seen = read(tmp_path)
    h = seen.Histograms("gradients/weight")[0].histogram_value
    assert (h.min, h.max, h.num) == (1, 3, 2)
    assert "gradients/bias" not in seen.Tags()["histograms"]
    assert np.isnan(seen.Scalars("loss/train")[0].value)


def test_the_graph_is_there_and_the_model_untouched(tmp_path):
    model = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=6).train()
    model.bn1.eval()
    state = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    random = torch.get_rng_state()
    with TensorBoardLog(tmp_path) as log:
        log.graph(model, torch.zeros(1, 3, 32, 32))
    assert torch.equal(random, torch.get_rng_state())
    assert modes == [m.training for m in model.modules()]
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    nodes = read(tmp_path).Graph().node
    assert any("layer2" in n.name and "downsample" in n.name for n in nodes)
    # The four additions, which print(model) hides.
    assert sum(n.op == "aten::add_" for n in nodes) == 4


def test_what_cannot_be_traced_is_a_warning(tmp_path, capsys):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("no way through\nsecond line")

    with (
        TensorBoardLog(tmp_path) as log,
        pytest.warns(UserWarning, match="no graph in TensorBoard: no way through$"),
    ):
        log.graph(Broken(), torch.zeros(1))
    assert capsys.readouterr().out == ""


def test_after_an_interruption_no_epoch_is_there_twice(tmp_path):
    first = TensorBoardLog(tmp_path)
    for epoch in (1, 2, 3):
        first.epoch({"epoch": epoch, "train_loss": epoch}, nn.Identity())
    first.close()  # epoch 3 was logged, but its checkpoint was not written
    with TensorBoardLog(tmp_path, purge_step=3) as again:
        for epoch in (3, 4):
            again.epoch({"epoch": epoch, "train_loss": 10 * epoch}, nn.Identity())
    events = read(tmp_path).Scalars("loss/train")
    assert [(e.step, e.value) for e in events] == [(1, 1), (2, 2), (3, 30), (4, 40)]


def test_without_tensorboard_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.delitem(sys.modules, "course_lib.trainer.tensorboard")
    with pytest.raises(ImportError, match="pip install tensorboard"):
        importlib.import_module("course_lib.trainer.tensorboard")

"""One command makes a weights file that the course's loader takes."""

import pytest
import torch

from course_book.experiments import course_weights, synthetic_to_real
from course_lib import weights


def test_from_nothing_and_from_a_file(tmp_path, monkeypatch, capsys):
    # Few and small pictures: the way is tested here, not the result.
    monkeypatch.setattr(synthetic_to_real, "WINDOW", 32)
    monkeypatch.setattr(synthetic_to_real, "PICTURES", 66)
    monkeypatch.setattr(course_weights, "SIZES", {48: (6, 6), 64: (6, 6)})
    monkeypatch.setattr(course_weights, "BATCH", 3)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    trained = []
    honest = synthetic_to_real.train
    monkeypatch.setattr(
        synthetic_to_real,
        "train",
        lambda *a, seed: trained.append(seed) or honest(*a, seed=seed, epochs=1),
    )
    out = tmp_path / "new.npz"
    command = ["--out", str(out), "--epochs", "1", "1"]
    course_weights.main(command)
    assert trained == [0]
    assert "int8" in capsys.readouterr().out
    first = weights.course_resnet18(out, sha256=None)

    again = tmp_path / "again.npz"
    course_weights.main(
        ["--start", str(out), "--out", str(again), "--epochs", "1", "0"]
    )
    assert trained == [0]
    second = weights.course_resnet18(again, sha256=None)
    assert not torch.equal(first.conv1.weight, second.conv1.weight)
    # It started from the file: two fresh nets are nowhere near each other.
    a, b = first.conv1.weight.flatten(), second.conv1.weight.flatten()
    assert torch.cosine_similarity(a, b, dim=0) > 0.9


def test_the_first_stage_is_the_one_that_made_the_shipped_weights(monkeypatch):
    """Small, against what the code of commit 1b49d18 gives, which stored the weights.

    192 windows of 32 px, two epochs: the mean of the pictures, the losses. Clear
    cracks, today's default at this size, would give 112.42, 1.840 and 1.347.
    """
    monkeypatch.setattr(synthetic_to_real, "WINDOW", 32)
    monkeypatch.setattr(synthetic_to_real, "PICTURES", 192)
    losses, drawn = [], []
    train, step = synthetic_to_real.train, synthetic_to_real.train_one_epoch

    def one_epoch(*arguments, **settings):
        seen = step(*arguments, **settings)
        losses.append(seen["loss"])
        return seen

    def short(pictures, labels, seed):
        drawn.append((pictures.mean(), seed))
        return train(pictures, labels, seed, epochs=2)

    monkeypatch.setattr(synthetic_to_real, "train_one_epoch", one_epoch)
    monkeypatch.setattr(synthetic_to_real, "train", short)
    model = course_weights.first(None, threads=1)
    assert drawn == [(pytest.approx(119.083, abs=0.05), 0)]
    assert losses == pytest.approx([1.954, 1.749], abs=0.03)
    assert model.training

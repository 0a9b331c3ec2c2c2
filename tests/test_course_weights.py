"""One command makes a weights file that the course's loader takes."""

import torch

from course_book.experiments import course_weights, synthetic_to_real
from course_lib import weights
from course_lib.resnet import resnet18


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
    first = resnet18(num_classes=6)
    weights.load_course_weights(first, out, check=False)

    again = tmp_path / "again.npz"
    course_weights.main(
        ["--start", str(out), "--out", str(again), "--epochs", "1", "0"]
    )
    assert trained == [0]
    second = resnet18(num_classes=6)
    weights.load_course_weights(second, again, check=False)
    assert not torch.equal(first.conv1.weight, second.conv1.weight)
    # It went on and did not begin again: two fresh nets are nowhere near each other.
    a, b = first.conv1.weight.flatten(), second.conv1.weight.flatten()
    assert torch.cosine_similarity(a, b, dim=0) > 0.9

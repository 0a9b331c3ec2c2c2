import numpy as np
import pytest
import torch

from course_lib import weights
from course_lib.experiments import course_weights as experiment
from course_lib.resnet import resnet18


def turned(pictures: np.ndarray) -> experiment.Turned:
    labels = np.arange(len(pictures))
    generator = torch.Generator().manual_seed(0)
    return experiment.Turned(pictures, labels, generator, len(labels), lambda x: x)


def test_a_picture_is_laid_down_in_eight_ways():
    one = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    ways = {
        np.rot90(side, turn).tobytes()
        for side in (one[0], one[0].transpose(1, 0, 2))
        for turn in range(4)
    }
    (x, _), *_ = turned(one.repeat(100, axis=0))
    seen = (255 * x.permute(0, 2, 3, 1)).round().to(torch.uint8).numpy()
    assert {picture.tobytes() for picture in seen} == ways
    assert len(ways) == 8


def test_tint_changes_light_and_color_and_no_place():
    x = torch.rand(50, 3, 8, 8)
    loader = turned(np.zeros((50, 8, 8, 3), np.uint8))
    loader.generator.manual_seed(1)
    plain = loader.augment(x)
    loader.generator.manual_seed(1)
    loader.tint = 0.15
    tinted = loader.augment(x)
    grey, plain_grey = tinted.mean(1), plain.mean(1)
    ratio = (grey / plain_grey).flatten(1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    assert 0.85 <= ratio.min() < 0.9 and 1.1 < ratio.max() <= 1.15
    strength = (tinted - grey[:, None]).std((1, 2, 3)) / ratio[:, 0]
    strength = strength / (plain - plain_grey[:, None]).std((1, 2, 3))
    assert 0.66 <= strength.min() < 0.75 and 1.0 < strength.max() <= 1.12


def test_every_batch_of_every_size_has_its_turn():
    small, large = ["a"] * 5, ["b"] * 3
    seen = list(experiment.in_turn([small, large], seed=0))
    assert sorted(seen) == small + large
    assert seen != small + large
    assert list(experiment.in_turn([small, large], seed=1)) != seen


def test_a_second_call_goes_on_after_the_last_stage(tmp_path, monkeypatch, capsys):
    stage = experiment.Stage({32: 8, 40: 4}, 1, 1e-3, 4, 0.3, 1, 0.1)
    monkeypatch.setattr(experiment, "STAGES", (stage, stage))
    monkeypatch.setattr(experiment, "TESTS", {32: 6})
    call = ["--work", str(tmp_path), "--out", str(tmp_path / "new.npz")]
    threads = torch.get_num_threads()
    try:
        experiment.main([*call, "--threads", str(threads)])
        first = (tmp_path / "new.npz").read_bytes()
        (tmp_path / "stage2.pt").unlink()
        seen = capsys.readouterr().out
        assert seen.count("epoch 1") == 2
        experiment.main([*call, "--threads", str(threads)])
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().out.count("epoch 1") == 1
    assert len(first) < 12e6
    net = resnet18(num_classes=6)
    weights.load_course_weights(net, tmp_path / "new.npz", check=False)
    with pytest.raises(weights.WeightsError):
        weights.load_course_weights(net, tmp_path / "new.npz")

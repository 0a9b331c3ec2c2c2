import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from course_book import results
from course_book.experiments import real_photos as experiment
from course_book.experiments.synthetic_to_real import Windows
from course_lib.resnet import resnet18


def test_log_odds_are_those_of_the_summed_probabilities():
    logits = torch.randn(50, 6, dtype=torch.float64) * 4
    p = logits.softmax(1)[:, [1, 3, 5]].sum(1)
    ours = experiment.crack_log_odds(logits)
    torch.testing.assert_close(ours, torch.log(p / (1 - p)))


def test_a_photo_scores_as_its_worst_window(monkeypatch):
    monkeypatch.setattr(experiment, "SIZES", (64, 96))
    torch.manual_seed(0)
    model = resnet18(num_classes=6).eval()
    random = np.random.default_rng(0)
    photos = {
        size: random.integers(0, 256, (2, size, size, 3), np.uint8) for size in (64, 96)
    }
    expected = []
    for photo in range(2):
        by_size = []
        for size in (64, 96):
            x = torch.from_numpy(photos[size][photo]).permute(2, 0, 1) / 255
            odds = []
            for i in range(0, size - 63, 32):
                for j in range(0, size - 63, 32):
                    window = x[None, :, i : i + 64, j : j + 64]
                    window = (window - window.mean()) / (window.std() + 0.01)
                    with torch.no_grad():
                        odds.append(experiment.crack_log_odds(model(window)).item())
            by_size.append(1 / (1 + np.exp(-max(odds))))
        expected.append(np.mean(by_size))
    # bfloat16 keeps 8 bits of a number.
    np.testing.assert_allclose(
        experiment.crack_scores(model, photos), expected, atol=0.02
    )


def test_bootstrap_brackets_the_auc():
    random = np.random.default_rng(1)
    truth = np.repeat([1, 0], [30, 90])
    scores = random.normal(size=(3, 120)) + truth
    other = random.normal(size=120)
    found = experiment.bootstrap(truth, scores, other, draws=200)
    auc = np.mean([roc_auc_score(truth, row) for row in scores])
    assert found["auc"] == pytest.approx(auc)
    assert found["baseline"] == pytest.approx(roc_auc_score(truth, other))
    assert found["gain"] == pytest.approx(found["auc"] - found["baseline"])
    for name in ("auc", "baseline", "gain"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    # Hanley and McNeil (1982): the standard error of one AUC.
    one = experiment.bootstrap(truth, scores[:1], other, draws=400)
    a = one["auc"]
    q1, q2 = a / (2 - a), 2 * a**2 / (1 + a)
    error = a * (1 - a) + 29 * (q1 - a**2) + 89 * (q2 - a**2)
    width = one["auc_high"] - one["auc_low"]
    assert width == pytest.approx(3.92 * np.sqrt(error / 2700), rel=0.25)


def test_the_baseline_sees_a_dark_line():
    photos = np.full((2, 128, 128, 3), 170, np.uint8)
    photos[1, 60:63, 10:118] = 60
    low, high = experiment.baseline(photos)
    assert low == pytest.approx(0, abs=1)
    assert high > 30


def test_windows_are_standardized_and_every_picture_comes_once():
    pictures = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
    labels = np.arange(20)
    windows = Windows(pictures, labels, torch.Generator().manual_seed(0), batch=6)
    seen = []
    for x, y in windows:
        assert x.shape == (6, 3, 16, 16)
        assert x.mean((1, 2, 3)).abs().max() < 1e-4
        assert 0.8 < x.std((1, 2, 3)).min() <= x.std((1, 2, 3)).max() <= 1
        seen += y.tolist()
    assert len(seen) == len(set(seen)) == 18


def test_photos_are_paired_with_their_truth(tmp_path):
    gray = Image.new("RGB", (256, 256), (150, 150, 150))
    for side, patches in (("CD", (1, 2)), ("UD", (3, 4, 5))):
        (tmp_path / "D" / side).mkdir(parents=True)
        for photo in ("7001", "7002", "7003"):
            for patch in patches:
                gray.save(tmp_path / "D" / side / f"{photo}-{patch}.jpg")
    for side in ("Positive", "Negative"):
        (tmp_path / side).mkdir()
        for number in range(4):
            gray.save(tmp_path / side / f"{number}.jpg")
    sets = list(experiment.real_sets(tmp_path, tmp_path))
    assert [name for name, *_ in sets if name in experiment.TUNED_ON] == list(
        experiment.TUNED_ON
    )
    for name, files, truth in sets:
        for file, cracked in zip(files, truth, strict=True):
            assert (file.parent.name in ("CD", "Positive")) == bool(cracked), name
    halves = [set(files) for name, files, _ in sets if "METU" in name]
    assert not halves[0] & halves[1]
    with pytest.raises(ValueError, match="--sdnet"):
        list(experiment.real_sets(tmp_path / "none", tmp_path))


def test_the_table_holds_what_the_book_tells():
    table = results.load("synthetic_to_real")
    assert len(table) == 5 * 4
    for row in table:
        assert row["auc_low"] <= row["auc"] <= row["auc_high"]
        assert row["gain"] == pytest.approx(row["auc"] - row["baseline"], abs=2e-4)
        assert (row["role"] == "tuned on") == (row["set"] in experiment.TUNED_ON)
        alone = [r["auc"] for r in table if r["set"] == row["set"]]
        if row["seed"] == "mean":
            assert row["auc"] == pytest.approx(np.mean(alone[:3]), abs=2e-4)

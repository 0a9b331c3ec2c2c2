"""The parts of the long experiments that decide what their tables mean."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn

from course_book.experiments import decks, headline


@pytest.mark.parametrize("shape", [(5, 8, 8), (5, 8, 8, 3)])
def test_bytes_become_channels_first_and_keep_their_order(shape):
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = headline.tensors(pictures, [0, 1, 2, 3, 4])
    x, y = data.tensors
    assert x.shape == (5, 1 if len(shape) == 3 else 3, 8, 8)
    assert y.tolist() == [0, 1, 2, 3, 4]
    plain = pictures.reshape(5, 8, 8, -1)[3, 2, 5].astype(float)
    ours = x[3, :, 2, 5].numpy()
    assert np.allclose(np.diff(plain), np.diff(ours) * 255 * 0.25, atol=1e-3)
    assert np.corrcoef(pictures.ravel(), x.movedim(1, -1).ravel())[0, 1] > 0.999


def test_rows_of_other_runs_stay(tmp_path):
    out = tmp_path / "rows.csv"
    headline.save(out, [{"run": "metu", "seed": 0, "accuracy": 1.0}])
    headline.save(out, [{"run": "digits", "seed": s, "accuracy": 0.9} for s in (0, 1)])
    headline.save(out, [{"run": "metu", "seed": 1, "accuracy": 0.5}])
    with out.open() as file:
        rows = list(csv.DictReader(line for line in file if line[0] != "#"))
    seen = [(row["run"], row["seed"], row["accuracy"]) for row in rows]
    assert seen == [
        ("digits", "0", "0.9"),
        ("digits", "1", "0.9"),
        ("metu", "1", "0.5"),
    ]


def test_an_unknown_run_is_refused(capsys):
    with pytest.raises(SystemExit):
        headline.main(["--runs", "imagenet"])
    assert "choose from" in capsys.readouterr().err


def test_patches_come_with_their_truth_and_their_photo(tmp_path):
    for label, side in enumerate(("UD", "CD")):
        folder = tmp_path / "D" / side
        folder.mkdir(parents=True)
        for number, photo in enumerate(decks.PHOTOS):
            for patch in range(1 + label):
                color = (80 * number, 100 * label, 0)
                picture = Image.new("RGB", (256, 256), color)
                picture.save(folder / f"{photo}-{patch + 1}.jpg", quality=95)
    pictures, truth, photo = decks.patches(tmp_path)
    assert pictures.shape == (9, decks.SIZE, decks.SIZE, 3)
    assert truth.tolist() == [0] * 3 + [1] * 6
    assert photo.tolist() == [*decks.PHOTOS, *np.repeat(decks.PHOTOS, 2)]
    number = np.array([decks.PHOTOS.index(name) for name in photo])
    colors = np.stack([80 * number, 100 * truth, 0 * truth], 1)
    assert np.abs(pictures.mean((1, 2)) - colors).max() < 4
    for path in (tmp_path / "D" / "CD").glob("7002-*"):
        path.unlink()
    with pytest.raises(ValueError, match=r"no patch of photo 7002 in .*CD"):
        decks.patches(tmp_path)


TRUTH = np.repeat([0, 1], [90, 30])
PHOTO = np.tile(["7001", "7002", "7003"], 40)


def test_thirds_by_photo_and_at_random():
    assert (decks.thirds(TRUTH, PHOTO, "photo") == PHOTO).all()
    part = decks.thirds(TRUTH, PHOTO, "random")
    for third in ("0", "1", "2"):
        assert (part == third).sum() == 40
        assert TRUTH[part == third].sum() == 10
        assert set(PHOTO[part == third]) == set(PHOTO)
    with pytest.raises(ValueError, match="split must be"):
        decks.thirds(TRUTH, PHOTO, "leaky")


def test_intervals_hold_the_mean_over_the_seeds():
    draws = np.random.default_rng(1)
    ours = draws.normal(size=(3, 120)) + 1.2 * TRUTH
    found = decks.intervals(TRUTH, ours, draws=200)
    auc = np.mean([roc_auc_score(TRUTH, row) for row in ours])
    ap = np.mean([average_precision_score(TRUTH, row) for row in ours])
    assert found["auc"] == pytest.approx(auc)
    assert found["ap"] == pytest.approx(ap)
    assert found["auc_low"] < auc < found["auc_high"]
    assert 0.02 < found["auc_high"] - found["auc_low"] < 0.2


class Corner(nn.Module):
    """Says how bright one corner is: what a turned picture changes."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))  # tells the device

    def forward(self, x):
        corner = x[:, :, :4, :4].mean((1, 2, 3))
        return torch.stack([-corner, 2 * corner], 1)


def test_a_score_does_not_depend_on_how_the_patch_lies():
    x = torch.randn(6, 3, 16, 16)
    upright = decks.scores(Corner(), x)
    lying = decks.scores(Corner(), torch.rot90(x.flip(2), 1, (2, 3)))
    assert np.allclose(upright, lying, atol=1e-2)
    corners = [x[:, :, i : i + 4, j : j + 4] for i in (0, 12) for j in (0, 12)]
    mean = torch.stack([c.mean((1, 2, 3)) for c in corners]).mean(0)
    assert np.allclose(upright, 3 * mean, atol=2e-2)
    assert np.ptp(upright) > 0.1


def test_the_pretrained_head_says_cracked_or_not():
    model, whole = decks.pretrained().eval(), decks.course_resnet18().eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        two, six = model(x), whole(x)
    assert torch.allclose(two, six.reshape(2, 3, 2).mean(1), atol=1e-5)

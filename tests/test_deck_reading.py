"""The readings of one network: windows, turns, and what the table tells."""

import numpy as np
import pytest
import torch
from PIL import Image

from course_book import results
from course_book.experiments import deck_reading


class Brightest(torch.nn.Module):
    """Says "cracked deck" by the mean of a picture: log-odds are known by hand."""

    def forward(self, x):
        logits = torch.zeros(len(x), 6)
        logits[:, 1] = x.float().mean((1, 2, 3))
        return logits


def by_hand(x):
    mean = x.double().mean((1, 2, 3))
    return torch.log((mean.exp() + 2) / 3)


def test_windows_reach_from_edge_to_edge():
    x = torch.arange(10.0 * 10).reshape(1, 1, 10, 10)
    parts = deck_reading.windows(x, 3, window=4)
    assert parts.shape == (1, 9, 1, 4, 4)
    corners = [(i, j) for i in (0, 3, 6) for j in (0, 3, 6)]
    for part, (i, j) in zip(parts[0], corners, strict=True):
        assert torch.equal(part[0], x[0, 0, i : i + 4, j : j + 4])
    # every pixel is in some window
    assert set(parts.flatten().tolist()) == set(range(100))


def test_a_look_is_the_log_odds_of_cracked():
    x = torch.rand(40, 3, 8, 8)
    seen = deck_reading.look(Brightest(), x)
    assert seen.dtype == torch.float64
    torch.testing.assert_close(seen, by_hand(x), atol=1e-3, rtol=0)


def test_every_reading_scores_every_patch(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    files = []
    for name in "ab":
        files.append(tmp_path / f"{name}.jpg")
        Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)).save(files[-1])
    monkeypatch.setattr(deck_reading, "crack_scores", lambda model, photos: np.zeros(2))
    found = list(deck_reading.readings(Brightest(), files))
    assert all(scores.shape == (2,) for *_, scores in found)
    scores = {(way, size): values for way, size, _, values in found}
    x = deck_reading.resized(files, 256)
    parts = deck_reading.windows(x, 3)
    odds = by_hand(parts.flatten(0, 1)).reshape(2, 9).numpy()
    np.testing.assert_allclose(
        scores["windows, most suspicious", "256"], odds.max(1), atol=1e-3
    )
    np.testing.assert_allclose(scores["windows, mean", "256"], odds.mean(1), atol=1e-3)
    # turning a picture does not change its mean
    np.testing.assert_allclose(
        scores["whole, 8 turns", "128"], scores["whole", "128"], atol=1e-3
    )


def test_the_table_has_every_reading_of_every_photo():
    table = results.load("deck_reading")
    ways = {(row["reading"], row["size"]) for row in table}
    assert len(table) == 3 * len(ways)
    baselines = {
        row["set"]: row["baseline"]
        for row in results.load("synthetic_to_real")
        if row["seed"] == "mean"
    }
    for row in table:
        assert row["auc_low"] <= row["auc"] <= row["auc_high"]
        assert row["baseline"] == baselines[row["set"]]
        assert row["role"] == ("held out" if "7003" in row["set"] else "tuned on")
        assert row["gain"] == pytest.approx(row["auc"] - row["baseline"], abs=2e-4)

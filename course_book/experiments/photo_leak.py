r"""What a random split hides: real deck patches, split at random and by photo.

    python -m course_book.experiments.photo_leak SDNET2018_FOLDER \
        --out course_book/results/photo_leak.csv

Deck photos 7001, 7002 and 7003 of SDNET2018 have 706 patches, 101 of them
cracked. A logistic regression on 14 numbers per patch (colors, contrast, fine
structure) separates cracked from uncracked, trained once on two thirds of all
patches drawn at random (100 shuffles into three folds) and once on the two other
photos. Both train on as many patches; both are scored by ROC AUC inside one photo
at a time. Nothing was tuned. The only difference is whether training saw other
patches of the photo that is tested.
"""

from __future__ import annotations

import argparse
import csv
import platform
from pathlib import Path

import numpy as np
import PIL
import sklearn
from PIL import ImageFilter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from course_lib.data.photos import open_photo

PHOTOS = (7001, 7002, 7003)


def describe_patch(path: Path) -> np.ndarray:
    """Fourteen numbers of one patch: colors, contrast, fine dark structure."""
    image = open_photo(path)
    pixels = np.asarray(image, dtype=np.float64) / 255
    light = pixels.mean(axis=2)
    gray = image.convert("L").resize((128, 128))
    coarse, fine = (
        np.asarray(gray.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float64)
        for radius in (8, 1)
    )
    difference = coarse - fine
    return np.concatenate(
        [
            pixels.mean(axis=(0, 1)),
            pixels.std(axis=(0, 1)),
            np.percentile(difference, [0.5, 5, 50, 95, 99.5]),
            [difference.std()],
            [abs(np.diff(light, axis=axis)).mean() for axis in (0, 1)],
        ]
    )


def measure(tree: Path, shuffles: int) -> list[dict[str, object]]:
    """One row per photo and way of splitting: the mean AUC and its spread."""
    paths = [
        path
        for path in sorted(tree.glob("D/[CU]D/*.jpg"))
        if int(path.name.split("-")[0]) in PHOTOS
    ]
    x = np.stack([describe_patch(path) for path in paths])
    cracked = np.array([path.parent.name == "CD" for path in paths])
    photo = np.array([int(path.name.split("-")[0]) for path in paths])

    def scores(splits: object) -> dict[int, list[float]]:
        result: dict[int, list[float]] = {number: [] for number in PHOTOS}
        out_of_fold = np.zeros(len(x))
        for train, test in splits:
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            model.fit(x[train], cracked[train])
            out_of_fold[test] = model.decision_function(x[test])
            for number in PHOTOS:
                here = test[photo[test] == number]
                if 0 < cracked[here].sum() < len(here):
                    auc = roc_auc_score(cracked[here], out_of_fold[here])
                    result[number].append(auc)
        return result

    at_random: dict[int, list[float]] = {number: [] for number in PHOTOS}
    for seed in range(shuffles):
        folds = StratifiedKFold(3, shuffle=True, random_state=seed)
        for number, values in scores(folds.split(x, cracked)).items():
            at_random[number].append(float(np.mean(values)))
    by_photo = scores(LeaveOneGroupOut().split(x, cracked, photo))
    rows = []
    for number in PHOTOS:
        mine = photo == number
        for name, values in (
            ("random", at_random[number]),
            ("photo", by_photo[number]),
        ):
            rows.append(
                {
                    "photo": number,
                    "split": name,
                    "patches": int(mine.sum()),
                    "cracked": int(cracked[mine].sum()),
                    "runs": len(values),
                    "auc": f"{np.mean(values):.4f}",
                    "sd": f"{np.std(values):.4f}",
                }
            )
    return rows


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tree", type=Path, help="folder with D/CD and D/UD")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shuffles", type=int, default=100)
    options = parser.parse_args()
    rows = measure(options.tree, options.shuffles)
    head = (
        "# python -m course_book.experiments.photo_leak SDNET2018_FOLDER\n"
        "# ROC AUC inside one deck photo of SDNET2018 (CC BY 4.0, DOI 10.15142/"
        "T3TD19), on the CPU;\n"
        f"# Python {platform.python_version()}, scikit-learn {sklearn.__version__}, "
        f"Pillow {PIL.__version__}; auc: mean over the runs, sd: their spread\n"
    )
    with options.out.open("w", encoding="utf-8", newline="") as file:
        file.write(head)
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()

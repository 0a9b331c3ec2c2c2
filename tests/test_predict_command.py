"""The command that answers, and the functions behind it."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from course_lib import train
from course_lib.data import sources
from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.digits import digits
from course_lib.data.images import ByteImages
from course_lib.data.photos import open_photo
from course_lib.data.preprocessing import Preprocessing
from course_lib.looking import grad_cam, overlay
from course_lib.predict import Predictor, load_predictor, main
from course_lib.resnet import BasicBlock, ResNet
from course_lib.synthetic import SyntheticCracks
from course_lib.trainer import CheckpointError, Trainer, TrainerConfig
from course_lib.trainer.checkpoints import save
from course_lib.weights import course_resnet18

CLASSES = ("rough", "smooth", "wet")
NUMBERS = {"size": 40, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.2], "channels": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A real training of a small net, and its folder."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    model = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=3)
    config = TrainerConfig(
        epochs=1, batch_size=6, progress=False, precision="fp32", checkpoint_dir=folder
    )
    data = torch.utils.data.TensorDataset(
        torch.randn(6, 3, 40, 40), torch.arange(6) % 3
    )
    prepare = Preprocessing.from_dict(NUMBERS)
    trainer = Trainer(model, config, classes=CLASSES, preprocessing=prepare)
    trainer.fit(data, data)
    return folder, model


@pytest.fixture
def photos(tmp_path):
    """Awkward files, all readable."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = rng.integers(0, 65536, (50, 50)).astype(np.uint16)
    saved = {
        "wide.png": (rgb, {}),
        "turned.jpg": (rgb, {"exif": exif}),
        "gray.png": (rgb.convert("L"), {}),
        "clear.png": (rgb.convert("RGBA"), {}),
        "deep.png": (Image.fromarray(deep), {}),
        "print.jpg": (rgb.convert("CMYK"), {}),
        "Größe 8 裂缝.png": (rgb.resize((7, 300)), {}),
    }
    for name, (image, options) in saved.items():
        image.save(tmp_path / name, **options)
    return [tmp_path / name for name in saved]


def parse(text):
    """{photo: {class: percent}} from what was printed."""
    answers, photo = {}, None
    for line in text.splitlines():
        if not line.startswith("  "):
            photo = answers.setdefault(line, {})
        elif " %  " in line:
            percent, name = line.split(" %  ")
            photo[name] = float(percent)
    return answers


def test_every_kind_of_photo_gets_its_probabilities(run, photos, capsys):
    folder, model = run
    checkpoint = folder / "best.pt"
    assert main([str(checkpoint), *map(str, photos)]) == 0
    printed = capsys.readouterr()
    # Of some the middle square is not nearly all.
    warned = [line.split(": ")[:2] for line in printed.err.splitlines()]
    assert warned == [["warning", str(photos[k])] for k in (0, 1, 2, 3, 5, 6)]
    answers = parse(printed.out)
    assert list(answers) == [str(photo) for photo in photos]
    prepare = Preprocessing.from_dict(NUMBERS)
    for photo, answer in answers.items():
        with torch.no_grad():
            logits = model.eval()(prepare(open_photo(photo))[None])[0]
        expected = dict(zip(CLASSES, logits.softmax(0).tolist()))
        assert set(answer) == set(CLASSES)
        values = list(answer.values())
        assert values == sorted(values, reverse=True)
        for name, percent in answer.items():
            assert percent == pytest.approx(100 * expected[name], abs=0.06)
    # The folder of a run stands for its best weights.
    assert main([str(folder), str(photos[0])]) == 0
    assert parse(capsys.readouterr().out)[str(photos[0])] == answers[str(photos[0])]


def test_broken_photos_get_a_sentence_and_the_rest_goes_on(
    run, photos, tmp_path, capsys
):
    whole = photos[0].read_bytes()
    bad = {"cut.png": whole[: len(whole) // 2], "empty.jpg": b"", "page.jpg": b"<html>"}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    names = [*bad, "missing.jpg"]
    asked = [tmp_path / names[0], photos[0], *(tmp_path / n for n in names[1:])]
    assert main([str(run[0] / "best.pt"), *map(str, [*asked, photos[1]])]) == 1
    printed = capsys.readouterr()
    assert list(parse(printed.out)) == [str(photos[0]), str(photos[1])]
    lines = printed.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    for name, line in zip(names, errors, strict=True):
        assert name in line
    assert lines[-1] == "4 of 6 photos failed, see above"


def test_cam_pictures(run, photos, tmp_path, capsys):
    (tmp_path / "more").mkdir()
    twin = tmp_path / "more" / photos[0].name
    twin.write_bytes(photos[0].read_bytes())
    heat = tmp_path / "a" / "heat"
    asked = [photos[0], twin, photos[2]]
    arguments = [str(run[0] / "best.pt"), *map(str, asked), "--cam", str(heat)]
    assert main(arguments) == 0
    saved = sorted(path.name for path in heat.iterdir())
    assert saved == ["gray_cam.png", "wide_cam.png", "wide_cam_2.png"]
    first, second = ((heat / name).read_bytes() for name in saved[1:])
    assert first == second
    picture = Image.open(heat / "gray_cam.png")
    plain = Preprocessing(40, 46, (0, 0, 0), (1, 1, 1))
    x = plain(open_photo(photos[2]))
    mean, std = (torch.tensor(NUMBERS[name])[:, None, None] for name in ("mean", "std"))
    expected = overlay(x, grad_cam(run[1], ((x - mean) / std)[None])[0])
    expected = np.asarray(expected.resize((448, 448))).astype(int)
    assert np.abs(np.asarray(picture) - expected).max() <= 2
    assert np.ptp(expected, axis=2).max() > 50  # it is hot somewhere
    assert str(heat / "wide_cam_2.png") in capsys.readouterr().out
    # A file in the way of the folder: nothing starts.
    assert main([*arguments[:-1], str(photos[0])]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and photos[0].name in printed.err


def test_the_network_of_the_course(photos, monkeypatch, capsys):
    answers, notes, _ = load_predictor("course").ask(photos[0])
    assert tuple(answers) == CRACK_CLASSES and "only the middle 51%" in notes[0]
    x = Preprocessing.for_photos()(open_photo(photos[0], at_least=256))
    with torch.no_grad():
        expected = course_resnet18()(x[None]).softmax(1)[0].tolist()
    assert list(answers.values()) == pytest.approx(expected, abs=1e-4)
    monkeypatch.setattr(sys, "argv", ["predict", "course", str(photos[0])])
    monkeypatch.delitem(sys.modules, "course_lib.predict")
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("course_lib.predict", run_name="__main__")
    assert stop.value.code == 0
    best = max(answers, key=answers.get)
    assert next(iter(parse(capsys.readouterr().out)[str(photos[0])])) == best


class Evil:
    def __reduce__(self):
        return (sys.exit, ("code ran while loading",))


def damaged(run, tmp_path, kind):
    """A checkpoint file with one fault."""
    path = tmp_path / "bad.pt"
    data = bytearray((run[0] / "best.pt").read_bytes())
    state = torch.load(run[0] / "best.pt", weights_only=True)
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text(json.dumps({"model": {}}))
    elif kind == "state_dict":
        torch.save(state["model"], path)
    elif kind == "code":
        torch.save({"model": Evil()}, path)
    elif kind == "nan":
        state["model"]["fc.bias"][0] = torch.nan
        save(path, state)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("preprocessing", "classes"):
        changed = {"preprocessing": None, "classes": ["one"]}
        save(path, state | {kind: changed[kind]})
    elif kind == "gray numbers":
        numbers = {"size": 40, "mean": [0.5], "std": [0.2], "channels": 1}
        save(path, state | {"preprocessing": numbers})
    elif kind == "zero std":
        save(path, state | {"preprocessing": NUMBERS | {"std": [0, 1, 1]}})
    elif kind == "foreign net":
        save(path, state | {"arch": None})
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no such file"),
        ("truncated", "truncated"),
        ("flipped", "damaged"),
        ("empty", "no file of weights"),
        ("text", "no file of weights"),
        ("state_dict", "no checkpoint of this trainer"),
        ("code", "refused"),
        ("nan", "NaN"),
        ("folder", "no such file"),
        ("preprocessing", "preprocessing must hold size, mean and std"),
        ("classes", "1 classes and 3 channel means do not fit"),
        ("gray numbers", "3 input channels"),
        ("zero std", "1 or 3 finite numbers each, std positive"),
        ("foreign net", "none of course_lib.resnet"),
    ],
)
def test_a_bad_checkpoint_is_one_clear_error(
    run, photos, tmp_path, kind, message, capsys
):
    path = damaged(run, tmp_path, kind)
    with pytest.raises(CheckpointError, match=message):
        load_predictor(path)
    assert main([str(path), str(photos[0])]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ") and len(printed.err.splitlines()) == 1


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "python -m course_lib.predict course wall.jpg" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["course"])
    assert stop.value.code == 2


# One preprocessing: what the report says is found again


def accuracy_and_loss(run, folder, capsys):
    """By command on folders of photos, one per class; the loss to a few percent."""
    capsys.readouterr()
    assert main([str(run), str(folder)]) == 0
    answers = parse(capsys.readouterr().out)
    assert len(answers) == len(list(folder.rglob("*.*")))
    truth = [Path(photo).parent.name for photo in answers]
    right = [name == next(iter(a)) for name, a in zip(truth, answers.values())]
    p = [max(a[name], 0.05) / 100 for name, a in zip(truth, answers.values())]
    return np.mean(right), -np.log(p).mean()


def test_the_report_on_digits_is_found_again(tmp_path, monkeypatch, capsys):
    def few(split, *, size):
        part = digits(split, size=size)
        count = 320 if split == "train" else 60
        return ByteImages(
            part.images[:count], part.labels[:count], classes=part.classes
        )

    monkeypatch.setattr(sources, "digits", few)
    command = "--data digits --epochs 1 --batch-size 16 --precision fp32 --quiet --out"
    assert train.main([*command.split(), str(tmp_path / "run")]) == 0
    report = json.loads((tmp_path / "run/report.json").read_text())
    part = few("test", size=16)
    for index, label in enumerate(part.labels):
        folder = tmp_path / "test" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(part.images[index]).save(folder / f"{index}.png")
    accuracy, loss = accuracy_and_loss(tmp_path / "run", tmp_path / "test", capsys)
    assert accuracy == pytest.approx(report["accuracy"], abs=1e-9)
    assert loss == pytest.approx(report["loss"], rel=0.01)


def test_the_report_on_photos_is_found_again(tmp_path, monkeypatch, capsys):
    """Discs of two sizes on photos that are not square; JPEG and PNG."""
    monkeypatch.setenv("HOME", str(tmp_path))
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:150, :200]
    for split, count in (("train", 8), ("validation", 2), ("test", 10)):
        for k in range(2 * count):
            radius = (28, 34)[k % 2] + rng.uniform(-4, 4)
            disc = np.hypot(y - 75, x - 100) < radius
            noise = rng.normal(120, 20, (150, 200, 3)) + 80 * disc[..., None]
            folder = tmp_path / "photos" / split / ("small", "large")[k % 2]
            folder.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
            picture.save(folder / f"{k}.{('png', 'jpg')[k % 4 // 2]}")
    command = f"--data {tmp_path / 'photos'} --size 32 --epochs 2 --batch-size 4"
    command += f" --weights course --precision fp32 --quiet --out {tmp_path / 'run'}"
    assert train.main(command.split()) == 0
    report = json.loads((tmp_path / "run/report.json").read_text())
    found = accuracy_and_loss(tmp_path / "run", tmp_path / "photos/test", capsys)
    assert found[0] == pytest.approx(report["accuracy"], abs=1e-9)
    assert found[1] == pytest.approx(report["loss"], rel=0.01)


def test_the_course_network_answers_photos_as_it_was_tested(tmp_path, capsys):
    pictures = SyntheticCracks("test", size=256, count=6)
    prepare, model = Preprocessing.for_photos(), course_resnet18()
    images, _ = pictures.arrays(1)
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        p = model(prepare.normalize(prepare.windows(x))).softmax(1)
    for k in range(6):
        pictures[k][0].save(tmp_path / f"{k}.png")
    assert main(["course", str(tmp_path)]) == 0
    answers = parse(capsys.readouterr().out).values()
    for expected, answer in zip(p.tolist(), answers, strict=True):
        for name, value in zip(CRACK_CLASSES, expected, strict=True):
            assert answer[name] == pytest.approx(100 * value, abs=0.06)


# What the answer covers


def test_what_was_not_looked_at_is_said(tmp_path, capsys):
    """4000 × 3000: the middle 57 %, and one pixel of 12 × 12."""
    wall = Image.new("RGB", (4000, 3000), (150, 150, 150))
    wall.paste((30, 30, 30), (200, 0, 260, 3000))  # a crack at the edge
    wall.save(tmp_path / "wall.jpg")
    wall.resize((256, 256)).save(tmp_path / "patch.jpg")
    assert (
        main(["course", str(tmp_path / "patch.jpg"), str(tmp_path / "wall.jpg")]) == 0
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"warning: {tmp_path / 'wall.jpg'}: only the middle 57% was looked at, 11.7 "
        "times smaller: what is not there, or less than 12 pixels wide, can be missed; "
        "cut photos into squares of about 256 pixels and ask about each"
    )


@pytest.mark.parametrize(
    ("size", "resize", "photo", "said"),
    [
        (224, 256, (256, 256), None),  # the usual border
        (224, 256, (500, 505), None),
        (224, 256, (50, 50), None),  # enlarged: nothing is lost
        (224, 256, (600, 600), "only the middle 77% was looked at, 2.3 times smaller"),
        (224, 256, (256, 300), "only the middle 65% was looked at:"),
        (28, 28, (28, 28), None),
        (28, 28, (900, 900), "all of it was looked at, 32.1 times smaller"),
        (28, 28, (28, 56), "only the middle 50% was looked at:"),
    ],
)
def test_unseen(size, resize, photo, said):
    notes = Preprocessing(size, resize).unseen(*photo)
    assert [note[: len(said or "")] for note in notes] == ([said] if said else [])


def test_deep_photos_are_answered_with_a_warning(tmp_path, capsys):
    twelve = np.random.default_rng(0).integers(0, 4096, (256, 256)).astype(np.uint16)
    Image.fromarray(twelve).save(tmp_path / "12.png")
    Image.fromarray((twelve // 16).astype(np.uint8)).save(tmp_path / "8.png")
    assert main(["course", *(str(tmp_path / n) for n in ("8.png", "12.png"))]) == 0
    printed = capsys.readouterr()
    assert "12.png: values up to 4,095: 4,095 is taken for white" in printed.err
    eight, deep = parse(printed.out).values()
    assert deep == pytest.approx(eight, abs=2)


# Which photos are meant


def names_of(capsys):
    return [Path(name).name for name in parse(capsys.readouterr().out)]


def test_folders_patterns_and_strange_names(tmp_path, monkeypatch, capsys):
    picture = Image.new("RGB", (256, 256), (120, 130, 140))
    (tmp_path / "in" / "deep er").mkdir(parents=True)
    (tmp_path / "in" / ".hidden").mkdir()
    files = ["b.jpg", "deep er/a.PNG", ".hidden/c.jpg", "._b.jpg", "Thumbs.db"]
    for name in files:
        with (tmp_path / "in" / name).open("wb") as file:
            picture.save(file, "PNG")
    (tmp_path / "in" / "notes.txt").write_text("no photo")
    (tmp_path / "in" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    monkeypatch.chdir(tmp_path)
    assert main(["course", "in"]) == 1
    printed = capsys.readouterr()
    assert list(parse(printed.out)) == ["in/b.jpg", "in/deep er/a.PNG"]
    assert "in/IMG_1.HEIC: a HEIC picture; pip install pillow-heif" in printed.err
    assert "no images: 1, such as in/notes.txt" in printed.err
    assert "1 of 3 photos failed" in printed.err

    assert main(["course", "in/**/*.PNG", "in/b.*", "in/b.jpg"]) == 0
    assert names_of(capsys) == ["a.PNG", "b.jpg"]  # none twice
    assert main(["course", "in/*.tiff"]) == 1
    assert "error: in/*.tiff: no such file" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["course", "empty"]) == 1
    assert "error: empty: no image files found" in capsys.readouterr().err

    strange = [
        "a[1].jpg",
        "-1.jpg",
        "--cam.jpg",
        "🧱 wall.jpg",
        "two\nlines.jpg",
        "*.jpg",
    ]
    for name in [*strange, "a1.jpg"]:
        with (tmp_path / name).open("wb") as file:
            picture.save(file, "JPEG")
    assert main(["course", *strange]) == 0
    assert names_of(capsys) == [name.replace("\n", "\\n") for name in strange]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_photo_is_one_line_each(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.jpg")
    Image.new("RGB", (300, 1)).save(tmp_path / "thin.png")
    (tmp_path / "zero.bmp").write_bytes(b"BM" + bytes(52))
    long = "x" * 300 + ".jpg"
    names = ["pipe.jpg", "thin.png", "zero.bmp", long, "no\0good.jpg"]
    assert main(["course", *(str(tmp_path / name) for name in names)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert len(lines) == 6 and lines[-1] == "5 of 5 photos failed, see above"
    for line, reason in zip(lines, ["device", "300 × 1 pixels", "", "cannot be read"]):
        assert line.startswith("error: ") and reason in line


def test_max_pixels(tmp_path, capsys):
    Image.new("1", (2000, 1000)).save(tmp_path / "large.png")
    ask = ["course", str(tmp_path / "large.png"), "--max-pixels"]
    assert main([*ask, "1000000"]) == 1
    assert "raise max_pixels (predict --max-pixels)" in capsys.readouterr().err
    assert main([*ask, "2000000"]) == 0


# Streams, devices and strange numbers


def test_cam_goes_on_after_a_picture_that_cannot_be_saved(run, tmp_path, capsys):
    picture = Image.new("RGB", (50, 50), (120, 130, 140))
    long = tmp_path / ("x" * 249 + ".jpg")  # fits; with _cam.png it does not
    for path in (long, tmp_path / "b.jpg"):
        picture.save(path)
    heat = tmp_path / "heat"
    asked = [str(run[0]), str(long), str(tmp_path / "b.jpg"), "--cam", str(heat)]
    assert main(asked) == 1
    printed = capsys.readouterr()
    assert len(parse(printed.out)) == 2
    assert "cannot be written: File name too long" in printed.err
    assert [path.name for path in heat.iterdir()] == ["b_cam.png"]


def test_any_console_and_a_reader_that_stops(tmp_path):
    picture = tmp_path / "Größe 裂缝.png"
    Image.new("RGB", (256, 256), (120, 130, 140)).save(picture)
    command = [sys.executable, "-m", "course_lib.predict", "course", str(picture)]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert rb"\u88c2\u7f1d.png" in done.stdout and done.stderr == b""
    reading, writing = os.pipe()
    os.close(reading)  # a reader that has gone
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_devices(run, photos, capsys):
    assert main([str(run[0]), str(photos[4]), "--device", "cpu"]) == 0
    assert capsys.readouterr().err == ""
    assert main([str(run[0]), str(photos[4]), "--device", "cuda:77"]) == 2
    assert "error: device 'cuda:77' does not work" in capsys.readouterr().err


class Red(nn.Module):
    """Logits from the mean red, so that the right answer is known."""

    def __init__(self, scale=10.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))
        self.drop = nn.Dropout(0.5)
        self.frozen = nn.BatchNorm2d(3).eval()

    def forward(self, x):
        assert not self.training and not self.drop.training
        assert not torch.is_grad_enabled() and x.dtype == torch.float64
        red = x[:, 0].mean(dim=(1, 2)) * self.scale
        return torch.stack([red, -red], dim=1)


def test_any_model_can_be_asked(tmp_path):
    model = Red().train()
    model.frozen.eval()
    path = tmp_path / "x.png"
    Image.new("RGBA", (30, 30), (255, 0, 0, 255)).save(path)
    prepare = Preprocessing(16, 18, (0.5,) * 3, (10.0,) * 3)
    for photo in (path, str(path), path.read_bytes(), Image.open(path)):
        got = Predictor(model, ("red", "not"), prepare).ask(photo).probabilities
        expected = torch.tensor([0.5, -0.5]).softmax(0)
        assert list(got) == ["red", "not"]
        assert list(got.values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert model.training and model.drop.training and not model.frozen.training
    with pytest.raises(ValueError, match=r"shape \[1, 2\].* classes has 6 names"):
        Predictor(model, CRACK_CLASSES, prepare).ask(path)


@pytest.mark.parametrize("scale", [np.nan, np.inf, 1e308])
def test_an_answer_that_is_not_finite_is_an_error(scale):
    ask = Predictor(Red(scale), ("red", "not"), Preprocessing(8, 8)).ask
    with pytest.raises(ValueError, match="NaN or infinite"):
        ask(Image.new("RGB", (8, 8), "white"))


def test_help_needs_no_torch():
    """Nor NumPy, nor Pillow: it is there in a few hundredths of a second."""
    code = "import sys, course_lib.predict; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert not {"torch", "numpy", "PIL"} & set(done.stdout.decode().split())


def test_an_answer_loads_what_it_uses(tmp_path):
    picture = tmp_path / "x.png"
    Image.new("RGB", (256, 256), (120, 130, 140)).save(picture)
    code = (
        "import sys, torch; torchs = set(sys.modules); from course_lib.predict import "
        f"main; main(['course', {str(picture)!r}]); print(*set(sys.modules) - torchs)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = done.stdout.decode().splitlines()[-1].split()
    top = {name.split(".")[0] for name in loaded}
    assert not top & {"torchvision", "sklearn", "matplotlib", "tensorboard", "skimage"}
    ours = {name.removeprefix("course_lib.") for name in loaded if "course_lib" in name}
    assert ours == {
        *("course_lib", "predict", "resnet", "training", "weights", "data"),
        *("data.classes", "data.folders"),
        *("data.photos", "data.preprocessing", "commands"),
    }

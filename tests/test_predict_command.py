import json
import runpy
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.photos import open_photo
from course_lib.data.prediction import predict
from course_lib.data.transforms import evaluation_transform
from course_lib.looking import grad_cam, overlay
from course_lib.predict import load_predictor, main
from course_lib.resnet import BasicBlock, ResNet
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
    trainer = Trainer(model, config, classes=CLASSES, preprocessing=NUMBERS)
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
    assert printed.err == ""
    answers = parse(printed.out)
    assert list(answers) == [str(photo) for photo in photos]
    transform = evaluation_transform(40, mean=NUMBERS["mean"], std=NUMBERS["std"])
    for photo, answer in answers.items():
        expected = predict(model.eval(), photo, classes=CLASSES, transform=transform)
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
    for name, line in zip(names, lines):
        assert line.startswith("error: ") and name in line
    assert lines[len(names) :] == ["4 of 6 photos could not be opened"]


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
    x = evaluation_transform(40, mean=[0, 0, 0], std=[1, 1, 1])(open_photo(photos[2]))
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
    answers = load_predictor("course")(photos[0])
    assert tuple(answers) == CRACK_CLASSES
    assert answers == pytest.approx(predict(course_resnet18(), photos[0]), abs=1e-4)
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
        ("empty", "no checkpoint"),
        ("text", "no checkpoint"),
        ("state_dict", "no checkpoint of this trainer"),
        ("code", "refused"),
        ("nan", "NaN"),
        ("folder", "no such file"),
        ("preprocessing", '"preprocessing" must hold'),
        ("classes", "1 classes and 3 channel means do not fit"),
        ("gray numbers", "3 input channels"),
        ("zero std", "std must be positive"),
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

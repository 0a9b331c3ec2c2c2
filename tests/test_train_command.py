import copy
import importlib.util
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight

from course_lib import commands, resnet, train
from course_lib.data import augment, sources
from course_lib.data.digits import digits
from course_lib.data.sources import source
from course_lib.predict import load_predictor
from course_lib.resnet import BasicBlock, ResNet
from course_lib.trainer import Trainer, config, load_checkpoint
from course_lib.trainer.checkpoints import Folder


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """A net of four units instead of eight, one thread, and no home of anyone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    small = lambda **options: ResNet(BasicBlock, [1, 1, 1, 1], **options)  # noqa: E731
    monkeypatch.setattr(resnet, "resnet18", small)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(train, "find_spec", lambda name: None)  # no TensorBoard
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_num_threads(threads)


def photos(folder, counts, size=36, name="{cls}{i:02}.png"):
    """Pictures whose brightness tells the class."""
    rng = np.random.default_rng(0)
    for label, (cls, count) in enumerate(counts.items()):
        (folder / cls).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = rng.integers(0, 60, (size, size, 3)) + 80 * label
            path = folder / cls / name.format(cls=cls, i=i)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


def call(*arguments):
    return train.main([str(argument) for argument in arguments])


SHORT = ("--size", 32, "--epochs", 2, "--batch-size", 8, "--precision", "fp32")


# ------------------------------------------------------------------------ a whole run


def test_a_folder_of_photos_is_trained_on_tested_and_asked(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(train, "find_spec", importlib.util.find_spec)
    folder = photos(tmp_path / "photos", {"dark": 14, "light": 24})
    assert call("--data", folder, *SHORT, "--out", "run", "--balance") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("resnet18 on cpu, float32, 1 process(es); 26 + 6 + 6")
    assert lines[1].endswith("split class by class, by the names of the files")
    assert lines[2].startswith("training pictures: mirrored left to right")
    assert lines[3].startswith("epoch 1/2: ") and lines[4].startswith("epoch 2/2: ")
    assert lines[5].startswith("test, 6 pictures, weights of epoch ")

    run = tmp_path / "run"
    config = json.loads((run / "config.json").read_text())
    assert config["command"]["epochs"] == config["trainer"]["epochs"] == 2
    assert config["trainer"]["learning_rate"] == 2e-3
    learned = [0] * 10 + [1] * 16  # of dark, of light
    expected = compute_class_weight("balanced", classes=np.arange(2), y=learned)
    assert config["trainer"]["class_weights"] == pytest.approx(expected)
    assert config["pictures"] == {"train": 26, "validation": 6, "test": 6}
    assert config["versions"]["torch"] == torch.__version__
    report = json.loads((run / "report.json").read_text())
    assert report["classes"] == ["dark", "light"] and report["n"] == 6
    assert len((run / "history.csv").read_text().splitlines()) == 3
    assert [*run.glob("events.out.tfevents.*")]
    assert sorted(p.name for p in run.glob("*.pt")) == [
        "best.pt",
        "last.pt",
        "previous.pt",
    ]

    # course_lib.predict sees the same pictures in the same way: the test repeats.
    predictor = load_predictor(run)
    data = source(
        str(folder), size=32, root=tmp_path, cache=tmp_path / "home/.cache/course_lib"
    )
    chosen = sorted(folder.rglob("*.png"))
    losses = []
    for index in data.parts[2].chosen:
        answer = predictor.ask(chosen[index]).probabilities
        losses.append(-np.log(answer[chosen[index].parent.name]))
    assert np.mean(losses) == pytest.approx(report["loss"], rel=1e-4)


def test_interrupted_it_goes_on_with_its_folder_alone(tmp_path, monkeypatch, capsys):
    folder = photos(tmp_path / "photos", {"dark": 14, "light": 14})
    views, calls = augment.flip_views, 0
    assert call("--data", folder, *SHORT, "--out", "whole", "--quiet") == 0

    def interrupted(x, generator):
        nonlocal calls
        calls += 1
        if calls == 4:
            signal.raise_signal(signal.SIGINT)
        return views(x, generator)

    monkeypatch.setitem(augment.AUGMENTATIONS, "flip", interrupted)
    assert call("--data", folder, *SHORT, "--out", "my run") == 130
    error = capsys.readouterr().err
    assert "stopped in epoch 2 after 1 of 3 batches" in error
    assert "python -m course_lib.train --out 'my run' --resume" in error
    assert not (tmp_path / "my run" / "report.json").exists()

    assert call("--data", folder, *SHORT, "--out", "my run") == 2
    assert "holds a run already: add --resume" in capsys.readouterr().err
    assert call("--out", "my run", "--resume", "--seed", 1) == 2
    assert "--seed was 0 and is 1" in capsys.readouterr().err

    assert call("--out", "my run", "--resume", "--quiet") == 0
    for name in ("last.pt", "best.pt"):
        whole, parts = (
            load_checkpoint(tmp_path / run / name)["model"]
            for run in ("whole", "my run")
        )
        assert all(torch.equal(whole[key], parts[key]) for key in whole)
    reports = [
        (tmp_path / run / "report.json").read_text() for run in ("whole", "my run")
    ]
    assert reports[0] == reports[1]


def test_digits_are_gray_and_have_the_stem_for_small_pictures(tmp_path, monkeypatch):
    kept = {}

    def fit(trainer, training, validation, resume):
        kept.update(trainer=trainer, training=training)
        raise ValueError("enough seen")

    monkeypatch.setattr(Trainer, "fit", fit)
    assert call("--data", "digits", "--out", "run") == 2
    model = kept["trainer"].model
    assert model.conv1.weight.shape == (64, 1, 3, 3)
    assert len(kept["trainer"].classes) == 10
    pictures, labels = kept["training"].batch([0, 5])
    expected = digits("train", size=16)
    assert np.array_equal(pictures[:, 0].numpy(), expected.images[[0, 5]])
    assert labels.tolist() == [expected.labels[0], expected.labels[5]]
    x, _ = kept["trainer"].prepare(*kept["training"].batch(range(1000)))
    assert abs(x.mean().item()) < 0.02 and abs(x.std().item() - 1) < 0.02


# ------------------------------------------------------------------------- bad calls


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "no data set and no folder 'nowhere'"),
        (["--data", "digits", "--size", 4], "--size must be at least 8"),
        (["--data", "digits", "--epochs", 0], "epochs must be a whole number"),
        (["--data", "digits", "--batch-size", 1], "BN has no variance of one"),
        (["--data", "digits", "--learning-rate", -1], "learning_rate must be"),
        (["--data", "digits", "--precision", "fp16"], "fp16"),
        (["--data", "digits", "--weights", "course"], "another network: conv1.weight"),
        (["--data", "digits", "--weights", "imagenet"], "no published weights fit"),
        (["--data", "digits", "--weights", "none.pt"], "none.pt: no such file"),
        (["--data", "mnist", "--size", 32], "mnist has 28 pixels"),
        (["--data", "mnist", "--root", "empty"], "no MNIST below empty"),
        (["--data", "sdnet2018", "--root", "empty"], "no SDNET2018 tree"),
        (["--data", "photos"], "no class folders"),
        (["--data", "single"], "one class folder, 'only'"),
        (["--data", "few"], "the class 'b' has 2 different photos"),
        (["--data", "broken"], "--skip-broken"),
        (
            ["--data", "half"],
            "has the folders ['val']; a data set in parts has one train",
        ),
    ],
)
def test_a_bad_call_is_one_sentence_and_exit_code_2(
    arguments, message, tmp_path, monkeypatch, capsys
):
    name = arguments[1]
    (tmp_path / "photos").mkdir()
    if name == "single":
        photos(tmp_path / "single", {"only": 3})
    elif name == "few":
        photos(tmp_path / "few", {"a": 4, "b": 2})
    elif name == "half":
        photos(tmp_path / "half" / "val", {"a": 3, "b": 3})
    elif name == "broken":
        photos(tmp_path / "broken", {"a": 4, "b": 4})
        (tmp_path / "broken" / "a" / "a00.png").write_bytes(b"no picture")
    assert call(*arguments, "--out", "run") == 2
    out, error = capsys.readouterr()
    assert error.startswith("error: ") and message in error
    assert "Traceback" not in out + error


def test_words_that_are_no_options_end_with_the_usage(capsys):
    for arguments in (["--epochs", "many"], ["--arch", "vgg"], ["--speed", "9"]):
        with pytest.raises(SystemExit) as stop:
            call(*arguments)
        assert stop.value.code == 2
        assert "usage: python -m course_lib.train" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"command": []}',
        '{"command": {"data": 5}}',
        '{"command": {"data": "digits", "epochs": "many"}}',
        '{"command": {"data": "digits", "quiet": 1}}',
        '{"command": {"data": "digits", "speed": 1}}',
        '{"command": {"epochs": 3}}',
        '{"command": {"data": null}}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_a_file_that_is_no_settings_is_named(text, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(text)
    assert call("--out", "run", "--resume") == 2
    assert "config.json is damaged" in capsys.readouterr().err


def test_pictures_too_small_for_bf16_on_a_cpu_are_trained_in_fp32(
    tmp_path, monkeypatch, capsys
):
    photos(tmp_path / "photos", {"a": 4, "b": 4})
    monkeypatch.setattr(config, "native_bf16", lambda device: True)
    tiny = ("--data", "photos", "--size", 16, "--epochs", 1, "--device", "cpu")
    assert call(*tiny, "--out", "refused", "--precision", "bf16") == 2
    assert "needs --size 17" in capsys.readouterr().err
    assert call(*tiny, "--out", "run") == 0
    assert "on cpu, float32" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="names are UTF-8 or UTF-16 there")
def test_a_folder_whose_name_is_not_utf_8_is_named(tmp_path, capsys):
    folder = os.fsdecode(b"ri\xdfe")
    photos(tmp_path / folder, {"a": 4, "b": 4})
    assert call("--data", folder, "--out", "run") == 2
    assert r"ri\udcdfe/a: the name is not valid UTF-8" in capsys.readouterr().err


def test_a_new_run_needs_data_and_a_resumed_one_a_run(tmp_path, capsys):
    assert call("--out", "run") == 2
    assert "a new run needs --data" in capsys.readouterr().err
    assert call("--resume") == 2
    assert "--out RUN" in capsys.readouterr().err
    for out in ("nowhere", "'nowhere", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        for more in ((), ("--data", "digits")):
            assert call("--out", out, "--resume", *more) == 2
            assert f"{out} holds no run to resume" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty"]


def test_interrupted_while_photos_are_decoded_it_resumes_with_them(
    tmp_path, monkeypatch, capsys
):
    folder = photos(tmp_path / "photos", {"dark": 6, "light": 6})
    read = sources.source

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    options = (*SHORT, "--epochs", 1, "--quiet")
    monkeypatch.setattr(sources, "source", interrupted)
    assert call("--data", folder, *options, "--out", "run") == 130
    said = capsys.readouterr().err
    assert "python -m course_lib.train --out run --resume" in said
    monkeypatch.setattr(sources, "source", read)
    assert call("--data", "digits", "--out", "run") == 2  # nothing is overwritten
    assert call("--out", "run", "--resume") == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["classes"] == ["dark", "light"]
    assert config["command"]["data"] == str(folder)


def test_a_renamed_photo_is_named_before_anything_is_trained_on(
    tmp_path, monkeypatch, capsys
):
    folder = photos(tmp_path / "photos", {"dark": 6, "light": 6})
    asked = {"flip": lambda x, generator: signal.raise_signal(signal.SIGHUP) or x}
    with monkeypatch.context() as patch:
        patch.setattr(augment, "AUGMENTATIONS", asked)
        assert call("--data", folder, *SHORT, "--quiet", "--out", "run") == 130
    (folder / "dark" / "dark00.png").rename(folder / "dark" / "other.png")
    picture = np.asarray(Image.open(folder / "light" / "light03.png"))
    Image.fromarray(255 - picture).save(folder / "light" / "light03.png")
    capsys.readouterr()
    assert call("--out", "run", "--resume") == 2
    error = capsys.readouterr().err
    assert "dark/dark00.png is gone" in error and "dark/other.png is new" in error
    assert "light/light03.png has changed" in error


@pytest.mark.filterwarnings("default")
def test_a_run_that_could_not_start_leaves_nothing_in_the_way(tmp_path, capsys):
    folder = photos(tmp_path / "photos", {"a": 6, "b": 6})
    (folder / "a" / "a00.png").write_bytes(b"no picture")
    options = ("--data", folder, *SHORT, "--epochs", 1, "--quiet", "--out", "run")
    assert call(*options) == 2
    assert call(*options, "--skip-broken") == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("rename", "a0.png is gone"),
        ("edit", "a0.png has changed"),
        ("add", "new.png is new"),
        ("move", "a0.png was in train and is in test"),
    ],
)
def test_photos_that_changed_are_named_on_resume(change, said, tmp_path):
    before = [
        [["a0.png", "11"], ["a1.png", "22"]],
        [["b.png", "33"]],
        [["c.png", "44"]],
    ]
    commands.check_split(tmp_path, before)
    commands.check_split(tmp_path, before)  # the same again
    now = copy.deepcopy(before)
    if change == "rename":
        now[0][0][0] = "z.png"
    elif change == "edit":
        now[0][0][1] = "99"
    elif change == "add":
        now[2].append(["new.png", "55"])
    else:
        now[2].append(now[0].pop(0))
    with pytest.raises(ValueError, match=said):
        commands.check_split(tmp_path, now)
    (tmp_path / "split.json").write_text("[]")
    with pytest.raises(ValueError, match="damaged"):
        commands.check_split(tmp_path, before)


@pytest.mark.parametrize(
    ("system", "line"), [("nt", '"my run"'), ("posix", "'my run'")]
)
def test_lines_to_paste_are_quoted_for_the_system(system, line, monkeypatch):
    monkeypatch.setattr(commands.os, "name", system)
    assert commands.quoted("my run") == line
    plain = r"runs\mine-2" if system == "nt" else "runs/mine-2"
    assert commands.quoted(plain) == plain


def test_two_runs_into_one_folder_are_refused(tmp_path, capsys):
    holder = multiprocessing.get_context("fork").Process(target=hold, args=("run",))
    holder.start()
    try:
        while not (tmp_path / "run" / "held").exists():
            assert holder.is_alive()
            time.sleep(0.01)
        assert call("--data", "digits", "--out", "run") == 2
        assert "another process is training into run" in capsys.readouterr().err
    finally:
        holder.kill()
        holder.join()
    assert not (tmp_path / "run" / "config.json").exists()
    with Folder("run").lock():  # the system let go when the process was killed
        pass


def hold(folder):
    with Folder(folder).lock():
        (Path(folder) / "held").touch()
        time.sleep(60)


def test_cracks_that_differ_by_direction_can_be_told_apart(tmp_path, capsys):
    """The default of a folder turns nothing; --augment photo makes them alike."""
    for name, axis in (("horizontal", 0), ("vertical", 1)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(40):
            pixels = np.random.default_rng([axis, i]).integers(120, 200, (36, 36, 3))
            place = [slice(None)] * 2
            place[axis] = slice(5 + i % 26, 8 + i % 26)
            pixels[tuple(place)] = 20
            path = tmp_path / "photos" / name / f"{name}{i}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    options = ("--data", "photos", *SHORT, "--epochs", 4, "--out", "run")
    assert call(*options) == 0
    assert json.loads(Path("run/report.json").read_text())["accuracy"] == 1
    assert "mirrored left to right" in capsys.readouterr().out
    config = json.loads(Path("run/config.json").read_text())
    assert config["command"]["augment"] == "flip"


def test_help_needs_no_torch():
    code = (
        "import sys; from course_lib import train\n"
        "try: train.main(['--help'])\n"
        "except SystemExit: sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(train.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_broken_photos_can_be_left_out(tmp_path):
    folder = photos(tmp_path / "photos", {"a": 5, "b": 5})
    (folder / "a" / "a00.png").write_bytes(b"no picture")
    options = {"size": 32, "root": tmp_path, "cache": tmp_path / "cache"}
    with pytest.warns(UserWarning, match="skipped 1 of 10"):
        data = source(str(folder), skip_broken=True, **options)
    assert sum(map(len, data.parts)) == 9


@pytest.mark.filterwarnings("default")
def test_warnings_are_sentences_and_the_photos_left_out_are_named(tmp_path, capsys):
    folder = photos(tmp_path / "photos", {"a": 6, "b": 6})
    (folder / "a" / "a00.png").write_bytes(b"no picture")
    options = (*SHORT, "--epochs", 1, "--skip-broken", "--quiet")
    assert call("--data", folder, *options, "--out", "run") == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: skipped 1 of 12") and "a00.png" in error
    assert "UserWarning" not in error


def test_a_training_that_diverges_ends_with_exit_code_1(tmp_path, monkeypatch, capsys):
    folder = photos(tmp_path / "photos", {"a": 6, "b": 6})
    broken = {"flip": lambda x, generator: x * torch.inf}
    monkeypatch.setattr(augment, "AUGMENTATIONS", broken)
    assert call("--data", folder, *SHORT, "--out", "run") == 1
    assert capsys.readouterr().err.startswith("error: the loss became nan")


def test_help_teaches(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "--help"])
    with (
        pytest.warns(RuntimeWarning, match=r"found in sys\.modules"),
        pytest.raises(SystemExit) as stop,
    ):
        runpy.run_module("course_lib.train", run_name="__main__")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for word in ("--resume", "torchrun", "photos/uncracked", "--weights imagenet"):
        assert word in shown


# ------------------------------------------------------------------------ fine-tuning


def test_a_checkpoint_is_a_start_and_brings_its_normalization(tmp_path, capsys):
    folder = photos(tmp_path / "photos", {"dark": 6, "light": 6})
    first = ("--data", folder, *SHORT, "--epochs", 1, "--out", "first", "--quiet")
    assert call(*first) == 0
    state = load_checkpoint("first/best.pt")
    state["preprocessing"]["mean"] = [0.1, 0.2, 0.3]
    torch.save(state, "moved.pt")
    start = ("--weights", "moved.pt", "--quiet", *SHORT, "--epochs", 1)
    assert call("--data", folder, *start, "--out", "second") == 0
    after = load_checkpoint("second/best.pt")
    assert after["preprocessing"]["mean"] == (0.1, 0.2, 0.3)
    assert after["config"]["learning_rate"] == 3e-4

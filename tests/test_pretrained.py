"""Weights to start from, whoever made the file."""

import hashlib
import http.server
import os
import pickle
import sys
import threading
import zipfile
from functools import partial

import pytest
import torch
import torchvision
from torch import nn

from course_lib import resnet
from course_lib.data.classes import CRACK_CLASSES
from course_lib.resnet import resnet18
from course_lib.weights import WeightsError, course_resnet18
from course_lib.weights.checkpoints import CheckpointError
from course_lib.weights.pretrained import (
    load_imagenet_weights,
    load_pretrained,
    read_weights,
)

# A small net of the family: what is read is the same for all of them.
small = partial(resnet.ResNet, resnet.BasicBlock, (1, 1, 1, 1))
torch.manual_seed(3)
STATE = small(num_classes=3).state_dict()


def saved(tmp_path, content, name="w.pt", **options):
    torch.save(content, tmp_path / name, **options)
    return tmp_path / name


def same(found, expected=STATE):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


# ---------------------------------------------------------------- matched by name


@torch.no_grad()
@pytest.mark.parametrize(
    "classes, words",
    [
        (CRACK_CLASSES, "know these 6 classes"),
        (sorted(CRACK_CLASSES), "matched by name to these 6 of the 6"),
        (CRACK_CLASSES[4:1:-2], "matched by name to these 2 of the 6"),
    ],
)
def test_a_head_is_kept_where_all_classes_are_known(classes, words):
    images = torch.randn(2, 3, 64, 64)
    model = resnet18(num_classes=len(classes)).eval()
    found = load_pretrained("course", model, classes)
    assert found.head_kept and words in found.message
    assert found.normalization["mean"] == [0.485, 0.456, 0.406]
    answers = dict(zip(classes, model(images).T))
    for name, logits in zip(CRACK_CLASSES, course_resnet18()(images).T):
        if name in answers:
            torch.testing.assert_close(answers[name], logits)
    assert tuple(sorted(CRACK_CLASSES)) != tuple(CRACK_CLASSES)


@pytest.mark.parametrize("classes", [("cracked", "whole"), (*CRACK_CLASSES, "roof")])
def test_a_head_is_drawn_anew_where_a_class_is_unknown(classes):
    model = resnet18(num_classes=len(classes))
    fresh = model.fc.weight.detach().clone()
    found = load_pretrained("course", model, classes)
    assert not found.head_kept
    assert "drawn anew" in found.message and classes[-1] in found.message
    assert torch.equal(model.fc.weight, fresh)
    trained = course_resnet18().layer4[1].conv2.weight
    assert torch.equal(model.layer4[1].conv2.weight, trained)


def test_a_plain_file_knows_no_classes(tmp_path):
    model = small(num_classes=3)
    fresh = model.fc.weight.detach().clone()
    found = load_pretrained(str(saved(tmp_path, STATE)), model, "abc")
    assert found.normalization == {} and not found.head_kept
    assert "do not say which classes" in found.message
    assert torch.equal(model.fc.weight, fresh)
    assert torch.equal(model.conv1.weight, STATE["conv1.weight"])


def test_imagenets_classes_are_matched_by_name_too(published):
    state = torch.load(published, weights_only=True)
    names = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    model = resnet18(num_classes=2)
    assert load_pretrained("imagenet", model, ["goldfish", "tabby"]).head_kept
    for row, name in enumerate(["goldfish", "tabby"]):
        assert torch.equal(model.fc.weight[row], state["fc.weight"][names.index(name)])
    other = resnet18(num_classes=1000)
    fresh = other.fc.weight.detach().clone()
    load_pretrained("imagenet", other, [f"class {k}" for k in range(1000)])
    assert torch.equal(other.fc.weight, fresh)


# ------------------------------------------------------------ files of any usual make


def in_parts(net):
    net.layer2 = torch.compile(net.layer2)  # names layer2._orig_mod.0...
    net.layer3[0] = nn.DataParallel(net.layer3[0])
    return net


def in_a_larger_module(net):
    whole = nn.Module()
    whole.model = nn.DataParallel(net)
    whole.criterion = nn.CrossEntropyLoss(weight=torch.ones(3))
    whole.teacher = nn.Linear(3, 3)
    return whole


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        torch.compile,
        lambda net: torch.compile(nn.DataParallel(net)),
        torch.optim.swa_utils.AveragedModel,
        in_parts,
        in_a_larger_module,
    ],
)
def test_wrapped_networks_are_unwrapped(tmp_path, wrap):
    net = small(num_classes=3)
    net.load_state_dict(STATE)
    state = wrap(net).state_dict()
    assert state.keys() != STATE.keys()
    same(read_weights(saved(tmp_path, state)))


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE, "optimizer": {"state": {0: torch.ones(3)}}},
        {"model_state_dict": STATE},
        {"model": "resnet18", "net": STATE},
        {"model": {"state_dict": STATE}},
        {"ours": STATE, "config": {"lr": 0.1}},
        {"state_dict": {f"module.{k}": v for k, v in STATE.items()}},
    ],
    ids=lambda content: "+".join(content),
)
def test_weights_are_found_inside(tmp_path, content):
    same(read_weights(saved(tmp_path, content)))


def test_files_of_the_old_format_and_other_types(tmp_path):
    old = saved(tmp_path, STATE, "old.pth", _use_new_zipfile_serialization=False)
    same(read_weights(old))
    half = {k: v.half() if v.is_floating_point() else v for k, v in STATE.items()}
    model = small(num_classes=2)
    load_pretrained(str(saved(tmp_path, half, "half.pt")), model, "ab")
    assert model.conv1.weight.dtype == torch.float32
    assert torch.equal(model.conv1.weight, half["conv1.weight"].float())


@pytest.mark.parametrize("missing", ["all", "some"])
def test_weights_from_before_batches_were_counted_load_as_in_torch(tmp_path, missing):
    old = {
        name: value
        for name, value in STATE.items()
        if not name.endswith("num_batches_tracked")
        or (missing == "some" and name.startswith("layer2"))
    }
    path = str(saved(tmp_path, old))
    model, theirs = small(num_classes=3), small(num_classes=3)
    load_pretrained(path, model, "abc")
    theirs.load_state_dict(old)
    state = theirs.state_dict() | {
        "fc.weight": model.fc.weight,
        "fc.bias": model.fc.bias,
    }
    same(model.state_dict(), state)


def test_safetensors(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    path = tmp_path / "w.safetensors"
    library.save_file({f"module.{k}": v for k, v in STATE.items()}, path)
    same(read_weights(path))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_weights(path)


def test_safetensors_under_another_name(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    library.save_file(STATE, tmp_path / "w.pt")
    same(read_weights(tmp_path / "w.pt"))


def test_without_the_library_safetensors_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    (tmp_path / "w.safetensors").write_bytes(b"any")
    with pytest.raises(CheckpointError, match="pip install safetensors"):
        read_weights(tmp_path / "w.safetensors")


# ------------------------------------------------------------------------ bad files


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle ran",))


def itself():
    found = {}
    found["model"] = found
    return found


@pytest.mark.parametrize("head", [b"<!DOCTYPE html>", b"version https://git-lfs", b""])
def test_what_is_no_file_of_weights_is_not_called_dangerous(tmp_path, head):
    (tmp_path / "w.pt").write_bytes(head)
    with pytest.raises(CheckpointError, match="truncated or no file of weights"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize(
    "content, words",
    [
        (Trap(), "could run code"),
        ({"state_dict": STATE, "trap": Trap()}, "could run code"),
        (nn.Linear(2, 2), r"could run code when loaded; save model.state_dict\(\)"),
        ({}, "a dictionary with nothing"),
        ({"a": 1, "b": "c"}, "a dictionary with 'a', 'b'"),
        ([1, 2], "but list"),
        (torch.ones(3), "but Tensor"),
        (itself(), "a dictionary with 'model'"),
        (
            {f"{n}.{k}": v for n in ("student", "teacher") for k, v in STATE.items()},
            "2 networks, named 'student.', 'teacher.'",
        ),
    ],
)
def test_what_holds_no_weights_is_refused(tmp_path, content, words):
    with pytest.raises(CheckpointError, match=words):
        read_weights(saved(tmp_path, content))


class Bomb:
    def __reduce__(self):
        return (bytearray, (10**12,))


def test_files_that_grow_when_read_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="names __builtin__ bytearray"):
        read_weights(saved(tmp_path, {"state_dict": STATE, "bomb": Bomb()}))
    old = {"_use_new_zipfile_serialization": False}
    with pytest.raises(CheckpointError, match="names __builtin__ bytearray"):
        read_weights(saved(tmp_path, {**STATE, "bomb": Bomb()}, "old.pt", **old))
    plain = zipfile.ZipFile(saved(tmp_path, STATE))
    with plain, zipfile.ZipFile(tmp_path / "z.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(CheckpointError, match="torch compresses no file"):
        read_weights(tmp_path / "z.pt")


def test_parameters_are_weights_too(tmp_path):
    net = small(num_classes=3)
    net.load_state_dict(STATE)
    state = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    found = read_weights(saved(tmp_path, {"model": state, "shape": torch.Size([3])}))
    same({name: found[name] for name in STATE})


def test_damaged_files_are_refused(tmp_path):
    good = saved(tmp_path, STATE).read_bytes()
    bad = tmp_path / "bad.pt"
    bad.write_bytes(good[: len(good) // 2])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_pretrained(str(bad), small(num_classes=3), "abc")
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    bad.write_bytes(flipped)
    with pytest.raises(CheckpointError, match="checksum mismatch"):
        load_pretrained(str(bad), small(num_classes=3), "abc")
    bad.write_text("weights")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_weights(bad)
    bad.write_bytes(pickle.dumps(STATE))
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_weights(bad)


def test_programs_folders_and_pipes_are_refused(tmp_path):
    script = torch.jit.script(nn.Linear(2, 2))
    script.save(tmp_path / "script.pt")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_weights(tmp_path / "script.pt")
    with pytest.raises(CheckpointError, match="no regular file"):
        read_weights(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CheckpointError, match="no regular file"):
            read_weights(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match=r'no such file; weights are "imagenet"'):
        load_pretrained("imagnet", small(), "ab")


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("conv1.weight", torch.nan, "broken: conv1.weight holds NaN"),
        ("bn1.running_mean", torch.inf, "bn1.running_mean holds .*infinity"),
        ("layer1.0.bn1.running_var", -1.0, "layer1.0.bn1.running_var .*negative"),
    ],
)
def test_broken_numbers_are_refused_and_nothing_is_changed(tmp_path, key, value, words):
    broken = {k: v.clone() for k, v in STATE.items()}
    broken[key].view(-1)[0] = value
    model = small(num_classes=3)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match=words):
        load_pretrained(str(saved(tmp_path, broken)), model, "abc")
    same(model.state_dict(), before)


@pytest.mark.parametrize(
    "model, words",
    [
        (resnet.resnet18(num_classes=2), "layer1.1.bn1.bias is not there in them"),
        (small(num_classes=2, in_channels=1), r"conv1.weight is \[64, 3, 7, 7\]"),
        (
            resnet.ResNet(resnet.PlainBlock, (1, 1, 1, 1), num_classes=2),
            "downsample.* not there in this one",
        ),
    ],
)
def test_weights_of_another_network_are_named(tmp_path, model, words):
    with pytest.raises(ValueError, match=f"another network.*{words}"):
        load_pretrained(str(saved(tmp_path, STATE)), model, "ab")


# --------------------------------------------------------------- torchvision's weights


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A real server with a stand-in for torchvision's ResNet-18 weights file."""
    torch.manual_seed(7)
    folder = tmp_path / "served"
    folder.mkdir()
    torch.save(torchvision.models.resnet18().state_dict(), folder / "file")
    digest = hashlib.sha256((folder / "file").read_bytes()).hexdigest()[:8]
    name = f"resnet18-{digest}.pth"
    (folder / "file").rename(folder / name)

    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    monkeypatch.setattr(
        http.server.SimpleHTTPRequestHandler, "log_message", lambda *args: None
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{name}"
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    monkeypatch.setattr(weights.value, "url", url)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    yield folder / name
    server.shutdown()
    server.server_close()


def test_published_weights_are_loaded_and_kept(published):
    model = load_imagenet_weights(resnet.resnet18())
    for name, value in torch.load(published, weights_only=True).items():
        assert torch.equal(model.state_dict()[name], value), name
    published.unlink()  # from now on torch's hub folder has it
    again = load_imagenet_weights(resnet.resnet18())
    assert torch.equal(again.fc.weight, model.fc.weight)


def test_another_number_of_classes_keeps_its_own_head(published):
    fresh = resnet.resnet18(num_classes=6)
    head = fresh.fc.weight.detach().clone()
    load_imagenet_weights(fresh)
    assert torch.equal(fresh.fc.weight, head)
    state = torch.load(published, weights_only=True)
    assert torch.equal(fresh.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])


@pytest.mark.parametrize("fault", ["gone", "altered", "damaged in the hub folder"])
def test_without_the_file_the_error_says_what_to_do(published, fault, tmp_path):
    if fault == "gone":
        published.unlink()
    elif fault == "altered":
        published.write_bytes(published.read_bytes()[:-1] + b"x")
    else:
        hub = tmp_path / "hub" / "checkpoints"
        hub.mkdir(parents=True)
        (hub / published.name).write_bytes(b"not a checkpoint")
    model = resnet.resnet18()
    before = model.conv1.weight.detach().clone()
    with pytest.raises(RuntimeError, match=rf"{published.name} in a browser.*hub"):
        load_imagenet_weights(model)
    assert torch.equal(model.conv1.weight, before)


@pytest.mark.parametrize(
    "build",
    [
        resnet.plain18,
        partial(resnet.resnet18, stem="small"),
        partial(resnet.resnet18, in_channels=1),
        partial(resnet.ResNet, resnet.BasicBlock, [1, 1, 1, 1]),
        partial(resnet.ResNet, resnet.Bottleneck, [2, 2, 2, 2]),
    ],
)
def test_nets_without_published_weights_are_refused(build):
    with pytest.raises(ValueError, match="no published weights fit"):
        load_imagenet_weights(build())


def test_without_network_imagenets_weights_are_one_sentence(published):
    published.unlink()
    with pytest.raises(WeightsError, match=r"could not be loaded.*in a browser"):
        load_pretrained("imagenet", resnet18(num_classes=2), "ab")

"""The fast paths, held against torch's own folding and the model itself."""

import copy
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

import course_lib.inference.choosing as choosing
from course_book.int8 import quantize
from course_lib.inference import (
    BF16_BOUND,
    FP32_BOUND,
    fast,
    fold,
    folded_weights,
)
from course_lib.inference.choosing import check
from course_lib.resnet import BasicBlock, Bottleneck, PlainBlock, ResNet
from course_lib.trainer.config import native_bf16


def lively(model):
    """Statistics and weights of BN as after a training, not 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.2, 2)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(0, 0.2)
    return model.eval()


def small(block=BasicBlock, seed=0):
    torch.manual_seed(seed)
    return lively(ResNet(block, [1, 1, 1, 1], num_classes=5))


def batch_norms(model):
    return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


@settings(max_examples=12)
@given(
    seed=st.integers(0, 99),
    groups=st.sampled_from([1, 2]),
    kernel=st.integers(1, 3),
    bias=st.booleans(),
    affine=st.booleans(),
    eps=st.sampled_from([1e-5, 1e-2]),
)
def test_folded_weights_are_those_of_torch(seed, groups, kernel, bias, affine, eps):
    torch.manual_seed(seed)
    conv = nn.Conv2d(4, 6, kernel, padding=1, groups=groups, bias=bias).double()
    bn = nn.BatchNorm2d(6, eps=eps, affine=affine).double()
    lively(bn)
    weight, shift = folded_weights(conv, bn)
    theirs = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        bn.running_mean,
        bn.running_var,
        bn.eps,
        bn.weight,
        bn.bias,
    )
    torch.testing.assert_close(weight, theirs[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(shift, theirs[1], rtol=1e-12, atol=1e-14)
    x = torch.randn(2, 4, 5, 7).double()
    ours = nn.functional.conv2d(x, weight, shift, padding=1, groups=groups)
    torch.testing.assert_close(ours, bn(conv(x)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck, PlainBlock])
def test_a_folded_network_has_no_bn_and_the_same_logits(block):
    model = small(block).double()
    before = copy.deepcopy(model.state_dict())
    folded = fold(model)
    assert batch_norms(model) > 0 == batch_norms(folded)
    x = torch.randn(2, 3, 64, 48).double()
    torch.testing.assert_close(folded(x), model(x), rtol=1e-10, atol=1e-10)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_folded_network_leaves_this_course_in_a_file(tmp_path):
    model, x = small(), torch.randn(8, 3, 64, 48)
    B = torch.export.Dim("B", min=1, max=64)
    with torch.no_grad():
        program = torch.export.export(fold(model), (x,), dynamic_shapes=({0: B},))
        torch.export.save(program, tmp_path / "network.pt2")
        alone = (
            "import sys, torch; x, y = torch.load('io.pt'); "
            "network = torch.export.load('network.pt2').module(); "
            "torch.testing.assert_close(network(x), y, rtol=1e-4, atol=1e-5); "
            "assert not any(name.startswith('course_lib') for name in sys.modules)"
        )
        torch.save((x[:3], model(x[:3])), tmp_path / "io.pt")
        fixed = torch.export.export(fold(model), (x,)).module()
        torch.testing.assert_close(fixed(x), model(x), rtol=1e-4, atol=1e-5)
        with pytest.raises((AssertionError, RuntimeError)):  # unless told: 8 pictures
            fixed(x[:3])
    command = [sys.executable, "-W", "ignore", "-c", alone]
    subprocess.run(command, cwd=tmp_path, check=True)


class Odd(nn.Module):
    """Four BNs that must stay, and one that may go."""

    def __init__(self):
        super().__init__()
        self.first = nn.BatchNorm2d(3)  # nothing before it
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.after_twice = nn.BatchNorm2d(3)
        self.read = nn.Conv2d(3, 3, 1)
        self.after_read = nn.BatchNorm2d(3)
        self.plain = nn.Conv2d(3, 3, 1)
        self.batch = nn.BatchNorm2d(3, track_running_stats=False)
        self.last = nn.Conv2d(3, 3, 1)
        self.goes = nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.twice(self.first(x))
        x = self.after_twice(self.twice(x))  # the same weights without BN, too
        z = self.read(x)
        x = z + self.after_read(z)  # z is needed as it is
        x = self.batch(self.plain(x))
        return self.goes(self.last(x)).mean((2, 3))


def test_only_what_can_be_folded_is():
    torch.manual_seed(0)
    model = Odd()
    for bn in (model.first, model.after_twice, model.after_read, model.goes):
        lively(bn)
    model = model.double().eval()
    folded = fold(model)
    assert batch_norms(folded) == 4
    x = torch.randn(3, 3, 6, 6).double()
    torch.testing.assert_close(folded(x), model(x), rtol=1e-10, atol=1e-10)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.bn(self.conv(x))
        return (x if x.sum() > 0 else -x).mean((2, 3))


def test_what_fold_cannot_do_is_said():
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        fold(small().train())
    partly = small()
    partly.bn1.train()
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        fold(partly)
    with pytest.raises(ValueError, match=r"cannot follow Branching"):
        fold(Branching().eval())
    with pytest.raises(ValueError, match="no running statistics"):
        folded_weights(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
    with pytest.raises(ValueError, match="4 output channels and bn 5"):
        folded_weights(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(5))


@pytest.fixture(scope="module")
def made():
    model, x = small(), torch.randn(4, 3, 64, 64)
    before = copy.deepcopy(model.state_dict())
    flag = torch.jit.onednn_fusion_enabled()
    quick = fast(model, x, rounds=2)
    assert torch.jit.onednn_fusion_enabled() == flag
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    return model, x, quick


def test_every_way_gives_the_answers_of_the_model(made):
    _, _, quick = made
    names = [trial.name for trial in quick.trials]
    assert quick.way in names and f"* {quick.way}" in str(quick)
    assert len(names) == (6 if native_bf16(torch.device("cpu")) else 4)
    for trial in quick.trials[1:]:
        assert trial.note == "" and trial.seconds > 0
        bound = BF16_BOUND if "bf16" in trial.name else FP32_BOUND
        assert trial.check.error <= bound
        assert trial.check.same <= trial.check.images == 4
    assert quick.speedup >= 1


def test_kept_network_answers_any_batch(made):
    model, x, quick = made
    for images in (x, x.flip(0), x[:1], torch.randn(3, 3, 48, 80)):
        with torch.no_grad():
            exact = model(images)
        logits = quick(images)
        assert logits.dtype == torch.float32 and not logits.requires_grad
        assert check(logits, exact).error <= BF16_BOUND
    assert torch.equal(quick(x), quick(x))


def test_answers_are_compared_on_other_images():
    model, x, others = small(), torch.randn(4, 3, 32, 32), torch.randn(9, 3, 32, 32)
    quick = fast(model, x, others, rounds=1)
    assert quick.held_out and quick.check.images == 9
    assert str(quick).endswith("of 9 images")
    with torch.no_grad():  # 9 images in batches of 4, the last one filled up
        found = check(quick(others), model(others))
    assert found.same == quick.check.same
    assert found.error == pytest.approx(quick.check.error, rel=0.1, abs=1e-6)
    alone = fast(model, x, rounds=1)
    assert not alone.held_out and alone.check.images == 4
    assert "of 4 images; those are the example's, no others" in str(alone)
    for wrong in (others[:, :2], others[:0], others.double(), others[0]):
        with pytest.raises(ValueError, match="held_out must be images like"):
            fast(model, x, wrong, rounds=1)


def test_what_is_right_on_the_example_only_is_left_out(monkeypatch):
    """A program that knows the example by heart, and errs by little on others."""
    model, x, others = small(), torch.randn(4, 3, 32, 32), torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        exact, theirs = model(x), model(others)
    order = theirs.argsort(1, descending=True)
    swapped = theirs.clone()  # two likeliest classes change places
    swapped[:1] = theirs[:1].scatter(1, order[:1, :2], theirs[:1, order[0, [1, 0]]])

    def by_heart(network, example):
        return lambda images: exact if torch.equal(images, x) else swapped

    monkeypatch.setattr(choosing, "as_graph", by_heart)
    monkeypatch.setattr(choosing, "FP32_BOUND", 9.0)
    quick = fast(model, x, others, precision="fp32", rounds=1)
    (trial,) = [t for t in quick.trials if t.name.endswith("oneDNN graph")]
    assert trial.check.changed == 1
    assert trial.note.startswith("left out: relative error")
    assert "the same answer for 3 of 4 images" in trial.note
    assert trial.seconds is None
    assert fast(model, x, precision="fp32", rounds=1).trials[3].note == ""


def test_float32_only_is_tight():
    model, x = small(seed=1), torch.randn(2, 3, 32, 32)
    quick = fast(model, x, precision="fp32", rounds=1)
    assert not any("bf16" in trial.name for trial in quick.trials)
    with torch.no_grad():
        assert check(quick(x), model(x)).error <= FP32_BOUND


def test_a_wrong_way_is_left_out(monkeypatch):
    """A program that is fast and wrong, one that fails, one that gives NaN."""
    model, x = small(), torch.randn(4, 3, 32, 32)

    def broken(network, example):
        if next(network.parameters()).dtype == torch.bfloat16:
            raise RuntimeError("no such instruction\nlong story")
        return lambda x: torch.full((len(x), 5), float("nan"))

    def wrong(network, example):
        return lambda x: torch.zeros(len(x), 5)

    monkeypatch.setattr(choosing, "as_graph", broken)
    monkeypatch.setattr(choosing, "compiled", wrong)
    quick = fast(model, x, compile=True, rounds=1)
    notes = {trial.name: trial.note for trial in quick.trials}
    assert notes["folded, fp32, oneDNN graph"].startswith("left out: relative")
    assert notes["folded, fp32, compiled"].startswith("left out: relative")
    if native_bf16(torch.device("cpu")):
        note = notes["folded, bf16, oneDNN graph"]
        assert note == "does not run here: no such instruction"
    assert notes[quick.way] == ""
    with torch.no_grad():
        assert check(quick(x), model(x)).error <= BF16_BOUND


def test_a_model_that_cannot_be_folded_runs_all_the_same():
    torch.manual_seed(0)
    model = Branching()
    lively(model.bn)
    x = torch.randn(2, 3, 16, 16)
    quick = fast(model.eval(), x, rounds=1)
    assert quick.trials[1].name.startswith("not foldable")
    with torch.no_grad():
        assert check(quick(x), model(x)).error <= BF16_BOUND


@settings(max_examples=25)
@given(seed=st.integers(0, 999), noise=st.floats(0, 2), classes=st.integers(2, 9))
def test_what_check_counts(seed, noise, classes):
    g = torch.Generator().manual_seed(seed)
    exact = torch.randn(20, classes, generator=g)
    logits = exact + noise * torch.randn(20, classes, generator=g)
    found = check(logits, exact)
    # The page's promise: an error cannot turn a lead of more than twice its size.
    top = exact.topk(2, 1).values
    safe = top[:, 0] - top[:, 1] > 2 * (logits - exact).abs().amax(1)
    assert safe.sum() <= found.same <= found.images == 20
    assert found.same == (logits.argmax(1) == exact.argmax(1)).sum()
    turned = (top[:, 0] - top[:, 1] > 2 * noise) & (logits.argmax(1) != exact.argmax(1))
    assert abs(check(logits, exact, noise).changed - turned.sum().item()) <= 1
    assert found.error == pytest.approx(
        ((logits - exact).norm() / exact.norm()).item(), rel=1e-3, abs=1e-9
    )


def test_without_a_compiler_a_sentence_says_so(monkeypatch):
    """As torch's own compiler reports it."""

    def no_compiler(*_, **__):
        raise RuntimeError("No working C++ compiler found in torch._inductor.config")

    monkeypatch.setattr(torch, "compile", no_compiler)
    quick = fast(small(), torch.randn(2, 3, 32, 32), compile=True, rounds=1)
    notes = {trial.name: trial.note for trial in quick.trials}
    note = notes["folded, fp32, compiled"]
    assert note.startswith("does not run here: No working C++ compiler")
    assert "compiled" not in quick.way


def test_compiled_programs_are_frozen(monkeypatch):
    asked = {}

    def as_it_is(network, *, options):
        asked.update(options)
        return network

    monkeypatch.setattr(torch, "compile", as_it_is)
    quick = fast(small(), torch.randn(2, 3, 32, 32), compile=True, rounds=1)
    assert asked == {"freezing": True}
    assert "folded, fp32, compiled" in [trial.name for trial in quick.trials]


def test_int8_says_how_far_off_it_is():
    model, x = small(), torch.randn(16, 3, 32, 32)
    quick = quantize(model, x, rounds=1)
    assert quick.way.startswith("int8")
    assert FP32_BOUND < quick.check.error < 0.2
    with torch.no_grad():
        assert check(quick(x[:5]), model(x[:5])).error < 0.2
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        quantize(small().train(), x)
    with pytest.raises(ValueError, match="calibration must be images"):
        quantize(model, x[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, x: (m.train(), x), r"model\.eval\(\)"),
        (lambda m, x: (m, x[0]), r"example must be images \[B, C, H, W\]"),
        (lambda m, x: (m, x[:0]), "example must be images"),
        (lambda m, x: (m, x.double()), "must be float32"),
        (lambda m, x: (m.double(), x.double()), "must be float32"),
        (lambda m, x: (m, x.to("meta")), "on cpu and torch.float32 on meta"),
        (lambda m, x: (nn.ReLU().eval(), x), "no parameters"),
        (lambda m, x: (m, x / 0), "NaN or infinity"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        fast(*change(small(), torch.randn(2, 3, 32, 32)))


def test_bad_options_and_inputs(made):
    model, x, quick = made
    with pytest.raises(ValueError, match="precision must be"):
        fast(model, x, precision="bf16")
    with pytest.raises(ValueError, match="rounds must be"):
        fast(model, x, rounds=0)
    with pytest.raises(TypeError, match="one tensor"):
        fast(nn.Conv2d(3, 4, 3).eval(), x)
    with pytest.raises(ValueError, match=r"floats \[B, 3, H, W\]"):
        quick(x[:, :2])
    with pytest.raises(ValueError, match=r"floats \[B, 3, H, W\]"):
        quick((x * 255).byte())
    with pytest.raises(ValueError, match="x is on meta"):
        quick(x.to("meta"))


def test_works_where_a_model_is_asked_for_one_photo(made):
    from PIL import Image

    from course_lib.data.preprocessing import Preprocessing
    from course_lib.predict import Predictor

    photo = Image.new("RGB", (50, 50), (90, 120, 60))
    prepare = Preprocessing.for_photos(64)
    theirs, ours = (
        Predictor(network, tuple("abcde"), prepare).ask(photo).probabilities
        for network in (made[0], made[2])
    )
    assert max(abs(ours[n] - theirs[n]) for n in "abcde") < 0.05


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu():
    model, x = small().cuda(), torch.randn(4, 3, 64, 64, device="cuda")
    quick = fast(model, x)
    with torch.no_grad():
        assert check(quick(x), model(x)).error <= BF16_BOUND

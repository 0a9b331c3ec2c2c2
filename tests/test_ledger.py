"""The ledger against hooks, autograd, torchinfo and fvcore."""

import copy
import logging
import sys
import weakref

import pytest
import torch
import torchinfo
import torchvision
from fvcore.nn import FlopCountAnalysis
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils._python_dispatch import TorchDispatchMode

from course_lib.ledger import fits, ledger
from course_lib.resnet import LAYERS, resnet, resnet18

MIB = 2**20


def saved_bytes(model, x):
    """What autograd really keeps: unique memory blocks that are no parameters."""
    own = {t.untyped_storage().data_ptr() for t in model.state_dict().values()}
    blocks = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.nbytes() and storage.data_ptr() not in own:
            blocks[storage.data_ptr()] = storage.nbytes(), tensor  # held: stays unique
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model(x)
    total = sum(nbytes for nbytes, _ in blocks.values())
    del out
    return total


def by_hooks(model, x):
    """(kind, input shape, output shape) of each leaf's calls, really computed."""
    calls, handles = [], []
    for module in model.modules():
        if not list(module.children()):
            handle = module.register_forward_hook(
                lambda module, args, out: calls.append(
                    (type(module).__name__, tuple(args[0].shape), tuple(out.shape))
                )
            )
            handles.append(handle)
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return calls


@pytest.mark.parametrize("depth", sorted(LAYERS))
def test_totals_are_torchinfos_and_fvcores(depth):
    model = resnet(depth).eval()
    ours = ledger(model, (2, 3, 64, 64))
    theirs = torchinfo.summary(model, (2, 3, 64, 64), verbose=0, device="cpu")
    assert ours.parameters == theirs.total_params
    # torchinfo adds, per image, each bias and each γ and β.
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    extra = sum(2 * m.num_features for m in norms) + model.fc.out_features
    assert ours.macs + 2 * extra == theirs.total_mult_adds

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(model, torch.zeros(2, 3, 64, 64))
    counted = analysis.unsupported_ops_warnings(False).by_operator()
    # fvcore also counts normalization and global pooling.
    assert ours.macs == counted["conv"] + counted["linear"]
    assert set(counted) == {"conv", "linear", "batch_norm", "adaptive_avg_pool2d"}
    assert not ours.unknown
    assert not ours.unused


@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize("train", [True, False])
def test_kept_bytes_are_what_autograd_saves(depth, train):
    model = resnet(depth).train(train)
    ours = ledger(model, (2, 3, 64, 48))
    assert ours.kept_bytes == saved_bytes(model, torch.zeros(2, 3, 64, 48))


@pytest.mark.parametrize("train", [True, False])
def test_a_model_on_the_meta_device_counts_the_same(train):
    with torch.device("meta"):
        meta = resnet18(num_classes=6).train(train)
    here = resnet18(num_classes=6).train(train)
    assert ledger(meta, (9, 3, 64, 64)).rows == ledger(here, (9, 3, 64, 64)).rows


@pytest.mark.parametrize("depth", [18, 50])
def test_rows_are_the_calls_that_hooks_see(depth):
    model = resnet(depth).eval()
    ours = ledger(model, (2, 3, 65, 97))
    rows = [row for row in ours.rows if row.kind not in ("add", "flatten")]
    assert [row[1:4] for row in rows] == by_hooks(model, torch.zeros(2, 3, 65, 97))
    assert sum(row.kind == "add" for row in ours.rows) == sum(LAYERS[depth])
    assert sum(row.parameters for row in ours.rows) == ours.parameters


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("form", ["in place", "small", "keyword", "number", "frozen"])
def test_additions_count_as_they_run(form, train):
    class Adds(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1).requires_grad_(form != "frozen")
            self.last = nn.Conv2d(4, 2, 1)

        def forward(self, x):
            y = self.conv(x)
            if form == "small":
                y += self.last(x).mean((1, 2, 3), keepdim=True)
            elif form == "keyword":
                y.add_(other=x, alpha=2)
            elif form == "number":
                y += 1
            else:
                y += x
            return self.last(y)

    model = Adds().train(train)
    x = torch.randn(3, 4, 6, 6)
    ours = ledger(model, x.shape)
    assert ours.rows[-1].output_shape == tuple(model(x).shape)
    assert ours.kept_bytes == saved_bytes(model, x)
    (added,) = [row for row in ours.rows if row.kind == "add"]
    assert added.output_shape == (3, 4, 6, 6)
    assert added.output_bytes == 0


def test_frozen_layers_keep_nothing():
    model = resnet18()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith(("layer4", "fc"))
    ours = ledger(model, (2, 3, 64, 64))
    assert ours.kept_bytes == saved_bytes(model, torch.zeros(2, 3, 64, 64))
    assert ours.kept_bytes < ledger(resnet18(), (2, 3, 64, 64)).kept_bytes // 5
    assert ours.trained_bytes == 4 * (8_393_728 + 513_000)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1, 3, 1, 1))

    def forward(self, x):
        return x * self.factor


class Attention(nn.Module):
    """Multiplies and adds in functions, not in layers."""

    def forward(self, x):
        x = x.flatten(2)
        return torch.matmul(x.softmax(-1), x.transpose(1, 2))


USUAL = {
    "conv_same": nn.Conv2d(3, 4, 3, padding="same", dilation=2),
    "conv_groups": nn.Conv2d(3, 6, (3, 1), (2, 1), groups=3),
    "conv_circular": nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"),
    "conv_relu": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
    "transposed": nn.ConvTranspose2d(3, 6, 3, 2, 1, groups=3),
    "conv_bn_inplace": nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
    ),
    "bn_without_affine": nn.BatchNorm2d(3, affine=False),
    "bn_without_statistics": nn.BatchNorm2d(3, track_running_stats=False),
    "group_norm": nn.GroupNorm(3, 3),
    "layer_norm": nn.LayerNorm([3, 8, 10]),
    "instance_norm": nn.InstanceNorm2d(3, affine=True),
    "pools": nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(2), nn.LPPool2d(2, 2)),
    "adaptive": nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.AdaptiveMaxPool2d(1)),
    "head": nn.Sequential(nn.Flatten(), nn.Linear(240, 5), nn.Softmax(-1)),
    "dropout": nn.Sequential(nn.Dropout(0.3), nn.Dropout2d(0.2), nn.Identity()),
    "activations": nn.Sequential(
        nn.GELU(), nn.SiLU(), nn.Sigmoid(), nn.Tanh(), nn.PReLU(3), nn.LeakyReLU(0.1)
    ),
    "upsample": nn.Sequential(nn.Upsample(scale_factor=2), nn.PixelUnshuffle(2)),
    "scale": Scale(),
}


@pytest.mark.parametrize("name", USUAL)
@pytest.mark.parametrize("train", [True, False])
def test_usual_layers(name, train):
    model = copy.deepcopy(USUAL[name]).train(train)
    x = torch.rand(2, 3, 8, 10)
    ours = ledger(model, (2, 3, 8, 10))
    assert ours.rows[0].input_shape == (2, 3, 8, 10)
    assert ours.rows[-1].output_shape == tuple(model(x).shape)
    assert ours.parameters == sum(p.numel() for p in model.parameters())
    assert ours.kept_bytes == saved_bytes(model, x)
    assert not ours.unknown
    if name == "conv_same":  # fvcore does not know this operation
        assert ours.macs == 2 * 4 * 80 * 3 * 9
    elif "conv" in name or name in ("transposed", "head"):
        analysis = FlopCountAnalysis(model.eval(), x).unsupported_ops_warnings(False)
        counted = analysis.by_operator()
        assert ours.macs == counted["conv"] + counted["linear"]


def test_functions_count_as_layers_do():
    model, x = nn.Sequential(nn.Conv2d(3, 3, 1), Scale(), Attention()), (2, 3, 4, 4)
    ours = ledger(model, x)
    assert not ours.unknown
    assert [row.parameters for row in ours.rows] == [12, 3, 0, 0, 0, 0]
    analysis = FlopCountAnalysis(model, torch.rand(x)).unsupported_ops_warnings(False)
    counted = analysis.by_operator()
    assert ours.macs == counted["conv"] + counted["matmul"] == 288 + 288


class Distances(nn.Module):
    def forward(self, x):
        return torch.cdist(x.flatten(1), x.flatten(1))


def test_whatever_has_no_rule_is_named():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), Distances())
    ours = ledger(model, (2, 3, 4, 4))
    assert ours.unknown == ("1.cdist (cdist)",)
    assert ours.macs == 3 * 2 * 3 * 16  # the convolution's, all the same
    for text in (str(ours), ours._repr_html_()):
        assert "Not counted: 1.cdist (cdist)" in text
        assert "at least 288" in text
    # Its MACs are those of its products; what its kernel keeps depends on the device.
    recurrent = ledger(nn.Sequential(nn.Flatten(2), nn.GRU(8, 5)), (2, 3, 2, 4))
    assert recurrent.unknown == ("1 (GRU)",)
    assert recurrent.macs == 2 * 3 * 15 * (8 + 5)
    assert recurrent.rows[-1].kept_bytes is None
    assert recurrent.by_stage().rows[-1].kept_bytes is None
    with pytest.raises(ValueError, match=r"kept bytes .* 1 \(GRU\)"):
        fits(MIB, nn.Sequential(nn.Flatten(1), nn.GRU(8, 5)), (2, 4))


VISION = "convnext_tiny efficientnet_b0 mobilenet_v3_small regnet_y_400mf"
VISION += " squeezenet1_0 shufflenet_v2_x0_5 mnasnet0_5 swin_t vit_b_16"


@pytest.mark.parametrize("name", VISION.split())
def test_networks_of_torchvision(name):
    """Equal to what autograd saves and what fvcore counts, or named unknown."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name)
    x = torch.rand(1, 3, 224, 224) if name == "vit_b_16" else torch.rand(2, 3, 64, 64)
    ours = ledger(model, x.shape)
    assert not ours.unused
    assert ours.parameters == sum(p.numel() for p in model.parameters())
    assert sum(row.parameters for row in ours.rows) == ours.parameters
    if name == "vit_b_16":
        assert len(ours.unknown) == 12
        assert all("attention" in row for row in ours.unknown)
        assert None not in [row.macs for row in ours.rows]
    else:
        assert not ours.unknown
        assert ours.kept_bytes == saved_bytes(model, x)
    if name not in ("vit_b_16", "swin_t"):  # fvcore does not follow all of attention
        analysis = FlopCountAnalysis(model.eval(), x).unsupported_ops_warnings(False)
        counted = analysis.by_operator()
        assert ours.macs == counted["conv"] + counted["linear"]


class Transformer(nn.Module):
    """Tokens in, with positions that no layer holds."""

    def __init__(self, dropout):
        super().__init__()
        self.tokens = nn.Embedding(10, 8)
        self.positions = nn.Parameter(torch.zeros(1, 5, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)

    def forward(self, x):
        shift = torch.arange(x.shape[1], device=x.device)[:, None]
        return self.layers(self.tokens(x) + self.positions + shift)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_transformer_takes_integers(dropout, dtype):
    model = Transformer(dropout).to(dtype)
    ours = ledger(model, (3, 5))
    tokens = next(row for row in ours.rows if row.name == "tokens")
    assert tokens.kept_bytes == 3 * 5 * 8  # int64
    assert len(ours.unknown) == 2 and not ours.unused
    products = 4 * 8 * 8 + 2 * 8 * 16 + 2 * 5 * 8  # per token, in one layer
    assert ours.macs == 2 * 3 * 5 * products

    class Wrong(nn.Sequential):
        """Floats that are not the input reach the embedding."""

    with pytest.raises(ValueError, match=r"layer '1' .* must be integers"):
        ledger(Wrong(nn.Linear(4, 1), nn.Embedding(5, 3)), (2, 4))


@pytest.mark.parametrize("mask", [None, torch.bool, torch.float32])
@pytest.mark.parametrize("heads", [4, 2])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_what_attention_keeps_is_unknown(mask, heads, dropout):
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.query = nn.Linear(8, 4 * 6)
            self.key, self.value = nn.Linear(8, heads * 6), nn.Linear(8, heads * 6)
            keep = None if mask is None else torch.ones(5, 5, dtype=mask)
            self.register_buffer("keep", keep)

        def forward(self, x):
            layers = (self.query, self.key, self.value)
            q, k, v = (f(x).unflatten(-1, (-1, 6)).transpose(1, 2) for f in layers)
            options = {"attn_mask": self.keep, "dropout_p": dropout}
            return nn.functional.scaled_dot_product_attention(
                q, k, v, **options, enable_gqa=heads != 4
            )

    model, x = Heads(), torch.rand(3, 5, 8)
    ours = ledger(model, x.shape)
    (attention,) = [row for row in ours.rows if row.kept_bytes is None]
    assert attention.kind == "scaled_dot_product_attention"
    assert ours.rows[-1].output_shape == tuple(model(x).shape)
    assert ours.macs == 3 * 5 * 8 * 6 * (4 + 2 * heads) + 2 * 3 * 4 * 5 * 5 * 6


NORMS = {
    "bn": nn.BatchNorm2d(4),
    "bn_eval": nn.BatchNorm2d(4).eval(),
    "group": nn.GroupNorm(2, 4),
    "layer": nn.LayerNorm(9),
    "instance": nn.InstanceNorm2d(4, affine=True),
    "conv_even": nn.Conv2d(4, 4, (2, 4), padding="same"),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", NORMS)
def test_kept_bytes_of_every_type(name, dtype):
    model = copy.deepcopy(NORMS[name]).to(dtype)
    x = torch.rand(2, 4, 8, 9, dtype=dtype)
    assert ledger(model, x.shape).kept_bytes == saved_bytes(model, x)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.GroupNorm(2, 4)])
def test_statistics_have_the_type_of_the_parameters(norm):
    """Half precision with normalization in float32, as mixed models have it."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3).bfloat16(), norm)
    x = torch.rand(2, 3, 8, 9).bfloat16()
    assert ledger(model, x.shape).kept_bytes == saved_bytes(model, x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_cannot_be_watched_is_said():
    linear = nn.Linear(3, 4)
    scripted = torch.jit.script(nn.Linear(3, 4)), torch.jit.trace(linear, torch.ones(3))
    for model in (*scripted, nn.Sequential(nn.Linear(3, 3), scripted[0])):
        with pytest.raises(ValueError, match="is TorchScript; pass the module"):
            ledger(model, (2, 3))
    with pytest.raises(
        ValueError, match=r"layer '1' .*has no shape yet; run the model"
    ):
        ledger(nn.Sequential(nn.ReLU(), nn.LazyConv2d(4, 3)), (1, 3, 8, 8))


def test_wrapped_models_are_unwrapped():
    """No compiler runs: the wrappers compile at the first real call only."""
    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    expected = ledger(plain, (2, 3)).rows
    inside = nn.Sequential(torch.compile(plain[0]), plain[1])
    in_place = copy.deepcopy(plain)
    in_place[0].compile()
    for model in (torch.compile(plain), nn.DataParallel(plain), inside, in_place):
        assert ledger(model, (2, 3)).rows == expected


@pytest.mark.parametrize("make", [nn.utils.weight_norm, spectral_norm])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_that_are_computed(make):
    model, x = make(nn.Conv2d(3, 4, 3)), torch.rand(2, 3, 8, 8)
    ours = ledger(model, x.shape)
    assert ours.kept_bytes == saved_bytes(model, x)
    assert not ours.unknown and not ours.unused


sizes = st.lists(st.integers(1, 6), min_size=1, max_size=3)


@pytest.mark.filterwarnings("ignore:TF32")  # some builds of torch warn at any flag
@settings(deadline=None, max_examples=200)
@given(
    sizes,
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 3),
    st.integers(1, 2),
    st.sampled_from(
        ["zeros", "reflect", "circular", "Transpose", "MaxPool", "AvgPool"]
    ),
)
def test_what_torch_refuses_is_refused(size, k, s, p, d, kind):
    axes, x = len(size), torch.rand(2, 2, *size)
    if kind == "Transpose":
        model = getattr(nn, f"ConvTranspose{axes}d")(2, 2, k, s, p, dilation=d)
    elif kind == "MaxPool":
        model = getattr(nn, f"MaxPool{axes}d")(k, s, p, d)
    elif kind == "AvgPool":
        model = getattr(nn, f"AvgPool{axes}d")(k, s, p)
    else:
        conv = getattr(nn, f"Conv{axes}d")
        model = conv(2, 2, k, s, p, d, padding_mode=kind)
    try:
        with torch.backends.mkldnn.flags(enabled=False):  # oneDNN lets 0 rows through
            expected = tuple(model(x).shape)
    except (RuntimeError, ValueError):
        with pytest.raises(ValueError, match="does not run through"):
            ledger(model, x.shape)
    else:
        assert ledger(model, x.shape).rows[-1].output_shape == expected


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_extra_rows_of_a_transposed_convolution(extra):
    model, x = nn.ConvTranspose2d(2, 2, 3, 2, output_padding=extra), (1, 2, 4, 5)
    if extra == 2:  # not below the stride: torch refuses it too, but not on meta
        with pytest.raises(RuntimeError, match="output padding must be smaller"):
            model(torch.zeros(x))
        with pytest.raises(ValueError, match="output_padding must be below"):
            ledger(model, x)
    else:
        expected = tuple(model(torch.zeros(x)).shape)
        assert ledger(model, x).rows[-1].output_shape == expected


def test_shared_and_unused_parameters_count_once():
    shared = nn.Linear(4, 4)
    ours = ledger(nn.Sequential(shared, nn.ReLU(), shared), (2, 4))
    assert [row.parameters for row in ours.rows] == [20, 0, 0]
    assert [row.macs for row in ours.rows] == [32, 0, 32]
    assert ours.parameters == 20

    class Spare(nn.Sequential):
        def forward(self, x):
            return self[0](x)

    ours = ledger(Spare(nn.Linear(4, 1), nn.Linear(4, 2)), (2, 4))
    assert ours.parameters == 15
    assert ours.unused == ("1.weight", "1.bias")
    assert "Parameters of layers that were not called: 1.weight, 1.bias" in str(ours)


def test_the_model_is_left_alone():
    model = resnet18().train()
    model.layer1.eval()
    called = []
    model.conv1.register_forward_hook(lambda *args: called.append(args))
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    places = {key: value.data_ptr() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    attributes = [dict(module.__dict__) for module in model.modules()]
    hooks = len(model.conv1._forward_hooks), len(model._forward_pre_hooks)
    for inputs in ((2, 3, 64, 64), (2, 3, 64)):
        try:
            ledger(model, inputs)
        except ValueError:
            assert len(inputs) == 3
    fits(MIB, model, (3, 64, 64))
    assert not called
    assert hooks == (len(model.conv1._forward_hooks), len(model._forward_pre_hooks))
    assert modes == [module.training for module in model.modules()]
    for module, old in zip(model.modules(), attributes):
        assert module.__dict__.keys() == old.keys()
        assert all(module.__dict__[key] is value for key, value in old.items())
    after = model.state_dict()
    assert places == {key: value.data_ptr() for key, value in after.items()}
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert torch.equal(model.fc.weight.grad, torch.ones_like(model.fc.weight))


def test_modes_of_the_caller_do_not_matter():
    model = resnet18()
    expected = ledger(model, (2, 3, 64, 64))
    with torch.no_grad():
        assert ledger(model, (2, 3, 64, 64)) == expected
    with torch.inference_mode():
        assert ledger(model, (2, 3, 64, 64)) == expected


class Work(TorchDispatchMode):
    """Counts operations, and those with results in real memory."""

    def __init__(self):
        super().__init__()
        self.count = self.real = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        leaves, _ = torch.utils._pytree.tree_flatten(out)
        self.count += 1
        self.real += any(isinstance(t, torch.Tensor) and not t.is_meta for t in leaves)
        return out


def test_nothing_is_computed():
    model = resnet(152)
    with Work() as work:
        ledger(model, (1, 3, 224, 224))
    assert work.count > 152
    assert work.real == 0


def test_each_layer_takes_few_calls():
    """What keeps the ledger fast, on any machine: the calls of Python functions.

    Torch's own batch normalization on the meta device takes two thousand.
    """
    model = resnet(152)
    rows = ledger(model, (1, 3, 224, 224)).rows
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        ledger(model, (1, 3, 224, 224))
    finally:
        sys.setprofile(None)
    assert calls < 130 * len(rows), f"{calls / len(rows):.0f} calls for each layer"


def test_half_precision_halves_the_bytes():
    full, half = (
        ledger(m, (2, 3, 64, 64)) for m in (resnet18(), resnet18().bfloat16())
    )
    assert half.output_bytes * 2 == full.output_bytes
    assert half.parameter_bytes * 2 == full.parameter_bytes
    assert half.macs == full.macs


def test_receptive_fields_of_resnet18():
    fields = {row.name: row.field for row in ledger(resnet18(), (1, 3, 224, 224)).rows}
    expected = {"conv1": 7, "maxpool": 11, "layer1.1.add": 43, "layer2.1.add": 99}
    expected |= {"layer3.1.add": 211, "layer4.1.add": 435, "fc": 435 + 6 * 32}
    assert {name: fields[name] for name in expected} == {
        name: (size, size) for name, size in expected.items()
    }


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 1, 5, 2, 2, bias=False)
        self.body = nn.Sequential(
            nn.Conv2d(1, 1, (3, 5), 2, (1, 2), bias=False),
            nn.Conv2d(1, 1, 3, 1, 1, bias=False),
        )
        self.short = nn.Conv2d(1, 1, 1, 2, bias=False)

    def forward(self, x):
        x = self.stem(x)
        branches = self.body(x), self.short(x)
        return branches[self.first] + branches[1 - self.first]


@pytest.mark.parametrize("first", [0, 1])
def test_the_field_of_a_residual_unit_is_its_gradients_support(first):
    model = Residual()
    model.first = first
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    x = torch.zeros(1, 1, 64, 64, requires_grad=True)
    model(x)[0, 0, 8, 8].backward()
    seen = x.grad[0, 0].nonzero()
    size = tuple((seen.amax(0) - seen.amin(0) + 1).tolist())
    assert ledger(model, (1, 1, 64, 64)).rows[-1].field == size


def test_subtotals_add_up_and_tables_show_all():
    ours = ledger(resnet18(num_classes=6), (2, 3, 64, 64))
    stages = ours.by_stage()
    names = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    assert [row.name for row in stages.rows] == [*names, "avgpool", "flatten", "fc"]
    for key in ("macs", "output_bytes", "kept_bytes"):
        assert getattr(stages, key) == getattr(ours, key)
    assert stages.rows[5].input_shape == (2, 64, 16, 16)
    assert stages.rows[5].output_shape == (2, 128, 8, 8)
    text = str(ours)
    assert all(row.name in text for row in ours.rows)
    assert f"{ours.macs:,}" in text.splitlines()[-1]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 4, 64, 64), r"layer 'conv1' .* expected \[B, 3, H, W\], got \[2, 4, 64"),
        ((3, 64, 64), r"layer 'bn1' .* expected 4D input"),
        ((1, 3, 32, 32), r"layer 'layer4.0.bn1' .* more than 1 value per channel"),
        ((2, 3, 0, 64), "input_shape must be the shape of a batch"),
        ((), "input_shape must be the shape of a batch"),
        ((2, 3, 6.5, 64), "input_shape must be the shape of a batch"),
    ],
)
def test_errors_say_where_and_what(shape, words):
    with pytest.raises(ValueError, match=words):
        ledger(resnet18(), shape)


def test_an_error_between_layers_names_the_model():
    class Wrong(nn.Module):
        def forward(self, x):
            return x @ x

    with pytest.raises(ValueError, match=r"does not run through Wrong: "):
        ledger(Wrong(), (2, 3, 5))


class Live(TorchDispatchMode):
    """The peak of the bytes alive, each memory block counted once."""

    def __init__(self, *tensors):
        super().__init__()
        self.now = self.peak = 0
        self.known = set()
        for tensor in tensors:
            self.see(tensor)

    def see(self, tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            self.known.add(storage._cdata)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.free, storage._cdata, storage.nbytes())

    def free(self, key, nbytes):
        self.known.discard(key)
        self.now -= nbytes

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in torch.utils._pytree.tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.see(leaf)
        return out


@pytest.mark.parametrize(("depth", "batch"), [(18, 16), (18, 48), (50, 16)])
def test_fits_predicts_the_peak_of_live_tensors(depth, batch):
    """Two real training steps on the CPU. The allocator of a GPU is not asked here."""
    model = resnet(depth, num_classes=6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=False)
    images, labels = torch.zeros(batch, 3, 64, 64), torch.zeros(batch).long()
    state = (*model.state_dict().values(), images)
    with Live(*state) as live:
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    predicted = fits(2**30, model, (3, 64, 64), workspace_bytes=0).peak(batch)
    assert 0.9 * predicted < live.peak <= predicted


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("depth", [18, 50])
def test_fits_predicts_the_peak_of_a_gpus_allocator(depth):
    model = resnet(depth, num_classes=6).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    images = torch.zeros(64, 3, 224, 224, device="cuda")
    labels = torch.zeros(64, device="cuda").long()
    for step in range(3):
        if step == 1:  # the first one also chooses kernels and makes the state
            torch.cuda.reset_peak_memory_stats()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    peak = torch.cuda.max_memory_allocated()
    predicted = fits(2**34, model, (3, 224, 224)).peak(64)
    assert 0.85 * predicted < peak < 1.15 * predicted


def test_fits_solves_its_own_formula():
    fit = fits(2 * 2**30, resnet18(num_classes=6), (3, 64, 64))
    assert fit.peak(fit.batch) <= fit.memory < fit.peak(fit.batch + 1)
    assert f"the largest batch is {fit.batch}" in str(fit)
    frozen = resnet18(num_classes=6).requires_grad_(False)
    frozen.fc.requires_grad_(True)
    assert fits(2 * 2**30, frozen, (3, 64, 64)).batch > fit.batch
    adam = fits(2 * 2**30, resnet18(num_classes=6), (3, 64, 64), optimizer_copies=2)
    assert adam.optimizer == 2 * fit.optimizer
    assert fits(10 * MIB, resnet18(), (3, 64, 64)).batch == 0
    with pytest.raises(ValueError, match="memory_bytes must not be negative, got -1"):
        fits(-1, resnet18(), (3, 64, 64))

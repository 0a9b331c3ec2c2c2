"""The size arithmetic against torch's own layers, case by case.

Torch is asked with real tensors on the CPU: on the meta device some of its checks
(pooling's second padding rule) do not run.
"""

import os
import random
import subprocess
import sys
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib import dimensions
from course_lib.dimensions import (
    Field,
    Layer,
    Unread,
    find_settings,
    output_size,
    receptive_field,
    same_padding,
    unread,
)

CASES = 6000  # per kind of layer, of which there are three


def draw(rng, low, high):
    """An int or a pair of them, now and then one below the least allowed value."""
    numbers = [rng.randint(low, high) for _ in range(2)]
    if rng.random() < 0.02:
        numbers[rng.randrange(2)] = low - 1
    return tuple(numbers) if rng.random() < 0.5 else numbers[0]


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def torch_size(make, size):
    """Torch's answer, or None where it refuses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # initializing an empty kernel
            return tuple(make()(torch.zeros(1, 1, *pair(size))).shape[2:])
    except RuntimeError:
        return None


def our_size(function, *args, **kwargs):
    try:
        return pair(function(*args, **kwargs))
    except ValueError as error:
        message = str(error)
        assert any(f"{name}" in message for name in dimensions.LEAST), message
        assert any(character.isdigit() for character in message), message
        return None


def compare(seed, case):
    """Draw cases with one generator and compare each answer with torch's."""
    rng = random.Random(seed)
    accepted = refused = 0
    with torch.no_grad():
        for _ in range(CASES):
            arguments, ours, theirs = case(rng)
            assert ours == theirs, arguments
            accepted += theirs is not None
            refused += theirs is None
    # Both sorts must be there, or the comparison would say nothing.
    assert accepted > CASES // 4
    assert refused > CASES // 20


def test_convolutions():
    def case(rng):
        arguments = size, k, s, p, d = (
            draw(rng, 1, 20),
            draw(rng, 1, 7),
            draw(rng, 1, 5),
            draw(rng, 0, 4),
            draw(rng, 1, 3),
        )
        theirs = torch_size(lambda: nn.Conv2d(1, 1, k, s, p, d, bias=False), size)
        return arguments, our_size(output_size, *arguments), theirs

    compare(1, case)


def test_maximum_poolings():
    def case(rng):
        arguments = size, k, s, p, d = (
            draw(rng, 1, 20),
            draw(rng, 1, 6),
            draw(rng, 1, 5),
            draw(rng, 0, 2),
            draw(rng, 1, 3),
        )
        ceil = rng.random() < 0.5
        theirs = torch_size(lambda: nn.MaxPool2d(k, s, p, d, ceil_mode=ceil), size)
        ours = our_size(output_size, *arguments, kind="pool", ceil_mode=ceil)
        return (*arguments, ceil), ours, theirs

    compare(2, case)


def test_average_poolings():
    def case(rng):
        arguments = size, k, s, p = (
            draw(rng, 1, 20),
            draw(rng, 1, 6),
            draw(rng, 1, 8),
            draw(rng, 0, 2),
        )
        ceil = rng.random() < 0.5
        theirs = torch_size(lambda: nn.AvgPool2d(k, s, p, ceil_mode=ceil), size)
        ours = our_size(output_size, *arguments, kind="pool", ceil_mode=ceil)
        return (*arguments, ceil), ours, theirs

    compare(3, case)


small = st.integers(1, 4)
layer = st.builds(
    Layer,
    kind=st.just("conv"),
    kernel=st.tuples(small, small),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)


def rows_read(size, layer, ceil_mode=False):
    """Which rows and columns of the padded input get a gradient from the output."""
    h, w = size
    (ph, pw) = pair(layer.padding)
    x = torch.zeros(1, 1, h + 2 * ph, w + 2 * pw, requires_grad=True)
    if layer.kind == "conv":
        conv = nn.Conv2d(1, 1, layer.kernel, layer.stride, 0, layer.dilation)
        nn.init.ones_(conv.weight)
        out = conv(x)
    else:  # the padding is in x already; ceil_mode needs a far edge of its own
        out = nn.AvgPool2d(layer.kernel, layer.stride, ceil_mode=ceil_mode)(x)
    out.sum().backward()
    read = x.grad[0, 0] > 0
    return read.any(1).tolist(), read.any(0).tolist()


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.tuples(st.integers(1, 24), st.integers(1, 24)), layer)
def test_unread_rows_get_no_gradient(size, layer):
    try:
        found = unread(size, *layer[1:5])
    except ValueError:
        return
    for axis, padded in enumerate(rows_read(size, layer)):
        n, p = size[axis], pair(layer.padding)[axis]
        real = padded[p : p + n]
        last = max(row for row, read in enumerate(padded) if read)
        trailing = range(last + 1, n + 2 * p)
        edge = sum(p <= row < p + n for row in trailing)
        assert found.read[axis] == sum(real)
        assert found.edge[axis] == edge
        assert found.between[axis] == n - sum(real) - edge
        assert found.padding[axis] == sum(row >= p + n for row in trailing)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 6))
def test_unread_rows_of_a_ceiling_pooling(n, k, s):
    try:
        found = unread(n, k, s, kind="pool", ceil_mode=True)
    except ValueError:
        return
    rows, _ = rows_read((n, n), Layer("pool", k, s), ceil_mode=True)
    assert found.read == sum(rows)
    assert found.edge + found.between == n - sum(rows)
    assert found.padding == 0


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.lists(layer, min_size=1, max_size=4))
def test_receptive_fields_are_the_support_of_the_gradient(layers):
    """Two neighboring outputs of a real chain, far from every border."""
    field = receptive_field(layers)[-1]
    size = [0, 0]
    # An input on which outputs (i, i) and (i + 1, i + 1) see no padding.
    index = [max(0, -(start // jump)) for start, jump in zip(field.start, field.jump)]
    for axis in range(2):
        end = field.start[axis] + (index[axis] + 1) * field.jump[axis]
        size[axis] = end + field.size[axis] + field.jump[axis] + 2
    x = torch.zeros(1, 1, *size, dtype=torch.float64, requires_grad=True)
    out = x
    for step in layers:
        conv = nn.Conv2d(1, 1, *step[1:5], bias=False, dtype=torch.float64)
        nn.init.ones_(conv.weight)
        out = conv(out)
    for shift in range(2):
        at = [i + shift for i in index]
        (gradient,) = torch.autograd.grad(
            out[0, 0, at[0], at[1]], x, retain_graph=shift == 0
        )
        seen = gradient[0, 0].nonzero()
        for axis in range(2):
            first = field.start[axis] + at[axis] * field.jump[axis]
            assert seen[:, axis].min() == first
            assert seen[:, axis].max() == first + field.size[axis] - 1


def test_the_network_of_the_course():
    """The numbers of the chapter: stem, stages, projections."""
    assert output_size(224, 7, 2, 3) == 112
    assert output_size(112, 2, 2, 1, kind="pool") == 57  # the notes say 56
    assert output_size(112, 3, 2, 1, kind="pool") == 56
    assert output_size(112, 3, 2, 1, kind="pool", ceil_mode=True) == 57
    assert unread(56, 1, 2) == Unread(padding=0, edge=1, between=27, read=28)
    assert unread(56, 3, 2, 1) == Unread(padding=1, edge=0, between=0, read=56)
    stem = [Layer("conv", 7, 2, 3), Layer("pool", 3, 2, 1)]
    assert receptive_field(stem) == [Field(7, 2, -3), Field(11, 4, -5)]
    assert receptive_field([("conv", (7, 1))]) == [Field((7, 1), (1, 1), (0, 0))]
    assert receptive_field([]) == []


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 40))
def test_same_padding_keeps_a_size(kernel, dilation, size):
    if dilation * (kernel - 1) % 2:
        with pytest.raises(ValueError, match=f"kernel={kernel}, dilation={dilation}"):
            same_padding(kernel, dilation)
    else:
        padding = same_padding(kernel, dilation)
        assert output_size(size, kernel, 1, padding, dilation) == size


@pytest.mark.parametrize("kind", ["conv", "pool"])
@pytest.mark.parametrize(("size", "target"), [(56, 28), (7, 7), ((9, 11), (5, 6))])
def test_settings_found_are_those_of_torch(size, target, kind):
    make = nn.Conv2d if kind == "conv" else nn.MaxPool2d
    channels = (1, 1) if kind == "conv" else ()
    expected = [
        (k, s, p)
        for k in range(1, 6)
        for s in range(1, 4)
        for p in range(3)
        if torch_size(lambda k=k, s=s, p=p: make(*channels, k, s, p), size)
        == pair(target)
    ]
    assert len(expected) > 1
    found = find_settings(
        size,
        target,
        kernels=range(1, 6),
        strides=range(1, 4),
        paddings=range(3),
        kind=kind,
    )
    assert found == expected


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((0, 1), {}, "size must be at least 1, got 0"),
        ((5, 0), {}, "kernel must be at least 1, got 0"),
        ((5, 3, 0), {}, "stride must be at least 1, got 0"),
        ((5, 3, 1, (0, -1)), {}, r"padding must be at least 0, got \(0, -1\)"),
        ((5, 3, 1, 0, 0), {}, "dilation must be at least 1, got 0"),
        ((5.0, 3), {}, r"size must be an int or an \(h, w\) pair of ints, got 5.0"),
        ((5, (3, 3, 3)), {}, "kernel must be an int or an"),
        ((5, "33"), {}, "kernel must be an int or an"),
        ((5, 7), {}, "kernel=7 with dilation=1 spans 7 rows, but size=5"),
        ((5, 3, 1, 2), {"kind": "pool"}, "padding=2 for kernel=3: use at most 1"),
        ((5, 3), {"kind": "max"}, "kind must be"),
        ((5, 3), {"ceil_mode": True}, "ceil_mode=True is for pooling"),
    ],
)
def test_errors_name_argument_value_and_rule(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        output_size(*arguments, **options)


def run(*arguments, encoding="utf-8"):
    return subprocess.run(
        [sys.executable, "-m", "course_lib.dimensions", *arguments],
        capture_output=True,
        check=False,
        encoding=encoding,
        env={
            "PYTHONIOENCODING": encoding,
            "SYSTEMROOT": os.environ.get("SYSTEMROOT", ""),
        },
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "utf-16"])
def test_the_command_prints_on_any_console(encoding):
    done = run("57", "--layer", "conv:3,1,2,2", encoding=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    signs = encoding == "utf-16"
    text = "⌊(57 + 2·2 − 2·(3 − 1) − 1)/1⌋ + 1 = ⌊56⌋ + 1 = 57"
    plain = "floor((57 + 2*2 - 2*(3 - 1) - 1)/1) + 1 = floor(56) + 1 = 57"
    assert (text if signs else plain) in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="needs a shell with pipes")
@pytest.mark.parametrize("reader", ["head -n 1", "true"])
def test_a_closed_pipe_ends_quietly(reader):
    layers = "--layer conv:3,1,1 " * 3000  # more than a pipe holds
    command = f"{sys.executable} -m course_lib.dimensions 224 {layers}| {reader}"
    done = subprocess.run(command, shell=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_command_writes_the_arithmetic_out():
    done = run("224", "--layer", "conv:7,2,3", "--layer", "pool:3,2,1")
    assert done.returncode == 0, done.stderr
    assert "⌊(224 + 2·3 − 7)/2⌋ + 1 = ⌊111.5⌋ + 1 = 112" in done.stdout
    assert "⌊(112 + 2·1 − 3)/2⌋ + 1 = ⌊55.5⌋ + 1 = 56" in done.stdout


def test_the_command_takes_pairs_dilation_and_ceiling():
    done = run("57x30", "--layer", "pool:2,4,0,1,ceil", "--layer", "conv:3,1,2,2")
    assert "height 57\n" in done.stdout
    assert "⌈(57 + 2·0 − 2)/4⌉ + 1 = ⌈13.75⌉ + 1 = 15" in done.stdout
    assert "2·(3 − 1) − 1" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [("abc",), ("2x3x3",), ("5", "--layer", "conv:7"), ("5", "--layer", "conv:a")],
)
def test_the_command_refuses_in_one_line(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_no_torch_is_imported():
    code = "import sys, course_lib.dimensions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_window_may_not_start_in_the_far_padding():
    done = run("57", "--layer", "pool:2,4,1,1,ceil")
    assert "⌈14.25⌉ + 1 − 1 (it would start in the padding) = 15" in done.stdout

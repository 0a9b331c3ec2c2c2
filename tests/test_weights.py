import hashlib
import io

import numpy as np
import pytest
import torch

from course_book.experiments import course_weights
from course_lib import weights
from course_lib.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from course_lib.resnet import resnet18
from course_lib.synthetic import SyntheticCracks


@pytest.fixture(scope="module")
def published():
    return weights.FILE.read_bytes()


def test_the_published_file_is_small_and_the_one_in_the_code(published):
    assert hashlib.sha256(published).hexdigest() == weights.SHA256
    assert len(published) < 12e6


def test_packing_loses_at_most_half_a_step():
    torch.manual_seed(0)
    state = resnet18(num_classes=6).state_dict()
    state["layer1.0.conv1.weight"][3] = 0  # a dead channel has no scale
    again = weights.unpack(course_weights.pack(state))
    assert again.keys() == state.keys()
    for name, value in state.items():
        assert again[name].dtype == value.dtype
        if value.ndim < 2:
            assert torch.equal(again[name], value)
            continue
        step = value.abs().flatten(1).amax(1) / 127
        error = (again[name] - value).abs().flatten(1).amax(1)
        assert (error <= 0.5001 * step + 1e-9).all()
        assert error.max() > 0


def test_a_changed_file_is_refused(published, tmp_path):
    path = tmp_path / "changed.npz"
    changed = bytearray(published)
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    with pytest.raises(weights.WeightsError, match="SHA-256"):
        weights.course_resnet18(path)
    with pytest.raises(weights.WeightsError, match="course_weights"):
        weights.course_resnet18(tmp_path / "none.npz")


def test_nothing_in_a_file_can_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle ran",))

    file = io.BytesIO()
    np.savez(file, **{"fc.weight": np.array([Trap()], dtype=object)})
    path = tmp_path / "trap.npz"
    path.write_bytes(file.getvalue())
    with pytest.raises(ValueError, match="pickle"):
        weights.course_resnet18(path, sha256=None)


@torch.no_grad()
def test_the_network_knows_pictures_it_has_not_seen():
    model = weights.course_resnet18()
    assert not model.training
    pictures, labels = SyntheticCracks("test", size=128, count=60).arrays()
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    x = (x - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[
        :, None, None
    ]
    right = (model(x).argmax(1).numpy() == labels).mean()
    assert right > 0.75

"""Checks for the exercises of the chapter on code.

Oracles: torch's own layers, losses and optimizers, and arithmetic on whole numbers.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_book.exercises.random_inputs import RandomInputs
from course_book.exercises.runner import Learner, NotYet, check, judge
from course_book.exercises.values import describe, difference
from course_lib.resnet import BasicBlock, conv1x1

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def small_net(seed: int = 0, classes: int = 3) -> nn.Sequential:
    """A convolution, BN and a classifier: the smallest net that has all parts."""
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, classes),
    )
    return RandomInputs(seed).fill(net.double())


def batches(seed: int, sizes: Iterable[int], classes: int = 3) -> list[tuple]:
    """Drawn batches (images [B, 2, 5, 5], labels [B])."""
    draws = RandomInputs(seed)
    return [(draws.normal(b, 2, 5, 5), draws.labels(b, classes)) for b in sizes]


@check("divided by 255, normalized per channel, channels first")
def check_to_input(learner: Learner) -> None:
    """``to_input(photo)``: uint8 [H, W, 3] to float32 [3, H, W]."""
    mean, std = torch.tensor(MEAN), torch.tensor(STD)

    def oracle(photo: np.ndarray) -> Tensor:
        return ((torch.from_numpy(photo) / 255 - mean) / std).permute(2, 0, 1)

    cases = []
    for seed in range(4):
        draws = RandomInputs(seed)
        size = (draws.integer(2, 6), draws.integer(7, 9), 3)
        photo = torch.randint(256, size, generator=draws.generator)
        cases.append((photo.to(torch.uint8).numpy(),))
    judge(
        learner,
        cases,
        oracle,
        [
            (
                lambda photo: ((torch.from_numpy(photo) - mean) / std).permute(2, 0, 1),
                "mean and deviation are those of values from 0 to 1",
            ),
            (
                lambda photo: (torch.from_numpy(photo) / 255).permute(2, 0, 1),
                "the values have not been normalized yet",
            ),
            (
                lambda photo: oracle(photo).permute(1, 2, 0),
                "the network wants the channels first",
            ),
            (
                lambda photo: oracle(photo).permute(0, 2, 1),
                "rows and columns have changed places: the picture lies on its side",
            ),
            (
                lambda photo: (
                    (
                        (torch.from_numpy(photo) / 255).reshape(3, *photo.shape[:2])
                        - mean[:, None, None]
                    )
                    / std[:, None, None]
                ),
                "a new shape does not move any number: which function swaps axes?",
            ),
            (
                lambda photo: ((torch.from_numpy(photo) / 255 - mean) * std).permute(
                    2, 0, 1
                ),
                "divide by the deviation",
            ),
            (
                lambda photo: oracle(photo)[None],
                "one photo was asked for; the batch comes later",
            ),
            (lambda photo: oracle(photo).double(), "the network's weights are float32"),
        ],
        "uint8 to 0…1, then minus mean, through deviation, then channels first",
        shown="a drawn photo",
    )


@check("found among the present, for each class by itself")
def check_recall(learner: Learner) -> None:
    """``recall(predicted, actual, classes)``: one float per class."""

    def share(
        predicted: list, actual: list, classes: int, of: int, empty: float = np.nan
    ) -> list[float]:
        found = []
        for c in range(classes):
            hit = sum(p == a == c for p, a in zip(predicted, actual))
            whole = (actual.count(c), predicted.count(c), len(actual))[of]
            found.append(hit / whole if whole else empty)
        return found

    cases = [([0, 0, 1, 1], [0, 1, 1, 1], 2), ([0, 0, 0], [0, 2, 2], 3)]
    for seed in range(4):
        draws = RandomInputs(10 + seed)
        classes = draws.integer(2, 6)
        pair = [draws.labels(20, classes).tolist() for _ in range(2)]
        cases.append((*pair, classes))
    judge(
        learner,
        cases,
        lambda p, a, c: share(p, a, c, 0),
        [
            (
                lambda p, a, c: share(p, a, c, 1),
                "this is precision: recall asks how many of the class's own were found",
            ),
            (
                lambda p, a, c: share(p, a, c, 2),
                "divide by the number of the class's own photos, not of all photos",
            ),
            (
                lambda p, a, c: share(p, a, c, 0, 0.0),
                "of a class without photos nothing is known: say nan, not 0",
            ),
            (
                lambda p, a, c: share(p, a, c, 0, 1.0),
                "of a class without photos nothing is known: say nan, not 1",
            ),
            (
                lambda p, a, c: sum(x == y for x, y in zip(p, a)) / len(a),
                "this is the accuracy, one number; each class gets one",
            ),
            (
                lambda p, a, c: float(np.nanmean(share(p, a, c, 0))),
                "return the recall of each class, not their mean",
            ),
        ],
        "for each class: how many are there, and how many of these were found?",
    )


@check("two steps that equal those of the oracle, and a plain number comes back")
def check_training_step(learner: Learner) -> None:
    """``training_step(model, optimizer, images, labels)`` returns the loss."""

    def trained(step: Callable) -> tuple[list[float], Tensor]:
        model = small_net(3)
        model.eval()  # as an evaluation between two epochs leaves it
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.5)
        losses = [step(model, optimizer, x, y) for x, y in batches(4, (5, 4, 6))]
        numbers = [t.detach().double().flatten() for t in model.state_dict().values()]
        return losses, torch.cat(numbers)

    def right(
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        x: Tensor,
        y: Tensor,
        *,
        zero: bool = True,
        softmax: bool = False,
        train: bool = True,
        step: bool = True,
    ) -> float:
        model.train(train)
        if zero:
            optimizer.zero_grad()
        logits = model(x)
        loss = F.cross_entropy(logits.softmax(1) if softmax else logits, y)
        loss.backward()
        if step:
            optimizer.step()
        return loss.item()

    def theirs(*arguments: object) -> object:
        # The model itself, no copy: training it is what the function is for.
        call = f"{learner.name}(model, optimizer, images, labels)"
        got = learner.guard(lambda: learner.answer(*arguments), call, arguments)
        learner.something(got, call)
        if isinstance(got, Tensor):
            raise NotYet(
                f"{call} should be a float, and {describe(got)} came; a tensor keeps "
                "its whole graph in memory: which method makes a number of it?"
            )
        return got

    want_losses, want = trained(right)
    losses, got = trained(theirs)
    fault = difference(losses, want_losses, "the losses of three steps")
    fault = fault or difference(got, want, "the trained weights")
    if not fault:
        return
    hints = [
        ({"zero": False}, "gradients add up until somebody sets them to 0"),
        ({"softmax": True}, "cross_entropy wants logits: it does the softmax itself"),
        (
            {"train": False},
            "the model came in eval mode, and BN must use the batch's statistics",
        ),
        (
            {"step": False},
            "the weights have not moved: which call moves them, and when?",
        ),
    ]
    for change, hint in hints:
        numbers, weights = trained(lambda *case, c=change: right(*case, **c))
        if not difference(losses, numbers) and not difference(got, weights):
            raise NotYet(f"{fault}; {hint}")
    raise NotYet(
        f"{fault}; mode, gradients to 0, forward, loss, backward, step: in this order"
    )


@check("eval mode, every image counts the same, and the model is left as it was")
def check_evaluate(learner: Learner) -> None:
    """``accuracy(model, batches)``: share of right answers, a float."""

    def accuracy(
        model: nn.Module, data: list, *, train: bool = False, mean: bool = False
    ) -> float:
        model.train(train)
        right = [(model(x).argmax(1) == y).double() for x, y in data]
        if mean:
            return sum(r.mean().item() for r in right) / len(right)
        return torch.cat(right).mean().item()

    results = []
    for seed in range(5):
        model = small_net(20 + seed).train()
        data = batches(30 + seed, (7, 7, 2))
        before = copy.deepcopy(model.state_dict())
        call = f"{learner.name}(model, batches)"
        want = accuracy(copy.deepcopy(model), data)
        got = learner.guard(
            lambda m=model, d=data: learner.answer(m, d), call, (model, data)
        )
        learner.something(got, call)
        if isinstance(got, Tensor) and got.requires_grad:
            raise NotYet(f"{call} should be a float, and a tensor with a graph came")
        moved = [
            name
            for name, tensor in model.state_dict().items()
            if not torch.equal(tensor, before[name])
        ]
        results.append((seed, difference(got, want, "the accuracy"), got, data))
        if moved:
            raise NotYet(
                f"{call} changed {moved[0]!r} of the model; BN remembers batches in "
                "train mode, and an evaluation may not teach it anything"
            )
        if not model.training:
            raise NotYet(
                f"{call} left the model in eval mode, and it came in train mode; "
                "remember model.training and put it back"
            )
    faults = [fault for _, fault, _, _ in results if fault]
    if not faults:
        return
    hints = [
        ({"mean": True}, "the last batch is smaller: count images, not batches"),
        ({"train": True}, "BN used the batch's statistics: set the mode first"),
        ({"train": True, "mean": True}, "set the mode first"),
    ]
    for change, hint in hints:
        same = [
            not difference(got, accuracy(small_net(20 + seed), data, **change))
            for seed, _, got, data in results
        ]
        if all(same):
            raise NotYet(f"{faults[0]}; {hint}")
    hint = "count the right answers, count the images, divide once at the end"
    if any(isinstance(got, int | float) and got > 1 for _, _, got, _ in results):
        hint = "a share lies between 0 and 1"
    raise NotYet(f"{faults[0]}; {hint}")


@check("every unit is registered, has weights of its own, and is used", what="class")
def check_repaired_stage(learner: Learner) -> None:
    """``RepairedStage(channels, units)``: BasicBlocks in a row, in ``units``."""
    for channels, units in ((2, 3), (4, 2), (3, 1)):
        call = f"{learner.name}({channels}, {units})"
        stage = learner(channels, units)
        if not isinstance(stage, nn.Module):
            raise NotYet(f"{call} should be a module, and {describe(stage)} came")
        want = nn.Sequential(*(BasicBlock(channels, channels) for _ in range(units)))
        numbers = sum(p.numel() for p in want.parameters())
        have = sum(p.numel() for p in stage.parameters())
        if have == 0:
            raise NotYet(
                f"{call} has no parameters at all: model.to(device) would not move "
                "them, and no optimizer would train them; a Python list hides "
                "modules, so which container shows them?"
            )
        if have * units == numbers and units > 1:
            raise NotYet(
                f"{call} has the parameters of one unit, {have}, where {units} units "
                f"have {numbers}; is it one unit, used several times?"
            )
        if have != numbers:
            raise NotYet(f"{call} should have {numbers} parameters, and has {have}")
        names = {f"units.{name}" for name in want.state_dict()}
        if set(stage.state_dict()) != names:
            raise NotYet(
                f"{call} should name its tensors {min(names)!r} and so on, and has "
                f"{min(set(stage.state_dict()) ^ names)!r}; keep the name units"
            )
        RandomInputs(channels).fill(want.double())
        stage = stage.double()
        state = {f"units.{name}": t for name, t in want.state_dict().items()}
        stage.load_state_dict(state)
        x = RandomInputs(units).normal(2, channels, 5, 5)
        y = learner.guard(lambda s=stage, x=x: s(x.clone()), f"{call}(x)")
        fault = difference(y, want(x.clone()), "its output")
        if fault:
            first = want[0](x.clone())
            last = want[-1](x.clone())
            skipped = not difference(y, first) or not difference(y, last)
            hint = "each unit reads what the unit before it returned"
            if skipped:
                hint = "only one of the units was used; what does the next one read?"
            raise NotYet(f"{call}: {fault}; {hint}")


@check("each tensor in one group, and nothing of one dimension decays")
def check_groups(learner: Learner) -> None:
    """``parameter_groups(model, weight_decay)``: two dicts for an optimizer."""
    down = nn.Sequential(conv1x1(2, 4, 2), nn.BatchNorm2d(4))
    models = [
        nn.Sequential(BasicBlock(2, 4, 2, down), nn.Flatten(), nn.Linear(4, 3)),
        small_net(),
    ]
    for model, decay in zip(models, (1e-4, 0.05)):
        names = {id(p): (n, p) for n, p in model.named_parameters()}
        call = f"{learner.name}(model, {decay})"
        groups = learner.guard(
            lambda m=model, d=decay: learner.answer(m, d), call, (model, decay)
        )
        learner.something(groups, call)
        if not isinstance(groups, list | tuple) or not all(
            isinstance(group, dict) for group in groups
        ):
            raise NotYet(
                f"{call} should be a list of dicts, and {describe(groups)} came"
            )
        found: dict[int, float] = {}
        for group in groups:
            if not {"params", "weight_decay"} <= group.keys():
                raise NotYet(
                    f"{call}: each dict needs 'params' and 'weight_decay', and one has "
                    f"{describe(list(group))}"
                )
            group["params"] = list(group["params"])
            for tensor in group["params"]:
                if id(tensor) not in names:
                    raise NotYet(
                        f"{call}: 'params' should hold the model's parameters, and "
                        f"holds {describe(tensor)}; model.named_parameters() gives "
                        "pairs of a name and a tensor"
                    )
                if id(tensor) in found:
                    name = names[id(tensor)][0]
                    raise NotYet(
                        f"{call}: {name!r} stands in two groups; one is enough"
                    )
                found[id(tensor)] = group["weight_decay"]
        for key, (name, tensor) in names.items():
            if key not in found:
                raise NotYet(
                    f"{call}: {name!r} stands in no group and would never be trained"
                )
            want = decay if tensor.ndim > 1 else 0.0
            if not isinstance(found[key], int | float) or found[key] != want:
                raise NotYet(
                    f"{call}: {name!r} of shape {list(tensor.shape)} should decay with "
                    f"{want:g}, and {describe(found[key])} came; {_group_hint(name)}"
                )


def _group_hint(name: str) -> str:
    if "downsample" in name:
        return "some BN layers have no bn in their name: is there a safer sign?"
    if name.endswith("bias"):
        return "biases and β need no decay"
    if "conv" in name or name.endswith("weight"):
        return (
            "the weights of convolutions and FC layers decay, the γ of BN does not, "
            "though its name ends with weight as well"
        )
    return "look at the number of dimensions"


@check("a training that was interrupted ends where the other one ends")
def check_resume(learner: Learner) -> None:
    """``snapshot(model, optimizer)``: a dict for ``torch.save``."""

    def train(model: nn.Module, optimizer: torch.optim.Optimizer, data: list) -> None:
        model.train()
        for x, y in data:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    def start(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = small_net(seed)
        return model, torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)

    data = batches(60, (4,) * 6)
    model, optimizer = start(50)
    train(model, optimizer, data[:3])
    before = copy.deepcopy(model.state_dict())
    call = f"{learner.name}(model, optimizer)"
    arguments = (model, optimizer)
    state = learner.guard(lambda: learner.answer(*arguments), call, arguments)
    learner.something(state, call)
    if not isinstance(state, dict):
        raise NotYet(f"{call} should be a dict, and {describe(state)} came")
    for key in ("model", "optimizer"):
        if key not in state:
            hint = (
                "it holds the momentum, without which the next step is another one"
                if key == "optimizer"
                else "it holds the weights"
            )
            raise NotYet(f"{call} has no entry {key!r}: {hint}")
    train(model, optimizer, data[3:])
    file = io.BytesIO()
    learner.guard(lambda: torch.save(state, file), f"torch.save({call})")
    file.seek(0)
    try:
        state = torch.load(file, weights_only=True)
    except Exception:
        raise NotYet(
            f"{call} should hold state dicts, and torch.load refuses what it holds; "
            "modules and optimizers themselves do not belong into a file"
        ) from None
    fresh, again = start(51)
    missing = [name for name in before if name not in state["model"]]
    if missing:
        raise NotYet(
            f"{call}: {missing[0]!r} is missing; the running statistics of BN are no "
            "parameters, and belong to the model's state all the same"
        )
    try:
        fresh.load_state_dict(state["model"])
        again.load_state_dict(state["optimizer"])
    except Exception:
        raise NotYet(
            f"{call} cannot be loaded: 'model' and 'optimizer' should be what "
            "state_dict() of each gives"
        ) from None
    fault = difference(state["model"]["5.weight"], before["5.weight"], "the FC weight")
    if fault:
        raise NotYet(
            f"{call} changed while the training went on: {fault}; state_dict() shows "
            "the living tensors, and a snapshot needs copies"
        )
    train(fresh, again, data[3:])
    fault = difference(fresh[5].weight, model[5].weight, "the resumed FC weight")
    if fault:
        raise NotYet(
            f"{fault}; something that the next step needs was not kept as it was, the "
            "momentum say"
        )


@check("as many cracks as the allowed false alarms let you find")
def check_recall_at(learner: Learner) -> None:
    """``recall_at(scores, cracked, limit)``: the best recall, a float."""

    def best(
        scores: list,
        cracked: list,
        limit: float,
        *,
        of: str = "intact",
        strict: bool = False,
        gives: str = "recall",
    ) -> float:
        found = (0.0, float("inf"), 0.0)  # recall, threshold, precision
        for threshold in sorted(set(scores), reverse=True):
            alarms = [score >= threshold for score in scores]
            hits = sum(a and c for a, c in zip(alarms, cracked))
            false = sum(alarms) - hits
            whole = {
                "intact": len(cracked) - sum(cracked),
                "all": len(cracked),
                "alarms": sum(alarms),
            }[of]
            allowed = false < limit * whole if strict else false <= limit * whole
            if allowed and hits / sum(cracked) >= found[0]:
                found = hits / sum(cracked), threshold, hits / sum(alarms)
        return found[("recall", "threshold", "precision").index(gives)]

    def ignores_ties(scores: list, cracked: list, limit: float) -> float:
        intact = sorted((s for s, c in zip(scores, cracked) if not c), reverse=True)
        threshold = intact[max(0, int(limit * len(intact)) - 1)]
        hits = sum(s >= threshold for s, c in zip(scores, cracked) if c)
        return hits / sum(cracked)

    cases = [
        ([0.9, 0.8, 0.7, 0.6, 0.2], [True, False, True, True, False], 0.5),
        ([0.9, 0.5, 0.5, 0.1, 0.1, 0.1], [False, False, True, False, False, True], 0.0),
    ]
    for seed, limit in enumerate((0.05, 0.1, 0.25, 0.25, 0.5)):
        draws = RandomInputs(80 + seed)
        cracked = [True] * draws.integer(6, 12) + [False] * 20
        scores = draws.labels(len(cracked), 11).tolist()
        shifted = [min(10, s + 3 * c) / 10 for s, c in zip(scores, cracked)]
        cases.append((shifted, cracked, limit))
    judge(
        learner,
        cases,
        best,
        [
            (
                lambda s, c, limit: best(s, c, limit, of="alarms"),
                "the limit is a share of the intact photos, not of the alarms",
            ),
            (
                lambda s, c, limit: best(s, c, limit, of="all"),
                "the limit is a share of the intact photos, not of all photos",
            ),
            (
                lambda s, c, limit: best(s, c, limit, gives="threshold"),
                "this is the threshold: how many of the cracked photos pass it?",
            ),
            (
                lambda s, c, limit: best(s, c, limit, gives="precision"),
                "this is precision; recall asks how many of the cracked photos raise "
                "an alarm",
            ),
            (
                lambda s, c, limit: best(s, c, limit, strict=True),
                "just as many false alarms as the limit allows are allowed",
            ),
            (
                ignores_ties,
                "photos of equal score raise the alarm together, or not at all",
            ),
        ],
        "try each score as the threshold, keep those that raise few false alarms, and "
        "return the best recall",
        shown="drawn scores",
    )


class _Headed(nn.Module):
    """A convolution, BN and a head ``fc``."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:  # [B, 2, H, W]
        return self.fc(F.relu(self.bn(self.conv(x))).mean((2, 3)))


@check("the new head learns, and so does everything below it")
def check_repaired_fine_tune(learner: Learner) -> None:
    """``repaired_fine_tune(model, classes, batches)`` returns the trained model."""

    def tuned(model: nn.Module, classes: int, data: list) -> nn.Module:
        model.fc = nn.Linear(model.fc.in_features, classes)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        model.train()
        for x, y in data:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        return model

    for seed, classes in ((70, 2), (71, 5)):
        model = RandomInputs(seed).fill(_Headed(3).double()).float().eval()
        data = [(x.float(), y) for x, y in batches(seed, (6, 6, 6, 6), classes)]
        call = f"{learner.name}(model, {classes}, batches)"
        arguments = (copy.deepcopy(model), classes, data)
        torch.manual_seed(seed)
        got = learner.guard(lambda a=arguments: learner.answer(*a), call, arguments)
        learner.something(got, call)
        torch.manual_seed(seed)
        want = tuned(copy.deepcopy(model), classes, data)
        if not isinstance(got, _Headed) or not isinstance(got.fc, nn.Linear):
            raise NotYet(f"{call} should return the model, and {describe(got)} came")
        if got.fc.weight.shape != want.fc.weight.shape:
            raise NotYet(
                f"{call}: the head has {got.fc.out_features} outputs for {classes} "
                "classes; the old head must go"
            )
        torch.manual_seed(seed)
        fresh = nn.Linear(4, classes)
        if torch.equal(got.fc.weight, fresh.weight):
            raise NotYet(
                f"{call}: the new head is as it was drawn, it has not learned a thing; "
                "which tensors did the optimizer get, and when?"
            )
        if torch.equal(got.conv.weight, model.conv.weight):
            raise NotYet(
                f"{call}: the convolution has not moved; all of the network should "
                "learn, not only its head"
            )
        if torch.equal(got.bn.running_mean, model.bn.running_mean):
            raise NotYet(
                f"{call}: BN's statistics have not moved; the model came in eval mode, "
                "so which call is missing?"
            )
        fault = difference(got.fc.weight, want.fc.weight, "the weight of the head")
        fault = fault or difference(got.conv.weight, want.conv.weight, "conv.weight")
        if fault:
            raise NotYet(
                f"{call}: {fault}; keep rate, momentum and the five things of a step, "
                "and mend only the order"
            )

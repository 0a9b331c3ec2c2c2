"""Typical wrong answers: edits of the notebooks' solutions, and the hint for each.

An entry is (old text, new text, part of the hint); old text "*" replaces the whole
solution region. Each exercise has at least three.
"""

MISTAKES = {
    "structure": {
        "projection": [
            ("in_channels != out_channels or stride != 1", "stride != 1", "stride 1"),
            (" or stride != 1", "", "equal channels"),
            (" or ", " and ", "one of the two"),
            (
                "!= out_channels or stride !=",
                "== out_channels and stride ==",
                "other way",
            ),
            ("in_channels != out", "in_channels < out", "become fewer"),
        ],
        "layers": [
            ("return 1 + ", "return ", "stem"),
            (
                "1 + convolutions * sum(units) + 1",
                "convolutions * sum(units)",
                "before",
            ),
            ("convolutions * ", "2 * ", "not always 2"),
            ("(units) + 1", "(units) + 1 + 3", "projections"),
        ],
        "unit": [
            (
                "bn2(conv2(out))\n    return F.relu(out + shortcut(x))",
                "F.relu(bn2(conv2(out)))\n    return out + shortcut(x)",
                "where does the last ReLU stand",
            ),
            ("F.relu(out + shortcut(x))", "out + shortcut(x)", "after the addition"),
            ("F.relu(bn1(conv1(x)))", "bn1(conv1(x))", "between the two"),
            (" + shortcut(x)", "", "plain unit"),
            ("out + shortcut", "0.1 * out + shortcut", "without a factor"),
            ("shortcut(x)", "x", "raised RuntimeError"),
        ],
        "batch-norm": [
            ("correction=0", "correction=1", "correction"),
            ("(0, 2, 3)", "(0, 1, 2, 3)", "each channel"),
            ("(0, 2, 3)", "(2, 3)", "whole batch"),
            ("(var + eps).sqrt()", "(var.sqrt() + eps)", "under the root"),
        ],
        "running": [
            (
                "(1 - momentum) * mean + momentum * batch_mean\n"
                "    new_var = (1 - momentum) * var + momentum * batch_var",
                "momentum * mean + (1 - momentum) * batch_mean\n"
                "    new_var = momentum * var + (1 - momentum) * batch_var",
                "share of the new",
            ),
            ("correction=1", "correction=0", "unbiased"),
            ("new_mean, new_var", "batch_mean, batch_var", "keep its share"),
            (".var(", ".std(", "not the deviation"),
        ],
        "repaired-unit": [
            (
                "out = self.bn2(self.conv2(out))\n"
                "        return F.relu(out + self.downsample(x))",
                "out = F.relu(self.bn2(self.conv2(out)))\n"
                "        return out + self.downsample(x)",
                "follow the signs",
            ),
            (
                "return F.relu(out + self.downsample(x))",
                "return out + self.downsample(x)",
                "no ReLU has seen",
            ),
            (
                "        self.conv1 = conv3x3(in_channels, out_channels, stride=2)\n"
                "        self.conv2 = conv3x3(out_channels, out_channels)\n",
                "",
                "wrong convolution",
            ),
            (
                "        self.conv2 = conv3x3(out_channels, out_channels)\n",
                "        self.conv2 = nn.Conv2d(out_channels, out_channels, 3,"
                " padding=1)\n",
                "bias before BN",
            ),
        ],
        "identity-kernels": [
            ("weight[every, every, ", "weight[:, :, ", "adds up all"),
            ("size // 2, size // 2]", "0, 0]", "shifted"),
            (
                "*",
                "return torch.ones(channels, channels, size, size)",
                "with which weight",
            ),
            (
                "*",
                "return torch.full((channels, channels, size, size),"
                " 1 / (channels * size**2))",
                "mean",
            ),
            ("*", "return torch.eye(channels)", "should be a tensor of shape"),
        ],
        "lesion": [
            (
                "            elif unit.downsample is None:\n"
                "                out = F.relu(out)\n"
                "            else:\n"
                "                out = F.relu(unit.downsample(out))\n",
                "            else:\n                out = torch.zeros_like(out)\n",
                "what does the shortcut bring",
            ),
            ("F.relu(unit.downsample(out))", "unit.downsample(out)", "ReLU after"),
            (
                "            if number != gone:\n                out = unit(out)\n"
                "            elif",
                "            if number > gone:\n                out = unit(out)\n"
                "            elif",
                "lacks one unit only",
            ),
            ("if number != gone:", "if True:", "nothing has been taken out"),
            (
                "out = F.relu(out)",
                "out = F.relu(unit.bn2(unit.conv2(F.relu(unit.bn1(unit.conv1(out))))))",
                "with the whole one|last ReLU",
            ),
            (
                "            elif unit.downsample is None:\n"
                "                out = F.relu(out)\n"
                "            else:\n"
                "                out = F.relu(unit.downsample(out))\n",
                "            else:\n                out = F.relu(unit.bn2(unit.conv2("
                "F.relu(unit.bn1(unit.conv1(out))))))\n",
                "other way round",
            ),
            (
                "    return losses",
                "    whole = F.cross_entropy(head(nn.Sequential(*units)(x)), labels)\n"
                "    return [loss - whole.item() for loss in losses]",
                "by how much",
            ),
            ("range(len(units))", "range(1, len(units))", "entries"),
            (
                "            elif unit.downsample is None:\n"
                "                out = F.relu(out)\n"
                "            else:\n"
                "                out = F.relu(unit.downsample(out))\n",
                "",
                "raised RuntimeError",
            ),
        ],
        "slice": [
            ("* (length / own)[:, None, None, None]", "", "lengths of its own"),
            (
                "length = weight.flatten(1).norm(dim=1)\n"
                "    own = noise.flatten(1).norm(dim=1)\n"
                "    d = noise * (length / own)[:, None, None, None]",
                "d = noise * weight.norm() / noise.norm()",
                "each filter needs its own",
            ),
            (
                "length = weight.flatten(1).norm(dim=1)\n"
                "    own = noise.flatten(1).norm(dim=1)\n"
                "    d = noise * (length / own)[:, None, None, None]",
                "length = weight.flatten(2).norm(dim=2)\n"
                "    own = noise.flatten(2).norm(dim=2)\n"
                "    d = noise * (length / own)[:, :, None, None]",
                "all input channels",
            ),
            (
                "length = weight.flatten(1).norm(dim=1)\n"
                "    own = noise.flatten(1).norm(dim=1)\n"
                "    d = noise * (length / own)[:, None, None, None]",
                "length = weight.transpose(0, 1).flatten(1).norm(dim=1)\n"
                "    own = noise.transpose(0, 1).flatten(1).norm(dim=1)\n"
                "    d = noise * (length / own)[:, None, None]",
                "first axis",
            ),
            ("length / own", "own / length", "other way round"),
            ("(length / own)", "((length / own) ** 2)", "root of the sum"),
            ("length / own", "length", "divide by it"),
            (
                "    return [loss(weight + a * d).item() for a in steps]",
                "    losses = []\n"
                "    for a in steps:\n"
                "        weight = weight + a * d\n"
                "        losses.append(loss(weight).item())\n"
                "    return losses",
                "where the last one ended",
            ),
            (".item() for a in steps", " for a in steps[:1]", "should have 4 entries"),
        ],
    },
    "mechanism": {
        "pencil": [
            ("[31,", "[28,", "pad both edges"),
            ("8, 11, 8, 11,", "8, 11, 9, 11,", "round down"),
            (" 11, 38", " 11, 40", "2(K − 1) + 1 rows"),
            ("*first, ", "", "a list of 20"),
            (" 14, 23, 23,", " 14, 23, 12,", "write the formula out"),
        ],
        "wide-photo": [
            (
                "*",
                "return [(height // 2**k, width // 2**k) for k in (1, 2, 2, 3, 4, 5)]",
                "does not round down",
            ),
            ("(3, 1, 1)", "(3, 2, 1)", "leaves the size alone"),
            (
                "(3, 2, 1), (3, 1, 1)",
                "(3, 1, 1), (3, 1, 1)",
                "max pooling has stride 2",
            ),
            ("return sizes", "return [(w, h) for h, w in sizes]", "height comes first"),
            ("return sizes", "return sizes[-1]", "all six"),
        ],
        "rows": [
            ("d * (k - 1) - 1", "k", "more rows than K"),
            ("2 * p", "p", "both edges"),
            (" // s + 1", " // s", "first window"),
            (" // s", " / s", "without a rest"),
            (
                "*",
                "return -(-(n + 2 * p - d * (k - 1) - 1) // s) + 1",
                "which way to round",
            ),
        ],
        "other-stem": [
            ("range(1, 8)", "range(1, 8, 2)", "even size"),
            ("range(1, 8)", "range(2, 8, 2)", "odd size"),
            ("*", "return [(k, k // 2) for k in range(1, 8)]", "one row too many"),
            ("found.append((k, p))", "found.append((k, 2, p))", "pairs (K, P)"),
        ],
        "pad": [
            ("2 * p), value)", "2 * p), 0)", "not always with 0"),
            ("p : p + h, p : p + w", ":h, :w", "in the middle"),
            ("h + 2 * p, w + 2 * p", "h + 2 * p, w", "should have the shape|raised"),
            ("    wide[:, :, p : p + h, p : p + w] = x\n", "", "copy the map"),
            ("*", "return F.pad(x, [0, p, 0, p], value=value)", "grows by 2p"),
            ("*", "return F.pad(x, [0, 0, p, p], value=value)", "columns get"),
        ],
        "convolve": [
            (" + bias", "", "bias of its own"),
            (
                "top, left = i * stride, j * stride",
                "top, left = i, j",
                "row i · stride",
            ),
            ("window[:, None] * weight", "window[:, None] * weight.mT", "exchanged"),
            (
                "window[:, None] * weight",
                "window[:, None] * weight.flip(2, 3)",
                "is not turned",
            ),
            (".sum(dim=(2, 3, 4))", ".mean(dim=(2, 3, 4))", "a mean divides"),
            ("products.sum(dim=(2, 3, 4))", "products[:, :, 0].sum((2, 3))", "not one"),
            ("*", "return F.conv2d(x, weight, bias)", "after|begins `stride` rows"),
            (
                "*",
                "return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2)",
                "no padding here",
            ),
        ],
        "max-pool": [
            ("value=-math.inf", "value=0", "a 0 beside negative values"),
            ("value=-math.inf", "value=-1", "below −1"),
            ("(dim=(2, 3))", "(dim=(1, 2, 3))[:, None]", "a maximum of its own"),
            ("amax", "mean", "*"),
            ("*", "return F.avg_pool2d(x, k, s, p)", "the mean of a window"),
            ("*", "return F.max_pool2d(x, k, s)", "pad both edges"),
            ("*", "return F.max_pool2d(x, k, k, p)", "not the size of the window"),
            ("*", "return F.max_pool2d(x, k, s, p, ceil_mode=True)", "left out"),
        ],
        "fully-connected": [
            (".T", "", "which of its axes"),
            (" + bias", "", "bias is missing"),
            ("x @ weight.T + bias", "(x @ weight.T + bias).softmax(-1)", "logits"),
            ("x @ weight.T + bias", "(x @ weight.T + bias).T", "images come first"),
            ("x @ weight.T + bias", "F.relu(x @ weight.T + bias)", "may be negative"),
        ],
        "unit-parameters": [
            ("2 * out_channels  #", "0  #", "a γ and a β"),
            (
                "total += in_channels * out_channels + norm",
                "pass",
                "has weights as well",
            ),
            (
                "total += in_channels * out_channels + norm",
                "total += in_channels * out_channels",
                "follows the projection",
            ),
            ("2 * out_channels  #", "4 * out_channels  #", "running statistics"),
            (
                "3 * 3 * in_channels",
                "3 * 3 * out_channels",
                "another number of channels",
            ),
            (
                "in_channels != out_channels or stride != 1",
                "stride != 1",
                "only the channels",
            ),
        ],
        "read-all": [
            (
                "*",
                "return nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False)",
                "2 × 2 neighbors",
            ),
            (
                "*",
                "return nn.Conv2d(in_channels, out_channels, 2, stride=2, bias=False)",
                "needs no weight",
            ),
            ("        nn.AvgPool2d(kernel_size=2, stride=2),\n", "", "halves the maps"),
            ("AvgPool2d", "MaxPool2d", "a maximum"),
        ],
        "split": [
            ("*", "return split_patches(photos, share, seed)", "draw photos"),
            ("share * len(names)", "(1 - share) * len(names)", "the test part's"),
            ("    random.Random(seed).shuffle(names)\n", "", "before you deal"),
            ("random.Random(seed)", "random.Random()", "same seed"),
            ("*", 'return ["train"] * len(photos)', "both parts"),
        ],
        "log-softmax": [
            (
                "*",
                "return torch.softmax(z, dim=-1).log()",
                "before anything can become 0",
            ),
            ("z - z.amax(dim=-1, keepdim=True)", "z", "overflows"),
            ("z.amax(dim=-1, keepdim=True)", "z.max()", "its own maximum"),
            ("*", "return F.log_softmax(z, dim=0)", "last dimension"),
            ("*", "return F.softmax(z, dim=-1)", "their logarithm"),
        ],
        "dense-scores": [
            ("None], bias)", "None])", "every position"),
            ("*", "return F.linear(maps.mean((2, 3)), weight, bias)", "usual logits"),
            (
                "*",
                "return F.linear(maps.permute(0, 2, 3, 1), weight, bias)",
                "where the channels were",
            ),
        ],
    },
    "code": {
        "to-input": [
            (" / 255", "", "0 to 1"),
            (".permute(2, 0, 1)", "", "channels first"),
            (".permute(2, 0, 1)", ".permute(2, 1, 0)", "lies on its side"),
            ("((values - MEAN) / STD)", "values", "not been normalized"),
            (
                "*",
                "values = torch.from_numpy(photo).float() / 255\n"
                "    values = values.reshape(3, *photo.shape[:2])\n"
                "    return (values - MEAN[:, None, None]) / STD[:, None, None]",
                "which function swaps axes",
            ),
        ],
        "recall": [
            (
                "p == c for p, a in zip(predicted, actual) if a == c",
                "a == c for p, a in zip(predicted, actual) if p == c",
                "precision",
            ),
            (
                "p == c for p, a in zip(predicted, actual) if a == c",
                "p == a == c for p, a in zip(predicted, actual)",
                "not of all photos",
            ),
            ('float("nan")', "0.0", "say nan"),
            ("return found", "return sum(found) / classes", "each class"),
        ],
        "training-step": [
            ("    optimizer.zero_grad()\n", "", "add up"),
            ("model(images)", "model(images).softmax(1)", "wants logits"),
            ("    model.train()\n", "", "eval mode"),
            ("    optimizer.step()\n", "", "which call moves"),
            ("loss.item()", "loss", "whole graph"),
            (
                "    loss.backward()\n    optimizer.step()\n",
                "    optimizer.step()\n    loss.backward()\n",
                "and when",
            ),
        ],
        "evaluate": [
            ("    model.eval()\n", "", "may not teach"),
            ("    model.train(mode)\n", "", "put it back"),
            (
                "*",
                "model.eval()\n    shares = []\n    for x, y in batches:\n"
                "        hits = (model(x).argmax(1) == y).double()\n"
                "        shares.append(hits.mean().item())\n"
                "    model.train()\n    return sum(shares) / len(shares)",
                "count images",
            ),
            ("right / total", "100 * right / total", "between 0 and 1"),
        ],
        "repaired-stage": [
            ("nn.ModuleList(self.units)", "self.units", "which container"),
            (
                "nn.ModuleList(self.units)",
                "nn.ModuleList([self.units[0]] * len(self.units))",
                "one unit",
            ),
            (
                "nn.ModuleList(self.units)",
                "nn.ModuleList(self.units[1:])",
                "parameters",
            ),
            (
                "        self.units = nn.ModuleList(self.units)\n",
                "        self.units = nn.ModuleList(self.units)\n\n"
                "    def forward(self, x):\n        return self.units[0](x)\n",
                "only one of the units",
            ),
            ("self.units = nn", "self.blocks = nn", "keep the name"),
        ],
        "groups": [
            ("[p for p in parameters if p.ndim > 1]", "parameters", "two groups"),
            (
                "*",
                "named = list(model.named_parameters())\n"
                '    rest = [p for n, p in named if "bn" in n or "bias" in n]\n'
                '    most = [p for n, p in named if not ("bn" in n or "bias" in n)]\n'
                '    return [{"params": most, "weight_decay": weight_decay},\n'
                '            {"params": rest, "weight_decay": 0.0}]',
                "safer sign",
            ),
            (
                "*",
                'return [{"params": model.parameters(), "weight_decay": weight_decay}]',
                "ends with weight as well|biases",
            ),
            ("p.ndim <= 1", "False", "never be trained"),
            ("list(model.parameters())", "list(model.named_parameters())", "*"),
        ],
        "resume": [
            ("copy.deepcopy(model.state_dict())", "model.state_dict()", "needs copies"),
            (
                '        "optimizer": copy.deepcopy(optimizer.state_dict()),\n',
                "",
                "momentum",
            ),
            (
                "copy.deepcopy(model.state_dict())",
                "{n: p.detach().clone() for n, p in model.named_parameters()}",
                "running statistics",
            ),
            (
                "copy.deepcopy(model.state_dict())",
                "copy.deepcopy(model)",
                "state dicts",
            ),
        ],
        "recall-at": [
            ("limit * len(false)", "limit * len(scores)", "not of all photos"),
            ("limit * len(false)", "limit * sum(alarms)", "not of the alarms"),
            ("<= limit", "< limit", "are allowed"),
            (
                "best = max(best, sum(found) / len(found))",
                "best = max(best, sum(found) / sum(alarms))",
                "*",
            ),
            (
                "*",
                "sound = [s for s, c in zip(scores, cracked) if not c]\n"
                "    sound.sort(reverse=True)\n"
                "    cut = sound[max(0, int(limit * len(sound)) - 1)]\n"
                "    found = [s >= cut for s, c in zip(scores, cracked) if c]\n"
                "    return sum(found) / len(found)",
                "alarm together",
            ),
        ],
        "repaired-fine-tune": [
            ("*", "", "which tensors did the optimizer get"),
            ("SGD(model.parameters()", "SGD(model.fc.parameters()", "not only its"),
            ("    model.train()\n", "", "which call is missing"),
            ("in_features, classes)", "in_features, 3)", "old head must go"),
            ("        optimizer.zero_grad()\n", "", "the five things"),
        ],
    },
    "backprop": {
        "graph": [
            ("+= slope", "= slope", "the sum of both"),
            ("slope * gradients[node]", "slope", "times the gradient of the one"),
            ("reversed(range(len(graph)))", "range(len(graph))", "goes first"),
            ("    gradients[-1] = 1.0\n", "", "the gradient 1"),
            (
                "*",
                "g = [1.0] * len(graph)\n"
                "    for n in reversed(range(len(graph))):\n"
                "        for p, slope in graph[n]:\n"
                "            g[p] *= slope * g[n]\n    return g",
                "two paths add",
            ),
        ],
        "scale": [
            (".sum(dim=(0, 2, 3))[:, None, None]", "", "was broadcast"),
            (".sum(dim=(0, 2, 3))[:, None, None]", ".sum(dim=(0, 2, 3))", "[C, 1, 1]"),
            (".sum(dim=(0, 2, 3))[:, None, None]", ".sum(0)", "the rows and the"),
            (".sum(", ".mean(", "not averaged"),
            ("(delta * x)", "delta", "by g is x"),
            ("delta * g,", "delta,", "by x is g"),
        ],
        "logit-gradient": [
            (" / len(logits)", "", "each photo has a share"),
            (
                "logits.softmax(dim=1) - asked",
                "asked - logits.softmax(dim=1)",
                "the sign",
            ),
            ("softmax(dim=1)", "softmax(dim=0)", "add up to 1"),
            ("logits.softmax(dim=1) - asked", "logits - asked", "no probabilities"),
            ("/ len(logits)", "/ logits.numel()", "number of photos"),
        ],
        "linear": [
            ("delta.sum(dim=0)", "delta.mean(dim=0)", "once for each photo"),
            ("delta.T @ x", "x.T @ delta", "shape of its weights"),
            (", delta.sum(dim=0)", "", "three gradients"),
            ("delta.sum(dim=0)", "delta", "one bias for all"),
        ],
        "one-row": [
            ("dx[window] += delta[i] * w\n", "dx[window] = delta[i] * w\n", "an input"),
            ("dw += ", "dw = ", "a weight is used"),
            ("i * stride", "i", "i · S"),
            (
                "dx[window] += delta[i] * w\n",
                "dx[window] += delta[i] * w.flip(0)\n",
                "*",
            ),
            ("return dx, dw", "return dw, dx", "first"),
        ],
        "dilated-holes": [
            ("n**2 - rows**2", "(n - rows) ** 2", "both read"),
            ("n**2 - rows**2", "n - rows", "these are rows"),
            ("n**2 - rows**2", "rows**2", "the others"),
            ("n**2 - rows**2", "n**2 - out**2", "not one"),
        ],
        "average-pooling": [
            ("delta / 9", "delta", "a ninth"),
            (
                "*",
                "x = delta.new_zeros(*delta.shape[:2], size, size)\n"
                "    x[:, :, ::2, ::2] = delta / 9\n    return x",
                "middle alone",
            ),
            ("*", "return F.interpolate(delta, size=(size, size)) / 9", "overlap"),
            ("return padded[:, :, 1:-1, 1:-1]", "return padded", "shape"),
        ],
        "unit-backward": [
            ("    delta = delta * (y > 0)\n", "", "has not been walked"),
            (
                "return delta + branch_backward(delta)",
                "return branch_backward(delta)",
                "the shortcut brings",
            ),
            ("(y > 0)", "(x > 0)", "sign of x"),
            (
                "*",
                "return delta + branch_backward(delta * (y > 0))",
                "stops the shortcut, too",
            ),
            ("*", "return (delta + branch_backward(delta)) * (y > 0)", "in order"),
        ],
        "blind": [
            ("z - mean", "2 * torch.ones_like(z)", "multiple of the first"),
            ("torch.ones_like(z), z - mean", "torch.zeros_like(z), z - mean", "all 0"),
            ("z - mean", "z**2", "something gets through"),
            (
                "*",
                "a = torch.ones_like(z)\n    b = a.clone()\n    b[:, 0] = 5\n"
                "    return a, b",
                "not constant|multiple",
            ),
        ],
        "batch-norm-backward": [
            ("(delta - mean - z_hat * share)", "delta", "eval mode"),
            ("delta - mean - z_hat", "delta - z_hat", "through the mean"),
            (" - z_hat * share", "", "through the variance"),
            ("gamma[:, None, None] / root", "1 / root", "γ multiplies"),
            ("correction=0", "correction=1", "by one less"),
            (
                ".sum(maps), delta.sum(maps)",
                ".mean(maps), delta.mean(maps)",
                "are sums",
            ),
        ],
    },
}

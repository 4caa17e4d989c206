"""What is usually got wrong in the assignments, and which check sees it.

A mistake: the cell, its right words and the wrong ones, the checks that see it, what is said.
"""

COUNT = "round(sparsity * len(magnitudes))"
KEEP = f"keep[magnitudes.argsort(stable=True)[: {COUNT}]] = False"
THRESHOLD = f"""count = {COUNT}
    keep = magnitudes > (magnitudes.sort().values[count - 1] if count else -1)"""
LAYERWISE = """return {
        name: torch.ones(weight.numel(), dtype=torch.bool)
        .scatter(0, weight.abs().flatten().argsort(stable=True)[: round(sparsity * weight.numel())],
                 False)
        .view_as(weight)
        for name, weight in weights.items()
    }
    """
HOOKS = "if isinstance(hook, prune.BasePruningMethod):"
MASKS = {
    "rounded down": ("global-masks", COUNT, COUNT.replace("round", "int"), "a-count", "should go"),
    "threshold": ("global-masks", KEEP, THRESHOLD, "a-ties", "takes all that are equal"),
    "no abs": ("global-masks", ".abs()", "", "a-layers", "rank by magnitude, without the sign"),
    "layerwise": ("global-masks", "magnitudes = ", LAYERWISE + "magnitudes = ", "a-layers",
                  "rank all layers together"),
    "no square": ("lamp-scores", ".square()", ".abs()", "b-values", "the equation has w²"),
    "whole sum": ("lamp-scores", "squares.flip(0).cumsum(0).flip(0)", "squares.sum()", "b-values",
                  "smaller weights are not in it"),
    "NaN": ("lamp-scores", "torch.where(sums > 0, squares / sums, 0.0)", "squares / sums",
            "b-edges", "a layer of zeros gets NaN"),
    "float32": ("lamp-scores", ".double()", "", "b-edges", "should be torch.float64"),
    "percent": ("compare", "= evaluate(pruned", "= 100 * evaluate(pruned", "b-compare",
                "not percents"),
    "no prediction": ("prediction", ', "cut": 10', "", "c-commit", "predict 'alone' and 'cut'"),
    "in place": ("silenced", "model = copy.deepcopy(model)", "model = model", "c-silenced c-scan",
                 "the network itself has changed"),
    "bias": ("silenced", "layer.bias[channels] = 0", "pass", "c-silenced", "but not the bias"),
    "never cut": ("scan", "TIED if name in TIED else [name]", "[name]", "c-scan",
                  "are the same channels gone in all of TIED?"),
    "shares": ("scan", "100 * ", "", "c-scan", "give points, not shares"),
    "no unit": ("figure", "(points)", "", "c-figure", "no label with its unit"),
    "minus zero": ("make-permanent", " + 0.0", "", "d-permanent", "some zeros are −0.0"),
    "hook": ("make-permanent", HOOKS, "if False:", "d-permanent", "still there"),
    "masks kept": ("stored", "make_pruning_permanent(masked)", "masked", "d-stored",
                   "as large as the dense one"),
}  # fmt: skip

REFUSED = "if set(a) != set(b) or len(a) < 2:"
DIFFERENCES = "np.array([a[number] - b[number] for number in a])"
IN_ORDER = "np.array([x - y for x, y in zip(a.values(), b.values())])"
SCORES = "(outputs / T).log_softmax(dim=1)"
RECOVERY = {
    "starts again": ("cosine-rate", "if step >= steps:", "if False:", "a-cosine",
                     "it starts again"),
    "on top": ("cosine-rate", "(lr - last)", "lr", "a-cosine", "`last` comes on top"),
    "squeezed": ("rewound-rate", "then >= milestone * original_steps",
                 "step >= milestone * steps", "a-rewound", "only its end is repeated"),
    "too late": ("rewound-rate", ">=", ">", "a-rewound", "the second fall comes too late"),
    "first left out": ("follow", "min(step,", "min(step + 1,", "a-follow", "rates[0] was left out"),
    "remembers": ("follow", 'group["initial_lr"] = ', "", "a-follow", "after a StepLR of torch"),
    "no square": ("distillation-loss", "T**2 *", "", "b-values", "the teacher is not heard"),
    "other direction": ("distillation-loss", "(teacher.exp() * (teacher - student))",
                        "(student.exp() * (student - teacher))", "b-values",
                        "in the equation the teacher comes first"),
    "mean of all": ("distillation-loss", ".sum(dim=1).mean()", ".mean()", "b-values",
                    "sum over classes, mean over images"),
    "no detach": ("distillation-loss", ".detach()", "", "b-gradients",
                  "a gradient flows into the teacher's scores"),
    "logarithm of 0": ("distillation-loss", SCORES, "(outputs / T).softmax(dim=1).log()",
                       "b-gradients", "a probability has become 0"),
    "teacher trains": ("distillation-step", "teacher.eval()", "pass", "b-step",
                       "the teacher's running statistics have moved"),
    "left in eval": ("distillation-step", "module.training = mode", "pass", "b-step",
                     "the teacher was in training mode, and is not any more"),
    "old gradients": ("distillation-step", "optimizer.zero_grad()", "pass", "b-step",
                      "gradients of an earlier step were there before"),
    "student's mode": ("distillation-step", "student.train()", "pass", "b-step",
                       "student in training mode, teacher in evaluation mode"),
    "half": ("keeps-promises", "T, alpha = 4.0, 0.2", "T, alpha = 4.0, 0.5", "b-loss",
             "that is wrong: alpha and 1 − alpha swapped"),
    "cold": ("keeps-promises", "T, alpha = 4.0, 0.2", "T, alpha = 1.0, 0.2", "b-loss",
             "that is wrong: no T²"),
    "no modes": ("keeps-promises", "modes == [part.training for part in teacher.modules()]", "True",
                 "b-teacher", "that is wrong: a teacher left in evaluation mode"),
    "nothing before": ("keeps-promises", "torch.ones_like(parameter)", "None", "b-loss",
                       "that is wrong: gradients of an earlier step"),
    "student trains": ("keeps-promises", "student.eval()", "student.train()", "b-loss",
                       "that is wrong: a student in the mode that it was in"),
    "bit by bit": ("keeps-promises", "torch.allclose(a - 0.1 * slope, b, atol=1e-6)",
                   "torch.equal(a - 0.1 * slope, b)", "b-teacher b-loss",
                   "refuses a step that is right"),
    "test chooses": ("choose-rate", '["valid_accuracy"]', '["test_accuracy"]', "c-choose",
                     "that is what test images say"),
    "best single": ("choose-rate", "column.mean(", "column.max(", "c-choose",
                    "the mean over networks decides"),
    "NaN": ("choose-rate", "skipna=False", "skipna=True", "c-choose", "ended in NaN"),
    "no edge": ("choose-rate", 'at_end.get(best, "")', '""', "c-choose", "its edge is 'high'"),
    "whole schedule": ("recovered", "original_steps=DENSE_STEPS, ", "", "c-ways",
                       "LR rewinding: your rates go from"),
    "own teacher": ("recovered", "distill(dense", "distill(network", "c-ways",
                    "the pruned network is its own teacher"),
    "more steps": ("recovered", "pair, BUDGET", 'pair, BUDGET * (2 if "dist" in way else 1)',
                   "c-ways", "all ways get the same budget"),
    "same places": ("recovered", "seed=order", "seed=0", "c-ways",
                    "another order should draw other places"),
    "no prediction": ("prediction", '"cosine over last rate": 2, ', "", "d-commit",
                      "predict 'cosine over last rate' and"),
    "test images": ("rates", "data.valid", "data.test", "d-rates",
                    "is the accuracy on test images"),
    "compared": ("rates", "in TUNING", "in NETWORKS[:2]", "d-rates",
                 "what chooses is not compared"),
    "at the end": ("rates", "(0.03, 0.1, 0.3, 1.0)", "(0.01, 0.03, 0.1)", "d-rates",
                   "is at the end of its list"),
    "validation": ("results", "data.test", "data.valid", "d-results",
                   "that is the accuracy on validation images"),
    "one rate": ("results", "rates.get(way)", 'rates["cosine"]', "d-results",
                 "measured again it is"),
    "shares": ("results", "100 * ", "", "d-results", "give points, not shares"),
    "normal": ("paired-interval", "stats.t.ppf(0.975, len(a) - 1)", "stats.norm.ppf(0.975)",
               "d-interval", "that is 1.96 times"),
    "not paired": ("paired-interval", DIFFERENCES, IN_ORDER, "d-interval", "pair by number"),
    "not refused": ("paired-interval", REFUSED, "if len(a) < 2:", "d-interval",
                    "raise a ValueError; yours is KeyError"),
    "other way round": ("differences", '"way", a, b)', '"way", b, a)', "d-differences",
                        "the sign is the other way round"),
    "no interval": ("figure", "[low, high], [place, place]", "[mean], [place]", "e-figure",
                    "the lower end of its interval"),
    "not named": ("figure", "{a} − {b}", "{a}", "e-figure", "these ways are not named"),
}  # fmt: skip

LEFT = "masks[name].flatten().nonzero().flatten()"
BACK = """for name, tensor in network.state_dict().items():
            tensor.copy_(start[name])"""
SHARED = """for name, parameter in network.named_parameters():
            parameter.data = start[name]"""
TRAIN = """for _ in range(rounds):
        train(network, masks, torch.optim.Adam(network.parameters(), lr=0.01))"""
REMEMBERS = """optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(rounds):
        train(network, masks, optimizer)"""
FORGETS = "{name: torch.ones_like(mask) for name, mask in masks.items()}"
PLACES = "mask.flatten()[torch.randperm(mask.numel(), generator=generator)].view_as(mask)"
ROUNDS = """masks = find_ticket(network, rehearsal, rates, 4)
    calls = rehearsal.calls
    assert len(calls) == 4"""
MEMORY = 'assert not any(call["remembers"] for call in calls), "an optimizer remembers"'
ADAM = (
    MEMORY
    + """
    assert all(isinstance(call["optimizer"], torch.optim.Adam) for call in calls), "not Adam\""""
)
SMALLEST = 'assert sizes[gone].max() <= sizes[new].min(), "not the smallest after training"'
ENDS = 'lead[["mean", "low", "high"]].iloc[0]'
SPREAD = 'lead["mean"].item() + lead["sd"].item() * side for side in (0, -1, 1)'
TICKETS = {
    "rounded down": ("pruned-masks", "round(rate", "int(rate", "a-round", "should go"),
    "no abs": ("pruned-masks", "[left].abs()", "[left]", "a-round", "without the sign"),
    "all ranked": ("pruned-masks", LEFT, "torch.arange(masks[name].numel())", "a-round",
                   "pruned weights do not take part"),
    "in place": ("pruned-masks", ".flatten().clone()", ".flatten()", "a-round",
                 "has changed the masks"),
    "no copy": ("rewinding", ".clone()", "", "a-rewind", "of your snapshot moved with it"),
    "bias": ("rewinding", "tensor.copy_", 'if name.endswith("weight"): tensor.copy_', "a-rewind",
             "the bias has not gone back"),
    "shared": ("rewinding", BACK, SHARED, "a-rewind", "going back works once"),
    "remembers": ("find-ticket", TRAIN, REMEMBERS, "a-loop", "make a new one for each round"),
    "rewound ranked": ("find-ticket", "network.get_submodule(name).weight",
                       'start[f"{name}.weight"]', "a-loop", "rank before you rewind"),
    "forgets": ("find-ticket", "(weights, masks, rates)", f"(weights, {FORGETS}, rates)", "a-loop",
                "begin each round with the masks of the one before"),
    "no mask": ("new-weights", "control.get_submodule(name).weight.mul_(mask)", "pass", "b-new",
                "where is the ticket's mask?"),
    "normal": ("new-weights", "layer.reset_parameters()",
               "[parameter.normal_() for parameter in layer.parameters()]", "b-new",
               "draw them as the layer does"),
    "itself": ("new-weights", "copy.deepcopy(network)", "network", "b-new",
               "the network itself has changed"),
    "about as many": ("random-mask", PLACES,
                      "torch.rand(mask.shape, generator=generator) < mask.float().mean()",
                      "b-random", "the count is exact"),
    "rows": ("random-mask", PLACES, "mask[torch.randperm(len(mask), generator=generator)]",
             "b-random", "whole rows have moved"),
    "same places": ("random-mask", "generator=generator",
                    "generator=torch.Generator().manual_seed(seed)", "b-random",
                    "two layers of the same shape"),
    "test chooses": ("reported", 'valid["loss"].idxmin', 'test["loss"].idxmin', "c-stop",
                     "test curves must not choose"),
    "never at the end": ("reported", 'bool(step == history["step"].max())', "False", "c-stop",
                         "'at_the_end' should be True"),
    "one round": ("judge", ROUNDS, ROUNDS.replace("4", "1"), "d-start d-masks d-optimizer",
                  "try more rounds"),
    "no biases": ("judge", "assert torch.equal(tensor, start[name]),", "assert True,", "d-start",
                  "that is wrong: biases stay"),
    "any weights": ("judge", SMALLEST, "pass", "d-masks", "that is wrong: first weights"),
    "no memory": ("judge", MEMORY, "pass", "d-optimizer", "that is wrong: one optimizer"),
    "only Adam": ("judge", MEMORY, ADAM, "d-start d-masks d-optimizer",
                  "refuses an implementation that is right: not Adam"),
    "no prediction": ("prediction", '"new weights": 1.5, ', "", "e-commit",
                      "predict 'new weights' and 'random mask'"),
    "at the end": ("results", "step = early_stop(history)", 'step = history["step"].max()',
                   "e-results", "measured again it is"),
    "dense control": ("results", "reinitialize(copy.deepcopy(network)",
                      "reinitialize(small_network(number)", "e-results", "measured again it is"),
    "shares": ("results", "100 * ", "", "e-results", "give points, not shares"),
    "spread": ("leads", ENDS, SPREAD, "e-leads", "Student's t with 4 degrees of freedom"),
    "no interval": ("figure", "[low, high], [place, place]", "[mean], [place]", "e-figure",
                    "the lower end of its interval"),
}  # fmt: skip

STATISTICS = "norm.running_mean, norm.running_var = norm.running_mean[kept], norm.running_var[kept]"
COLUMNS = "silent.fc.weight.view(len(silent.fc.weight), channels, -1)[:, away] = 0"
STRICT = "(found - expected).abs().max() < 1e-4 * expected.abs().max()"
AGREE = "(found.argmax(1) == expected.argmax(1)).float().mean() > 0.5"
SURGERY = {
    "bias": ("cut-pair", "first.bias = nn.Parameter(first.bias[kept])", "pass", "a-pair",
             "the bias of first still has 4 entries"),
    "first entries": ("cut-pair", "norm.running_mean[kept]", "norm.running_mean[: len(kept)]",
                      "a-pair", "norm.running_mean should hold the entries 1 and 3"),
    "grouped": ("cut-pair", "first.groups > 1 or second.groups > 1", "first.groups > 1",
                "a-grouped", "second is grouped, and your function cuts it"),
    "no ReLU": ("folded-bias", ".relu()", "", "a-fold", "the constants pass a ReLU"),
    "one pixel": ("folded-bias", ".sum(dim=(2, 3))", "[:, :, 0, 0]", "a-fold",
                  "each pixel of the kernel reads the constant"),
    "places": ("difference", '{"inside": inside, "border"', '{"border": inside, "inside"',
               "a-border", "the number of the other place"),
    "by pixel": ("cut-linear", "(channels, -1))[:, kept]", "(-1, channels))[:, :, kept]",
                 "b-columns", "you leave out every third column"),
    "no shortcut": ("group", '"block1.shortcut", *', "*", "c-group",
                    "writes: block1.shortcut is missing"),
    "other mean": ("cut-sum", STATISTICS, STATISTICS.replace("mean[kept]", "mean[: len(kept)]"),
                   "c-cut", "some layer holds the entries of other channels"),
    "zero filters": ("is-right", COLUMNS, "silent.block1.conv2.weight[away] = 0", "c-test",
                     "a right cut, and your test calls it wrong"),
    "accuracy": ("is-right", STRICT, AGREE, "c-test", "and your test passes it"),
    "masked": ("is-right", "        return False\n    silent", "        pass\n    silent",
               "c-test", "not noticed: a network that is masked, and not cut"),
    "old mean": ("recalibrate", "norm.reset_running_stats()", "pass", "d-recalibrate",
                 "the old mean of 100 is still in yours"),
    "momentum": ("recalibrate", "norm.momentum = None", "norm.momentum = 0.1", "d-recalibrate",
                 "at momentum 0.1 a batch counts only a tenth"),
    "mode": ("recalibrate", "module.training = mode", "pass", "d-recalibrate",
             "each module should be in the mode that it had"),
    "dropout": ("recalibrate", "model.eval()", "model.train()", "d-recalibrate",
                "dropout was on while you measured"),
    "new share": ("share", "0.9**10", "1 - 0.9**10", "d-share", "65 % is the share that is new"),
    "percent": ("accuracy", "evaluate(model", "100 * evaluate(model", "d-accuracy",
                "not percents"),
    "mean": ("latency-ms", ".median()", ".mean()", "e-latency", "take the median"),
    "cold": ("latency-ms", "range(warm_up)", "range(0)", "e-latency",
             "3 passes of warm-up and 25 that count are 28"),
    "gradients": ("latency-ms", "torch.no_grad()", "torch.enable_grad()", "e-latency",
                  "measure without gradients"),
    "threads": ("latency-ms", "torch.set_num_threads(before)", "pass", "e-latency",
                "torch has other threads than before"),
    "no prediction": ("prediction", ', "rounding": 1.3', "", "e-commit", "predict 'macs' and"),
    "one image": ("measured", "count_macs(model, x)", "count_macs(model, x[:1])", "e-measured",
                  "these are the MACs of one image"),
    "few runs": ("measured", '"runs": 30', '"runs": 5', "e-measured",
                 "a median of 5 runs moves too much"),
    "no unit": ("figure", " (ms)", "", "e-figure", "no label with its unit"),
}  # fmt: skip

ENDS_OF_LEAD = '(lead["mean"], lead["low"], lead["high"])'
PROJECT = {
    "no control": ("plan", '"controls": arms[2:]', '"controls": ()', "b-plan e-results",
                   "'controls' is empty"),
    "all matters": ("plan", '"matters": 0.2', '"matters": 0', "b-plan e-results",
                    "'matters' must be above 0"),
    "chosen there": ("plan", "[100, 101]", "[0, 1]", "b-plan e-results",
                     "what chooses is not compared"),
    "two rates": ("plan", '"LAMP": grid', '"LAMP": grid[:2]', "b-plan e-results",
                  "so that the best can lie inside"),
    "more steps": ("plan", "dict.fromkeys(arms, 100)", 'dict.fromkeys(arms, 100) | {"LAMP": 200}',
                   "b-plan e-results", "'budget' is not equal"),
    "three seeds": ("plan", "[0, 1, 2, 3, 4]", "[0, 1, 2]", "b-plan e-results",
                    "'seeds' must hold five numbers"),
    "no unit": ("plan", '"points of test accuracy"', '"…"', "b-plan e-results",
                "'unit' still has a '…' to fill in"),
    "changed": ("answer", "said = ", 'plan["matters"] = 0.3\nsaid = ', "e-results",
                "it has changed since"),
    "spread": ("answer", ENDS_OF_LEAD, ENDS_OF_LEAD.replace('"low"', '"sd"'), "e-results",
               "'effect' is not that of your measurements"),
    "fifth verdict": ("answer", "said = verdict(", 'said = "holds in part" or verdict(',
                      "e-results", "does not follow from your interval"),
}  # fmt: skip

MISTAKES = {
    "A1_masks": MASKS,
    "A2_recovery": RECOVERY,
    "A3_surgery": SURGERY,
    "A4_tickets": TICKETS,
    "project": PROJECT,
}
TOGETHER = {
    "A1_masks": (
        "rounded down", "no abs", "no square", "NaN", "percent", "no prediction", "bias",
        "never cut", "no unit", "hook", "masks kept",
    ),
    "A2_recovery": (
        "starts again", "squeezed", "remembers", "no square", "no detach", "old gradients",
        "no modes", "half", "NaN", "own teacher", "no prediction", "at the end", "one rate",
        "not paired", "other way round", "no interval",
    ),
    "A3_surgery": (
        "bias", "grouped", "places", "by pixel", "no shortcut", "other mean", "zero filters",
        "dropout", "new share", "percent", "mean", "no prediction", "one image", "no unit",
    ),
    "A4_tickets": (
        "rounded down", "no copy", "remembers", "normal", "about as many", "test chooses",
        "no biases", "any weights", "no memory", "no prediction", "at the end", "spread",
        "no interval",
    ),
    "project": ("more steps",),
}  # fmt: skip
"""In one submission: no check sees two of them."""

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

MISTAKES = {"A1_masks": MASKS, "A4_tickets": TICKETS}
TOGETHER = {
    "A1_masks": (
        "rounded down", "no abs", "no square", "NaN", "percent", "no prediction", "bias",
        "never cut", "no unit", "hook", "masks kept",
    ),
    "A4_tickets": (
        "rounded down", "no copy", "remembers", "normal", "about as many", "test chooses",
        "no biases", "any weights", "no memory", "no prediction", "at the end", "spread",
        "no interval",
    ),
}  # fmt: skip
"""In one submission: no check sees two of them."""

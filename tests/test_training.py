"""The loop does what a bare loop does, reproducibly, and says what is wrong with a call."""

import copy
from dataclasses import replace
from functools import partial
from itertools import chain, islice

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prunelab.masks import get_masks, prunable_layers
from prunelab.models import lenet300, resnet20, small_convnet
from prunelab.pruning import apply_global_pruning
from prunelab.training import (
    HISTORY_COLUMNS,
    TrainingInterrupted,
    evaluate,
    fit,
    shuffled_batches,
)
from tests.helpers import left_as_it_was, modes, random_state_left_alone, same, state


def build(name: str = "lenet300") -> nn.Module:
    return lenet300(seed=0) if name == "lenet300" else small_convnet(width=4, seed=0)


def train(model: nn.Module, data, **options):
    return fit(model, data, **{"steps": 4, "progress": False, "device": "cpu"} | options)


def interrupt_at(step: int):
    """A loss that behaves like Ctrl-C at the given step."""
    calls = 0

    def loss(outputs, labels):
        nonlocal calls
        calls += 1
        if calls == step:
            raise KeyboardInterrupt
        return F.cross_entropy(outputs, labels)

    return loss


def test_seed_draws_dropout_too_and_leaves_the_global_random_state_alone(data):
    models = [nn.Sequential(nn.Dropout(0.5), lenet300(seed=0)) for _ in range(2)]
    for i, model in enumerate(models):
        torch.manual_seed(i)
        with random_state_left_alone():
            train(model, data, seed=3)
    assert same(state(models[0]), state(models[1]))


def bare_loop(model: nn.Module, data, optimizer, steps: int, seed: int) -> nn.Module:
    """What `fit` has to do, by hand."""
    generator = torch.Generator().manual_seed(seed)
    epochs = (torch.randperm(2000, generator=generator).split(128) for _ in range(steps))
    model.train()
    for index in islice(chain.from_iterable(epochs), steps):
        optimizer.zero_grad()
        F.cross_entropy(model(data.train.x[index]), data.train.y[index]).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("name", ["lenet300", "small_convnet"])
def test_fit_equals_a_bare_loop(data, name):
    fitted, bare = build(name), build(name).to(memory_format=torch.channels_last)
    train(fitted, data, steps=20, batch_size=128, seed=5, eval_every=7)
    adam = torch.optim.Adam(bare.parameters(), lr=1e-3, fused=True)
    assert same(state(fitted), state(bare_loop(bare, data, adam, steps=20, seed=5)))


def test_shuffled_batches_cover_every_index_once_an_epoch_in_a_new_order():
    batches, orders = shuffled_batches(10, 4, seed=0), set()
    for _ in range(3):
        epoch = [next(batches).tolist() for _ in range(3)]
        assert [len(batch) for batch in epoch] == [4, 4, 2]
        orders.add(tuple(index for batch in epoch for index in batch))
    assert len(orders) == 3
    assert {tuple(sorted(order)) for order in orders} == {tuple(range(10))}


@pytest.mark.parametrize(
    ("options", "evaluated"),
    [
        ({"steps": 6, "eval_every": 2}, [0, 2, 4, 6]),
        ({"steps": 5, "eval_every": 2}, [0, 2, 4, 5]),
        ({"steps": 3, "eval_every": 10}, [0, 3]),
        ({"steps": 33}, [0, 16, 32, 33]),
        ({"steps": None, "epochs": 2}, [0, 16, 32]),
    ],
)
def test_steps_evaluated(data, options, evaluated):
    history = train(build(), data, **options)
    assert history["step"].tolist() == evaluated
    assert history["epoch"].tolist() == [step / 16 for step in evaluated]


def test_history_holds_what_evaluate_says_of_each_split_asked_for(data):
    model = build()
    history = train(model, data, eval_splits=("train", "test"))
    assert history["split"].tolist() == ["train", "test"] * 2
    last = [tuple(row) for row in history[["loss", "accuracy"]].iloc[-2:].to_numpy()]
    assert last == [evaluate(model, data.train), evaluate(model, data.test)]


def test_train_loss_is_the_mean_since_the_evaluation_before(data):
    losses = []

    def loss(outputs, labels):
        losses.append(F.cross_entropy(outputs, labels))
        return losses[-1]

    history = train(build(), data, steps=5, eval_every=2, loss=loss)
    means = [sum(losses[i:j]).item() / (j - i) for i, j in ((0, 2), (2, 4), (4, 5))]
    assert history["train_loss"].isna().tolist() == [True, False, False, False]
    assert history["train_loss"].tolist()[1:] == pytest.approx(means)


def test_empty_split_is_not_evaluated(data):
    history = train(build(), replace(data, valid=data.valid[:0]))
    assert len(history) == 0
    assert list(history.columns) == HISTORY_COLUMNS


def test_model_is_trained_in_training_mode_and_left_in_evaluation_mode(data):
    model = build("small_convnet").eval()
    train(model, data, steps=3)
    assert model.bn1.num_batches_tracked == 3
    assert not any(modes(model))


@pytest.mark.parametrize("as_function", [False, True])
def test_scheduler_is_stepped_after_every_step_of_the_optimizer(data, as_function):
    model, used = build(), []
    optimizer = sgd(model, lr=0.8)
    optimizer.register_step_pre_hook(lambda own, *_: used.append(own.param_groups[0]["lr"]))
    scheduler = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    if not as_function:
        scheduler = scheduler(optimizer)
        used.clear()
    history = train(model, data, eval_every=1, optimizer=optimizer, scheduler=scheduler)
    assert used == pytest.approx([0.8, 0.4, 0.2, 0.1])
    assert history["lr"].tolist() == pytest.approx([0.8, 0.4, 0.2, 0.1, 0.05])


def test_loss_with_inputs_receives_the_images(data):
    seen = []

    def loss(outputs, labels, inputs):
        seen.append((inputs.clone(), labels.clone()))
        return F.cross_entropy(outputs, labels)

    train(build(), data, steps=2, seed=9, loss=loss)
    batches = shuffled_batches(2000, 128, seed=9)
    for inputs, labels in seen:
        index = next(batches)
        assert torch.equal(inputs, data.train.x[index])
        assert torch.equal(labels, data.train.y[index])


def test_optimizer_as_instance_and_as_function_are_equal(data):
    by_instance, by_function = build(), build()
    train(by_instance, data, optimizer=sgd(by_instance))
    train(by_function, data, optimizer=partial(torch.optim.SGD, lr=0.1))
    assert same(state(by_instance), state(by_function))
    assert not same(state(by_instance), state(build()))


def sgd(model: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr)


@pytest.mark.parametrize(("every", "finished", "recorded"), [(1, 2, [0, 1, 2]), (5, 3, [0, 3])])
def test_interrupt_warns_and_keeps_the_finished_steps(data, every, finished, recorded):
    model, expected = (apply_global_pruning(build(), sparsity=0.5) for _ in range(2))
    stopped = {"eval_every": every, "loss": interrupt_at(finished + 1)}
    with pytest.warns(TrainingInterrupted, match=f"after step {finished} of 10"):
        history = train(model, data, steps=10, **stopped)
    assert history["step"].tolist() == recorded
    assert list(history.columns) == HISTORY_COLUMNS
    train(expected, data, steps=finished)
    assert same(state(copy.deepcopy(model)), state(expected))
    assert not any(modes(model))


def test_masked_model_keeps_its_zeros_and_can_be_copied(data):
    model = apply_global_pruning(build("small_convnet"), sparsity=0.8)
    before = get_masks(model)
    decaying = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-2)
    train(model, data, steps=20, optimizer=decaying)
    assert same(get_masks(copy.deepcopy(model)), before)
    for name, mask in before.items():
        assert torch.equal(model.get_submodule(name).weight != 0, mask)


def formats(model: nn.Module, images: torch.Tensor) -> dict[str, tuple]:
    """The strides of what every convolution receives, and of the weight it computes with."""
    seen = {}

    def look(layer: nn.Module, inputs: tuple, outputs: torch.Tensor) -> None:
        seen[layer] = inputs[0].stride(), layer.weight.stride()

    layers = prunable_layers(model)
    for layer in layers.values():
        layer.register_forward_hook(look)
    model(images)
    return {n: seen[layer] for n, layer in layers.items() if isinstance(layer, nn.Conv2d)}


@pytest.mark.parametrize("build", [small_convnet, resnet20])
def test_masked_convolutions_compute_in_the_memory_format_of_dense_ones(data, build):
    dense, masked = build(seed=0), apply_global_pruning(build(seed=0), sparsity=0.5)
    for model in (dense, masked, copy.deepcopy(masked)):
        train(model, data, steps=1, eval_splits=())
    expected = formats(dense, data.valid.x[:2])
    inputs = [stride for stride, _ in expected.values()]
    assert all(stride[1] == 1 for stride in inputs[1:])  # channels_last
    assert formats(masked, data.valid.x[:2]) == expected


@pytest.mark.parametrize("batch_size", [250, 77])
def test_evaluate_agrees_with_a_direct_computation(data, batch_size):
    model = build().eval()
    with torch.no_grad():
        outputs = model(data.valid.x)
    result = evaluate(model, data.valid, batch_size)
    assert result.accuracy == (outputs.argmax(1) == data.valid.y).double().mean().item()
    assert result.loss == pytest.approx(F.cross_entropy(outputs, data.valid.y).item(), rel=1e-6)


def test_evaluate_is_in_evaluation_mode_and_leaves_the_model_as_it_was(data):
    model = nn.Sequential(nn.Dropout(0.9), build("small_convnet")).train()
    model[1].bn1.eval()
    with left_as_it_was(model):
        result = evaluate(model, data.valid)
    assert result == evaluate(copy.deepcopy(model[1]).eval(), data.valid)


def test_evaluate_of_a_model_without_parameters(data):
    pixels_as_scores = nn.Sequential(nn.Flatten(), nn.Identity())
    brightest = data.valid.x.flatten(1).argmax(1)
    accuracy = (brightest == data.valid.y).double().mean().item()
    assert evaluate(pixels_as_scores, data.valid).accuracy == accuracy


def test_strided_1x1_convolutions_of_few_channels_are_trained_in_a_format_that_is_safe(data):
    """Where they are not, the gradient is wrong or the process dies."""
    first = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 1, stride=2), nn.Flatten(), nn.Linear(8 * 13 * 13, 10)
    )
    bare = copy.deepcopy(first)
    train(first, data, steps=2, optimizer=sgd(first), seed=3)
    bare_loop(bare, data, sgd(bare), steps=2, seed=3)
    torch.testing.assert_close(state(first), state(bare), atol=1e-5, rtol=0)
    assert not any(module._forward_pre_hooks for module in first.modules())
    assert all(layer.weight.is_contiguous() for layer in first if hasattr(layer, "weight"))

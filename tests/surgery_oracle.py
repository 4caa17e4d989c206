"""What a cut network must compute: the whole network whose readers see none of the cut channels."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves
from torchvision.ops import StochasticDepth

from prunelab.surgery import CannotCut
from tests.helpers import left_as_it_was

TOLERANCE = 1e-9
PROJECTIONS = ("in_proj", "q_proj", "k_proj", "v_proj")
NUMBERS = {nn.GroupNorm: "num_channels"}
CONVOLUTIONS = nn.modules.conv._ConvNd


def randomize(model: nn.Module, seed: int = 0) -> nn.Module:
    """Double precision, and no value left at 0 or 1 that would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    model.double()

    def draw(tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, generator=generator, dtype=torch.float64)

    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1:
                p.copy_(draw(p) / max(p[0].numel(), 2) ** 0.5)
            else:
                p.copy_(1 + 0.3 * draw(p))
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point():
                positive = name.endswith("running_var")
                buffer.copy_(0.5 + draw(buffer).abs() if positive else 0.3 * draw(buffer))
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd | StochasticDepth):
            module.p = 0.0
        for name in ("dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model


class MaskedNorm(nn.Module):
    """LayerNorm, RMSNorm or GroupNorm whose average ignores the channels that were cut."""

    def __init__(self, norm: nn.Module, kept: dict[int, Tensor]):
        super().__init__()
        self.norm, self.kept = [norm], kept  # in a list, so that no name changes
        self.eps = norm.eps
        if norm.weight is not None:
            self.weight = norm.weight
        if getattr(norm, "bias", None) is not None:
            self.bias = norm.bias

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm[0]
        shape = getattr(norm, "normalized_shape", (getattr(norm, "num_channels", 0),))
        kept, weight = self.kept, getattr(self, "weight", x.new_ones(shape))
        bias = getattr(self, "bias", x.new_zeros(shape))
        dims = [len(shape) - d for d in kept]  # from the end
        is_channel_first = isinstance(norm, nn.GroupNorm) or type(norm).__name__ == "LayerNorm2d"
        axes = [1 if is_channel_first else x.dim() - d for d in dims]
        part = x
        for axis, (d, indices) in zip(axes, kept.items(), strict=True):
            part = part.index_select(axis, indices)
            weight, bias = weight.index_select(d, indices), bias.index_select(d, indices)
        if isinstance(norm, nn.GroupNorm):  # each channel with the others of its first group
            of_group = kept[0] // (norm.num_channels // norm.num_groups)
            parts = [
                F.group_norm(part[:, of_group == g], 1, None, None, norm.eps)
                for g in of_group.unique()
            ]
            shape = [-1] + [1] * (part.dim() - 2)
            part = torch.cat(parts, 1) * weight.view(shape) + bias.view(shape)
        elif isinstance(norm, nn.RMSNorm):
            part = F.rms_norm(part, weight.shape, weight, norm.eps)
        elif is_channel_first:
            part = F.layer_norm(part.movedim(1, -1), weight.shape, weight, bias, norm.eps)
            part = part.movedim(-1, 1)
        else:
            part = F.layer_norm(part, weight.shape, weight, bias, norm.eps)
        for axis, (_, indices) in zip(reversed(axes), reversed(kept.items()), strict=True):
            shape = list(part.shape)
            shape[axis] = x.size(axis)
            part = part.new_zeros(shape).index_copy(axis, indices, part)
        return part


def reference(model: nn.Module, small: nn.Module, reads: dict[str, int] | None = None):
    """The whole network with the readers' weights for the cut channels set to zero.

    Args:
        reads: the reading dimension of parameters that the model uses without a layer.
    """
    whole = copy.deepcopy(model).eval()
    kept = small.kept_channels
    reads = dict(reads or {})
    shared = {id(p): name for name, p in whole.named_parameters()}
    for path, module in list(whole.named_modules()):
        if hasattr(module, "averages"):
            module.kept = kept.get(module.averages, {}).get(0)
        if isinstance(module, CONVOLUTIONS):
            reads.setdefault(shared.get(id(module.weight)), 0 if module.transposed else 1)
        elif isinstance(module, nn.Linear) and id(module.weight) in shared:
            reads.setdefault(shared[id(module.weight)], 1)
        elif isinstance(module, nn.RNNBase | nn.RNNCellBase):
            reads |= {shared[id(p)]: 1 for p in module.parameters() if p.dim() == 2}
        elif isinstance(module, nn.MultiheadAttention):
            own = (getattr(module, f"{kind}_weight") for kind in PROJECTIONS)
            reads |= {shared[id(weight)]: 1 for weight in own if weight is not None}
        for name, child in module.named_children():
            if hasattr(child, "normalized_shape") or isinstance(child, nn.GroupNorm):
                number = f"{path}.{name}.{NUMBERS.get(type(child), 'normalized_shape')}".strip(".")
                of_weight = kept.get(shared.get(id(child.weight), number), {})
                if of_weight:
                    module._modules[name] = MaskedNorm(child, of_weight)
    parameters = {shared[id(p)]: p for p in whole.parameters()}
    with torch.no_grad():
        for name, dim in reads.items():
            if name in kept and dim in kept[name]:
                cut = torch.ones(parameters[name].size(dim), dtype=torch.bool)
                cut[kept[name][dim]] = False
                parameters[name].movedim(dim, 0)[cut] = 0
    return whole


def assert_exact(model, small, inputs, reads=None, tolerance: float = TOLERANCE) -> None:
    """Outputs, gradients and running statistics agree, in evaluation and in training mode."""
    arguments, named = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
    arguments = arguments if isinstance(arguments, tuple) else (arguments,)
    whole = reference(model, small, reads)
    assert_attributes(small, arguments, named)
    for training in (False, True):
        results = []
        for network in (whole.train(training), small.train(training)):
            network.zero_grad(set_to_none=True)
            outputs = [t for t in tree_leaves(network(*arguments, **named)) if torch.is_tensor(t)]
            loss = sum(t.square().mean() for t in outputs)
            if loss.requires_grad:
                loss.backward()
            results.append([t.detach() for t in outputs])
        assert_close(*results, tolerance, f"outputs, training={training}")
        both = dict(whole.named_parameters()), dict(small.named_parameters())
        gradients = [{n: p.grad for n, p in ps.items() if p.grad is not None} for ps in both]
        assert gradients[0].keys() == gradients[1].keys()
        survivors = keep(gradients[0], small.kept_channels)
        assert_close(list(survivors.values()), list(gradients[1].values()), tolerance, "gradients")
        buffers = keep(dict(whole.named_buffers()), small.kept_channels)
        assert_close(list(buffers.values()), list(small.buffers()), tolerance, "buffers")
    small.zero_grad(set_to_none=True)


def assert_attributes(small: nn.Module, arguments: tuple, named: dict) -> None:
    """What modules say of their widths agrees with their tensors, and with their inputs."""
    small.eval()  # spectral_norm changes in training whenever its weight is asked for
    for m in small.modules():
        if isinstance(m, CONVOLUTIONS):
            ends = (m.in_channels, m.out_channels // m.groups)
            ends = ends if m.transposed else (m.out_channels, m.in_channels // m.groups)
            assert ends == m.weight.shape[:2]
        elif isinstance(m, nn.Linear):
            assert (m.out_features, m.in_features) == m.weight.shape
        elif isinstance(m, nn.RNNBase) and not m.proj_size:
            assert (m.hidden_size, m.input_size) == (m.weight_hh_l0.size(1), m.weight_ih_l0.size(1))
        elif isinstance(m, nn.Embedding):
            assert m.embedding_dim == m.weight.shape[1]
        elif torch.is_tensor(getattr(m, "weight", None)):
            for name in ("normalized_shape", "num_channels", "num_parameters"):
                said = getattr(m, name, m.weight.shape)
                assert (said if isinstance(said, tuple) else (said,)) == m.weight.shape

    def check_width(norm: nn.Module, inputs: tuple) -> None:
        assert norm.num_features == inputs[0].size(1)

    norms = [m for m in small.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    hooks = [norm.register_forward_pre_hook(check_width) for norm in norms]
    with torch.no_grad():
        small(*arguments, **named)
    for hook in hooks:
        hook.remove()


def keep(tensors: dict[str, Tensor], kept: dict[str, dict[int, Tensor]]) -> dict[str, Tensor]:
    """The part of each tensor that a cut network still has."""

    def part(name: str) -> Tensor:
        tensor = tensors[name]
        for dim, indices in kept.get(name, {}).items():
            tensor = tensor.index_select(dim, indices)
        return tensor

    return {name: part(name) for name in tensors}


def assert_close(expected: list[Tensor], actual: list[Tensor], tolerance: float, what: str) -> None:
    scale = max((t.abs().max().item() for t in expected if t.numel()), default=1)
    assert len(expected) == len(actual)
    assert torch.tensor(scale).isfinite(), f"{what}: the reference itself is {scale}"
    for one, other in zip(expected, actual, strict=True):
        assert one.shape == other.shape, what
        if one.numel():
            error = (one.double() - other.double()).abs().max().item() / max(scale, 1e-30)
            assert error < tolerance, f"{what} differ by {error:.1e} of their scale"


def cut_or_refuse(cut: Callable, model: nn.Module, *arguments, reads=None, **options):
    """What `cut` makes of a model, exactly; None if it is refused. The model stays as it is."""
    with left_as_it_was(model):
        try:
            small = cut(model, *arguments, **options)
        except CannotCut:
            return None
    assert_exact(model, small, arguments[-1], reads)
    return small

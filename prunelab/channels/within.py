"""A part of a network that is cut by itself, with the inputs that it really receives.

A forward that looks at values, as that of a detector does, can't be followed. Its backbone often
can. What the part takes and returns keeps its width, so that the rest of the network fits.
"""

import copy
import inspect

import torch
from torch import nn

from prunelab.channels.cut import after, cut
from prunelab.channels.plan import CannotCut
from prunelab.checks import said
from prunelab.checks.tensors import check_type, first_line
from prunelab.training import evaluation_mode


class Within:
    """The part of a network that is to be cut; all of it where `name` is empty.

    Attributes:
        part: the module with this name.
        inputs: what its forward took when the whole network ran on the example.
    """

    def __init__(self, model: nn.Module, name: str, example_inputs):
        check_type("within", name, str, "the name of a module")
        self.model, self.name, self.example = model, name, example_inputs
        self.part, self.inputs = model, example_inputs
        if not name:
            return
        modules = dict(model.named_modules())
        if name not in modules:
            raise CannotCut(f"within={said(name)} is no module of the model; see named_modules()")
        self.part = modules[name]
        self._refuse_shared_weights()
        self.inputs = self._received()
        if hasattr(self.part, "kept_channels"):  # an earlier cut is not part of this one
            self.part = copy.copy(self.part)
            del self.part.kept_channels

    def _refuse_shared_weights(self) -> None:
        own = {id(p) for p in self.part.parameters()}
        inside = f"{self.name}."
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            if id(parameter) in own and not name.startswith(inside):
                raise CannotCut(
                    f"within={self.name!r} shares its weights with {name!r} outside of it; "
                    "name a part that has both"
                )

    def _received(self):
        """The inputs of the part, as `prune_network` takes them."""
        calls: list[tuple[tuple, dict]] = []
        note = self.part.register_forward_pre_hook(
            lambda module, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
        )
        try:
            _run(self.model, self.example)
        except Exception as error:
            raise CannotCut(
                f"the model can't run on these example_inputs: {first_line(error)}"
            ) from error
        finally:
            note.remove()
        if not calls:
            raise CannotCut(f"within={self.name!r} is never called with these example_inputs")
        args, kwargs = calls[0]
        if not kwargs:
            return args
        return dict(inspect.signature(self.part.forward).bind(*args, **kwargs).arguments)

    def whole(self, small: nn.Module) -> nn.Module:
        """The network with the cut part in it, if it still runs.

        Args:
            small: what was made of `part`.
        """
        if not self.name:
            return small
        kept = {f"{self.name}.{name}": dims for name, dims in small.kept_channels.items()}
        network = cut(self.model, kept)
        network.kept_channels = after(getattr(self.model, "kept_channels", {}), kept)
        try:
            _run(network, self.example)
        except Exception as error:
            raise CannotCut(
                f"the rest of the model no longer runs once {self.name!r} is cut: "
                f"{first_line(error)}"
            ) from error
        return network


def _run(model: nn.Module, example_inputs) -> None:
    """The forward in evaluation mode, for what it calls and not for its answer."""
    is_named = isinstance(example_inputs, dict)
    given = example_inputs if isinstance(example_inputs, tuple | list) else (example_inputs,)
    with evaluation_mode(model), torch.no_grad(), torch.random.fork_rng():
        model(**example_inputs) if is_named else model(*given)

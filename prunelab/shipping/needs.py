"""What shipping needs: packages of the extra `ship`, and a network without masks."""

import importlib.util

from torch import nn

from prunelab.masks import masked_parameters


def needed(*packages: str) -> None:
    """Refuse to go on where a package of the extra `ship` is not installed.

    Raises:
        ModuleNotFoundError: naming it, and how it is had.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"this needs {' and '.join(missing)}: pip install 'prunelab[ship]'", name=missing[0]
        )


def check_unmasked(model: nn.Module) -> None:
    """Refuse a network with masks, which would be lost or shipped beside the weights.

    Raises:
        ValueError: naming a layer, and what to do.
    """
    masked = [name for name, layer in model.named_modules() if masked_parameters(layer)]
    if masked:
        raise ValueError(
            f"model has masks, as on {masked[0]!r}; give it without: "
            "make_pruning_permanent(copy.deepcopy(model))"
        )

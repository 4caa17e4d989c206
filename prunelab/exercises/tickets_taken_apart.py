"""Checks of the exercises of notebook 14."""

from collections.abc import Callable

import torch

from prunelab.exercises.checking import exercise


@exercise("14.1")
def mask_of_same_signs(answer: Callable) -> str | None:
    generator = torch.Generator().manual_seed(0)
    initial, moved = torch.randn(2, 6, 8, generator=generator)
    trained = initial + 1.5 * moved
    same = initial.sign() == trained.sign()
    for count in (6, 12):
        mask = torch.as_tensor(answer(initial.clone(), trained.clone(), count))
        new = mask.bool()
        if mask.shape != initial.shape or not torch.equal(mask, new.to(mask.dtype)):
            return "A mask (6, 8) of True and False, or 1 and 0, is wanted."
        if int(new.sum()) == 48 - count:
            return "The mask is inverted; it is True where a weight is kept."
        if int(new.sum()) != count:
            return f"{int(new.sum())} weights are kept, and it should be {count}."
        kept = {
            "That is “large final”: some of these weights have changed their sign.": trained.abs(),
            "These are the largest at the start. The training has to say which to keep.": (
                initial.abs() * same
            ),
            "That is “magnitude increase”: how far a weight has grown, not how large it is.": (
                trained.abs() - initial.abs()
            ),
            "The most positive ones are kept. Negative weights can grow too.": trained * same,
        }
        wanted = _largest(initial.sign() * trained, count)
        if not torch.equal(new, wanted):
            told = [
                words for words, score in kept.items() if torch.equal(new, _largest(score, count))
            ]
            return (
                told[0] if told else "Other weights have the same sign and are larger at the end."
            )
    return None


def _largest(score: torch.Tensor, count: int) -> torch.Tensor:
    mask = torch.zeros(score.numel(), dtype=torch.bool)
    mask[score.flatten().topk(count).indices] = True
    return mask.view_as(score)


@exercise("14.2")
def old_signs_new_sizes(answer: Callable) -> str | None:
    generator = torch.Generator().manual_seed(0)
    initial, fresh = torch.randn(2, 6, 8, generator=generator)
    mask = torch.rand(6, 8, generator=generator) < 0.5
    start = answer(initial.clone(), fresh.clone(), mask.clone())
    if start.shape != mask.shape:
        return (
            f"Weights {tuple(mask.shape)} are wanted, pruned ones zero; not {tuple(start.shape)}."
        )
    if torch.equal(start, fresh.abs() * initial.sign() * mask):
        return None
    if start[~mask].any():
        return "Weights that the mask prunes are not zero."
    told = {
        "Those are the new weights with their own signs: the random reinit.": fresh,
        "That is the ticket; its sizes must be new.": initial,
        "It is the other way round: old sizes with new signs.": initial.abs() * fresh.sign(),
        "All signs are positive. Which sign did each weight have at first?": fresh.abs(),
        "A product of both is neither: its size mixes old and new.": fresh.abs() * initial,
        "The sign of a new weight and that of the old one are multiplied. Take its size first.": (
            fresh * initial.sign()
        ),
    }
    for words, weights in told.items():
        if torch.equal(start, weights * mask):
            return words
    return "Signs are right where they are the initial ones, sizes where they are those of `fresh`."

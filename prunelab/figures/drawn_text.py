"""A text as a network reads it: each character in the color of its surprise."""

from collections.abc import Sequence

from matplotlib.patches import Rectangle

from prunelab.figures.style import COLORS, Picture, canvas

COLUMNS, WIDTH, HEIGHT = 64, 0.115, 0.23
"""Characters a line, and the size of one in inches."""
SHOWN = {"\n": "↵", " ": " "}
FONT = {"family": "monospace", "size": 8, "ha": "center", "va": "center", "parse_math": False}
MOST = 6.0
"""Bits from which on the color does not get any stronger."""


def surprises(texts: dict[str, tuple[str, Sequence[float]]], title: str) -> Picture:
    """Texts one below the other; the stronger the color, the less a network expected a character.

    Args:
        texts: for each heading a text, and the bits of each of its characters.
        title: words over the figure.

    Raises:
        ValueError: a text with other than one number a character.
    """
    for name, (text, bits) in texts.items():
        if len(text) != len(bits):
            raise ValueError(f"{name!r} has {len(text)} characters and {len(bits)} numbers")
    lines = {name: -(-len(text) // COLUMNS) for name, (text, _) in texts.items()}
    total = sum(lines.values()) + 1.4 * len(lines)
    seen = []
    with canvas(width=COLUMNS * WIDTH, height=total * HEIGHT + 0.4) as (figure, ((ax,),)):
        top = 0.0
        for name, (text, bits) in texts.items():
            mean = sum(bits) / len(bits)
            ax.text(0, top + 1, f"{name} ({mean:.2f} bits a character)", size=8, weight="bold")
            for i, (character, cost) in enumerate(zip(text, bits, strict=True)):
                x, y = i % COLUMNS, top + 1.2 + i // COLUMNS
                shade = (COLORS[1], 0.75 * min(cost / MOST, 1))
                ax.add_patch(Rectangle((x, y), 1, 1, fc=shade, lw=0))
                shown = SHOWN.get(character, character)
                ax.text(x + 0.5, y + 0.55, shown, **FONT)
            top += lines[name] + 1.4
            seen.append(f"{name}: {mean:.2f} bits a character")
        ax.set(xlim=(0, COLUMNS), ylim=(total, 0), xticks=[], yticks=[], title=title)
        ax.spines[:].set_visible(False)
        ax.grid(visible=False)
        return Picture(figure, f"{title} {'; '.join(seen)}.")

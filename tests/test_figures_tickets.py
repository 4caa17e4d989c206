"""The paper's figures draw the means of the recorded trials."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from prunelab import figures
from prunelab.lab.results import RESULTS


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return pd.read_csv(RESULTS / "lottery_tickets.csv")


def test_figure_4_draws_the_recorded_means(runs):
    panels = figures.tickets_against_density(runs, ("ticket", "random reinit")).figure.axes
    assert not plt.get_fignums()
    stops = runs[runs["moment"] == "early stop"]
    for ax, column in zip(panels, ("iteration", "test_accuracy"), strict=True):
        drawn = {line.get_label(): line.get_xydata() for line in ax.lines}
        for kind in ("ticket", "random reinit"):
            rows = stops[(stops["kind"] == kind) | (stops["density"] == 1)]
            mean = rows.groupby("density")[column].mean()
            assert drawn[kind] == pytest.approx(np.column_stack([mean.index, mean.to_numpy()]))


def test_figure_3_draws_the_recorded_curves(runs):
    curves = runs[(runs["moment"] == "curve") & (runs["kind"] == "ticket")]
    drawn = figures.ticket_curves(runs).figure.axes[0].lines
    for line, (_, rows) in zip(drawn, curves.groupby("round"), strict=False):
        mean = rows.groupby("iteration")["test_accuracy"].mean()
        assert line.get_ydata() == pytest.approx(mean.to_numpy())

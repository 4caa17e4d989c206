"""The numbers of the page: means, intervals, differences and verdicts, cell by cell."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from prunelab.explorer.names import OWN, SIMPLE
from prunelab.intervals import choose, mean_interval
from prunelab.lab import playbook
from prunelab.lab.claims import claims, verdict
from prunelab.lab.playbook import CELL, UNTRAINED
from prunelab.lab.protocol import POINTS
from prunelab.lab.results import load_results

RATES = "recovery_rates"
AHEAD = {"holds": "ahead", "does not hold": "behind"}
"""What the verdict on "is it ahead?" is called; the other two verdicts keep their names."""


@dataclass
class Numbers:
    """The recorded studies of recovery, and what is computed from them.

    Args:
        study: what `playbook.recovery` returns.
        rates: the table of `recovery_rates`.
    """

    study: pd.DataFrame
    rates: pd.DataFrame

    @cached_property
    def table(self) -> pd.DataFrame:
        """What is compared, the dense networks too."""
        return playbook.comparisons(self.study)

    @cached_property
    def ways(self) -> pd.DataFrame:
        """What is compared of pruned networks, also at rates of their own."""
        own = self.rates[self.rates["role"] == "comparison"]
        pruned = self.table[self.table["pruned"] != "nothing"]
        return pd.concat([pruned, own.assign(method=own["method"] + OWN)], ignore_index=True)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Every recorded network, pruning, density and budget."""
        return self.ways[CELL].drop_duplicates()

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """Percent of test images named right: a row a cell and way."""
        return _percent(self.ways, [*CELL, "method"])

    @cached_property
    def dense_before(self) -> pd.DataFrame:
        """The same of the dense networks as they were trained: a row a network."""
        dense = self.table[(self.table["pruned"] == "nothing")]
        before = dense[dense["method"] == "as pruned"].drop_duplicates(["network", "seed"])
        return _percent(before, ["network"])

    @cached_property
    def dense_as_long(self) -> pd.DataFrame:
        """Trained for as many more steps, in the way that validation images prefer."""
        dense = self.table[self.table["pruned"] == "nothing"]
        by, trained = ["network", "budget"], dense[~dense["method"].isin(UNTRAINED)]
        best = trained.merge(choose(trained, by, "method"))
        return _percent(best, [*by, "method"])

    @cached_property
    def behind(self) -> pd.DataFrame:
        """The distances from the way that validation images prefer, as notebook 13 has them."""
        return playbook.behind_best(self.table)

    @cached_property
    def lost(self) -> pd.DataFrame:
        """Every way minus the dense network trained as long."""
        dense = self.table[self.table["pruned"] == "nothing"]
        return _judged(playbook.against_dense(pd.concat([self.ways, dense])))

    @cached_property
    def over_best(self) -> pd.DataFrame:
        """Every way minus the one that validation images prefer."""
        return self._over(self.behind)

    @cached_property
    def over_simple(self) -> pd.DataFrame:
        """Every way minus the simple one that validation images prefer."""
        simple = self.table[self.table["method"].isin(SIMPLE)]
        return self._over(playbook.behind_best(simple))

    def _over(self, behind: pd.DataFrame) -> pd.DataFrame:
        """Every way minus the best of its cell, seed by seed, but for the best itself."""
        best = behind[[*CELL, "best"]].drop_duplicates().rename(columns={"best": "over"})
        beside = best.merge(self.ways, left_on=[*CELL, "over"], right_on=[*CELL, "method"])
        beside = beside[[*CELL, "over", "seed", "test_accuracy"]]
        both = self.ways.merge(beside, on=[*CELL, "seed"], suffixes=("", "_over"))
        both = both[both["method"] != both["over"]]
        points = 100 * (both["test_accuracy"] - both["test_accuracy_over"])
        by = [*CELL, "method", "over"]
        return _judged(mean_interval(both.assign(points=points), by, "points"))

    @cached_property
    def decisions(self) -> pd.DataFrame:
        """The decision chart: where nearly all ways were tried."""
        full = self.behind[playbook.tried_fully(self.behind)]
        return playbook.decisions(full, playbook.against_dense(self.table))

    @cached_property
    def networks_decided(self) -> pd.Series:
        """The networks that a decision rests on, by what is pruned, density and budget."""
        full = self.behind[playbook.tried_fully(self.behind)]
        return full.groupby(CELL[1:])["network"].unique()

    @cached_property
    def chosen_rates(self) -> pd.Series:
        """Learning rates that validation images chose, by cell and way."""
        own = playbook.edges(self.rates)
        both = [playbook.edges(self.study), own.assign(method=own["method"] + OWN)]
        return pd.concat(both).set_index([*CELL, "method"])["rate"]

    @cached_property
    def dense_rate(self) -> pd.Series:
        training = self.study[self.study["method"] == "training"]
        return choose(training, ["network"], "rate").set_index("network")["rate"]

    @cached_property
    def sizes(self) -> pd.DataFrame:
        """Weights left and bytes of the smallest file, the dense networks too."""
        compared = self.study[self.study["role"] == "comparison"]
        return compared.groupby(CELL[:3])[["weights", "bytes"]].mean()

    @cached_property
    def all_claims(self) -> pd.DataFrame:
        """The verdicts of all notebooks."""
        return claims()


def recorded() -> Numbers:
    """What is in `data/results`.

    Raises:
        FileNotFoundError: a study that is not recorded.
    """
    return Numbers(playbook.recovery(), load_results(RATES))


def _percent(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    return mean_interval(rows.assign(percent=100 * rows["test_accuracy"]), by, "percent")


def _judged(effects: pd.DataFrame) -> pd.DataFrame:
    said = [verdict(row.low, row.high, "above", 0, POINTS) for row in effects.itertuples()]
    return effects.assign(verdict=[AHEAD.get(words, words) for words in said])

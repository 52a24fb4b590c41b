"""How good is it? Metrics, the papers' tables, and the results of a stage on a split."""

"""How good is it: metrics, baselines and the tables of the README."""

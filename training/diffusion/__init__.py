"""IR-SDE as mathematics, and its samplers; no network."""

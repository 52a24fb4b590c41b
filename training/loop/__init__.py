"""Training of one stage. `python -m patina.training.loop JOB.json` runs it."""

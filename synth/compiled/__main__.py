"""Says whether the compiled loops are used here: `python -m patina.synth.compiled`."""

from patina.synth.compiled.library import state

print(f"compiled loops {state()}")

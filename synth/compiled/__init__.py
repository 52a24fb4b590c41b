"""The inner loops of synthesis in C, where a compiler was there when patina was installed: the same bits, sooner.

    hatch_build.py ─ compiles *.c ─► patina/loops.so ─ `library.py` ─► functions() ─► figures.py and others call them

None of it is needed. Whoever calls a function of it has the same computation in NumPy beside the call, and tests hold
the two to the same bits. `PATINA_COMPILED=0` leaves it aside, and
`python -m patina.synth.compiled` says whether it is used.
"""

from patina.synth.compiled.library import functions, pointer

__all__ = ["functions", "pointer"]

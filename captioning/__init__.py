"""A clean image becomes a sentence. Knows no other package of patina.

The catalogue of captioners is a literal table, kind to class: registration and documentation at once. Adding one is
one file in this folder, its test, and its line here; recipes and the command line read this table.
"""

from __future__ import annotations

from patina.captioning.captioner import Captioner
from patina.later import Table

CAPTIONERS: Table[Captioner] = Table(
    __name__,
    {
        "sidecar": "Sidecar",  # captions that exist: .txt files, a CSV, TSV or JSONL table, COCO's JSON
        "source": "SourceCaption",  # the caption that each source brings itself: a column, an archive's .txt member
        "blip": "Blip",  # made by BLIP, BLIP-2, GIT or another model of transformers; needs patina-ir[captions]
        "template": "Template",  # one sentence filled in from tone, shape, colour and file name; no model
    },
)

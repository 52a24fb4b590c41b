"""A clean image becomes a sentence. Knows no other package of patina.

The catalogue of captioners is a literal table, word to class: registration and documentation at once. Adding one is
one file in this folder, its test, and its line here; recipes and the command line read this table.
"""

from __future__ import annotations

from captioning.captioner import Captioner
from captioning.sidecar import Sidecar
from captioning.template import Template

CAPTIONERS: dict[str, type[Captioner]] = {
    "sidecar": Sidecar,  # captions that exist: .txt files, a CSV, TSV or JSONL table, COCO's JSON
    "template": Template,  # one sentence filled in from tone, shape, colour and file name; no model
}

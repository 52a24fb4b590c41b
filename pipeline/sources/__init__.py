"""The catalogue of source readers: a literal table, kind to class. A new one is one file here, its test, its line."""

from patina.later import Table
from patina.pipeline.sources.reader import Reader

READERS: Table[Reader] = Table(
    __name__,
    {
        "folder": "Folder",  # a folder tree of clean photographs
        "pairs": "Pairs",  # two folders, degraded and clean, matched by name, stem or regular expression
        "preset": "FromPreset",  # a public set whose layouts, labels, splits and licence are known
        "list": "list_file.ListFile",  # a list of paths: lines LQ,GT, a table, JSON lines, DA-CLIP's daclip_train.csv
        "webdataset": "WebDataset",  # tars whose members share a name up to the first dot, read where they lie
        "huggingface": "HuggingFace",  # a dataset of the hub, or of a folder that `datasets` reads
    },
)

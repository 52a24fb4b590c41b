"""The catalogue of source readers: a literal table, kind to class. A new one is one file here, its test, its line."""

from patina.pipeline.sources.folder import Folder
from patina.pipeline.sources.huggingface import HuggingFace
from patina.pipeline.sources.list_file import ListFile
from patina.pipeline.sources.pairs import Pairs
from patina.pipeline.sources.preset import FromPreset
from patina.pipeline.sources.reader import Reader
from patina.pipeline.sources.webdataset import WebDataset

READERS: dict[str, type[Reader]] = {
    "folder": Folder,  # a folder tree of clean photographs
    "pairs": Pairs,  # two folders, degraded and clean, matched by name, stem or regular expression
    "preset": FromPreset,  # a public set whose layouts, labels, splits and licence are known: pipeline/presets/
    "list": ListFile,  # a list of paths: lines LQ,GT, a table, JSON lines, DA-CLIP's daclip_train.csv
    "webdataset": WebDataset,  # tars whose members share a name up to the first dot, read where they lie
    "huggingface": HuggingFace,  # a dataset of the hub, or of a folder that `datasets` reads
}

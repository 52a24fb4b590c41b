"""The catalogue of source readers: a literal table, word to class. A new one is one file here, its test, its line."""

from pipeline.sources.folder import Folder
from pipeline.sources.pairs import Pairs
from pipeline.sources.reader import Reader

READERS: dict[str, type[Reader]] = {
    "folder": Folder,  # a folder tree of clean photographs
    "pairs": Pairs,  # two folders, degraded and clean, matched by name, stem or regular expression
}

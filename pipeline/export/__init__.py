"""The catalogue of export formats: a literal table, word to class. A new one is one file here, its test, its line."""

from pipeline.export.daclip import DaClip
from pipeline.export.folders import Folders
from pipeline.export.format import Format
from pipeline.export.parquet import Parquet
from pipeline.export.vlunet import VluNet

EXPORTS: dict[str, type[Format]] = {
    "daclip": DaClip,  # folders LQ and GT for each degradation and daclip_train.csv, as DA-CLIP's trainers read them
    "vlunet": VluNet,  # list files with `LQ,GT` a line, as VLU-Net's trainers read them
    "folders": Folders,  # plain folders with truth maps, captions.csv and samples.jsonl: all that is known
    "parquet": Parquet,  # tables that hold the images, as `datasets` and the Hugging Face hub read them
}

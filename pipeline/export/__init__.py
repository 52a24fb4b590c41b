"""The catalogue of export formats: a literal table, name to class. A new one is one file here, its test, its line."""

from patina.pipeline.export.daclip import DaClip
from patina.pipeline.export.folders import Folders
from patina.pipeline.export.format import Format
from patina.pipeline.export.parquet import Parquet
from patina.pipeline.export.vlunet import VluNet

EXPORTS: dict[str, type[Format]] = {
    "daclip": DaClip,  # folders LQ and GT for each degradation and daclip_train.csv, as DA-CLIP's trainers read them
    "vlunet": VluNet,  # list files with `LQ,GT` a line, as VLU-Net's trainers read them
    "folders": Folders,  # plain folders with truth maps, captions.csv and samples.jsonl: all that is known
    "parquet": Parquet,  # tables that hold the images, as `datasets` and the Hugging Face hub read them
}

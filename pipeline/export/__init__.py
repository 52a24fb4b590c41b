"""The catalogue of export formats: a literal table, name to class. A new one is one file here, its test, its line."""

from patina.pipeline.export.daclip import DaClip
from patina.pipeline.export.energon import Energon
from patina.pipeline.export.folders import Folders
from patina.pipeline.export.format import Format
from patina.pipeline.export.litdata import LitData
from patina.pipeline.export.mds import Mds
from patina.pipeline.export.parquet import Parquet
from patina.pipeline.export.vlunet import VluNet
from patina.pipeline.export.webshart import WebShart

EXPORTS: dict[str, type[Format]] = {
    "daclip": DaClip,  # folders LQ and GT for each degradation and daclip_train.csv, as DA-CLIP's trainers read them
    "vlunet": VluNet,  # list files with `LQ,GT` a line, as VLU-Net's trainers read them
    "folders": Folders,  # plain folders with truth maps, captions.csv and samples.jsonl: all that is known
    "parquet": Parquet,  # tables that hold the images, as `datasets` and the Hugging Face hub read them
    "mds": Mds,  # shards of records, as MosaicML's streaming reads them
    "litdata": LitData,  # chunks of records, as litdata reads them
    "energon": Energon,  # the shards, linked, with megatron-energon's indexes
    "webshart": WebShart,  # the shards, linked, with indexes that name a sample once
}

"""The process of one stage: `python -m patina.training.loop JOB.json`."""

import os
import sys

from patina.output import outlive_readers
from patina.training.loop.loop import main

outlive_readers()  # once the process that reads the lines is killed, the state is saved all the same
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.exit(main())

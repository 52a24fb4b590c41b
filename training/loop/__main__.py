"""The process of one stage: `python -m patina.training.loop JOB.json`."""

import os
import sys

from patina.training.loop.loop import main

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.exit(main())

"""What a Dask worker of one build imports first: Prefect's senders say nothing of what a stop leaves unsent, and that
nobody reads any more what it prints is no error."""

from __future__ import annotations

import logging

from patina.output import outlive_readers


class _Nothing(logging.Filter):
    """Lets nothing pass; Prefect's own logging settings, which come later, take away no filter."""

    def filter(self, record: logging.LogRecord) -> bool:
        del record
        return False


for name in ("EventsWorker", "APILogWorker"):
    logging.getLogger(name).addFilter(_Nothing())

outlive_readers()

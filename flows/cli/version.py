"""The line that `patina --version` prints."""

from __future__ import annotations

from patina import __version__

LINE = f"patina {__version__}"

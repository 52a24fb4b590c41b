"""The recipes that come with patina: their names, what they make, and their text, to copy and change."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "recipes"


def shipped() -> dict[str, str]:
    """Their texts by name."""
    return {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.toml"))}


def about(text: str) -> str:
    """The first sentence of the comment that a recipe begins with."""
    words: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words += line.lstrip("# ").split()
    return f"{' '.join(words).partition('. ')[0].removesuffix('.')}."

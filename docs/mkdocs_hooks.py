"""Takes what lies beside docs/ into the site and points links there: a repository shows both, a site only docs/."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def _beside() -> dict[str, str]:
    """Files that pages link to, by their name in the site."""
    linked: dict[str, str] = {}
    for page in (ROOT / "docs").rglob("*.md"):
        for target in re.findall(r"\]\((\.\./[^)#]+)\)", page.read_text("utf-8")):
            path = (page.parent / target).resolve()
            if path.is_file() and (ROOT / "docs") not in path.parents:
                linked[str(path.relative_to(ROOT))] = _name(path)
    return linked


def _name(path: Path) -> str:
    return f"beside/{str(path.relative_to(ROOT)).replace('/', '-').lower()}"


def on_files(files: Any, config: Any) -> Any:
    """Add the files that lie beside docs/."""
    from mkdocs.structure.files import File

    for path, name in _beside().items():
        text = (ROOT / path).read_text("utf-8")
        files.append(
            File.generated(config, name, content=re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text))
        )
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links that leave docs/ to those files."""
    here = ROOT / "docs" / page.file.src_uri
    if page.file.src_uri.startswith("beside/"):
        return markdown
    up = "../" * page.file.src_uri.count("/")

    def pointed(match: re.Match[str]) -> str:
        path = (here.parent / match[1]).resolve()
        return f"]({up}{_name(path)})" if path.is_file() and (ROOT / "docs") not in path.parents else match[0]

    return re.sub(r"\]\((\.\./[^)#]+)\)", pointed, markdown)

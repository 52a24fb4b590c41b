"""Records of the exports `mds` and `litdata` as samples again."""

from __future__ import annotations

from common import GT, LQ

COLUMNS = frozenset(("key", "caption", "facts", "lq", "gt"))


def sample_of(row: dict, truth: dict) -> dict:
    """A record as the members that it was made of; a map that the sample does not have is empty."""
    members = {name: next(n for n in names if n in truth["members"]) for name, names in (("lq", LQ), ("gt", GT))}
    maps = {f"{name}.png": bytes(body) for name, body in row.items() if name not in COLUMNS}
    pair = {members[name]: bytes(row[name]) for name in ("lq", "gt")}
    return {"key": row["key"], "caption": row["caption"], "members": pair | {n: b for n, b in maps.items() if b}}

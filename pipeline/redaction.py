"""Addresses without what only their author should know: user, password, and the parts of a query that grant access.

What is stored, shown, logged or raised goes through `without_secrets`; only what opens an address has it whole. A
secret goes by the name of its parameter or by the place in the address. One that is a plain step of the path, such as
`https://host/bot123:abc/photo.png`, cannot be told from a folder's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

T = TypeVar("T")

CONTAINERS = frozenset(("abfs", "abfss", "wasb", "wasbs", "git", "github"))
"""Protocols that write something else than a user before the @: a container, a repository and its branch."""

USER = re.compile(r"([a-z][a-z0-9+.-]*):(/{1,3})[^\s/?#<>]*@", re.IGNORECASE)
"""User and password as they should be written, up to the last @ of the authority."""

ODD_PASSWORD = re.compile(r"([a-z][a-z0-9+.-]*):(/{2})[^\s/:@?#\[\]]+:(?!:|\d*(?:[/?#\s]|$))[^\s@]*@", re.IGNORECASE)
"""The same with a password that holds / ? or #; what follows the colon is no port."""

PARAMETER = re.compile(
    r"""([?&;\#])([\w.~%+\[\]-]{1,100})=((?:(?!;[\w.%-]{1,100}=)(?!["',;:.)\]}]+(?:\s|$))[^&\#\s<>])*)"""
)
"""A parameter of a query or a fragment: what stands before it, its name, its value. In a sentence, what ends a clause
behind an address is no part of it."""

WORDS = frozenset((
    "token", "secret", "password", "passwd", "pwd", "pass", "passphrase", "signature", "sign", "sig",
    "credential", "credentials", "auth", "authorization", "authentication", "jwt", "bearer", "apikey", "key",
    "session", "sessionid", "sid", "sas", "hmac", "hash", "md5", "otp", "ticket", "policy", "expires", "expire",
    "expiry", "exp", "nonce", "hdnea", "hdnts", "hm", "user", "username", "login",
))  # fmt: skip
"""Words in the name of a parameter that grants access, or that changes whenever a signature is renewed."""

ENDINGS = ("token", "secret", "password", "signature", "apikey", "accesskey", "keyid", "accessid", "credential")
SIGNING = ("x-amz-", "x-goog-", "x-oss-", "x-cos-", "x-ms-", "q-")
"""How the names of a signing scheme's parameters begin: of AWS, Google, Alibaba, Tencent, Microsoft."""

SAS = frozenset((
    "se", "sp", "sv", "sr", "st", "spr", "sip", "si", "ss", "srt", "ske", "skt", "sks", "skv", "skoid", "sktid",
    "saoid", "suoid", "scid", "sdd", "rscc", "rscd", "rsce", "rscl", "rsct",
))  # fmt: skip
"""Azure's parameters beside `sig`; elsewhere such short names may say anything."""

TOKEN = re.compile(r"eyJ[\w-]+\.|hf_\w{8}|gh[pousr]_\w{8}|github_pat_|glpat-|AKIA|ASIA|xox[a-z]-|sk-\w{8}")
"""How values begin that are tokens, whatever their parameter is called."""

GONE = "\ue000"
"""Where a first parameter was; no address has it."""


def without_secrets(text: str) -> str:
    """A text, such as an address or an error that quotes one, without users, passwords and secret parameters.

    The rest of an address stays, so that two photographs of one server keep two names. A text without an address comes
    back as it is, and so does one that went through here before.
    """
    if "=" not in text and "@" not in text:  # nearly all of a million names
        return text
    text = ODD_PASSWORD.sub(_without_user, USER.sub(_without_user, text))
    if not PARAMETER.search(text):
        return text
    names = SAS if re.search("[?&;]sig=", text, re.IGNORECASE) else frozenset[str]()
    text = PARAMETER.sub(lambda found: _parameter(found, names), text)
    text = re.sub(f"(?<=[?#]){GONE}[&;]", "", text)
    return re.sub(f"[?#]{GONE}", "", text)


def without_secrets_in(value: Any) -> Any:
    """A table, list or text of JSON or TOML, all its addresses without secrets. Keys stay as they are, and so does a
    text without `://`, such as a regular expression."""
    if isinstance(value, str):
        return without_secrets(value) if "://" in value else value
    if isinstance(value, Mapping):
        return {key: without_secrets_in(inner) for key, inner in value.items()}
    return [without_secrets_in(inner) for inner in value] if isinstance(value, list | tuple) else value


def holds_secret(text: str) -> bool:
    """Whether `without_secrets` takes anything out of a text."""
    return without_secrets(text) != text


def _without_user(found: re.Match[str]) -> str:
    return found[0] if found[1].lower() in CONTAINERS else f"{found[1]}:{found[2]}"


def _parameter(found: re.Match[str], also: frozenset[str]) -> str:
    lead, name, value = found.groups()
    if not _is_secret(unquote(name), also) and not TOKEN.match(value):
        inner = unquote(value)
        if inner == value or without_secrets(inner) == inner:  # an address may be the value of another's parameter
            return found[0]
    return lead + GONE if lead in "?#" else ""


def _is_secret(name: str, also: frozenset[str]) -> bool:
    lower = name.lower()
    words = re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower())
    return (
        lower in also
        or lower.startswith(SIGNING)
        or not WORDS.isdisjoint(words)
        or re.sub("[^a-z0-9]", "", lower).endswith(ENDINGS)
    )


def repr_without_secrets(kind: type[T]) -> type[T]:
    """Decorator of a dataclass with addresses in it: its `repr`, which logs and notebooks show, holds no secret."""
    whole = kind.__repr__

    def __repr__(self: T) -> str:  # noqa: N807 - it takes the place of one
        return without_secrets(whole(self))

    kind.__repr__ = __repr__  # type: ignore[assignment]
    return kind

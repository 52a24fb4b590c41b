"""Pages: templates that escape every text, one layout, one style.

File names, captions and attributions come from anywhere. A template escapes whatever it prints, and `plain` takes the
control characters out of it before; only what Python marked with `markupsafe.Markup` is markup.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

HERE = "patina.pipeline.report"
"""The package whose folder templates/ has the layout, the style and the parts that pages share."""

CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but line feeds, and those that turn the direction of what follows."""


def render(template: str, *, package: str = HERE, script: str = "", **values: object) -> str:
    """A whole page from `template`, which lies in the folder templates/ of `package` and extends page.html.

    script  name of the page's only script, a file beside the templates. The page's policy allows no other, and none
            without it.
    Raises jinja2.UndefinedError where a template names what is not given.
    """
    environment = _environment(package)
    code = _source(environment, script) if script else Markup("")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() if script else ""
    style = _source(environment, "style.css")
    return environment.get_template(template).render(style=style, script=code, script_digest=digest, **values)


def plain(value: object) -> str:
    """Any value as text without control characters but line feeds: each becomes an escape such as \\x1b. Markup stays
    as it is."""
    if isinstance(value, Markup):
        return value
    text = str(value)
    if text.isprintable():  # most texts are, and data: URIs are long
        return text
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def escaped(value: object) -> Markup:
    """Any value as markup that shows its text, in attributes too, for what is not made by a template."""
    return Markup.escape(plain(value))


def is_digest(value: object) -> bool:
    """Whether it is a text of 16 or more hex digits, which tells a reader nothing."""
    return isinstance(value, str) and bool(re.fullmatch(r"[0-9a-f]{16,}", value))


@cache
def _environment(package: str) -> Environment:
    packages = dict.fromkeys((package, HERE))
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, "templates") for name in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=plain,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.tests["digest"] = is_digest
    return environment


def _source(environment: Environment, name: str) -> Markup:
    """A file as it stands beside the templates: style and scripts are ours, and no templates."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])

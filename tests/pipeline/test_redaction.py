"""What is taken out of addresses, and what stays."""

from __future__ import annotations

import pickle

import pytest

from patina.pipeline.errors import PipelineError, SourceError
from patina.pipeline.export.remote_output import RemoteOutputError, expect_no_secret
from patina.pipeline.redaction import holds_secret, without_secrets, without_secrets_in
from patina.pipeline.scan.reading import SourceChangedError
from patina.pipeline.sources import locations
from patina.pipeline.sources.locations import LocationError

SHORTER = [
    ("https://me:pw@h/a.jpg", "https://h/a.jpg"),
    ("https://me@h:8080/a.jpg", "https://h:8080/a.jpg"),
    ("s3://key:se/cr?et@bucket/x", "s3://bucket/x"),
    ("HTTPS://me:pw@h/a", "HTTPS://h/a"),
    ("https:/me:pw@h/a", "https:/h/a"),  # as a Path spells it
    ("zip://a.png::https://me:pw@h/x.zip", "zip://a.png::https://h/x.zip"),
    ("https://h/a?id=5&X-Amz-Signature=f0&X-Amz-Credential=AK/20&X-Amz-Date=1", "https://h/a?id=5"),
    ("https://h/a?X-Goog-Signature=f0&X-Goog-Expires=9&id=5", "https://h/a?id=5"),
    ("https://h/a?sv=1&se=2&sp=r&sig=f%2F0", "https://h/a"),
    ("https://h/a?Expires=1&Signature=f0~&Key-Pair-Id=K", "https://h/a"),
    ("https://h/a?Policy=e30_&w=200", "https://h/a?w=200"),
    ("https://h/a?access_token=f0#top", "https://h/a#top"),
    ("https://h/a#access_token=f0&x=1", "https://h/a#x=1"),
    ("https://h/a?x=1;token=f0;y=2", "https://h/a?x=1;y=2"),
    ("https://h/a?accessToken=f0&api_key=f1&apikey=f2&x=1", "https://h/a?x=1"),
    ("https://h/a?q=hf_abcdefghij", "https://h/a"),
    ("https://h/?url=https%3A%2F%2Fme%3Apw%40other%2F&x=1", "https://h/?x=1"),
    ("https://h/a?t%6Fken=f0", "https://h/a"),
    ("404, url='https://h/a?token=f0', more", "404, url='https://h/a', more"),
    ("Max retries exceeded with url: /a?token=f0 (Caused by X)", "Max retries exceeded with url: /a (Caused by X)"),
]
SAME = [
    "", "photo.png", "https://h/a?id=5&st=9&w=200", "abfs://container@account.dfs.core.windows.net/x",
    "github://org:repo@main/x", "hf://datasets/o/s@main/x", "http://h:80/a@b.png", "http://[::1]:80/a@b",
    "s3://b/train-?.tar", "s3://b/a=b/c.tar", "write to me@example.org", "a&b.png", "what?.png", "monkey=5",
]  # fmt: skip


@pytest.mark.parametrize(("address", "left"), SHORTER)
def test_users_passwords_and_signatures_go(address: str, left: str) -> None:
    assert without_secrets(address) == left
    assert without_secrets(left) == left
    assert holds_secret(address)


@pytest.mark.parametrize("text", SAME)
def test_everything_else_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_tables_keep_their_form_and_their_patterns() -> None:
    table = {"path": "s3://k:s@b/x", "pattern": "a?key=(.)", "tiles": {"size": 5}, "include": ("https://u@h/*", 1)}
    assert without_secrets_in(table) == {**table, "path": "s3://b/x", "include": ["https://h/*", 1]}


def test_errors_tell_none_and_survive_pickling() -> None:
    for kind in (PipelineError, SourceError, LocationError):
        error = kind("cannot list https://me:pw@h/x?token=f0: why")
        assert str(error) == str(pickle.loads(pickle.dumps(error))) == "cannot list https://h/x: why"
    changed = SourceChangedError("https://me:pw@h/x", "changed")
    again = pickle.loads(pickle.dumps(changed))
    assert again.path == changed.path == "https://me:pw@h/x", "it is opened again"
    assert str(again) == "https://h/x: changed"


def test_a_cause_that_tells_a_secret_is_left_out() -> None:
    inner = ValueError("GET https://h/?token=f0")
    outer = OSError("no")
    outer.__cause__ = inner
    assert locations.cause_to_tell(outer) is None
    assert locations.cause_to_tell(plain := OSError("no")) is plain


def test_an_output_is_not_named_with_its_password() -> None:
    with pytest.raises(RemoteOutputError, match="give the secret by environment variable") as caught:
        expect_no_secret("s3://key:s3cret@bucket/out")
    assert "s3cret" not in str(caught.value)
    expect_no_secret("s3://bucket/out")
    expect_no_secret("/photos/key:s3cret@bucket")

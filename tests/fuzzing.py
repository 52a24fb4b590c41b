"""Texts as people and machines break them: mutations by a seed, for all tests of what a user writes."""

from __future__ import annotations

import random
from collections.abc import Iterator

ODD = (
    b"\0", b"\xff\xfe", b"\xc3", b"\xef\xbb\xbf", b"\r", b"\n", b'"', b"'", b'"""', b"[", b"]", b"[[", b"]]",
    b"{", b"}", b"=", b",", b"#", b"\\", b"\\u0000", b"\\ud800", b"..", b"/", b"~", b"~nobody/x", b"://",
    b"s3://", b"http://[", b"?", b"-1", b"0", b"1e999", b"nan", b"inf", b"-inf", b"true", b"false",
    b"1979-05-27", b"07:32:00", b"9" * 5000, b"[" * 3000, b"null", b"{}", b"[]", b"''", b'""', b"1.5",
    b"'1e-3'", b"0x10", b"\xe2\x80\xa8", b"\x1b[31m", "ü".encode(), b"%s", b"*", b"[1, 2]", b"{a = 1}", b"(" *
    200, b"a.b.c", b"\t", b" ", b";", b"|", b"name", b"path", b"kind",
)  # fmt: skip
"""What is put into texts: ends and beginnings of everything, numbers of all kinds, bytes of no encoding."""


def mutations(text: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` texts like this one, each changed in one to four places."""
    rng = random.Random(seed)
    for _ in range(count):
        data = text
        for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
            data = _changed(data, rng)
        yield data


def _changed(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    place, other = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    row, token = rng.randrange(len(lines)), rng.choice(ODD)
    end = min(other, place + 12)
    how = rng.randrange(9)
    if how == 0:  # a value is another one
        lines[row] = lines[row].partition(b"=")[0] + b"= " + token if b"=" in lines[row] else token
    elif how == 1:
        lines.insert(row, lines[rng.randrange(len(lines))])
    elif how == 2:
        del lines[row]
    elif how == 3:
        lines[row] += token
    elif how == 4:
        return data[:place] + token + data[place:]
    elif how == 5:
        return data[:place] + token + data[end:]
    elif how == 6:
        return data[:place] + data[end:]
    elif how == 7:
        return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]
    else:
        return data[:place]
    return b"\n".join(lines)


def expect_one_line(error: Exception, *names: str) -> None:
    """That an error is for people: a sentence or several on one line, which names one of `names`."""
    told = str(error)
    assert told.strip(), repr(error)
    assert "\n" not in told, told
    assert "Traceback" not in told
    assert len(told) < 2000, told
    assert any(name in told for name in names), told

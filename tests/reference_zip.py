#!/usr/bin/env python3
"""The zip again, written from docs/format.md alone.

usage: reference_zip.py REPOSITORY TREE ZIP

Checks that ZIP is the bundle of the git tree TREE: writes every record anew and compares, inflates each
unit of each content alone. Takes from ZIP only how long a deflated unit is.
"""

import struct
import sys
import zlib

from reference_tar import Repository, UNIT, is_utf8

LARGE = 0xFF000000


def members(repository, tree, name=b"source/", raw_mode=b"40000"):
    """Name, mode, content, whether it is a file, comment."""
    def comment(sha1, plain=True):
        plain = plain and raw in (b"40000", b"100644", b"100755", b"120000")
        return b"" if plain else b"git " + raw + b" " + sha1.encode()

    raw = raw_mode
    yield name, 0o40755, b"", False, comment(tree)
    for raw, entry, sha1 in repository.entries(tree):
        path, kind = name + entry, int(raw, 8) & 0o170000
        if kind == 0o040000:
            yield from members(repository, sha1, path + b"/", raw)
        elif kind == 0o160000:
            yield path + b"/", 0o40755, b"", False, comment(sha1, False)
        elif kind == 0o120000:
            yield path, 0o120777, repository.read(sha1), False, comment(sha1)
        else:
            mode = 0o100755 if int(raw, 8) & 0o100 else 0o100644
            yield path, mode, repository.read(sha1), True, comment(sha1)


def inflate(bundle, at, content):
    """Inflates the units of a content, each alone; where they end."""
    units = [content[start : start + UNIT] for start in range(0, len(content), UNIT)]
    for unit in units:
        probe = zlib.decompressobj(-15)
        window = bundle[at : at + 2 * len(unit) + 1024]
        if unit is units[-1]:
            assert probe.decompress(window) == unit and probe.eof, "last unit"
            at += len(window) - len(probe.unused_data)
        else:
            probe.decompress(window, len(unit) - 1)
            taken = len(window) - len(probe.unconsumed_tail)
            end = bundle.index(b"\0\0\xff\xff", max(at, at + taken - 4)) + 4
            assert zlib.decompressobj(-15).decompress(bundle[at:end]) == unit, "unit"
            at = end
    return at


def main():
    repository, tree, path = sys.argv[1:4]
    with open(path, "rb") as file:
        bundle = file.read()
    at, count, directory = 0, 0, b""

    def expect(record):
        nonlocal at
        assert bundle[at : at + len(record)] == record, "record at %d" % at
        at += len(record)

    for name, mode, content, is_file, comment in members(Repository(repository), tree):
        size, crc, offset = len(content), zlib.crc32(content), at
        assert size < LARGE, "this program holds contents in memory"
        deflated, streamed = is_file and size > 0, is_file and size > UNIT
        utf8 = is_utf8(name) and any(byte > 127 for byte in name)
        flags, method = (8 if streamed else 0) | (2048 if utf8 else 0), 8 if deflated else 0
        start = at + 30 + len(name)
        packed = inflate(bundle, start, content) - start if deflated else size
        sums = (0, 0, 0) if streamed else (crc, packed, size)
        expect(struct.pack("<4s5H3I2H", b"PK\3\4", 20, flags, method, 0, 0x41, *sums, len(name), 0) + name)
        if deflated:
            at += packed
        else:
            expect(content)
        if streamed:
            expect(struct.pack("<4s3I", b"PK\7\x08", crc, packed, size))
        attributes = mode << 16 | (0x10 if mode == 0o40755 else 0)
        head = struct.pack("<4s6H3I", b"PK\1\2", 0x032D, 20, flags, method, 0, 0x41, crc, packed, size)
        rest = struct.pack("<5H2I", len(name), 0, len(comment), 0, 0, attributes, offset)
        directory += head + rest + name + comment
        count += 1
    start = at
    expect(directory)
    if count >= 0xFFFF:
        record = at
        expect(struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 0x032D, 45, 0, 0, count, count, len(directory), start))
        expect(struct.pack("<4sIQI", b"PK\6\7", 0, record, 1))
    short = min(count, 0xFFFF)
    expect(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, short, short, len(directory), start, 0))
    assert at == len(bundle), "something follows"


main()

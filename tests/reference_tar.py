#!/usr/bin/env python3
"""The flat tarball again, written from docs/format.md alone.

usage: reference_tar.py REPOSITORY TREE TAR [BUNDLE]

Writes the tar of the git tree TREE to TAR and prints the length of each unit, one a line. With
BUNDLE, a tar.gz, also checks that it holds that tar: as one gzip member with the prescribed header
and trailer, in exactly these units, each inflated alone. Refuses nothing: it is for legal trees.
"""

import subprocess
import sys
import zlib

T = 262144
UNIT = 1048576
MTIME = 318211200


class Repository:
    def __init__(self, path):
        command = ["git", "-C", path, "cat-file", "--batch"]
        self.git = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, sha1):
        self.git.stdin.write(sha1.encode() + b"\n")
        self.git.stdin.flush()
        size = int(self.git.stdout.readline().split()[2])
        content = self.git.stdout.read(size + 1)[:-1]
        assert len(content) == size
        return content

    def entries(self, tree):
        content = self.read(tree)
        at = 0
        while at < len(content):
            space = content.index(b" ", at)
            nul = content.index(b"\0", space)
            yield content[at:space], content[space + 1 : nul], content[nul + 1 : nul + 21].hex()
            at = nul + 21


def block(name, mode, size, typeflag, target=b"", prefix=b""):
    if size < 8 ** 11:
        size_field = b"%011o\0" % size
    else:
        size_field = b"\x80\0\0\0" + size.to_bytes(8, "big")
    header = b"".join([
        name.ljust(100, b"\0"), b"%07o\0" % mode, b"0000000\0", b"0000000\0", size_field,
        b"%011o\0" % MTIME, b" " * 8, typeflag, target.ljust(100, b"\0"), b"ustar\0" b"00",
        b"root".ljust(32, b"\0"), b"root".ljust(32, b"\0"), b"0000000\0", b"0000000\0",
        prefix.ljust(155, b"\0"), b"\0" * 12,
    ])
    assert len(header) == 512
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def record(key, value):
    length = len(key) + len(value) + 3
    while length != len(b"%d %s=%s\n" % (length, key, value)):
        length += 1
    return b"%d %s=%s\n" % (length, key, value)


def pad(content):
    return content + b"\0" * (-len(content) % 512)


def split(name):
    """Prefix and name, or None when they do not fit."""
    if len(name) <= 100:
        return b"", name
    places = [at for at in range(len(name) - 1) if name[at] == 0x2F and at <= 155]
    if places and len(name) - places[-1] - 1 <= 100:
        return name[: places[-1]], name[places[-1] + 1 :]
    return None


def is_utf8(text):
    try:
        text.decode("utf-8")
        return True
    except UnicodeDecodeError:
        return False


def headers(name, raw_mode, sha1, mode, typeflag, size=0, target=b""):
    path = None if split(name) else name
    linkpath = target if len(target) > 100 else None
    records = b""
    if not all(is_utf8(text) for text in (path, linkpath) if text is not None):
        records += record(b"hdrcharset", b"BINARY")
    if path is not None:
        records += record(b"path", path)
    if linkpath is not None:
        records += record(b"linkpath", linkpath)
    if size >= 8 ** 11:
        records += record(b"size", b"%d" % size)
    if raw_mode not in (b"40000", b"100644", b"100755", b"120000"):
        records += record(b"comment", b"git " + raw_mode + b" " + sha1.encode())
    result = b""
    if records:
        result = block(b"source/PaxHeaders/" + sha1.encode(), 0o644, len(records), b"x") + pad(records)
    stand_in = b"source/" + sha1.encode() + (b"/" if name.endswith(b"/") else b"")
    prefix, short = split(name) or (b"", stand_in)
    return result + block(short, mode, size, typeflag, sha1.encode() if linkpath is not None else target, prefix)


def members(repository, tree, name=b"source/", raw_mode=b"40000"):
    """Each member's bytes, and its id and size where it can end a segment."""
    yield headers(name, raw_mode, tree, 0o755, b"5"), None, 0
    for raw, entry, sha1 in repository.entries(tree):
        path, kind = name + entry, int(raw, 8) & 0o170000
        if kind == 0o040000:
            yield from members(repository, sha1, path + b"/", raw)
        elif kind == 0o160000:
            yield headers(path + b"/", raw, sha1, 0o755, b"5"), None, 0
        elif kind == 0o120000:
            target = repository.read(sha1)
            yield headers(path, raw, sha1, 0o777, b"2", target=target), sha1, len(target)
        else:
            content = repository.read(sha1)
            mode = 0o755 if int(raw, 8) & 0o100 else 0o644
            yield headers(path, raw, sha1, mode, b"0", len(content)) + pad(content), sha1, len(content)


def segments(stream):
    segment = b""
    for content, sha1, size in stream:
        if sha1 is not None and size >= T and segment:
            yield segment
            segment = b""
        segment += content
        if sha1 is not None and int(sha1[-8:], 16) < (size + 512) * (2 ** 32 // T):
            yield segment
            segment = b""
    if segment:
        yield segment
    yield b"\0" * 1024


def check_gzip(bundle, units):
    assert bundle[:10] == bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255]), "gzip header"
    at = 10
    for number, unit in enumerate(units):
        probe = zlib.decompressobj(-15)
        window = bundle[at : at + 2 * len(unit) + 1024]
        # Up to the last byte but one, so that it stops within the unit.
        probe.decompress(window, len(unit) - 1)
        taken = len(window) - len(probe.unconsumed_tail)
        end = bundle.index(b"\0\0\xff\xff", max(at, at + taken - 4)) + 4
        assert zlib.decompressobj(-15).decompress(bundle[at:end]) == unit, "unit %d" % number
        at = end
    whole = b"".join(units)
    trailer = zlib.crc32(whole).to_bytes(4, "little") + (len(whole) % 2 ** 32).to_bytes(4, "little")
    assert bundle[at:] == b"\x03\0" + trailer, "end"


def main():
    repository, tree, tar = sys.argv[1:4]
    units = []
    for segment in segments(members(Repository(repository), tree)):
        units += [segment[at : at + UNIT] for at in range(0, len(segment), UNIT)]
    with open(tar, "wb") as file:
        file.writelines(units)
    print(*map(len, units), sep="\n")
    if len(sys.argv) > 4:
        with open(sys.argv[4], "rb") as file:
            check_gzip(file.read(), units)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Unpacks the six novels of Jane Austen from Debian's package r-cran-janeaustenr, without R.

    tools/austen_text.py DEB OUT_FOLDER

The texts are public domain. In the package they are an R lazy-load database: Rdata.rdb is a row of
blocks, each a big-endian u32 (the size when inflated) and a zlib stream; inflated, a block is an R
serialisation (version 3, XDR: big-endian) of one character vector, the lines of a book:

    "X\\n"  i32 version = 3  i32 writer  i32 min_reader  i32 n  n bytes (name of the encoding)
    i32 flags (low byte 16: STRSXP)  i32 n_lines
    per line: i32 flags (low byte 9: CHARSXP)  i32 n_bytes (-1: NA)  n_bytes bytes

A book's text is its lines, each ended by a newline. Every text is compared with the SHA-256 it is
known to have before anything is written; each file appears whole or not at all, and a second run
that finds all of them does nothing. Needs dpkg-deb and the standard library.
"""

import hashlib
import os
import struct
import subprocess
import sys
import tempfile
import zlib

RDB = "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"

# file, offset of the block in Rdata.rdb (version 1.0.0-1), bytes of text, start of its SHA-256
BOOKS = [
    ("emma.txt", 0, 883028, "7c67b5985c6d0de1"),
    ("mansfieldpark.txt", 352043, 883280, "98bc90519cdf4ef6"),
    ("northangerabbey.txt", 703416, 433411, "51f91bbe0517db8e"),
    ("persuasion.txt", 878612, 466854, "8061549557aebd2f"),
    ("prideprejudice.txt", 1063742, 684768, "dfc684d4f857fa93"),
    ("sensesensibility.txt", 1334779, 673688, "105e1651fe93bed7"),
]

STRSXP, CHARSXP = 16, 9
TYPE_MASK = 0xFF


class BadPackage(Exception):
    """The package is not the one this tool knows."""


class Reader:
    """Big-endian fields from the front of a buffer."""

    def __init__(self, data, name):
        self.data, self.at, self.name = data, 0, name

    def take(self, n_bytes):
        if n_bytes < 0 or self.at + n_bytes > len(self.data):
            raise BadPackage(f"{self.name}: wants {n_bytes} bytes at {self.at}, "
                             f"has {len(self.data)} in all")
        self.at += n_bytes
        return self.data[self.at - n_bytes:self.at]

    def integer(self):
        return struct.unpack(">i", self.take(4))[0]

    def expect(self, what, found, expected):
        if found != expected:
            raise BadPackage(f"{self.name}: {what} is {found!r}, expected {expected!r}")


def inflate(rdb, offset, name):
    reader = Reader(rdb[offset:], f"{name}, block at {offset} of Rdata.rdb")
    n_bytes = reader.integer()
    try:
        block = zlib.decompressobj().decompress(reader.data[reader.at:])
    except zlib.error as error:
        raise BadPackage(f"{reader.name}: {error}") from error
    reader.expect("inflated size", len(block), n_bytes)
    return block


def lines_of(block, name):
    reader = Reader(block, name)
    reader.expect("format", reader.take(2), b"X\n")
    reader.expect("serialisation version", reader.integer(), 3)
    reader.take(8)
    reader.take(reader.integer())
    reader.expect("type", reader.integer() & TYPE_MASK, STRSXP)
    lines = []
    for _ in range(reader.integer()):
        reader.expect("type of a line", reader.integer() & TYPE_MASK, CHARSXP)
        lines.append(reader.take(reader.integer()))
    return lines


def text_is_right(text, n_bytes, sha256_prefix):
    return len(text) == n_bytes and hashlib.sha256(text).hexdigest().startswith(sha256_prefix)


def read_books(deb):
    with tempfile.TemporaryDirectory(prefix="austen") as folder:
        subprocess.run(["dpkg-deb", "-x", deb, folder], check=True)
        path = os.path.join(folder, RDB)
        if not os.path.exists(path):
            raise BadPackage(f"{deb} holds no {RDB}: is it r-cran-janeaustenr?")
        with open(path, "rb") as file:
            rdb = file.read()
    books = {}
    for name, offset, n_bytes, sha256_prefix in BOOKS:
        text = b"".join(line + b"\n" for line in lines_of(inflate(rdb, offset, name), name))
        if not text_is_right(text, n_bytes, sha256_prefix):
            found = hashlib.sha256(text).hexdigest()
            raise BadPackage(f"{name}: {len(text)} bytes with SHA-256 {found}, "
                             f"expected {n_bytes} bytes with {sha256_prefix}...")
        books[name] = text
    return books


def write_atomic(path, data):
    temporary = path + ".tmp"
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


def is_complete(folder):
    for name, _, n_bytes, sha256_prefix in BOOKS:
        try:
            with open(os.path.join(folder, name), "rb") as file:
                if not text_is_right(file.read(), n_bytes, sha256_prefix):
                    return False
        except OSError:
            return False
    return True


def main(arguments):
    if len(arguments) != 2 or arguments[0].startswith("-"):
        print("usage: austen_text.py DEB OUT_FOLDER", file=sys.stderr)
        return 64
    deb, folder = arguments
    if is_complete(folder):
        print(f"{folder}: the six novels are there")
        return 0
    try:
        books = read_books(deb)
        os.makedirs(folder, exist_ok=True)
        for name, text in books.items():
            write_atomic(os.path.join(folder, name), text)
    except (BadPackage, OSError, subprocess.CalledProcessError) as error:
        print(f"austen_text.py: {error}", file=sys.stderr)
        return 65
    print(f"{folder}: {len(books)} novels, {sum(map(len, books.values()))} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write a newc cpio archive from a list, without root and always the same.

The list comes on standard input, one entry a line:
  dir  PATH MODE
  file PATH MODE SOURCE
  node PATH MODE b|c MAJOR MINOR
The archive goes to standard output. Device nodes exist only in the archive.
"""
import sys

S_IFDIR, S_IFREG = 0o040000, 0o100000
S_IFNODE = {"b": 0o060000, "c": 0o020000}


def pad(data):
    return data + b"\0" * (-len(data) % 4)


def entry(ino, path, mode, data=b"", device=(0, 0), links=1):
    name = path.encode() + b"\0"
    fields = (ino, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % f for f in fields)
    return pad(header + name) + pad(data)


def main():
    out = sys.stdout.buffer
    for ino, line in enumerate(filter(None, map(str.strip, sys.stdin)), 1):
        kind, path, mode, *rest = line.split()
        path, mode = path.lstrip("/"), int(mode, 8)
        if kind == "dir":
            out.write(entry(ino, path, S_IFDIR | mode, links=2))
        elif kind == "file":
            with open(rest[0], "rb") as source:
                out.write(entry(ino, path, S_IFREG | mode, source.read()))
        elif kind == "node":
            device = (int(rest[1]), int(rest[2]))
            out.write(entry(ino, path, S_IFNODE[rest[0]] | mode, device=device))
        else:
            sys.exit(f"newc: unknown entry: {line}")
    out.write(entry(0, "TRAILER!!!", 0))


if __name__ == "__main__":
    main()

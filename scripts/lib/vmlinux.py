#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Take the ELF kernel out of a bzImage: vmlinux.py BZIMAGE VMLINUX

The boot protocol header (since 2.08) says where the compressed kernel is; its
last four bytes are the size before compression, which proves the result whole.
"""
import lzma
import struct
import subprocess
import sys
import zlib


def tool(*command):
    def run(data):
        # Whatever follows the stream makes some tools complain after the fact.
        done = subprocess.run(command, input=data, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=False)
        return done.stdout
    return run


FORMATS = {
    b"\x1f\x8b\x08": lambda data: zlib.decompressobj(31).decompress(data),
    b"\xfd7zXZ\x00": lambda data: lzma.LZMADecompressor().decompress(data),
    b"\x28\xb5\x2f\xfd": tool("zstd", "-dcq"),
    b"\x02\x21\x4c\x18": tool("lz4", "-dcq"),
    b"\x7fELF": lambda data: data,
}


def extract(image):
    if image[0x202:0x206] != b"HdrS":
        sys.exit("vmlinux: not a bzImage")
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = image[start:start + length]
    for magic, decompress in FORMATS.items():
        if not payload.startswith(magic):
            continue
        (size,) = struct.unpack("<I", payload[-4:])
        kernel = decompress(payload if magic == b"\x1f\x8b\x08" else payload[:-4])
        if magic != b"\x7fELF" and len(kernel) != size:
            sys.exit(f"vmlinux: {len(kernel)} bytes came out, {size} expected")
        if not kernel.startswith(b"\x7fELF"):
            sys.exit("vmlinux: no ELF file inside")
        return kernel
    sys.exit(f"vmlinux: unknown compression {payload[:6].hex()}")


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as bzimage:
        elf = extract(bzimage.read())
    with open(sys.argv[2], "wb") as vmlinux:
        vmlinux.write(elf)

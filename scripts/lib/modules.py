#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Collect kernel modules with what they need: modules.py TREE OUT NAME ...

TREE is a lib/modules/VERSION folder as packaged, without modules.dep. The
modules go to OUT uncompressed, with OUT/order naming them dependencies first.
A module that is built into the kernel is left out.
"""
import lzma
import pathlib
import re
import subprocess
import sys


def key(name):
    return name.replace("-", "_")


def content(path):
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE,
                              check=True).stdout
    return data


def main(tree, out, names):
    tree, out = pathlib.Path(tree), pathlib.Path(out)
    files = {key(p.name.split(".ko")[0]): p for p in tree.rglob("*.ko*")}
    builtin = {key(pathlib.Path(line).stem)
               for line in (tree / "modules.builtin").read_text().split()}
    out.mkdir(parents=True, exist_ok=True)
    order = []

    def add(name):
        if name in order or name in builtin:
            return
        if name not in files:
            sys.exit(f"modules: there is no module {name}")
        data = content(files[name])
        found = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in filter(None, found[1].decode().split(",") if found else []):
            add(key(other))
        (out / f"{name}.ko").write_bytes(data)
        order.append(name)

    for name in names:
        add(key(name))
    (out / "order").write_text("".join(f"{name}.ko\n" for name in order))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Dependencies that no source of their package names: unused-dependencies.py MANIFEST ...

Also workspace dependencies that no member takes. Names are looked for as text, so a macro's or a feature's use counts as
long as the crate is named.
"""
import pathlib
import re
import sys
import tomllib

KINDS = ("dependencies", "dev-dependencies", "build-dependencies")


def tables(manifest):
    """Tables of dependencies, those for some targets included."""
    for table in (manifest, *manifest.get("target", {}).values()):
        for kind in KINDS:
            yield table.get(kind, {})


def main(paths):
    faults, offered, taken = [], {}, set()
    for path in map(pathlib.Path, paths):
        manifest = tomllib.loads(path.read_text())
        for name in manifest.get("workspace", {}).get("dependencies", {}):
            offered[name] = path
        if "package" not in manifest:
            continue
        inner = {p.parent for p in path.parent.glob("*/Cargo.toml")} | {path.parent / "target"}
        sources = [p for p in path.parent.rglob("*.rs") if not inner & set(p.parents)]
        text = "\n".join(p.read_text() for p in sources)
        for table in tables(manifest):
            for name in table:
                taken.add(name)
                if not re.search(rf"\b{name.replace('-', '_')}\b", text):
                    faults.append(f"{path}: nothing uses {name}")
    faults += [f"{path}: no member takes {name}" for name, path in offered.items() if name not in taken]
    print("\n".join(faults) or "no dependency is unused")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

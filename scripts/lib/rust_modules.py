# SPDX-License-Identifier: Apache-2.0
"""Modules of Rust crates and the imports between their files, without their tests.

Paths are read from the text: `use` trees, and paths in code that begin with `crate::`, `super::`, `self::` or a crate
of the house. A name that a module re-exports leads to the file that defines it, over any number of steps. Macros
are not expanded.
"""

import collections
import dataclasses
import re

IDENT = r"[A-Za-z_]\w*"
MODULE = re.compile(
    rf"^(?P<attributes>(?:[ \t]*#\[[^\n]*\]\n)*)[ \t]*(?:pub(?:\([^)]*\))? )?mod (?P<name>{IDENT})(?P<end>;| \{{)", re.M
)
USE = re.compile(rf"^[ \t]*(?P<vis>pub(?:\([^)]*\))? )?use (?P<tree>[^;]+);", re.M)
TEST_ITEM = re.compile(r"^(?P<indent>[ \t]*)#\[cfg\((?:all\(|any\()?test\b[^\n]*\]\n", re.M)
FUNCTION = re.compile(rf"^(?P<indent>[ \t]*)(?:pub(?:\([^)]*\))? )?(?:const |unsafe |async |extern \"C\" )*fn (?P<name>{IDENT})", re.M)
STRUCT = re.compile(rf"^(?P<attributes>(?:#\[[^\n]*\]\n)*)(?:pub(?:\([^)]*\))? )?struct (?P<name>{IDENT})[^;{{(]*\{{\n(?P<body>.*?)^\}}", re.M | re.S)

# Structs whose fields are their interface, so that private ones with accessors would say each a second time:
# documents, which go in or out as JSON under these names; layouts of bytes in memory; and messages of a protocol,
# in a module `wire`.
DOCUMENT = re.compile(r"#\[derive\([^)]*\b(?:Serialize|Deserialize)\b[^)]*\)\]|#\[repr\(C\b")
MESSAGES = "/wire/"


def blank(text):
    """The text without comments and with empty strings; lines stay where they are."""
    out, i, depth = [], 0, 0
    token = re.compile(
        r"//[^\n]*|/\*.*?\*/|b?r(?P<hash>#*)\".*?\"(?P=hash)|b?\"(?:\\.|[^\"\\])*\"|b?'(?:\\[^\n]{1,8}?|[^'\\\n])'", re.S
    )
    del i, depth
    last = 0
    for found in token.finditer(text):
        out.append(text[last : found.start()])
        piece = found.group()
        out.append("\n" * piece.count("\n") if piece.startswith("/") else '""' + "\n" * piece.count("\n"))
        last = found.end()
    out.append(text[last:])
    return "".join(out)


def end_of_item(text, start):
    """Where the item that begins at `start` ends: behind its block, or its semicolon."""
    depth = 0
    for i in range(start, len(text)):
        c = text[i]
        if c in "{([":
            depth += 1
        elif c in "})]":
            depth -= 1
            if depth == 0 and c == "}":
                return i + 1
        elif c == ";" and depth == 0:
            return i + 1
    return len(text)


def without_tests(text):
    """The text without items for tests; their lines stay, empty. Also the names of modules among them."""
    tests = set()
    at = 0
    while found := TEST_ITEM.search(text, at):
        # Further attributes are part of the item.
        begin = found.end()
        while more := re.compile(r"[ \t]*#\[[^\n]*\]\n").match(text, begin):
            begin = more.end()
        end = end_of_item(text, begin)
        if module := re.match(rf"\s*(?:pub(?:\([^)]*\))? )?mod ({IDENT})", text[begin:end]):
            tests.add(module.group(1))
        text = text[: found.start()] + re.sub(r"[^\n]", " ", text[found.start() : end]) + text[end:]
        at = end
    return text, tests


def leaves(tree, prefix=()):
    """(path, name here) of each leaf of a `use` tree."""
    tree = tree.strip()
    if (brace := tree.find("{")) >= 0:
        prefix = prefix + tuple(part for part in re.split(r"::|\s+", tree[:brace]) if part)
        inner, depth, start = tree[brace + 1 : tree.rindex("}")], 0, 0
        for i, c in enumerate(inner + ","):
            depth += (c == "{") - (c == "}")
            if c == "," and depth == 0:
                if inner[start:i].strip():
                    yield from leaves(inner[start:i], prefix)
                start = i + 1
        return
    path, _, alias = tree.partition(" as ")
    path = prefix + tuple(part.strip() for part in path.split("::") if part.strip())
    if path and path[-1] == "self":
        path = path[:-1]
    if path:
        yield path, (alias.strip() or path[-1])


@dataclasses.dataclass
class Module:
    """One module: a file, or a block in one."""

    path: tuple
    file: str
    text: str
    raw: str
    line: int = 1
    children: dict = dataclasses.field(default_factory=dict)
    uses: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Size:
    lines: int
    longest_file: tuple
    longest_function: tuple
    open_structs: list


class House:
    """The crates of a repository."""

    def __init__(self, repo, crates):
        self.repo = repo
        self.modules = {}
        self.texts = {}
        self.crates = crates
        for crate, folder in crates.items():
            root = next(f for f in ("lib.rs", "main.rs") if (repo / folder / f).exists())
            self._file((crate,), f"{folder}/{root}", folder)

    def _file(self, path, file, folder):
        raw = (self.repo / file).read_text()
        text, tests = without_tests(blank(raw))
        self.texts[file] = (text, raw)
        return self._module(path, file, folder, text, raw, 1)

    def _module(self, path, file, folder, text, raw, line):
        module = Module(path, file, text, raw, line)
        self.modules[path] = module
        at = 0
        while found := MODULE.search(text, at):
            name = found["name"]
            if found["end"] == ";":
                at = found.end()
                # A block's `path` is taken as given beside the file.
                given = re.search(rf'#\[path = "([^"]+)"\]\n[ \t]*(?:pub(?:\([^)]*\))? )?mod {name};', raw)
                if given and '#[path' in found["attributes"]:
                    parent = file.rsplit("/", 1)[0]
                    child = f"{parent}/{given.group(1)}"
                else:
                    child = next(
                        (f for f in (f"{folder}/{name}.rs", f"{folder}/{name}/mod.rs") if (self.repo / f).exists()), None
                    )
                if child is None or not (self.repo / child).exists():
                    raise SystemExit(f"{file}: no file for module {name}")
                module.children[name] = path + (name,)
                below = child.rsplit("/", 1)[0] if child.endswith("/mod.rs") else child.removesuffix(".rs")
                self._file(path + (name,), child, below)
            else:
                end = end_of_item(text, found.end() - 1)
                body = text[found.end() : end - 1]
                first = line + text.count("\n", 0, found.end())
                module.children[name] = path + (name,)
                self._module(path + (name,), file, f"{folder}/{name}", body, "", first)
                text = text[: found.end()] + re.sub(r"[^\n]", " ", body) + text[end - 1 :]
                at = end
        module.text = text
        for found in USE.finditer(text):
            for leaf, name in leaves(found["tree"]):
                at_line = line + text.count("\n", 0, found.start("tree"))
                module.uses.append((bool(found["vis"]), leaf, name, at_line))
        return module

    def files(self):
        return sorted(self.texts)

    @staticmethod
    def is_below(file, other):
        """Whether `other` is the file of a module that the file is in: a mod.rs, lib.rs, main.rs, or a.rs for a/b.rs."""
        folder, _, name = other.rpartition("/")
        if name in ("mod.rs", "lib.rs", "main.rs"):
            return file.startswith(folder + "/") and file != other
        return file.startswith(other.removesuffix(".rs") + "/")

    def absolute(self, module, path):
        """The path from its crate on; None if it does not lead into the house."""
        path = list(path)
        here = module.path
        if path[0] == "crate":
            return here[:1] + tuple(path[1:])
        if path[0] == "self":
            return here + tuple(path[1:])
        if path[0] == "super":
            while path and path[0] == "super":
                here, path = here[:-1], path[1:]
            return here + tuple(path) if here else None
        if path[0] in module.children:
            return here + tuple(path)
        if path[0] in self.crates:
            return tuple(path)
        return None

    def file_of(self, path, seen=()):
        """The file that defines what an absolute path names."""
        if path in seen:
            return None
        seen = seen + (path,)
        at = path[:1]
        if at not in self.modules:
            return None
        for i, part in enumerate(path[1:], 1):
            module = self.modules[at]
            if part in module.children:
                at = module.children[part]
                continue
            for _, leaf, name, _ in module.uses:
                if name == part and (goal := self.absolute(module, leaf)):
                    return self.file_of(goal + path[i + 1 :], seen)
            for _, leaf, name, _ in module.uses:
                if name == "*" and (goal := self.absolute(module, leaf[:-1])) and goal[:1] + goal[1:] in self.modules:
                    inner = self.modules[goal]
                    if part in inner.children or any(n == part for _, _, n, _ in inner.uses) or re.search(
                        rf"\b(?:struct|enum|trait|fn|const|static|type) {part}\b", inner.text
                    ):
                        return self.file_of(goal + path[i:], seen)
            break
        return self.modules[at].file

    def imports(self):
        """(source file, target file, line, path) of each import between two files."""
        found = {}
        names = "|".join(["crate", "super", "self", *self.crates])
        inline = re.compile(rf"(?<![\w:])((?:{names})(?:::{IDENT})+)")
        for module in self.modules.values():
            code = USE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), module.text)
            for is_public, leaf, name, line in module.uses:
                # A re-export that this file does not use itself hands on and depends on nothing.
                if is_public and not re.search(rf"\b{re.escape(name)}\b", code):
                    continue
                self._note(found, module, leaf[:-1] if leaf[-1] == "*" else leaf, line)
            for use in inline.finditer(code):
                self._note(found, module, tuple(use[1].split("::")), module.line + code.count("\n", 0, use.start()))
            # Paths through a child: `child::item`.
            for child in module.children:
                for use in re.finditer(rf"(?<![\w:.])({child}(?:::{IDENT})+)", code):
                    self._note(found, module, tuple(use[1].split("::")), module.line + code.count("\n", 0, use.start()))
        return [(*ends, *where) for ends, where in sorted(found.items())]

    def _note(self, found, module, path, line):
        goal = self.absolute(module, path)
        target = self.file_of(goal) if goal else None
        if target and target != module.file:
            found.setdefault((module.file, target), (line, "::".join(path)))

    def measure(self):
        """Lines without tests, and what is largest."""
        lines, longest, function, open_structs = 0, (0, ""), (0, ""), []
        for file, (text, raw) in self.texts.items():
            kept = 0
            for blanked, original in zip(text.split("\n"), raw.split("\n")):
                # A line of a test is blank now though it was not; a comment's line counts.
                gone = not blanked.strip() and original.strip() and not original.strip().startswith("//")
                kept += not (gone and re.match(r"^\s*$", blanked) and len(blanked) > 0)
            kept -= raw.endswith("\n")
            lines += kept
            longest = max(longest, (kept, file))
            for found in FUNCTION.finditer(text):
                brace = text.find("{", found.end())
                semicolon = text.find(";", found.end())
                if brace < 0 or 0 <= semicolon < brace:
                    continue
                end = end_of_item(text, brace)
                count = text.count("\n", found.start(), end) + 1
                function = max(function, (count, f"{file}: {found['name']}"))
            for found in STRUCT.finditer(text):
                fields = len(re.findall(rf"^    pub(?:\([^)]*\))? {IDENT}:", found["body"], re.M))
                if fields > 5 and MESSAGES not in file and not DOCUMENT.search(found["attributes"]):
                    open_structs.append((file, found["name"], fields))
        return Size(lines, longest, function, open_structs)

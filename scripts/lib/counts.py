#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts what an exit costs, see scripts/bench. Runs the program of tests/src/bin/counts three ways: under callgrind, which
counts instructions by function and address; through objdump, which says which of those instructions lock the bus; and
under strace. Prints one table, writes JSON, and compares with a file of budgets."""

import argparse
import collections
import json
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

# What is counted in the program, and where callgrind writes a dump.
MEASURED = "counts::measured"
CASE_ENDS = "counts::case_ends"
# The program itself, which is not counted.
PROGRAM = "counts::"
# The guest's function: methods that the buses call. What calls them is the way of an exit to its function.
FUNCTION = re.compile(r"^<devices::transitional::.* as (devices::pci::device::PciDevice|event_manager::)")
# Calls into the software PF: methods of the contract through which everything drives a function.
DEVICE = re.compile(r"^<devices::soft_pf::.* as devices::contract::function::")
ALLOCATIONS = re.compile(r"^(malloc|calloc|realloc|posix_memalign|aligned_alloc)$")
# How the program itself waits for the device, as long as that takes.
WAITS = "sched_yield"
# What a budget may be exceeded by.
MARGIN = 0.03
COLUMNS = ("instructions", "exit", "function", "device", "locks", "atomics", "allocations", "system_calls")


def toolchain():
    """What the counts depend on besides the code."""
    rustc = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    return {"rustc": rustc, "libc": " ".join(platform.libc_ver()), "machine": platform.machine()}


class Dump:
    """One dump of callgrind, with costs by function, edge and address."""

    def __init__(self, path, program):
        self.names = {}
        self.own = collections.Counter()
        self.edges = collections.Counter()
        self.calls = collections.Counter()
        self.by_address = collections.Counter()
        self.objects = {}
        self.program = str(program)
        self.read(path)

    def name(self, text, table):
        number, _, name = text.partition(" ")
        if name:
            table[number] = name
        return table.get(number, number)

    def read(self, path):
        function = callee = None
        in_program = False
        address = 0
        pending = None
        for line in path.read_text(errors="replace").splitlines():
            key, equals, value = line.partition("=")
            if equals and not line[0].isdigit() and line[0] not in "+-*":
                if key == "fn":
                    function = self.name(value, self.names)
                elif key == "cfn":
                    callee = self.name(value, self.names)
                elif key == "ob":
                    in_program = self.name(value, self.objects) == self.program
                elif key == "cob":
                    self.name(value, self.objects)
                elif key == "calls":
                    pending = int(value.split()[0])
                continue
            fields = line.split()
            if len(fields) < 3 or not re.match(r"^(0x|[+*-]|\d)", fields[0]):
                continue
            address = position(fields[0], address)
            cost = int(fields[-1])
            if pending is not None:
                self.edges[function, callee] += cost
                self.calls[function, callee] += pending
                pending = None
                continue
            self.own[function] += cost
            if in_program:
                self.by_address[address] += cost

    def total(self):
        return sum(cost for function, cost in self.own.items() if not function.startswith(PROGRAM))

    def below(self, room):
        """What functions of `room` cost with all that they call."""
        return sum(cost for (f, to), cost in self.edges.items() if room.match(to) and not room.match(f))

    def allocations(self):
        return sum(n for (_, to), n in self.calls.items() if ALLOCATIONS.match(to))


def position(text, before):
    """An address as callgrind writes it: absolute, or relative to the one before."""
    if text == "*":
        return before
    if text[0] in "+-":
        return before + int(text, 0)
    return int(text, 0)


def locking(program):
    """Addresses of the program's instructions that lock the bus, and of those that try to take a lock of the standard
    library: it compares and exchanges 32 bits, and nothing else of this program does."""
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(program)], check=True, capture_output=True, text=True
    ).stdout
    atomics, locks = set(), set()
    line = re.compile(r"^\s*([0-9a-f]+):\s+(.*)$")
    for match in map(line.match, text.splitlines()):
        if not match:
            continue
        instruction = match[2]
        if instruction.startswith("lock ") or re.match(r"xchg\s.*\(", instruction):
            atomics.add(int(match[1], 16))
        if re.match(r"lock cmpxchg %e", instruction):
            locks.add(int(match[1], 16))
    return atomics, locks


def profile(program, folder):
    """The dumps of all cases, and their names with the rounds of each."""
    ran = subprocess.run(
        ["valgrind", "--tool=callgrind", "--collect-atstart=no", f"--toggle-collect={MEASURED}*", "--dump-instr=yes",
         "--compress-pos=yes", f"--dump-before={CASE_ENDS}*", f"--callgrind-out-file={folder}/out", str(program)],
        capture_output=True, text=True, check=False,
    )
    if ran.returncode:
        sys.exit(f"counts: {program} failed under callgrind:\n{ran.stdout}{ran.stderr}")
    ends = [line.split()[1:] for line in ran.stdout.splitlines() if line.startswith("end ")]
    for number, (name, rounds) in enumerate(ends, 1):
        if name != "warm-up":
            yield name, int(rounds), Dump(folder / f"out.{number}", program)


def system_calls(program, folder):
    """System calls of the thread that makes the exits, by case; nothing where there is no strace."""
    trace = folder / "strace"
    try:
        subprocess.run(["strace", "-o", str(trace), str(program)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    found, case = collections.defaultdict(collections.Counter), None
    for line in trace.read_text(errors="replace").splitlines():
        if mark := re.match(r'write\(1, "(begin|end) (\S+?)[ \\]', line):
            case = mark[2] if mark[1] == "begin" else None
        elif case and (call := re.match(r"(\w+)\(", line)) and call[1] != WAITS:
            found[case][call[1]] += 1
    return found


def measure(program):
    """Counts for one of each case."""
    rows, functions = {}, {}
    atomics, locks = locking(program)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        calls = system_calls(program, folder)
        for name, rounds, dump in profile(program, folder):
            each = lambda count: round(count / rounds, 2)  # noqa: E731
            total, function, device = dump.total(), dump.below(FUNCTION), dump.below(DEVICE)
            row = {"instructions": each(total), "exit": each(total - function)}
            row |= {"function": each(function - device), "device": each(device)}
            row["locks"] = each(sum(n for at, n in dump.by_address.items() if at in locks))
            row["atomics"] = each(sum(n for at, n in dump.by_address.items() if at in atomics))
            row["allocations"] = each(dump.allocations())
            rows[name] = row
            row["system_calls"] = None if not calls else each(sum(calls.get(name, {}).values()))
            functions[name] = {f: each(n) for f, n in dump.own.most_common(40) if n >= rounds}
    return rows, functions


def table(rows):
    """The counts as text."""
    yield f"{'exit':20}" + "".join(f"{column.replace('_', ' '):>14}" for column in COLUMNS)
    for name, row in rows.items():
        cells = ("-" if row[c] is None else f"{row[c]:.{0 if c in COLUMNS[:4] else 1}f}" for c in COLUMNS)
        yield f"{name:20}" + "".join(f"{cell:>14}" for cell in cells)


def compare(rows, budgets):
    """What is above its budget, and what is so far below that the budget should follow."""
    above, below = [], []
    for name, budget in budgets.items():
        for column, most in budget.items():
            is_now = rows[name][column]
            if is_now is None:
                continue
            text = f"{name}: {is_now} {column.replace('_', ' ')}, the budget is {most}"
            if is_now > most * (1 + MARGIN) + 0.01:
                above.append(text)
            elif is_now < most * (1 - MARGIN) - 0.01:
                below.append(text)
    return above, below


def check(rows, path):
    """Compares with the budgets; the exit code."""
    recorded = json.loads(path.read_text())
    here = toolchain()
    if recorded["toolchain"] != here:
        print(f"SKIPPED: budgets of an exit: recorded with {recorded['toolchain']}, here is {here}")
        return 0
    above, below = compare(rows, recorded["exits"])
    for text in below:
        print(f"lower now: {text} (scripts/bench counts --update)")
    for text in above:
        print(f"over budget: {text}")
    if above:
        print("make it cheaper, or raise the budget with scripts/bench counts --update and say why in the commit")
    return int(bool(above))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path, help="writes the counts, with the functions that they are in")
    parser.add_argument("--budgets", type=pathlib.Path, required=True)
    parser.add_argument("--update", action="store_true", help="makes these counts the budgets")
    parser.add_argument("--check", action="store_true", help="fails where a count is 3 %% over its budget")
    parser.add_argument("--functions", metavar="EXIT", help="also prints in which functions one exit spends its instructions")
    options = parser.parse_args()
    rows, functions = measure(options.program.resolve())
    print(*table(rows), sep="\n")
    if options.functions:
        for function, count in functions[options.functions].items():
            print(f"{count:10.1f}  {function}")
    if options.json:
        options.json.write_text(json.dumps({"toolchain": toolchain(), "exits": rows, "functions": functions}, indent=1) + "\n")
    if options.update:
        options.budgets.write_text(json.dumps({"toolchain": toolchain(), "exits": rows}, indent=1) + "\n")
    return check(rows, options.budgets) if options.check else 0


if __name__ == "__main__":
    sys.exit(main())

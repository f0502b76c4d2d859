#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks one thing in heirloom's JSON report, for every device of the last boot.

    check-report.py commands|notify|isr|msix|intx FILE
"""

import json
import sys


def devices(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)["boots"][-1]["devices"]


def register(device, name):
    return sum(r["count"] for r in device["admin"]["registers"] if r["register"] == name)


def commands(device):
    return sum(c["count"] for c in device["admin"]["commands"])


CHECKS = {
    "commands": lambda d: commands(d) >= 15 and not any(
        count for c in d["admin"]["commands"] for count in c["errors"].values()),
    "notify": lambda d: register(d, "queue_notify") == 0 and d["kicks"]["admin"] == 0
    and d["kicks"]["ioeventfd"] + d["kicks"]["store"] > 0,
    "isr": lambda d: register(d, "isr_status") == 0,
    "msix": lambda d: d["intx"]["queue"] == 0,
    "intx": lambda d: d["intx"]["queue"] > 0 and d["accesses"]["isr_reads"] > 0,
}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in CHECKS:
        print(__doc__, file=sys.stderr)
        return 2
    failed = [d["id"] for d in devices(sys.argv[2]) if not CHECKS[sys.argv[1]](d)]
    for name in failed:
        print(f"report: '{sys.argv[1]}' does not hold for {name}", file=sys.stderr)
    return 1 if failed else 0


sys.exit(main())

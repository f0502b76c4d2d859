#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the fuzz targets to fuzz/seeds/TARGET/NAME.

Each seed is one of the byte scripts that its target decodes (see targets/TARGET.rs), so that a run
starts where drivers, devices and kernels of the field are, and not at random bytes. Run it again after
a change of a script's format; the output is always the same.
"""

import json
import pathlib
import struct

SEEDS = pathlib.Path(__file__).resolve().parent / "seeds"
W1, W2, W4 = 0, 1, 2  # Script::width


def u16(value):
    return struct.pack("<H", value)


def u32(value):
    return struct.pack("<I", value & 0xFFFFFFFF)


def u64(value):
    return struct.pack("<Q", value)


def save(target, name, *parts):
    data = b"".join(bytes([p]) if isinstance(p, int) else bytes(p) for p in parts)
    place = SEEDS / target / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


# guest: kind, quirks, modes, notify address; then operations.
NET, BLK = 0, 1


def r(offset, width):
    return bytes([0, offset, width])


def w(offset, width, value):
    return bytes([2, offset, width]) + u32(value)


def status(value):
    return w(18, W1, value)


def msix(on):
    return bytes([7, on])


def table_entry(vector):
    at = 16 * vector
    parts = [(at, 0xFEE00000), (at + 4, 0), (at + 8, 0x4041 + vector), (at + 12, 0)]
    return b"".join(bytes([8]) + u16(offset) + bytes([W4]) + u32(value) for offset, value in parts)


def bar0(base):
    return bytes([6, 0x10, W4]) + u32(base) + bytes([6, 0x04, W2]) + u32(3)


def memory(at, data):
    return bytes([15]) + u32(at) + bytes([len(data)]) + data


def offer(queue, chain, index):
    """A chain of (address, length, flags)."""
    elements = b"".join(bytes([flags]) + u32(address) + u16(length) for address, length, flags in chain)
    return bytes([12, queue, len(chain)]) + elements + bytes([index])


PUMP, SETUP = bytes([13]), 11
PROBE = status(0) + r(18, W1) + status(1) + r(18, W1) + status(3)


def linux_net(on):
    mac = b"".join(r((24 if on else 20) + byte, W1) for byte in range(6))
    vectors = w(20, W2, 0) + r(20, W2) if on else b""
    queues = b"".join(
        bytes([SETUP, queue]) + (w(22, W2, queue + 1) + r(22, W2) if on else b"") for queue in range(3)
    )
    entries = b"".join(table_entry(vector) for vector in range(3))
    return (
        bar0(0xC041) + PROBE + r(0, W4) + w(4, W4, 0x10039823) + (entries + msix(1) if on else b"") + mac + vectors
        + queues + w(16, W2, 0) + r(30 if on else 26, W2) + status(7)
        + offer(1, [(0x20000, 10, 1), (0x21000, 60, 0)], 1) + PUMP + r(19, W1) + w(16, W2, 1)
    )


def disk_request(kind, index):
    header = struct.pack("<IIQ", kind, 0, 5)
    chain = [(0x20000, 16, 1), (0x21000, 512, 3 if kind == 0 else 1), (0x22000, 1, 2)]
    return memory(0x20000, header) + offer(0, chain, index) + PUMP + r(19, W1)


def guest_seeds():
    net, blk = bytes([NET, 1, 0, 2]), bytes([BLK, 1, 0, 2])
    capacity = b"".join(r(20 + byte, W1) for byte in range(8))
    disk = bar0(0xC041) + PROBE + r(0, W4) + w(4, W4, 0x44) + capacity + r(36, W4) + bytes([SETUP, 0]) + status(7)
    requests = disk_request(0, 1) + disk_request(1, 2) + disk_request(8, 3)
    save("guest", "linux-net-intx", net, linux_net(False))
    save("guest", "linux-net-msix", net, linux_net(True), msix(0), PUMP, r(19, W1), status(0))
    save("guest", "linux-net-no-notify-address", [NET, 4, 0, 0], linux_net(True))
    save("guest", "linux-net-owner-doorbell", [NET, 0, 8, 1], linux_net(False))
    save("guest", "rhel5-disk", blk, disk, requests, status(0), r(18, W1))
    save("guest", "rhel5-disk-pfn-resets", [BLK, 2, 2, 2], disk, requests, w(14, W2, 0), w(8, W4, 0))
    ipxe = status(0) + status(6) + r(0, W4) + w(4, W4, 0x20) + bytes([SETUP, 0, SETUP, 1]) + w(16, W2, 0) + status(7)
    save("guest", "ipxe", net, bar0(0xC041), ipxe, r(19, W1), r(19, W1), w(14, W2, 1), w(8, W4, 0), status(0))
    dump = b"".join(r(offset, width) for width in (W1, W2, W4) for offset in range(0, 40))
    save("guest", "windows-register-dump", net, bar0(0xC041), dump, msix(1), dump)
    modern = b"".join(
        bytes([10]) + u16(at) + bytes([width]) + u32(value)
        for at, width, value in [(20, W1, 0), (20, W1, 3), (8, W4, 1), (12, W4, 1), (20, W1, 11), (22, W2, 0),
                                 (32, W4, 0x1000), (40, W4, 0x2000), (48, W4, 0x3000), (28, W2, 1), (20, W1, 15),
                                 (0x3000, W2, 0)]
    )
    save("guest", "modern-driver", blk, modern, PROBE, disk)
    config = b"".join(bytes([6, at, W4]) + u32(0xFFFFFFFF) for at in range(0, 252, 4))
    save("guest", "size-everything", net, config, bar0(0xD041), linux_net(False))


def answer(data, shape=0, extra=b""):
    return bytes([shape, len(data)]) + data + extra


def read(offset, width, reply):
    return bytes([0]) + reply + bytes([offset, width])


def admin_seeds():
    good = bytes([2, 0, 0])  # ring of 64, no change of the configuration space, no lie
    lists = bytes([5]) + answer(u64(0x7F)) + answer(b"")
    reads = read(18, W1, answer(b"\x07")) + read(0, W4, answer(u32(0x380399A3))) + read(12, W2, answer(u16(256)))
    entries = struct.pack("<BB6xQ", 2, 2, 0x1000) + struct.pack("<BB6xQ", 1, 4, 0x8100) + bytes(32)
    notify = bytes([6]) + answer(entries) + u16(3)
    writes = bytes([7]) + answer(b"") + bytes([0, 18, W1]) + u32(0)
    save("admin_replies", "well-behaved", good, lists, reads, notify, writes)
    errors = [(22, 3), (22, 2), (11, 7), (12, 0), (99, 48), (22, 5)]
    refusals = b"".join(read(18, W1, answer(u16(s) + u16(q) + bytes(4), 1)) for s, q in errors)
    save("admin_replies", "refusals", good, lists, refusals, reads)
    save("admin_replies", "short", good, reads, read(0, W4, answer(b"\x01")), read(0, W4, answer(b"", 1)), reads)
    save("admin_replies", "held", good, read(18, W1, answer(b"\x01", 8)), reads, reads)
    save("admin_replies", "wrong-id", good, reads, read(18, W1, answer(b"\x01", 2, u32(1))), reads)
    save("admin_replies", "wrong-length", good, reads, read(18, W1, answer(b"\x01", 4, u32(0xFFFF0000))), reads)
    save("admin_replies", "used-index", good, reads, read(18, W1, answer(b"\x01", 6, u16(3))), reads)
    save("admin_replies", "reset-behind-the-driver", good, reads, [9, 20, 0], [11, 1], reads)
    save("admin_replies", "small-ring", [0, 0, 0], lists, reads, notify)
    save("admin_replies", "capability-loop", [2, 1, 4, 1, 0x60, 0], lists, reads)
    save("admin_replies", "no-admin-queue", [2, 0, 1, 62, 0], reads)
    save("admin_replies", "scribble", good, reads, [8], u16(0x1000), [8], u64(0xFFFFFFFFFFFFFFFF), reads)


def function(bars=(), vectors=3, vector_bar=4):
    parts = bytes([len(bars)]) + b"".join(bytes(bar) for bar in bars)
    return parts + u16(vectors) + bytes([vector_bar]) + bytes([0])


IO, MEM32, MEM64 = 0, 2, 3


def pci_write(slot, register, value):
    return bytes([0, slot, register]) + u32(value)


def command(slot, value):
    return bytes([3, slot]) + u16(value)


def pci_seeds():
    typical = [(0, IO, 6), (1, MEM32, 12), (2, MEM64, 14), (4, MEM32, 12)]
    four = function(typical) * 4
    assign = bytes([7, 0]) + u16(0xEFFF) + u32(0xC0000000) + u32(0x3EBFFFFF)
    sizing = b"".join(pci_write(1, bar, 0xFFFFFFFF) for bar in range(6))
    save("pci_config", "firmware", four, assign, sizing, assign)
    save("pci_config", "move-io", four, pci_write(1, 0, 0xC041), command(1, 1), pci_write(1, 0, 0xD041), command(1, 0))
    save("pci_config", "overlap", four, pci_write(1, 0, 0xC041), pci_write(2, 0, 0xC041), command(1, 3), command(2, 3),
         pci_write(3, 0, 0xCF1), command(3, 1), command(1, 0))
    save("pci_config", "high-64-bit", four, pci_write(1, 2, 0xFFFFFFFF), pci_write(1, 3, 0xFFFFFFFF), command(1, 2),
         pci_write(1, 3, 1), pci_write(1, 2, 0xFFFFC000))
    capability = bytes([1, 9, 14]) + bytes(14) + b"\xff" * 14
    save("pci_config", "capabilities", (function(typical)[:-1] + capability) * 4, [4, 1, 0x42, 2, W2], u32(0xFFFF))
    save("pci_config", "odd-bars", function([(5, MEM64, 12), (7, IO, 2), (0, IO, 1), (0, MEM32, 31)]) * 4, assign)
    save("pci_config", "reset-register", four, [5, 1, W1], u32(6), [5, 0, W4], u32(0x80000800), [5, 5, W2], u32(0x1234))


def sriov(opcode, member, data, cut, room, group=1):
    return bytes([0, opcode, 0, 0 if group == 1 else 1, member, len(data)]) + data + bytes([cut, room])


def soft_pf_seeds():
    use = sriov(0, 0, b"", 10, 16) + sriov(1, 0, u64(0x7F), 24, 8)
    legacy = (
        use + sriov(3, 1, b"\x12", 24, 9) + sriov(2, 1, b"\x0e" + bytes(7) + u16(1), 24, 8)
        + sriov(2, 1, b"\x08" + bytes(7) + u32(4), 3, 8) + sriov(2, 1, b"\x12" + bytes(7) + b"\x07", 24, 8)
        + sriov(5, 2, b"\x00", 24, 12) + sriov(6, 1, b"", 1, 72)
    )
    save("soft_pf", "legacy-commands", legacy)
    save("soft_pf", "errors", use, sriov(0x12, 3, b"", 24, 8), sriov(3, 0, b"\x12", 5, 9), sriov(3, 1, b"\x11", 24, 10),
         sriov(3, 1, b"", 24, 9), sriov(3, 1, b"\x12", 24, 0))
    save("soft_pf", "locked-list", sriov(0, 0, b"", 10, 16), sriov(1, 0, u64(0x7C), 24, 8), sriov(0, 0, b"", 10, 16))
    ring = bytes([4 | 1 << 5, 1, 2, 1]) + u32(0x10000) + u16(12) + bytes([1, 0]) + u32(0x10100) + u16(60) + bytes([0, 0])
    save("soft_pf", "modern-net", [6 | 1 << 5, 1], u64(1 << 32), ring, [12 | 1 << 5, 2], u16(20), [W1])
    disk = (
        bytes([4 | 2 << 5, 0, 3, 1]) + u32(0x10000) + u16(16) + bytes([1, 3]) + u32(0x11000) + u16(0x1FF)
        + bytes([2, 2]) + u32(0x12000) + u16(1) + bytes([0, 0])
    )
    save("soft_pf", "modern-disk", [6 | 2 << 5, 0], u64(1 << 32), disk)
    loop = bytes([4, 2, 2, 1]) + u32(0x10000) + u16(24) + bytes([1, 1]) + u32(0x10000) + u16(24) + bytes([0, 0])
    save("soft_pf", "descriptor-loop", use, loop, use)
    indirect = bytes([4 | 2 << 5, 0, 1, 4]) + u32(0x18000) + u16(32) + bytes([0, 0])
    save("soft_pf", "indirect", [6 | 2 << 5, 0], u64(1 << 32 | 1 << 28), indirect)
    save("soft_pf", "vf-enable", [8, 0], use, [8, 2], legacy, [16, 16 | 1 << 5])
    save("soft_pf", "quirks", [17, 0x20, 0], use, [7], [17, 0x10, 3], use, legacy)


def put(image, at, data):
    image[at : at + len(data)] = data


def bzimage(version, header_len, payload=1600, relocatable=1):
    image = bytearray(1024)
    put(image, 0x1F1, bytes([1]))
    put(image, 0x1F4, u32((payload + 15) // 16))
    put(image, 0x1FE, u16(0xAA55) + bytes([0xEB, header_len]) + b"HdrS" + u16(version))
    put(image, 0x211, bytes([1]))
    put(image, 0x214, u32(0x100000))
    fields = [(0x22C, u32(0x7FFFFFFF)), (0x230, u32(0x200000)), (0x234, bytes([relocatable])), (0x236, u16(1)),
              (0x238, u32(2047)), (0x258, u64(0x100000)), (0x260, u32(0x80000))]
    for at, data in fields:
        if at + len(data) <= 0x202 + header_len:
            put(image, at, data)
    return bytes(image) + b"\xf4" * payload


def note(name, kind, desc):
    pad = lambda part: part + bytes(-len(part) % 4)
    return struct.pack("<III", len(name), len(desc), kind) + pad(name) + pad(desc)


def elf(bits, entry, segments):
    wide = bits == 64
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    size, each = (64, 56) if wide else (52, 32)
    word = "Q" if wide else "I"
    head = ident + struct.pack("<HHI" + 3 * word + "IHHHHHH", 2, 62 if wide else 3, 1, entry, size, 0, 0, size, each,
                               len(segments), 0, 0, 0)
    offset, headers, data = size + each * len(segments), b"", b""
    for kind, address, content, memsize in segments:
        if wide:
            headers += struct.pack("<IIQQQQQQ", kind, 7, offset, address, address, len(content), memsize, 0x1000)
        else:
            headers += struct.pack("<IIIIIIII", kind, offset, address, address, len(content), memsize, 7, 0x1000)
        offset += len(content)
        data += content
    return head + headers + data


def kernel_seeds():
    def save_kernel(name, image, memory=2, options=1):
        save("kernel_image", name, [memory, options], u16(64), [16], image)

    save_kernel("bzimage-modern", bzimage(0x20F, 0x6A), options=5)
    save_kernel("bzimage-rhel5", bzimage(0x204, 0x2E))
    save_kernel("bzimage-fixed", bzimage(0x20A, 0x66, relocatable=0), options=9)
    save_kernel("bzimage-2.02", bzimage(0x202, 0x22))
    code = b"\xf4" * 64
    pvh = note(b"GNU\0", 3, bytes(20)) + note(b"Xen\0", 18, u32(0x100000))
    save_kernel("vmlinux-64", elf(64, 0x100000, [(1, 0x100000, code, 4096), (1, 0x200000, code, 64)]))
    save_kernel("vmlinux-64-pvh", elf(64, 0x100000, [(1, 0x100000, code, 4096), (4, 0, pvh, len(pvh))]), options=7)
    save_kernel("vmlinux-32", elf(32, 0x100000, [(1, 0x100000, code, 4096)]), memory=1)
    save_kernel("vmlinux-32-pvh", elf(32, 0x100000, [(1, 0x100000, code, 4096), (4, 0, pvh, len(pvh))]))
    save_kernel("bss-alone", elf(64, 0x100000, [(1, 0x100000, code, 64), (1, 0x180000, b"", 0x10000)]))
    # The initrd would fit if it lay on the kernel.
    for name, image in [("elf", elf(64, 0x100000, [(1, 0x100000, code, 4096)])), ("bzimage", bzimage(0x20A, 0x66, 1600, 0))]:
        save("kernel_image", f"no-room-for-initrd-{name}", [0, 1], u16(0xFFFF), [0], image)
    save_kernel("no-kernel", b"#!/bin/sh\n" + bytes(600))


def tables_seeds():
    for cpus in (1, 2, 64, 255):
        wires = b"".join(bytes([slot, pin, slot + pin]) for slot in range(32) for pin in range(4))
        save("tables", f"full-{cpus}", [cpus, 0], wires)
    save("tables", "three-slots", [2, 0], bytes([1, 0, 0, 2, 0, 1, 3, 0, 2]))
    save("tables", "no-processor", [0, 0])
    save("tables", "bad-wiring", [1, 1], bytes([40, 0, 5, 1, 9, 10, 1, 0, 3]))
    save("tables", "twice", [1, 1], bytes([1, 0, 5, 1, 0, 10]))


# api_request: kind (0 query, 1 TOML, 2 JSON), then the text.
def api_seeds():
    configs = [
        {"payload": {"kernel": "/boot/vmlinuz"}},
        {
            "payload": {"kernel": "k", "initramfs": "i", "cmdline": "console=ttyS0"},
            "cpus": {"boot_vcpus": 2, "max_vcpus": 2, "topology": None, "features": {}, "nested": True},
            "memory": {"size": 268435456, "shared": True, "hugepages": False, "zones": None},
            "serial": {"mode": "Null"},
            "console": {"mode": "Off"},
            "rng": {"src": "/dev/urandom"},
            "disks": None,
            "legacy_virtio": [
                {"id": "root", "soft": {"blk": {"file": "d", "readonly": True}}, "irq": "intx"},
                {"soft": {"net": {"backend": {"tap": "t"}, "mac": "52:54:00:12:34:56"}}, "deadline_ms": 250},
                {"soft": {"net": {"backend": {"fd": 0}}}, "notify": "exit", "shadow": False},
                {"soft": {"net": {"backend": "loopback"}}},
            ],
        },
    ]
    for number, config in enumerate(configs):
        save("api_request", f"config-{number}", [2], json.dumps(config).encode())
    save("api_request", "query", [0], b"id=net0&path=%2Fsys")
    save(
        "api_request",
        "toml",
        [1],
        b'[payload]\nkernel = "k"\n[cpus]\nboot_vcpus = 2\nmax_vcpus = 2\n[[legacy_virtio]]\nsoft.net.backend = "loopback"\n',
    )


# vfio_user: mode; then messages: command, descriptors, length, payload.
CODEC, CLIENT, SERVER = 0, 1, 2
NO_FD, MEMORY, EVENT, EVENTS = 0, 1, 2, 3


def message(command, payload=b"", descriptors=NO_FD):
    return bytes([command, descriptors]) + u16(len(payload)) + payload


def region_read(region, offset, count):
    return message(9, u64(offset) + u32(region) + u32(count))


def region_write(region, offset, data):
    return message(10, u64(offset) + u32(region) + u32(len(data)) + data)


def dma_map(address, offset, size, descriptors=MEMORY):
    return message(2, u32(32) + u32(3) + u64(offset) + u64(address) + u64(size), descriptors)


def dma_unmap(address, size, flags=0):
    return message(3, u32(24) + u32(flags) + u64(address) + u64(size))


def set_irqs(index, flags, start, count, descriptors=NO_FD, data=b""):
    return message(8, b"".join(map(u32, (20 + len(data), flags, index, start, count))) + data, descriptors)


def vfio_user_servers():
    ask = message(4, u32(16) + bytes(12))
    ask += b"".join(message(5, u32(32) + u32(0) + u32(n) + bytes(20)) for n in range(10))
    ask += b"".join(message(7, u32(16) + u32(0) + u32(n) + u32(0)) for n in range(6))
    on = region_write(7, 4, u16(6))
    save("vfio_user", "like-qemu", [SERVER], ask, region_read(7, 0, 256), region_read(7, 0, 4096), on, message(13))
    memory = dma_map(0x100000, 0, 0x10000) + dma_map(0x104000, 0x8000, 0x1000) + dma_map(0, 0, 0x1000, NO_FD)
    save("vfio_user", "memory", [SERVER], memory, dma_unmap(0x102000, 0x1000), dma_unmap(0, 0, 2), memory)
    assign, mask, unmask, trigger = 4 | 32, 1 | 8, 1 | 16, 1 | 32
    irqs = set_irqs(2, assign, 0, 3, EVENTS) + set_irqs(2, assign, 1, 1) + set_irqs(2, mask, 0, 1)
    irqs += set_irqs(2, unmask, 0, 1) + set_irqs(2, 2 | 32, 0, 3, NO_FD, b"\1\0\1") + set_irqs(2, trigger, 0, 0)
    save("vfio_user", "interrupts", [SERVER], irqs, set_irqs(2, assign, 2, 1, EVENT), set_irqs(0, assign, 0, 1, EVENT))
    # The admin queue of the software PF, up to its doorbell.
    values = [(20, b"\0"), (20, b"\1"), (20, b"\3"), (8, u32(1)), (12, u32(0x221)), (20, b"\x0b"), (22, u16(2))]
    values += [(32, u64(0x100000)), (40, u64(0x101000)), (48, u64(0x102000)), (28, u16(1)), (20, b"\x0f")]
    bring_up = b"".join(region_write(2, offset, value) for offset, value in values)
    save("vfio_user", "admin-queue", [SERVER], on, memory, bring_up, region_write(2, 0x3000, u16(2)))
    multi = u64(2) + u64(20) + u32(2) + u32(1) + u64(1) + u64(8) + u32(2) + u32(4) + u64(1)
    save("vfio_user", "multi", [SERVER], on, message(15, multi))
    save("vfio_user", "raw", [SERVER], message(255, bytes([1, 0, 9, 0]) + u32(0xFFFFFFFF)), message(255, b"\xa5" * 64))
    for command in (1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 15):
        save("vfio_user", f"codec-{command}", [CODEC, command], multi, bytes(32))


def vfio_user_clients():
    """What a server of a function with one BAR replies, in the order in which the client asks."""

    def info(index, size, flags=3, rest=b""):
        head = b"".join(map(u32, (32 + len(rest), flags, index, 32)))
        return message(0, head + u64(size) + u64(0) + rest, MEMORY)

    def answer(region, offset, data):
        return message(0, u64(offset) + u32(region) + u32(len(data)) + data)

    replies = [message(0, u16(0) + u16(1) + b'{"capabilities":{"max_msg_fds":8}}\0')]
    replies += [message(0, u32(16) + u32(3) + u32(9) + u32(5)), info(7, 4096)]
    sparse = struct.pack("<HHIIIQQ", 1, 1, 0, 1, 0, 0x1000, 0x1000)
    for bar in range(6):
        replies += [info(bar, 0x4000, 15, sparse) if bar == 2 else info(bar, 0), answer(7, 0x10 + 4 * bar, bytes(4))]
    replies += [message(0, u32(16) + u32(1) + u32(n) + u32(2 * n)) for n in range(3)]
    replies += [answer(7, 6, u16(0)), answer(7, 0, u32(0x10421AF4)), answer(2, 0, u16(5))]
    replies += [message(0), message(0), message(0), message(0x96), message(0)]
    save("vfio_user", "server", [CLIENT], b"".join(replies))
    save("vfio_user", "server-cut", [CLIENT], b"".join(replies)[:300])


# fw_cfg: values, files; then operations.
def fw_read(offset, width):
    return bytes([0, offset, width])


def fw_write(offset, width, value):
    return bytes([1, offset, width]) + u32(value)


def fw_poke(at, data):
    return bytes([2]) + u16(at) + bytes([len(data)]) + data


def fw_dma(at, control, length, address):
    descriptor = struct.pack(">IIQ", control & 0xFFFFFFFF, length, address)
    return fw_poke(at, descriptor) + fw_write(8, W4, int.from_bytes(struct.pack(">I", at), "little"))


def fw_cfg_seeds():
    items = bytes([1]) + u16(5) + u16(2) + bytes([3]) + u16(600) + u16(20) + u16(0)
    signature = fw_write(0, W2, 0) + 5 * fw_read(1, W1) + fw_write(0, W2, 0x19) + 80 * fw_read(1, W1)
    save("fw_cfg", "byte-by-byte", items, signature, fw_write(0, W2, 0x20), 100 * fw_read(1, W1))
    select_read, read, skip, write = 0x20000A, 2, 4, 16
    save("fw_cfg", "seabios", items, signature, fw_dma(0x7000, 0x19000A, 4, 0x7100), fw_dma(0x7000, read, 64, 0x7104),
         fw_dma(0x7000, select_read, 600, 0x8000), fw_dma(0x7000, 0x99000A, 8, 0x9000))
    save("fw_cfg", "out-of-memory", items, fw_dma(0x7000, select_read, 0xFFFFFFFF, 0), fw_dma(0x7000, read, 2, 0xFFFF),
         fw_dma(0x7000, read, 16, 0xFFFFFFFFFFFFFFF8), fw_write(8, W4, 0xF8FF0000), fw_write(4, W4, 0xFFFFFFFF), fw_write(8, W4, 0))
    save("fw_cfg", "over-itself", items, fw_dma(0x7000, select_read, 64, 0x6FF8), fw_dma(0x7000, skip, 0xFFFFFFFF, 0),
         fw_dma(0x7000, skip, 0xFFFFFFFF, 0), fw_dma(0x7000, read, 16, 0), fw_dma(0x7000, write, 4, 0x7000))


# chipset: operations.
KEYBOARD, CLOCK, SERIAL, POWER, CONTROL, VGA = range(6)


def chip_read(chip, offset, width=W1):
    return bytes([0, chip, offset, width])


def chip_write(chip, offset, value, width=W1):
    return bytes([1, chip, offset, width]) + u32(value)


def typed(text):
    return b"".join(bytes([3, byte]) for byte in text)


SAVE = bytes([7])


def passes(nanoseconds):
    return bytes([6]) + u32(nanoseconds)


def clock(register, value):
    return chip_write(CLOCK, 0, register) + chip_write(CLOCK, 1, value)


def chipset_seeds():
    atkbd = b"".join(chip_write(KEYBOARD, 0, byte) + 3 * chip_read(KEYBOARD, 0) for byte in [0xF2, 0xF5, 0xED, 0, 0xF3, 0, 0xF4])
    save("chipset", "atkbd", chip_write(KEYBOARD, 4, 0xAA), chip_read(KEYBOARD, 0), chip_write(KEYBOARD, 4, 0x60),
         chip_write(KEYBOARD, 0, 0x47), atkbd, typed(b"ls\r\x1b[A\x1bOP\x01"), SAVE, 12 * chip_read(KEYBOARD, 0))
    sets = b"".join(chip_write(KEYBOARD, 0, 0xF0) + chip_write(KEYBOARD, 0, kind) + typed(b"aA") + 9 * chip_read(KEYBOARD, 0) for kind in range(4))
    save("chipset", "scan-code-sets", chip_write(KEYBOARD, 4, 0x60), chip_write(KEYBOARD, 0, 4), sets)
    save("chipset", "a20-and-reset", chip_write(KEYBOARD, 4, 0xD1), chip_write(KEYBOARD, 0, 0xDF), chip_write(KEYBOARD, 4, 0xFE))
    save("chipset", "hwclock", clock(0x0B, 0x12), passes(1_000_000_000), chip_write(CLOCK, 0, 0x0C), chip_read(CLOCK, 1),
         clock(0x0B, 0x82), clock(0, 0x30), clock(0x0B, 0x42), passes(1_000_000), SAVE, chip_write(CLOCK, 0, 0x0C), chip_read(CLOCK, 1))
    save("chipset", "alarm", clock(1, 0xFF), clock(3, 0xC0), clock(5, 0x81), clock(0x0B, 0x20), passes(0xFFFFFFFF), SAVE)
    save("chipset", "serial8250", chip_write(SERIAL, 2, 1), chip_write(SERIAL, 1, 7), bytes([4, 5]) + b"input", bytes([5]),
         7 * (chip_read(SERIAL, 2) + chip_read(SERIAL, 5) + chip_read(SERIAL, 0)), chip_write(SERIAL, 2, 7), SAVE, chip_write(SERIAL, 4, 0x10))
    save("chipset", "acpi", chip_write(POWER, 2, 0x100, W2), passes(5), chip_read(POWER, 0, W4), chip_write(POWER, 0, 0x100, W2),
         chip_write(POWER, 4, 0x3400, W2), chip_read(POWER, 8, W4))
    crtc = b"".join(chip_write(VGA, 0x24, index) + chip_write(VGA, 0x25, value) for index, value in [(1, 39), (0x13, 20), (0x0E, 0), (0x0F, 7)])
    save("chipset", "vga-text", crtc, bytes([8]) + u16(0xC000) + bytes([12]) + b"H\x07e\x07l\x07l\x07o\x07!\x4f", chip_write(VGA, 0x1E, 0x0106, W2),
         chip_read(VGA, 0x2A), chip_write(VGA, 0x10, 0x10), chip_write(VGA, 0x10, 0x01))
    save("chipset", "port-92", chip_read(CONTROL, 0), chip_write(CONTROL, 0, 2), chip_write(CONTROL, 0, 3))


if __name__ == "__main__":
    guest_seeds()
    admin_seeds()
    pci_seeds()
    soft_pf_seeds()
    kernel_seeds()
    tables_seeds()
    api_seeds()
    vfio_user_servers()
    vfio_user_clients()
    fw_cfg_seeds()
    chipset_seeds()

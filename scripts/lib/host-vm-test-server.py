#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A vfio-user server for the self-test of scripts/host-vm: host-vm-test-server.py FOLDER VFS

Serves a PF with an SR-IOV capability and its VFs, one socket each: FOLDER/pf.sock, FOLDER/vf0.sock, ...
The functions do nothing, but each has a BAR 2 whose first four bytes are its number: 0 is the PF, 1 the first VF.
"""
import array
import json
import pathlib
import socket
import struct
import sys
import threading

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO = 1, 2, 3, 4, 5
IRQ_INFO, SET_IRQS, REGION_READ, REGION_WRITE, RESET = 7, 8, 9, 10, 13
REPLY, NO_REPLY, FAILED = 1, 0x10, 0x20
ENOTSUP = 95
HEADER = struct.Struct("<HHIII")
BAR2, CONFIG, REGIONS, IRQS = 2, 7, 9, 5
BAR_SIZE, CONFIG_SIZE = 0x4000, 0x1000
PCI_EXPRESS, SRIOV = 0x40, 0x100


class Function:
    """One PCI function: its bytes, and which of them can be written."""

    def __init__(self, name, number, vfs):
        self.name = name
        self.config = bytearray(CONFIG_SIZE)
        self.writable = bytearray(CONFIG_SIZE)
        self.bar = bytearray(BAR_SIZE)
        self.mapped = False
        self.put(0, "<HHHHI", 0x1234, 0x5000, 0, 0x10, 0xFF000000)
        self.put(0x2C, "<HH", 0x1234, 0x5000)
        self.put(0x34, "<B", PCI_EXPRESS)
        self.allow(4, "<H", 0x0407)
        self.memory_bar(0x10 + 4 * BAR2)
        # An endpoint, version 2, with function level reset.
        self.put(PCI_EXPRESS, "<BBHI", 0x10, 0, 0x0002, 1 << 28)
        if number == 0:
            # Version 1, offset 1, stride 1.
            self.put(SRIOV, "<II", 0x10010, 0)
            self.put(SRIOV + 0x0C, "<HHHHHHHHII", vfs, vfs, 0, 0, 1, 1, 0, 0x5000, 1, 1)
            self.allow(SRIOV + 0x08, "<H", 0x09)
            self.allow(SRIOV + 0x10, "<H", 0xFFFF)
            self.allow(SRIOV + 0x20, "<I", 0xFFFFFFFF)
            self.memory_bar(SRIOV + 0x24 + 4 * BAR2)
        struct.pack_into("<I", self.bar, 0, number)
        self.initial = bytes(self.config)

    def put(self, at, form, *values):
        struct.pack_into(form, self.config, at, *values)

    def allow(self, at, form, mask):
        struct.pack_into(form, self.writable, at, mask)

    def memory_bar(self, at):
        """64 bits, prefetchable; the size is in which bits can be written."""
        self.put(at, "<II", 0xC, 0)
        self.allow(at, "<Q", 2**64 - BAR_SIZE)

    def write(self, region, at, data):
        if region == CONFIG:
            for i, byte in enumerate(data, at):
                mask = self.writable[i]
                self.config[i] = (self.config[i] & ~mask) | (byte & mask)
            # Initiate Function Level Reset
            if at <= PCI_EXPRESS + 9 < at + len(data) and data[PCI_EXPRESS + 9 - at] & 0x80:
                self.reset()
        elif region == BAR2 and at >= 4:
            self.bar[at:at + len(data)] = data

    def read(self, region, at, count):
        space = {CONFIG: self.config, BAR2: self.bar}.get(region, b"")
        return bytes(space[at:at + count]).ljust(count, b"\xff")

    def reset(self):
        self.config[:] = self.initial

    def answer(self, command, body):
        """The reply's payload, or None for a command that there is not."""
        if command == VERSION:
            limits = {"capabilities": {"max_msg_fds": 8, "max_data_xfer_size": 1 << 20}}
            return struct.pack("<HH", 0, 0) + json.dumps(limits).encode() + b"\0"
        if command == GET_INFO:
            return struct.pack("<IIII", 16, 3, REGIONS, IRQS)
        if command == REGION_INFO:
            index = struct.unpack_from("<I", body, 8)[0]
            size = {CONFIG: CONFIG_SIZE, BAR2: BAR_SIZE}.get(index, 0)
            return struct.pack("<IIIIQQ", 32, 3 if size else 0, index, 0, size, 0)
        if command == IRQ_INFO:
            return struct.pack("<IIII", 16, 0, struct.unpack_from("<I", body, 8)[0], 0)
        if command == REGION_READ:
            at, region, count = struct.unpack_from("<QII", body)
            return body[:16] + self.read(region, at, count)
        if command == REGION_WRITE:
            at, region, count = struct.unpack_from("<QII", body)
            self.write(region, at, body[16:16 + count])
            return body[:16]
        if command == DMA_MAP:
            if not self.mapped:
                print(f"{self.name}: was given memory", flush=True)
            self.mapped = True
            return b""
        if command == DMA_UNMAP:
            return body
        if command == RESET:
            self.reset()
            return b""
        return b"" if command == SET_IRQS else None


def receive(client, count, flags=0):
    """Exactly so many bytes, or none at the end; file descriptors that come along are closed."""
    data = b""
    while len(data) < count:
        part, ancillary, _, _ = client.recvmsg(count - len(data), socket.CMSG_SPACE(64), flags)
        for _, _, raw in ancillary:
            for number in array.array("i", raw[:len(raw) // 4 * 4]):
                socket.close(number)
        if not part:
            return b""
        data += part
    return data


def serve(path, function):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    client, _ = listener.accept()
    while header := receive(client, HEADER.size):
        number, command, size, flags, _ = HEADER.unpack(header)
        body = receive(client, size - HEADER.size)
        payload = function.answer(command, body)
        if flags & NO_REPLY:
            continue
        error = 0 if payload is not None else ENOTSUP
        flags = REPLY | (FAILED if error else 0)
        payload = payload or b""
        client.sendall(HEADER.pack(number, command, HEADER.size + len(payload), flags, error) + payload)


def main(folder, vfs):
    names = ["pf"] + [f"vf{i}" for i in range(vfs)]
    threads = [threading.Thread(target=serve, args=(folder / f"{name}.sock", Function(name, i, vfs)))
               for i, name in enumerate(names)]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))

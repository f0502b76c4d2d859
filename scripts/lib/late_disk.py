# SPDX-License-Identifier: Apache-2.0
"""A file whose reads and writes take a while: a FUSE file system of one file, by the kernel's protocol (include/uapi/
linux/fuse.h) and nothing else. Needs root and /dev/fuse. The mount is in a mount namespace of the calling process."""

import ctypes
import errno
import os
import stat
import struct
import threading
import time

LOOKUP, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 3, 4, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, INTERRUPT, FORGET, DESTROY, BATCH_FORGET = 20, 25, 26, 36, 2, 38, 42
CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 0x4000, 0x40000, 2
MAX_WRITE = 128 << 10

libc = ctypes.CDLL(None, use_errno=True)


def checked(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


class LateDisk:
    """The file is at `path`, has `size` bytes, and each read and write takes `delay` seconds."""

    def __init__(self, path, size, delay):
        self.path, self.delay = path, delay
        self.data = bytearray(size)
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        path.touch()
        checked(libc.unshare(CLONE_NEWNS), "unshare")
        checked(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount of /")
        # The root of the file system is the file itself.
        options = f"fd={self.device},rootmode={stat.S_IFREG:o},user_id={os.getuid()},group_id={os.getgid()},allow_other"
        checked(libc.mount(b"late", os.fsencode(path), b"fuse.late", 6, options.encode()), "mount of a FUSE file")
        threading.Thread(target=self.serve, daemon=True).start()

    def end(self):
        libc.umount2(os.fsencode(self.path), MNT_DETACH)

    def attributes(self):
        now = int(time.time())
        return struct.pack("<QQQQQQIIIIIIIIII", 1, len(self.data), (len(self.data) + 511) // 512, now, now, now, 0, 0, 0,
                           stat.S_IFREG | 0o600, 1, os.getuid(), os.getgid(), 0, 4096, 0)

    def serve(self):
        while True:
            try:
                request = os.read(self.device, MAX_WRITE + 8192)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return
            _, opcode, unique = struct.unpack_from("<IIQ", request)
            if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            number, reply = self.answer(opcode, request[40:])
            try:
                os.write(self.device, struct.pack("<IiQ", 16 + len(reply), -number, unique) + reply)
            except OSError:
                pass

    def answer(self, opcode, body):
        if opcode == INIT:
            return 0, struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 12, 9, MAX_WRITE, 1, 32, 0, 0)
        if opcode in (GETATTR, SETATTR):
            return 0, struct.pack("<QII", 1, 0, 0) + self.attributes()
        if opcode == OPEN:
            # Direct I/O: what the page cache has would be as fast as ever.
            return 0, struct.pack("<QII", 1, 1, 0)
        if opcode == READ:
            time.sleep(self.delay)
            _, offset, size = struct.unpack_from("<QQI", body)
            return 0, bytes(self.data[offset:offset + size])
        if opcode == WRITE:
            time.sleep(self.delay)
            _, offset, size = struct.unpack_from("<QQI", body)
            size = max(0, min(size, len(self.data) - offset))
            self.data[offset:offset + size] = body[40:40 + size]
            return (0, struct.pack("<II", size, 0)) if size else (errno.ENOSPC, b"")
        if opcode == STATFS:
            return 0, struct.pack("<QQQQQIIII24x", 1, 0, 0, 1, 0, 512, 255, 512, 0)
        if opcode in (RELEASE, FSYNC, FLUSH, DESTROY):
            return 0, b""
        return errno.ENOSYS, b""

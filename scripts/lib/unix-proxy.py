#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Passes a TCP port of 127.0.0.1 on to a unix socket, for tools that know no unix sockets. Prints the port."""

import asyncio
import sys


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


async def main(path):
    async def client(reader, writer):
        try:
            there, here = await asyncio.open_unix_connection(path)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, here), copy(there, writer))

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main(sys.argv[1]))

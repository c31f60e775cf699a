"""A network that can be cut: between workers and a server, whatever that speaks."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

Target = Path | tuple[str, int]


class Proxy:
    """Forwards a TCP port of this machine to ``target``. Its methods are called from one thread,
    its traffic runs in another."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.port = 0
        self.cuts = 0
        """Connections that were cut by ``cut_after`` or ``cut_before``."""
        self._armed: tuple[bytes, bool] | None = None
        self._left = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> "Proxy":
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.port = server.sockets[0].getsockname()[1]
        return self

    def cut_all(self) -> int:
        """Break every connection at this moment; returns how many."""
        return self._call(self._cut_all)

    def cut_after(self, pattern: bytes, times: int) -> None:
        """Forward the next requests that contain the pattern, and break the connection before any
        answer: the client never learns what became of it."""
        self._armed, self._left = (pattern, True), times

    def cut_before(self, pattern: bytes, times: int) -> None:
        """Break the connection on such a request without forwarding it."""
        self._armed, self._left = (pattern, False), times

    def behave(self) -> None:
        self._armed, self._left = None, 0

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self._call(self._cut_all)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _call(self, function: Callable[[], int]) -> int:
        async def call() -> int:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def _cut_all(self) -> int:
        writers, self._writers = self._writers, set()
        for writer in writers:
            writer.transport.abort()
        return len(writers) // 2

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self.target, Path):
                there = await asyncio.open_unix_connection(str(self.target))
            else:
                there = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, there[1]}
        self._writers |= ends
        await asyncio.gather(
            self._pump(reader, there[1], ends, watched=True),
            self._pump(there[0], writer, ends, watched=False),
        )
        self._writers -= ends

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        ends: set[asyncio.StreamWriter],
        *,
        watched: bool,
    ) -> None:
        try:
            while data := await source.read(65536):
                if watched and self._left and self._armed and self._armed[0] in data:
                    self._left -= 1
                    self.cuts += 1
                    if self._armed[1]:
                        sink.write(data)
                        await sink.drain()
                        next(end for end in ends if end is not sink).transport.abort()
                        await asyncio.sleep(0.05)  # the server is at it, and finds nobody to tell
                    break
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            for end in ends:
                end.transport.abort()

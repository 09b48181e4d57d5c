"""What Terraform prints: heard without being in the way.

- A terminal or a device stays what it is: Terraform has it, and what goes there is not heard. (A pseudo-terminal in
  between would hang up on Terraform if we died.)
- A file stays what it is, too: it is read beside Terraform, from where that begins to write.
- A pipe or a socket gets a pipe in front, and what comes out of it is copied at once. Who reads no more is noticed at
  once, so that Terraform learns of it with its next write, as it would have.
Both standard streams in one place stay one, so that their order is Terraform's.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Hear = Callable[[int, bytes], None]
    """(stream, what Terraform has written to it)"""

_CHUNK = 1 << 16
_A_TURN = 1 << 20  # bytes of a file that are heard between two looks at everything else
_THE_REST = 64 << 20  # and when Terraform has ended
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL
_PIPE_BUF = 4096  # a pipe that poll(2) calls writable takes that much without blocking: pipe(7)


class Copied:
    """A pipe in front of a standard stream. source: what Terraform's words come out of; inlet: what it writes to."""

    __slots__ = ("inlet", "pending", "source", "target")

    def __init__(self, target: int) -> None:
        self.source, self.inlet = os.pipe()
        self.target = target
        self.pending = b""

    def is_open(self) -> bool:
        """Whether more may come."""
        return self.source >= 0

    def take(self) -> bytes:
        """What has come; nothing at the end, and when there is nothing at the moment."""
        try:
            self.pending = os.read(self.source, _CHUNK)
        except BlockingIOError:
            return b""
        if not self.pending:
            self.close()
        return self.pending

    def close(self) -> None:
        """Hear no more: Terraform's next write tells it so."""
        if self.source >= 0:
            os.close(self.source)
            self.source = -1
        self.pending = b""

    def put(self) -> None:
        """Write what the target takes without blocking, by whole lines if it does not take all: others may write there,
        too. OSError when nobody reads it any more."""
        while self.pending and _takes(self.target):
            piece = self.pending[:_PIPE_BUF]
            if len(self.pending) > _PIPE_BUF:
                piece = piece[: piece.rfind(b"\n") + 1] or piece
            try:
                written = os.write(self.target, piece)
            except BlockingIOError:
                return
            self.pending = self.pending[written:]


class Followed:
    """A file that Terraform writes itself, read from where it begins."""

    __slots__ = ("_fd", "_offset")

    def __init__(self, fd: int) -> None:
        self._fd = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK)
        appends = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
        self._offset = os.fstat(fd).st_size if appends else os.lseek(fd, 0, os.SEEK_CUR)

    def hear(self, hear: Hear, limit: int = _A_TURN) -> bool:
        """Hear what is new, but not more than so many bytes; returns whether there is more."""
        try:
            size = os.fstat(self._fd).st_size
            end = min(size, self._offset + limit)
            while self._offset < end and (block := os.pread(self._fd, min(_CHUNK, end - self._offset), self._offset)):
                self._offset += len(block)
                hear(-self._fd, block)
        except OSError:
            return False
        return self._offset == end < size


class Streams:
    """Standard output and standard error of a command."""

    def __init__(self) -> None:
        self.copied: list[Copied] = []
        self.followed: list[Followed] = []
        self._inlets: dict[int, int] = {}
        places: dict[tuple[int, int], Copied | Followed | None] = {}
        for fd in (1, 2):
            status = os.fstat(fd)
            place = (status.st_dev, status.st_ino)
            if place not in places:
                places[place] = self._listen_to(fd, status.st_mode)
            stream = places[place]
            if isinstance(stream, Copied):
                self._inlets[fd] = stream.inlet
        if self.copied:
            self._find_more_ways(places)

    def _find_more_ways(self, places: Mapping[tuple[int, int], Copied | Followed | None]) -> None:
        """Other descriptors that lead to a copied stream (`9>&1`): Terraform's order of writing is kept for all."""
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                status = os.fstat(fd)
                writes = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
            except OSError:
                continue  # that of the listing
            stream = places.get((status.st_dev, status.st_ino))
            if fd > 2 and writes and isinstance(stream, Copied):
                self._inlets[fd] = stream.inlet

    def _listen_to(self, fd: int, mode: int) -> Copied | Followed | None:
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            self.copied.append(Copied(fd))
            return self.copied[-1]
        if stat.S_ISREG(mode):
            try:
                self.followed.append(Followed(fd))
            except OSError:
                return None  # it may be written by us, and read by others only
            return self.followed[-1]
        return None

    @property
    def are_heard(self) -> bool:
        """Whether anything that Terraform prints is heard."""
        return bool(self.copied or self.followed)

    def described(self) -> dict[str, object]:
        """Where the command prints to, as a record says it."""
        files = [[s.st_dev, s.st_ino] for s in map(os.fstat, (1, 2)) if stat.S_ISREG(s.st_mode)]
        return {"listens": self.are_heard, "files": files, "on_terminal": os.isatty(1) or os.isatty(2)}

    def give(self) -> None:
        """In Terraform's process: let it write into our pipes."""
        for fd, inlet in self._inlets.items():
            os.dup2(inlet, fd, inheritable=True)

    def let_go(self) -> None:
        """In every other process: only Terraform, and what it starts, writes there."""
        for stream in self.copied:
            os.close(stream.inlet)

    def register(self, poll: select.poll) -> None:
        """Watch for what has come, for room where something waits, and for readers that go away."""
        for stream in self.copied:
            if stream.is_open():
                poll.register(stream.target, select.POLLOUT if stream.pending else 0)
                if not stream.pending:
                    poll.register(stream.source, select.POLLIN)

    def pump(self, ready: dict[int, int], hear: Hear) -> list[int]:
        """Copy what has come; ready is what `register` had asked for. Returns the streams that nobody reads now."""
        deaf = []
        for stream in self.copied:
            if not stream.is_open():
                continue
            try:
                if ready.get(stream.target, 0) & _GONE:
                    raise BrokenPipeError
                if stream.pending:
                    stream.put()
                elif stream.source in ready and stream.take():
                    hear(stream.target, stream.pending)
                    stream.put()
            except OSError:
                deaf.append(stream.target)
                stream.close()
        return deaf

    def close(self, target: int) -> None:
        """Hear no more of a stream."""
        for stream in self.copied:
            if stream.target == target:
                stream.close()

    def drain(self, hear: Hear) -> None:
        """Copy what Terraform had written before it ended; it waits for the reader if it must."""
        for stream in self.copied:
            if stream.is_open():
                os.set_blocking(stream.source, False)
                try:
                    self._drain(stream, hear)
                except OSError:
                    stream.close()
        for followed in self.followed:
            followed.hear(hear, _THE_REST)

    def _drain(self, stream: Copied, hear: Hear) -> None:
        while True:
            while stream.pending:
                _wait_for_room(stream.target)
                stream.put()
            if not stream.is_open() or not stream.take():
                return
            hear(stream.target, stream.pending)

    def are_open(self) -> bool:
        """Whether somebody may still write into one of our pipes."""
        return any(stream.is_open() for stream in self.copied)


def _takes(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    ready = poll.poll(0)
    if ready and ready[0][1] & _GONE:
        raise BrokenPipeError
    return bool(ready)


def _wait_for_room(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()

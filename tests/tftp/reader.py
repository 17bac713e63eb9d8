"""The other end, by the RFCs: a client's side of a read, without IO: for fake links and for real sockets."""

from dataclasses import dataclass, field


@dataclass
class Reader:
    """Takes DATA, says what to acknowledge (RFC 1350, RFC 7440 section 4).

    `eager` acknowledges every block that isn't the expected one, as the RFC's letter and U-Boot have it;
    otherwise only the first after each advance.
    """

    blksize: int = 512
    windowsize: int = 1
    eager: bool = True
    expected: int = 1
    content: list[bytes] = field(default_factory=list)
    done: bool = False
    _in_window: int = 0
    _complained: bool = False

    @property
    def acked(self) -> int:
        """The wire number of the last block received in order."""
        return (self.expected - 1) & 0xFFFF

    def receive(self, wire_block: int, payload: bytes) -> int | None:
        """The block number to acknowledge now, if any."""
        if self.done or wire_block != self.expected & 0xFFFF:
            self._in_window = 0
            if self._complained and not self.eager:
                return None
            self._complained = True
            return self.acked
        self.content.append(payload)
        self.expected += 1
        self._complained = False
        self._in_window += 1
        self.done = len(payload) < self.blksize
        if self.done or self._in_window == self.windowsize:
            self._in_window = 0
            return self.acked
        return None

"""A program that runs in the lab: what it says, whether it still runs, how it is ended."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


class LabError(Exception):
    """Something in the lab didn't go as it must; the message has the command's output."""


class Process:
    """A program running inside, its output in a file. Ends with its namespace, or by `stop`."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.popen = popen
        self.log = log

    @property
    def pid(self) -> int:
        """Its process id, the same inside and outside."""
        return self.popen.pid

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self.popen.poll() is None

    def output(self) -> str:
        """What it has written so far, standard error included."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
        """Wait for `condition`; LabError with the program's last lines if it ends or time is over first."""
        deadline = time.monotonic() + timeout
        while not condition():
            if not self.running:
                raise LabError(
                    f"{self.name} ended with {self.popen.returncode}, no {what}\n{self.last_words()}"
                )
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: no {what} in {timeout:.0f} s\n{self.last_words()}")
            time.sleep(0.02)

    def wait_for(self, text: str, timeout: float = 20.0) -> None:
        """Wait until its output has `text`."""
        self.wait_until(lambda: text in self.output(), f"{text!r} in its output", timeout)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def stop(self, timeout: float = 10.0) -> int:
        """SIGTERM, SIGKILL if that isn't enough; returns its exit status (negative: the signal)."""
        if self.running:
            self.popen.terminate()
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        return self.popen.wait()

    def last_words(self, lines: int = 40) -> str:
        """The end of its output."""
        return "\n".join(self.output().splitlines()[-lines:])

"""Was a signal for one process only, or for its whole process group?

A process that starts another passes signals on to it. What a shell or a terminal sends to the group
reaches the other without that, and would reach it twice. A signal itself does not tell. So a second process
in the group does nothing but report the signals that it gets: those were for the group.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

__all__ = ["GroupSignals"]

#: Signals that are asked about.
_ASKED = (signal.SIGTERM, signal.SIGHUP)
#: How long it may take until a signal for the group has reached every process of it, in seconds.
_PATIENCE = 0.2
#: How long the second process may take to start, in seconds, and what it reports then.
_START, _READY = 5, 0
_PIECE = 0.02
#: What the second process runs. It ends soon after the one that started it, however that ends.
_WITNESS = f"""
import os, signal
starter = os.getppid()
os.write(1, bytes([{_READY}]))
while os.getppid() == starter:
    came = signal.sigtimedwait({[int(number) for number in _ASKED]}, 1)
    if came is not None:
        os.write(1, bytes([came.si_signo]))
"""


class GroupSignals:
    """Tells of SIGTERM and SIGHUP whether they were for the group of this process; a context manager.

    Where no other process can be started, no signal was for the group.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._witness: subprocess.Popen[bytes] | None = None
        #: Where it reports, until it ends.
        self._reports: int | None = None
        # Blocked from its first moment, so that no signal is missed and none ends it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_ASKED, signal.SIGINT, signal.SIGQUIT))
        try:
            self._witness = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _WITNESS],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            if self._witness.stdout is not None:
                self._reports = self._witness.stdout.fileno()
                os.set_blocking(self._reports, False)
        except OSError:
            pass
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def was_for_group(self, number: int) -> bool:
        """True if the signal that just came was for the whole group; takes a moment if it was not."""
        if not self._waited(_READY, _START) or not self._waited(number, _PATIENCE):
            return False
        # Signals of one number that come at once are one.
        self._read(0)
        self._seen.discard(number)
        return True

    def _waited(self, number: int, patience: float) -> bool:
        """True if this number is reported within ``patience`` seconds, or was."""
        until = time.monotonic() + patience
        while number not in self._seen:
            left = until - time.monotonic()
            if left <= 0 or self._reports is None:
                return False
            # In short pieces, because the handler of another signal may read the report meanwhile.
            self._read(min(left, _PIECE))
        return True

    def _read(self, patience: float) -> None:
        """Learns what was reported, and waits for that this long at most."""
        reports = self._reports
        if reports is None:
            return
        poll = select.poll()
        poll.register(reports, select.POLLIN)
        # The handler of another signal may come in between and read it.
        with contextlib.suppress(BlockingIOError):
            if poll.poll(patience * 1000):
                numbers = os.read(reports, 100)
                self._seen.update(numbers)
                if not numbers:
                    self._reports = None

    def close(self) -> None:
        """Ends the other process. A second time does nothing."""
        if self._witness is not None:
            self._reports = None
            self._witness.kill()
            # This also closes the pipe.
            self._witness.communicate()
            self._witness = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

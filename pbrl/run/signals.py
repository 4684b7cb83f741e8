"""How a cell's process is asked to stop, and how it shows that it is alive."""

import faulthandler
import math
import time


class Interrupted(BaseException):
    """A signal asked the run to stop; its state is checkpointed."""


class Stop:
    """Set by the worker's signal handler; the loop looks at it between iterations."""

    signal: int | None = None


class Heartbeat:
    """Ends the process, with a traceback in the log, when nothing beats for `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.last = -math.inf

    def beat(self) -> None:
        now = time.monotonic()
        if now - self.last > 1.0:
            self.last = now
            faulthandler.dump_traceback_later(self.timeout, exit=True)

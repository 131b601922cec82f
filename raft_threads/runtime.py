"""Where a node gets its threads, its clock and its dice (§5.2, §5.6).

`Node` imports none of `threading`, `time` and `random`; it takes them from the Runtime it is given. The default is the
stdlib's modules themselves. A simulator hands in its own, and then a breakpoint stops the cluster's time.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Runtime:
    """The three things that make a run differ from another.

    `threading` offers Lock, Condition and Thread; `time` offers monotonic (seconds); `random` offers random() (0 to 1),
    as the module does and each `random.Random` too. Typed Any, because modules are what is usually handed in.
    """

    threading: Any = threading
    time: Any = time
    random: Any = random

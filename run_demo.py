#!/usr/bin/env python3
"""See Raft happen on real servers: `python3 run_demo.py`, or `python3 run_demo.py --list`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from raft_threads.demo.cli import main  # noqa: E402  (the line above makes it importable from any folder)

if __name__ == "__main__":
    sys.exit(main())

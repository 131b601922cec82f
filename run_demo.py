#!/usr/bin/env python3
"""See Raft happen on real servers: `python3 run_demo.py`, or `python3 run_demo.py --list`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

if __name__ == "__main__":
    try:
        from raft_threads.demo.cli import main

        exit_code = main()
    except KeyboardInterrupt:  # so early that there is nothing to clean up
        exit_code = 130
    sys.exit(exit_code)

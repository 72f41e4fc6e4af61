"""``python -m scratchgrad``: the command line."""

import sys

from scratchgrad.cli import main

if __name__ == "__main__":
    sys.exit(main())

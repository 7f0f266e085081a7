"""``python -m timewell``: the command line."""

import sys

from timewell.cli import main

if __name__ == "__main__":
    sys.exit(main())

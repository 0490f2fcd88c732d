"""``python -m odograph``."""

import sys

from odograph.cli import main

if __name__ == "__main__":
    sys.exit(main())

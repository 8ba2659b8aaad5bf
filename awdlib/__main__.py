"""``python -m awdlib``."""

import sys

from awdlib.cli import main

if __name__ == "__main__":  # processes that a command starts read this file too
    sys.exit(main())

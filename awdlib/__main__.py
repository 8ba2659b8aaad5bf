"""``python -m awdlib``."""

import sys

from awdlib.cli import main

sys.exit(main())

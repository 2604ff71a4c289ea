"""``python -m streamce``: the command line."""

import sys

from streamce.cli import main

sys.exit(main())

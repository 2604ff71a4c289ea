"""``python -m streamce``: the command line."""

import sys

from streamce.cli.main import main

sys.exit(main())

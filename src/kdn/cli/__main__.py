"""`python -m kdn.cli`."""

import sys

from kdn.cli import main

if __name__ == "__main__":
    sys.exit(main())

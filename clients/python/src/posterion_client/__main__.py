"""``python -m posterion_client``: the same as ``posterion-client``."""

import sys

from posterion_client._cli.main import main

if __name__ == "__main__":
    sys.exit(main())

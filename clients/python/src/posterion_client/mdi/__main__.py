"""`python -m posterion_client.mdi`: the command, where no console script is installed."""

import sys
from argparse import ArgumentParser

from posterion_client.mdi._command_line import add_arguments, run

if __name__ == "__main__":
    parser = ArgumentParser(prog="posterion-client mdi-engine", description=run.__doc__)
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))

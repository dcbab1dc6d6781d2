"""`python -m remit_demo`: the demonstration without the command line of Remit."""

import argparse
import sys
from pathlib import Path

from remit_demo.app import main

parser = argparse.ArgumentParser(prog="remit_demo", description="A support desk under attack.")
parser.add_argument("--model", metavar="PROVIDER:NAME", help="use a real chat model, not the script")
parser.add_argument("--database", metavar="PATH", type=Path, help="keep the database in this new file")
options = parser.parse_args()
sys.exit(main(model=options.model, database=options.database))

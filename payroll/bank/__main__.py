"""Run the bank: ``python -m payroll.bank --port 8090 --book book.jsonl``."""

import argparse
import signal
import sys
from pathlib import Path

from .book import Book, BookError
from .server import BankServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m payroll.bank", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--book", type=Path, required=True, help="a file of JSON lines")
    chosen = parser.parse_args()
    try:
        server = BankServer(Book(chosen.book), chosen.port)
    except BookError as error:
        sys.exit(str(error))
    except (OSError, OverflowError) as error:
        sys.exit(f"Port {chosen.port} cannot be used ({error}): choose another, or 0 for any.")
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, lambda *_: sys.exit())
    print(f"The bank listens on {server.url} and keeps its book in {chosen.book}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

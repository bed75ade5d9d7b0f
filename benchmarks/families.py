"""Compare the prefix index with its plain version: ``python -m benchmarks.families``.

Arguments are the number of families of prompts (10,000, a quarter of a minute) and a seed.
"""

from __future__ import annotations

import sys

from tests.prefixcache.families import check_families

COUNT = 10_000


def main(arguments: list[str]) -> None:
    """Compare, and say how much was compared."""
    count = int(arguments[0]) if arguments else COUNT
    seed = int(arguments[1]) if len(arguments) > 1 else 1
    prompts = check_families(count, seed)
    print(f"{count:,} families, {prompts:,} prompts: every match and every size is equal")


if __name__ == "__main__":
    main(sys.argv[1:])

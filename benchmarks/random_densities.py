"""Errors of every answer about random densities, against float64 references made of many draws.

    python benchmarks/random_densities.py [--densities 2000] [--mixtures 400] [--pools 100]

Prints for every kind of density the largest and the mean error of each answer, and with `--worst`
the densities that are beyond what `tests/answers.py` allows.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

import kdn.density

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from answers import LIMITS, POOL_LIMITS, errors_of
from random_cases import mixture_cases, pool_cases, single_cases


def main() -> None:
    """Print one row a kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--densities", type=int, default=2000)
    parser.add_argument("--mixtures", type=int, default=400)
    parser.add_argument("--pools", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--draws", type=int, default=1 << 16, help="of the references")
    parser.add_argument("--worst", type=int, default=0, help="so many for each answer and kind")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # Before `log_pool` it was `product`.
    log_pool = getattr(kdn.density, "log_pool", None) or getattr(kdn.density, "product", None)
    cases = chain(
        single_cases(arguments.densities, arguments.seed),
        mixture_cases(arguments.mixtures, arguments.seed),
        pool_cases(arguments.pools, arguments.seed, log_pool) if log_pool else (),
    )
    table: dict[str, dict[str, list[tuple[float, str]]]] = defaultdict(lambda: defaultdict(list))
    start = time.process_time()
    for case in cases:
        rows, about = len(case.groups), f"{case.name}: {case.about}"
        errors = errors_of(case, count=arguments.draws)
        if "building" in errors:
            errors = dict.fromkeys(LIMITS, errors["building"])
        for name, error in errors.items():
            if isinstance(error, Tensor):
                filled = [(float(e), about) for e in error.nan_to_num(torch.inf)]
                table[case.kind][name] += filled
            else:
                table[case.kind][name] += [(float("nan"), f"{error} | {about}")] * rows
    print_table(table)
    print(f"{time.process_time() - start:.0f} s of CPU time")
    if arguments.worst:
        print_worst(table, arguments.worst)


def limits_of(kind: str) -> dict[str, float]:
    """Return the errors allowed of a kind."""
    return POOL_LIMITS if kind.startswith("log pools") else LIMITS


def print_table(table: dict[str, dict[str, list[tuple[float, str]]]]) -> None:
    """Print largest and mean error; `!n` are beyond the limit, `×n` raised."""
    print(f"{'':<17}{'rows':>4}" + "".join(f"{name:>18}" for name in LIMITS))
    print(f"{'limit':<21}" + "".join(f"{limit:>18g}" for limit in LIMITS.values()))
    for kind, answers in table.items():
        line = f"{kind:<17}{len(answers['log_prob']):>4}"
        for name, limit in limits_of(kind).items():
            errors = torch.tensor([error for error, _ in answers[name]])
            raised, errors = int(errors.isnan().sum()), errors[~errors.isnan()]
            wrong = int((errors > limit).sum())
            cell = f"{errors.max():.1e} {errors.mean():.0e}" if len(errors) else ""
            cell += f" !{wrong}" * (wrong > 0) + f" ×{raised}" * (raised > 0)
            line += f"{cell:>18}"
        print(line)


def print_worst(table: dict[str, dict[str, list[tuple[float, str]]]], count: int) -> None:
    """Print the densities of the largest errors beyond the limits, and some that raised."""
    for kind, answers in table.items():
        for name, limit in limits_of(kind).items():
            raised = sorted({about for error, about in answers[name] if error != error})
            beyond = {(error, about) for error, about in answers[name] if error > limit}
            for about in raised[:1]:
                print(f"{kind} | {name} | {about}")
            for error, about in sorted(beyond, reverse=True)[:count]:
                print(f"{kind} | {name} | {error:.3g} | {about}")


if __name__ == "__main__":
    main()

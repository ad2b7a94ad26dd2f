"""How often does the gate pass an actor that is exactly not good enough?

    python benchmarks/gate_false_accepts.py

Draws 10,000 actors whose true rate of success is the rate to be shown, gives each the results of
300 scenarios, and lets the real gate decide, with all results seen after every episode. At most
5 % may pass. Beside it, the power: how often an actor of the expected rate passes, and when.
"""

from __future__ import annotations

import argparse
import json
import time
from math import sqrt

import numpy as np

from fabrika import Gate, Result, Verdict


def rows(count: int, passed: bool) -> list[Result]:
    verdict = Verdict(passed=passed, reason="passed" if passed else "goal/missed")
    return [
        Result(
            task="made/up-v1",
            split="validate",
            draw="",
            index=index,
            scenario_id=f"{index:016x}",
            actor="policy:made-up",
            verdict=verdict,
            reason=verdict.reason,
        )
        for index in range(count)
    ]


def measure(gate: Gate, rate: float, count: int, runs: int, seed: int) -> dict[str, float]:
    """Shares of ``runs`` in which the gate passed, and in which its bounds were too high."""
    good, bad = rows(count, True), rows(count, False)
    rng = np.random.default_rng(seed)
    accepted = overstated = 0
    after = []
    for _ in range(runs):
        draws = rng.random(count) < rate
        chosen = [good[i] if passed else bad[i] for i, passed in enumerate(draws.tolist())]
        decision = gate.decide(chosen)
        accepted += decision.passed
        overstated += decision.lower_bound > rate
        if decision.decided_after is not None:
            after.append(decision.decided_after)
    return {
        "true_rate": rate,
        "runs": runs,
        "episodes": count,
        "accepted": accepted / runs,
        "standard_error": sqrt(max(accepted / runs * (1 - accepted / runs), 0.25 / runs) / runs),
        "bound_above_truth": overstated / runs,
        "mean_episodes_to_pass": float(np.mean(after)) if after else float("nan"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    gate, start = Gate(), time.perf_counter()
    null = measure(gate, gate.at_least, options.episodes, options.runs, options.seed)
    power = measure(gate, gate.expected, options.episodes, options.runs // 10, options.seed + 1)
    print(json.dumps({"null": null, "power": power}, indent=2))
    print(
        f"false accepts: {null['accepted']:.2%} of {options.runs} (allowed {gate.error:.0%}); "
        f"power at {gate.expected:.0%}: {power['accepted']:.1%}; "
        f"{time.perf_counter() - start:.0f} s"
    )


if __name__ == "__main__":
    main()

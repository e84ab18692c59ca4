"""Prints the bootstrap intervals that tests/client/claims_test.cc compares with: SciPy's percentile
intervals of the mean, widened as client/claims/bootstrap.h says, and NumPy's for two sources of
error together.

    python3 tools/oracle/check_bootstrap.py        needs numpy and scipy
"""
import numpy
from scipy import stats

N_RESAMPLES = 1_000_000
BLOCKS = numpy.array([0.3141, -0.1273, 0.0519, -0.4407, 0.2189, 0.0233, -0.0917, 0.1761,
                      -0.2309, 0.0853, 0.2611, -0.3163, 0.1127, -0.0701, 0.1553, -0.1217])
SEEDS = numpy.array([-0.1013, -0.3049, -0.1237, -0.2251, -0.0571])
EFFECT = -0.158


def resampled(values, random):
    """Deviations of resampled means from the mean."""
    chosen = random.integers(0, len(values), (N_RESAMPLES, len(values)))
    return values[chosen].mean(axis=1) - values.mean()


def expansion(n, level):
    """Hesterberg (2015), section 4.1.2."""
    return (stats.t.ppf((1 + level) / 2, n - 1) / stats.norm.ppf((1 + level) / 2)
            * numpy.sqrt(n / (n - 1)))


def main():
    random = numpy.random.default_rng(1)
    n_blocks, n_seeds = len(BLOCKS), len(SEEDS)
    for level in (0.95, 0.8):
        result = stats.bootstrap((BLOCKS,), numpy.mean, confidence_level=level,
                                 n_resamples=N_RESAMPLES, batch=20_000, method="percentile",
                                 random_state=random)
        low, high = (expansion(n_blocks, level) * (end - BLOCKS.mean())
                     for end in result.confidence_interval)
        print(f"blocks, {level}: {low:.5f} {high:.5f}")
    low, high = EFFECT + stats.sem(SEEDS) * numpy.array(stats.t.interval(0.95, n_seeds - 1))
    print(f"seeds, 0.95: {low:.5f} {high:.5f}")
    for count in (n_seeds, 2):
        seeds = SEEDS[:count]
        both = (EFFECT + stats.sem(seeds) * random.standard_t(count - 1, N_RESAMPLES)
                + expansion(n_blocks, 0.95) * resampled(BLOCKS, random))
        low, high = numpy.quantile(both, [0.025, 0.975])
        print(f"{count} seeds and blocks, 0.95: {low:.5f} {high:.5f}")


if __name__ == "__main__":
    main()

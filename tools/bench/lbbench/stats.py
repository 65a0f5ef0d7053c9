"""Order statistics. Pure functions of lists."""

import math
import statistics


def quantile(values, fraction):
    """Linear interpolation between closest ranks."""
    ordered = sorted(values)
    position = fraction * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def median_error(values):
    """Robust standard error of the median: 1.2533 * 1.4826 * MAD / sqrt(n).

    1.4826 * MAD estimates the standard deviation of the bulk without the outliers; 1.2533 is
    sqrt(pi / 2), by how much a median is less certain than a mean of normal values.
    """
    middle = statistics.median(values)
    mad = statistics.median(abs(value - middle) for value in values)
    return 1.2533 * 1.4826 * mad / math.sqrt(len(values))


def summary(values):
    if not values:
        return None
    return {"n": len(values), "min": min(values), "p25": quantile(values, 0.25),
            "median": statistics.median(values), "p75": quantile(values, 0.75),
            "max": max(values), "median_error": median_error(values)}


def paired_ratios(numerators, denominators):
    """Both are {round: value}; rounds that lack one of the two are left out."""
    return [numerators[r] / denominators[r]
            for r in sorted(numerators) if denominators.get(r) and numerators[r] is not None]

"""From samples to numbers, a table and JSON. Measures nothing."""

import os
import pathlib
import platform
import re
import subprocess

from .stats import paired_ratios, summary
from .stack import find_program
from .sandbox import BenchError

# What is promised: CPU per connection in relation to direct.
BARS = {("connect", "lbd"): 1.04, ("miss", "miss"): 1.02}


def by_round(samples, path, key):
    return {s["round"]: s[key] for s in samples if s["path"] == path and s.get(key)}


def summarize(result):
    """{path: {...}} of one mode; adds it to the result."""
    samples, rows = result["samples"], {}
    for path in result["paths"]:
        mine = [s for s in samples if s["path"] == path]
        row = {"failures": {}, "incomplete": sum("error" in s for s in mine),
               "noisy": sum(s.get("others_share", 0) > result["quiet_limit"] for s in mine)}
        for one in mine:
            for errno, count in one["failures"].items():
                row["failures"][errno] = row["failures"].get(errno, 0) + count
        for key in ("units_per_second", "cpu_us_per_unit", "p50_ns", "p99_ns", "enter_ms",
                    "leave_ms"):
            row[key] = summary([s[key] for s in mine if s.get(key) is not None])
        for key in ("units_per_second", "cpu_us_per_unit"):
            row[key + "_ratio"] = summary(paired_ratios(by_round(samples, path, key),
                                                        by_round(samples, "direct", key)))
        rows[path] = row
    result["summary"] = rows
    return rows


def spread(values, digits, scale=1.0):
    if not values:
        return "-"
    return "/".join(f"{values[k] * scale:.{digits}f}" for k in ("min", "median", "max"))


def ratio(values):
    if not values:
        return "-"
    return (f"{values['p25']:.3f}/{values['median']:.3f}/{values['p75']:.3f}"
            f" ±{values['median_error']:.3f}")


def middle(values, digits, scale=1.0):
    return f"{values['median'] * scale:.{digits}f}" if values else "-"


def failures(row):
    total = sum(row["failures"].values())
    words = ",".join(f"{name}:{count}" for name, count in sorted(row["failures"].items()))
    text = f"{total} ({words})" if total else "0"
    return text + (f" +{row['incomplete']} incomplete" if row["incomplete"] else "")


def table(mode, result):
    bulk = mode == "bulk"
    rate_name, rate = ("Gbit/s", (1 << 20) * 8 / 1e9) if bulk else ("rate/s", 1)
    latency, name = (1e-6, "ms") if bulk else (1e-3, "us")
    unit = result["unit"]
    head = ["path", f"{rate_name} min/med/max", f"CPU us per {unit} min/med/max",
            "CPU / direct p25/med/p75 ±se", "rate/direct", f"p50 {name}", f"p99 {name}", "failures"]
    lines = [head]
    for path, row in result["summary"].items():
        lines.append([path, spread(row["units_per_second"], 1 if bulk else 0, rate),
                      spread(row["cpu_us_per_unit"], 1), ratio(row["cpu_us_per_unit_ratio"]),
                      middle(row["units_per_second_ratio"], 2),
                      middle(row["p50_ns"], 1, latency), middle(row["p99_ns"], 1, latency),
                      failures(row)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in lines)


def verdicts(mode, result):
    """[(sentence, met)]: met is None when the error is too wide to say."""
    found = []
    for (of_mode, path), bar in BARS.items():
        values = result["summary"].get(path, {}).get("cpu_us_per_unit_ratio")
        if of_mode != mode or not values:
            continue
        low, high = (values["median"] + k * 2 * values["median_error"] for k in (-1, 1))
        met = True if high <= bar else False if low > bar else None
        word = {True: "met", False: "MISSED", None: "not decided, take more rounds"}[met]
        if values["n"] < 300:
            word += f" (only {values['n']} pairs; the claim wants 300)"
        found.append((f"{path}: CPU / direct {values['median']:.3f}, two standard errors "
                      f"{low:.3f} to {high:.3f}, bar {bar}: {word}", met))
    return found


def faults(result):
    """Sentences about what must not happen at any speed."""
    found = [f"{path}: failures: {failures(row)}" for path, row in result["summary"].items()
             if row["failures"] or row["incomplete"]]
    for path, counts in result["verified"].items():
        if counts["chosen by lbd"] != counts["connections made"] or counts["active in the end"]:
            found.append(f"{path}: lbd's counts are wrong: {counts}")
    return found


def text(mode, result):
    lines = [f"{mode}: {result['rounds']} rounds in {result['seconds']:.0f} s; "
             "se = 1.2533 * 1.4826 * MAD / sqrt(n)", table(mode, result)]
    lines += [sentence for sentence, _ in verdicts(mode, result)]
    noisy = {p: r["noisy"] for p, r in result["summary"].items() if r["noisy"]}
    if noisy:
        words = ", ".join(f"{path} {count}" for path, count in noisy.items())
        lines.append(f"samples taken although others kept the machine busy: {words}")
    lines += [f"{path}: {', '.join(f'{k} {v}' for k, v in found.items())}"
              for path, found in result["verified"].items()]
    lines += faults(result)
    lines += [f"left out: {path}: {why}" for path, why in result["skipped"].items()]
    return "\n".join(lines)


def first_line(*command):
    try:
        done = subprocess.run([find_program(command[0]), *command[1:]], capture_output=True,
                              text=True, stdin=subprocess.DEVNULL)
        return ((done.stdout + done.stderr).splitlines() or [""])[0].strip()
    except (OSError, BenchError):
        return None


def read(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return None


def machine_facts(options):
    model = re.search(r"model name\s*: (.*)", read("/proc/cpuinfo") or "")
    lbd = pathlib.Path(options.build, "bin/lbd")
    here = pathlib.Path(__file__).parent
    return {
        "kernel": platform.release(), "machine": platform.machine(), "cpus": os.cpu_count(),
        "cpu_model": model.group(1) if model else platform.processor(),
        "clocksource": read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "spectre_v2": read("/sys/devices/system/cpu/vulnerabilities/spectre_v2"),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "bpf_jit": read("/proc/sys/net/core/bpf_jit_enable"),
        "load_average": os.getloadavg(), "python": platform.python_version(),
        "haproxy": first_line("haproxy", "-v"), "nginx": first_line("nginx", "-v"),
        "nft": first_line("nft", "--version"),
        "lbd": first_line(str(lbd), "--version") if lbd.exists() else None,
        "commit": first_line("git", "-C", str(here), "describe", "--always", "--dirty"),
    }

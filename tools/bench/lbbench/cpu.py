"""CPU time of a sample: cgroup v2 cpu.stat of the given groups, plus every kernel thread.

Both are the scheduler's exact run time, not tick samples. Kernel threads (ksoftirqd, rcu, kworker)
carry work that connections cause, and also work of others: paired samples and medians take care
of the latter.
"""

import os
import pathlib
import time

KTHREADD = 2
_kernel_thread = {}  # pid -> bool; saves reading stat of every process at every sample


def _is_kernel_thread(pid):
    known = _kernel_thread.get(pid)
    if known is None:
        try:
            with open(f"/proc/{pid}/stat") as file:
                ppid = int(file.read().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return False
        known = _kernel_thread[pid] = ppid == KTHREADD
    return known


def kernel_threads():
    """pid -> nanoseconds on a CPU."""
    times = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and _is_kernel_thread(int(name)):
            try:
                with open(f"/proc/{name}/schedstat") as file:
                    times[int(name)] = int(file.read().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                _kernel_thread.pop(int(name), None)
    return times


def group_usec(path):
    for line in (pathlib.Path(path) / "cpu.stat").read_text().splitlines():
        key, value = line.split()
        if key == "usage_usec":
            return int(value)
    raise RuntimeError(f"{path}: no usage_usec")


def machine_busy_usec():
    """All CPUs, from ticks: coarse, and used only to see whether others were busy."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(
            int, file.readline().split()[1:9])
    ticks = user + nice + system + irq + softirq + steal
    return ticks * 1_000_000 // os.sysconf("SC_CLK_TCK")


class Window:
    """with Window(groups) as w: ...; afterwards w.group_us, w.kernel_us, w.others_share."""

    def __init__(self, groups):
        self.groups = groups

    def __enter__(self):
        self.threads = kernel_threads()
        self.used = sum(map(group_usec, self.groups))
        self.busy, self.start = machine_busy_usec(), time.monotonic()
        return self

    def __exit__(self, *_):
        elapsed_us = (time.monotonic() - self.start) * 1e6
        busy = machine_busy_usec() - self.busy
        self.group_us = sum(map(group_usec, self.groups)) - self.used
        # A thread that ended is missed, one that began counts from 0; never negative.
        self.kernel_us = sum(max(0, now - self.threads.get(pid, 0))
                             for pid, now in kernel_threads().items()) / 1000
        others = max(0, busy - self.group_us - self.kernel_us)
        self.others_share = others / (elapsed_us * os.cpu_count())

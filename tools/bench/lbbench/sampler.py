"""Takes samples: every round runs every path once, in a random order, each with a new client."""

import json
import os
import random
import select
import subprocess
import sys
import time

from .cpu import Window
from .lbd import Lbd, LbdPath
from .sandbox import BenchError
from .stack import BACKENDS, ELSEWHERE, HaproxyPath, NftPath, NginxPath, Path, Servers

SETTLE = 0.020   # after attaching: static keys are patched and RCU settles (measured: 8-20 ms)
LINGER = 0.004   # after a sample: last closes and RCU callbacks belong to it
CLIENT_PATIENCE = 120
KINDS = {"connect": "reply", "miss": "reply", "pingpong": "reply", "bulk": "sink"}
UNITS = {"connect": "connection", "miss": "connection", "pingpong": "round trip", "bulk": "MiB"}
WITH_LBD = ("lbd", "miss", "outside")
MAKERS = {"haproxy": HaproxyPath, "nginx": NginxPath, "nft": NftPath}


def build_paths(sandbox, options, mode, names):
    """({name: Path}, {name: why it is left out})"""
    Servers(sandbox, options, KINDS[mode])
    lbd, paths, skipped = None, {}, {}
    for name in names:
        try:
            if name in WITH_LBD:
                if why := next((skipped[n] for n in WITH_LBD if n in skipped), None):
                    raise BenchError(why)
                lbd = lbd or Lbd(sandbox, options)
                paths[name] = LbdPath(name, lbd, mode)
            elif name in MAKERS:
                paths[name] = MAKERS[name](sandbox, options)
            else:
                ports = ELSEWHERE if mode == "miss" else BACKENDS
                paths[name] = Path(name, ports[:options.backends],
                                   "plain" if options.exclusive == "off" else "hooked")
        except BenchError as error:
            skipped[name] = str(error)
    return paths, skipped


def client_command(options, mode, path):
    command = [options.loadgen, "connect" if mode == "miss" else mode, "--gate"]
    for target in path.targets:
        command += ["--to", target]
    if mode == "bulk":
        command += ["--bytes", options.bulk_mib << 20, "--concurrency", options.streams]
    else:
        command += ["--count", options.count, "--concurrency", options.concurrency]
    if options.client_cpu is not None:
        command += ["--cpu", options.client_cpu]
    return command


def read_line(client):
    if not select.select([client.stdout], [], [], CLIENT_PATIENCE)[0]:
        return None
    return client.stdout.readline()


def run_client(sandbox, options, mode, path):
    """One sample. Start and exit of the client lie outside of the window."""
    client = sandbox.spawn(client_command(options, mode, path), path.client_group, text=True,
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if read_line(client) != "ready\n":
            raise BenchError(f"{path.name}: the client does not start")
        time.sleep(0.002)
        with Window([sandbox.group(group) for group in path.groups]) as window:
            client.stdin.write("go\n")
            client.stdin.flush()
            line = read_line(client)
            time.sleep(LINGER)
    finally:
        if client.stdin:
            client.stdin.close()
            client.stdin = None
        if client.poll() is None:
            try:
                client.wait(1)
            except subprocess.TimeoutExpired:
                pass
        sandbox.stop(client)
    if not line:
        return {"error": "the client did not finish", "count": 0, "failed": 1, "failures": {}}
    return evaluate(json.loads(line), window, mode)


def evaluate(result, window, mode):
    units = result["bytes"] / (1 << 20) if mode == "bulk" else result["count"]
    result["group_us"], result["kernel_us"] = window.group_us, round(window.kernel_us, 3)
    result["others_share"] = round(window.others_share, 4)
    if units:
        result["cpu_us_per_unit"] = (window.group_us + window.kernel_us) / units
        result["units_per_second"] = units / (result["elapsed_ns"] / 1e9)
    return result


def sample(sandbox, options, mode, path):
    """Repeats while others kept the machine busy; the criterion never looks at the result."""
    start = time.monotonic()
    path.enter()
    entered = time.monotonic()
    try:
        time.sleep(SETTLE)
        for attempt in range(options.retries + 1):
            result = run_client(sandbox, options, mode, path)
            if path.name == "lbd":
                path.lbd.made += result["count"] if mode != "pingpong" else options.concurrency
            result["repeated"] = attempt
            if result.get("others_share", 0) <= options.quiet_limit:
                break
        time.sleep(SETTLE)  # the last FINs are still to be counted by the hooks
    finally:
        leaving = time.monotonic()
        path.leave()
    result["enter_ms"] = round((entered - start) * 1000, 2)
    result["leave_ms"] = round((time.monotonic() - leaving) * 1000, 2)
    return result


def run_mode(sandbox, options, mode, names, shuffle=random.Random()):
    paths, skipped = build_paths(sandbox, options, mode, names)
    samples, began = [], time.monotonic()
    for number in range(-options.warmup, options.rounds):
        order = list(paths.values())
        shuffle.shuffle(order)
        for position, path in enumerate(order):
            result = sample(sandbox, options, mode, path)
            if number >= 0:
                samples.append({"round": number, "position": position, "path": path.name, **result})
        progress(mode, number + 1, options.rounds, time.monotonic() - began)
    verified = {name: found for name, path in paths.items() if (found := path.close())}
    return {"unit": UNITS[mode], "paths": list(paths), "skipped": skipped,
            "verified": verified, "samples": samples, "seconds": time.monotonic() - began}


def progress(mode, done, total, seconds):
    if not sys.stderr.isatty():
        return
    left = seconds / max(done, 1) * (total - done)
    end = "\n" if done >= total else ""
    os.write(2, f"\r{mode}: round {max(done, 0)}/{total}, {left:.0f} s left   {end}".encode())

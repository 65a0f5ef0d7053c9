"""A place of our own to measure in, and its removal: network and mount namespace, bpffs, cgroups,
a temporary folder, child processes. Knows nothing of what is measured.

The runner itself moves into new namespaces, so they end with it and its children, whatever
happens. `ip netns exec` is avoided on purpose: it remounts /sys and hides bpffs.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
PREFIX = "lbd-bench."  # of the cgroup and of the folder, followed by the runner's pid

# Without port reuse, loopback runs out of ports within a few samples. A key that this kernel lacks
# is skipped (tcp_tw_reuse_delay is newer than 6.12).
SYSCTLS = {
    "net/ipv4/ip_local_port_range": "10000 65000",
    "net/ipv4/tcp_tw_reuse": "1",
    "net/ipv4/tcp_tw_reuse_delay": "1",
    "net/core/somaxconn": "8192",
    "net/ipv4/tcp_max_syn_backlog": "8192",
}

libc = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Something the user has to know; printed without a traceback."""


def check(result, what):
    if result != 0:
        raise BenchError(f"{what}: {os.strerror(ctypes.get_errno())}")


def cgroup2_mount():
    """The mount point of cgroup2, from mountinfo: it is elsewhere where v1 is mounted as well."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] == "cgroup2":
            return pathlib.Path(before.split()[4].encode().decode("unicode_escape"))
    raise BenchError("no cgroup2 mount in /proc/self/mountinfo")


class Sandbox:
    def __init__(self, nice, keep=False):
        self.nice, self.keep = nice, keep
        self.children, self.sysctls = [], {}
        self.folder = self.root = self.bpffs = None

    def __enter__(self):
        if os.geteuid() != 0:
            raise BenchError("namespaces, cgroups and BPF need root")
        self.old_handlers = {s: signal.signal(s, self._interrupted)
                             for s in (signal.SIGTERM, signal.SIGHUP)}
        try:
            self._sweep()
            self._enter_namespaces()
            self._make_cgroup()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # A second Ctrl-C must not leave half of it behind.
        ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        for child in reversed(self.children):
            self.stop(child)
        self._remove_cgroup(self.root)
        if self.bpffs:
            libc.umount2(str(self.bpffs).encode(), 2)
        if self.folder and not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, handler in self.old_handlers.items():
            signal.signal(number, handler)

    @staticmethod
    def _interrupted(number, _frame):
        raise KeyboardInterrupt(signal.Signals(number).name)

    def _enter_namespaces(self):
        check(libc.unshare(CLONE_NEWNET | CLONE_NEWNS), "unshare")
        check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount private")
        folder = pathlib.Path(tempfile.gettempdir(), f"{PREFIX}{os.getpid()}")
        folder.mkdir(mode=0o700)
        self.folder = folder
        self.bpffs = self.folder / "bpf"
        self.bpffs.mkdir()
        check(libc.mount(b"bpf", str(self.bpffs).encode(), b"bpf", 0, None), "mount bpffs")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for name, value in SYSCTLS.items():
            self.sysctl(name, value)

    def sysctl(self, name, value):
        with contextlib.suppress(FileNotFoundError):
            pathlib.Path("/proc/sys", name).write_text(value)
            self.sysctls[name] = value

    def _make_cgroup(self):
        mount = cgroup2_mount()
        root = mount / f"{PREFIX}{os.getpid()}"
        root.mkdir()
        self.root = root

    def _sweep(self):
        """Removes what runners that were killed with SIGKILL have left."""
        for stale in cgroup2_mount().glob(PREFIX + "*"):
            pid = stale.name.removeprefix(PREFIX)
            alive = pid != str(os.getpid()) and pathlib.Path("/proc", pid).exists()
            if not alive and "populated 0" in (stale / "cgroup.events").read_text():
                self._remove_cgroup(stale)
                shutil.rmtree(pathlib.Path(tempfile.gettempdir(), stale.name), ignore_errors=True)

    def group(self, name):
        path = self.root / name
        path.mkdir(exist_ok=True)
        return path

    def _remove_cgroup(self, root):
        if not root or not root.exists():
            return
        with contextlib.suppress(OSError):
            (root / "cgroup.kill").write_text("1")
        for _ in range(100):  # the dead leave their cgroup a moment after they were killed
            try:
                for path in sorted((p for p in root.rglob("*") if p.is_dir()), reverse=True):
                    path.rmdir()
                root.rmdir()
                return
            except OSError:
                time.sleep(0.02)
        print(f"could not remove {root}")

    def spawn(self, command, group, **kwargs):
        """Starts a process in a cgroup of ours; it dies with the runner and is not hit by ^C."""
        procs, nice = str(self.group(group) / "cgroup.procs"), self.nice

        def prepare():
            with open(procs, "w") as file:
                file.write("0")
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if nice:
                os.nice(nice)

        child = subprocess.Popen([str(word) for word in command], preexec_fn=prepare,
                                 start_new_session=True, **kwargs)
        self.children.append(child)
        return child

    def stop(self, child, patience=5):
        if child in self.children:
            self.children.remove(child)
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(patience)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        return child.returncode

"""lbd as a path: started on the cgroup `hooked`, and taken away while other paths are sampled.

Three ways to take it away (--exclusive):
links    lbd is started once and stopped; its links stay pinned (that is lbd's own promise) and
         LinkSwitch takes them off and puts them back. Fast; the daemon does not run in samples.
restart  lbd runs during its samples; between them it is stopped and `lbd detach` removes all.
off      lbd runs all the time. Its cgroup hooks do not see the other paths' clients, which live in
         another cgroup; its tracepoints are global and do.
"""

import json
import pathlib
import subprocess
import time

from .links import LinkSwitch
from .sandbox import BenchError
from .stack import BACKENDS, ELSEWHERE, LBD, Path, tail

NAME = "bench"


class Lbd:
    """The daemon, its configuration and its switch; shared by the paths lbd, miss and outside."""

    def __init__(self, sandbox, options):
        self.sandbox, self.options = sandbox, options
        self.programs = pathlib.Path(options.build, "bin")
        for program in ("lbd", "lbctl"):
            if not (self.programs / program).exists():
                raise BenchError(f"no {self.programs / program}: build first, or say --build DIR")
        self.run_dir, self.state_dir = sandbox.folder / "run", sandbox.folder / "state"
        self.bpffs, self.cgroup = sandbox.bpffs / "lbd", sandbox.group("hooked")
        self.log = sandbox.folder / "lbd.log"
        self.child = self.switch = None
        self.made = 0  # connections through the service, to compare with lbd's own count
        self.write_config()
        self.start()
        if options.exclusive == "links":
            self.stop()
            try:
                self.switch = LinkSwitch(self.bpffs, self.cgroup)
            except OSError as error:
                raise BenchError(f"cannot switch lbd's links: {error}") from error
            self.switch.off()
        elif options.exclusive == "restart":
            self.stop()
            self.detach()

    def write_config(self):
        for folder in (self.run_dir, self.state_dir):
            folder.mkdir()
        backends = ", ".join(f'{{ address = "127.0.0.1:{port}" }}'
                             for port in BACKENDS[:self.options.backends])
        services = self.sandbox.folder / "services.toml"
        services.write_text(f'[[service]]\nname = "{NAME}"\nlisten = "127.0.0.1:{LBD}"\n'
                            f'balance = "{self.options.balance}"\nbackends = [ {backends} ]\n')
        self.config = self.sandbox.folder / "lbd.toml"
        self.config.write_text('[dataplane]\nmode = "ebpf"\nscope = "host"\n'
                               f'[[source]]\ntype = "file"\npath = "{services}"\n')

    def flags(self):
        return ["--runtime-dir", self.run_dir, "--state-dir", self.state_dir,
                "--cgroup", self.cgroup, "--bpffs", self.bpffs]

    def start(self):
        with self.log.open("a") as log:
            command = [self.programs / "lbd", "run", "--config", self.config, *self.flags()]
            self.child = self.sandbox.spawn(command, "lbd", stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and self.child.poll() is None:
            service = self.service()
            if service and service["condition"] == "ok":
                usable = [b for b in service["backends"] if b["effective_weight"] > 0]
                if len(usable) == self.options.backends:
                    return
            time.sleep(0.005)
        raise BenchError(f"lbd does not publish the service{tail(self.log)}")

    def service(self):
        """lbd's own view of the service, or None while it has none."""
        done = subprocess.run(
            [self.programs / "lbctl", "--socket", self.run_dir / "lbd.sock", "list", "--json"],
            capture_output=True, text=True)
        if done.returncode != 0:
            return None
        found = [s for s in json.loads(done.stdout)["services"] if s["port"] == LBD]
        return found[0] if found else None

    def stop(self):
        self.sandbox.stop(self.child)

    def detach(self):
        done = subprocess.run([self.programs / "lbd", "detach", *map(str, self.flags())],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise BenchError(f"lbd detach: {done.stderr.strip()}")

    def enter(self):
        if self.options.exclusive == "links":
            self.switch.on()
        elif self.options.exclusive == "restart":
            self.start()

    def leave(self):
        if self.options.exclusive == "links":
            self.switch.off()
        elif self.options.exclusive == "restart":
            self.stop()
            self.detach()

    def verify(self):
        """Whether lbd counted what was made: hooks that were not there would look cheap."""
        if self.options.exclusive == "restart":
            return {}  # the counts went with `lbd detach`
        if self.options.exclusive == "links":
            self.switch.on()
            self.start()
        deadline = time.monotonic() + 2
        while True:
            backends = self.service()["backends"]
            active = sum(b["active_connections"] or 0 for b in backends)
            if active == 0 or time.monotonic() > deadline:
                return {"connections made": self.made,
                        "chosen by lbd": sum(b["total_connections"] for b in backends),
                        "active in the end": active}
            time.sleep(0.05)


class LbdPath(Path):
    """`lbd` goes through the service; `miss` connects elsewhere with the hooks attached; `outside`
    is a client that lbd's cgroup does not contain: only the global tracepoints can touch it."""

    def __init__(self, name, lbd, mode):
        ports = BACKENDS if mode != "miss" else ELSEWHERE
        targets = [LBD] if name == "lbd" else ports[:lbd.options.backends]
        group = "plain" if name == "outside" else "hooked"
        super().__init__(name, targets, group, ["lbd"])
        self.lbd = lbd
        self.enter, self.leave = lbd.enter, lbd.leave

    def close(self):
        return self.lbd.verify() if self.name == "lbd" else {}

"""What is measured: the backends, and one class per way to reach them.

A Path has a name, the addresses its client connects to, the cgroup its client runs in, the cgroups
whose CPU time is its own, and enter()/leave() around a sample.
"""

import os
import pathlib
import shutil
import socket
import subprocess
import time

from .sandbox import BenchError

# Below ip_local_port_range: no client port can take one.
BACKENDS, ELSEWHERE = (7001, 7002, 7003), (7101, 7102, 7103)
LBD, HAPROXY, NGINX, NFT = 8101, 8102, 8103, 8104
NGINX_MODULE = "ngx_stream_module.so"


def wait_listening(port, child, name, log=None, patience=5.0):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if child.poll() is not None:
            break
        time.sleep(0.02)
    raise BenchError(f"{name} does not listen on {port}{tail(log)}")


def tail(log):
    if not log or not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()[-5:]
    return "".join("\n    " + line for line in lines)


class Path:
    def __init__(self, name, targets, client_group="plain", groups=()):
        self.name, self.client_group = name, client_group
        self.targets = [f"127.0.0.1:{port}" for port in targets]
        self.groups = (client_group, "servers", *groups)

    def enter(self):
        pass

    def leave(self):
        pass

    def close(self):
        """After the last round; returns what was verified, for the report."""
        return {}


class Servers:
    """The backends: by default all ports in one process, so that which backend was chosen does
    not change how many processes wake up; --split-servers gives each backend its own."""

    def __init__(self, sandbox, options, kind):
        ports = BACKENDS[:options.backends] + ELSEWHERE[:options.backends]
        parts = [(port,) for port in ports] if options.split_servers else [ports]
        for part in parts:
            command = [options.loadgen, "serve", "--kind", kind]
            for port in part:
                command += ["--listen", f"127.0.0.1:{port}"]
            if options.server_cpu is not None:
                command += ["--cpu", options.server_cpu]
            child = sandbox.spawn(command, "servers", stdout=subprocess.PIPE, text=True)
            if child.stdout.readline() != "ready\n":
                raise BenchError("loadgen serve does not start")


class HaproxyPath(Path):
    def __init__(self, sandbox, options):
        super().__init__("haproxy", [HAPROXY], groups=["haproxy"])
        program = find_program("haproxy")
        lines = ["global", "  maxconn 8000", "  nbthread 2", "defaults", "  mode tcp",
                 "  timeout connect 5s", "  timeout client 50s", "  timeout server 50s",
                 "  timeout tunnel 2h", "listen bench", f"  bind 127.0.0.1:{HAPROXY}",
                 "  balance leastconn"]
        lines += [f"  server b{port} 127.0.0.1:{port}" for port in BACKENDS[:options.backends]]
        config = sandbox.folder / "haproxy.cfg"
        config.write_text("\n".join(lines) + "\n")
        log = sandbox.folder / "haproxy.log"
        child = sandbox.spawn([program, "-db", "-f", config], "haproxy",
                              stdout=log.open("w"), stderr=subprocess.STDOUT)
        wait_listening(HAPROXY, child, "haproxy", log)


class NginxPath(Path):
    def __init__(self, sandbox, options):
        super().__init__("nginx", [NGINX], groups=["nginx"])
        program = find_program("nginx")
        backends = "".join(f"    server 127.0.0.1:{p};\n" for p in BACKENDS[:options.backends])
        config = sandbox.folder / "nginx.conf"
        # proxy_half_close: without it nginx drops what is in flight when the client half-closes.
        config.write_text(
            self.load_module(program, options) +
            "daemon off;\nworker_processes 2;\nworker_rlimit_nofile 20000;\n"
            f"pid {sandbox.folder}/nginx.pid;\nevents {{ worker_connections 8192; }}\n"
            "stream {\n  upstream bench {\n    least_conn;\n" + backends + "  }\n"
            f"  server {{\n    listen 127.0.0.1:{NGINX} backlog=8192;\n    proxy_pass bench;\n"
            "    proxy_connect_timeout 5s;\n    proxy_timeout 2h;\n    proxy_half_close on;\n"
            "  }\n}\n")
        log = sandbox.folder / "nginx.log"
        child = sandbox.spawn([program, "-p", sandbox.folder, "-c", config, "-e", log], "nginx",
                              stdout=log.open("a"), stderr=subprocess.STDOUT)
        wait_listening(NGINX, child, "nginx", log)

    @staticmethod
    def load_module(program, options):
        built = subprocess.run([program, "-V"], capture_output=True, text=True).stderr
        if "--with-stream=dynamic" not in built:
            return ""
        module = pathlib.Path(options.nginx_modules, NGINX_MODULE)
        if not module.exists():
            raise BenchError(f"no {module}: install libnginx-mod-stream")
        return f"load_module {module};\n"


class NftPath(Path):
    """The table exists only during samples: with it, conntrack follows every connection of the
    namespace, those of the other paths too."""

    def __init__(self, sandbox, options):
        super().__init__("nft", [NFT])
        self.program = find_program("nft")
        ports = BACKENDS[:options.backends]
        choice = ("127.0.0.1:%d" % ports[0] if len(ports) == 1 else
                  "127.0.0.1:numgen inc mod %d map { %s }" % (
                      len(ports), ", ".join(f"{i} : {p}" for i, p in enumerate(ports))))
        self.rules = ("table ip lbd_bench {\n  chain output {\n"
                      "    type nat hook output priority -100;\n"
                      f"    ip daddr 127.0.0.1 tcp dport {NFT} dnat to {choice}\n  }}\n}}\n")
        self.enter()
        # Entries of finished connections would fill the machine-wide table over hundreds of rounds.
        sandbox.sysctl("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "1")
        self.leave()

    def enter(self):
        self.nft("-f", "-", text=self.rules)

    def leave(self):
        self.nft("delete", "table", "ip", "lbd_bench")

    def nft(self, *words, text=None):
        done = subprocess.run([self.program, *words], input=text, capture_output=True, text=True)
        if done.returncode != 0:
            raise BenchError(f"nft {' '.join(words)}: {done.stderr.strip()}")


def find_program(name):
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise BenchError(f"{name} is not installed")
    return found

"""Switches pinned BPF links off and on, whoever made them: off is unlinking the pin of the last
reference, on is a new link of the same program at the same place, pinned under the same name.

It is how a sample without lbd can follow one with lbd within milliseconds, the tracepoints (which
are global) included. It needs raw bpf(2): bpftool cannot create links. The program that owns the
links must not run, because its descriptors would keep the tracing links attached.
"""

import ctypes
import errno
import os
import pathlib
import platform
import struct
import time

BPF_OBJ_PIN, BPF_OBJ_GET, BPF_PROG_GET_FD_BY_ID = 6, 7, 13
BPF_OBJ_GET_INFO_BY_FD, BPF_LINK_CREATE, BPF_LINK_GET_FD_BY_ID = 15, 28, 30
LINK_RAW_TRACEPOINT, LINK_TRACING, LINK_CGROUP = 1, 2, 3
TRACE_RAW_TP = 23
SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, 128)  # the kernel wants the rest zero
    result = libc.syscall(SYS_BPF, command, buffer, len(attributes))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf command {command}: {os.strerror(error)}")
    return result


def with_path(path, fd=0):
    name = ctypes.create_string_buffer(os.fsencode(path))
    return name, struct.pack("=QII", ctypes.addressof(name), fd, 0)


def get(path):
    keep, attributes = with_path(path)
    return bpf(BPF_OBJ_GET, attributes)


def pin(path, fd):
    keep, attributes = with_path(path, fd)
    bpf(BPF_OBJ_PIN, attributes)


def link_info(fd):
    """(type, link id, program id, the type's own first 16 bytes)"""
    info = ctypes.create_string_buffer(128)
    bpf(BPF_OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, len(info), ctypes.addressof(info)))
    return *struct.unpack_from("=III", info), info.raw[16:32]


def link_exists(link_id):
    try:
        os.close(bpf(BPF_LINK_GET_FD_BY_ID, struct.pack("=III", link_id, 0, 0)))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        if error.errno != errno.EAGAIN:  # EAGAIN: about to be freed
            raise
    return True


class PinnedLink:
    """One link that can be switched. Holds the program, so that off does not unload it."""

    def __init__(self, path, link_fd, cgroup):
        self.path, self.target = path, 0
        kind, self.link_id, program, rest = link_info(link_fd)
        if kind == LINK_CGROUP:
            cgroup_id, self.attach_type = struct.unpack_from("=QI", rest)
            if cgroup_id != os.stat(cgroup).st_ino:
                raise OSError(f"{path}: attached to another cgroup than {cgroup}")
            self.target = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        elif kind == LINK_RAW_TRACEPOINT:
            self.attach_type = TRACE_RAW_TP
        elif kind == LINK_TRACING:
            self.attach_type, = struct.unpack_from("=I", rest)
        else:
            raise OSError(f"{path}: links of type {kind} cannot be switched")
        self.program = bpf(BPF_PROG_GET_FD_BY_ID, struct.pack("=III", program, 0, 0))

    def off(self):
        os.unlink(self.path)

    def wait_gone(self):
        """The kernel frees the link of an unlinked pin from a work queue, a little later."""
        deadline = time.monotonic() + 2
        while link_exists(self.link_id):
            if time.monotonic() > deadline:
                raise OSError(f"{self.path}: still attached; somebody else holds the link")
            time.sleep(0.001)

    def on(self):
        fd = bpf(BPF_LINK_CREATE,
                 struct.pack("=IIII", self.program, self.target, self.attach_type, 0))
        try:
            self.link_id = link_info(fd)[1]
            pin(self.path, fd)
        finally:
            os.close(fd)


class LinkSwitch:
    """All links pinned below a folder. They are on when this is made."""

    def __init__(self, folder, cgroup):
        self.links, self.attached = [], True
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.is_dir():
                continue
            fd = get(path)
            try:
                if "link" in os.readlink(f"/proc/self/fd/{fd}"):  # not bpf-map, not bpf-prog
                    self.links.append(PinnedLink(path, fd, cgroup))
            finally:
                os.close(fd)
        if not self.links:
            raise OSError(f"{folder}: no pinned links")

    def off(self):
        if self.attached:
            for link in self.links:
                link.off()
            for link in self.links:
                link.wait_gone()
            self.attached = False

    def on(self):
        if not self.attached:
            for link in self.links:
                link.on()
            self.attached = True

"""What this machine must have from its distribution: each program, and the Debian package that brings it.

The only such list: the devcluster, the tests and the benches install from it. A table; nothing is run here.
"""

from collections.abc import Mapping

BUILD: Mapping[str, str] = {"gcc": "gcc", "pkg-config": "pkg-config"}
CLUSTER: Mapping[str, str] = {
    "ip": "iproute2",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "mke2fs": "e2fsprogs",
}
IMAGES: Mapping[str, str] = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}
# What only tests and benches run.
TESTS: Mapping[str, str] = {
    "iptables-save": "iptables",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    # What the pages' commands need of a reader's machine.
    "curl": "curl",
    "haproxy": "haproxy",
}
# For the virtual machine with cgroup v2, which one nightly test makes.
MACHINE: Mapping[str, str] = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
}
PACKAGES: Mapping[str, str] = {**BUILD, **CLUSTER, **IMAGES, **TESTS, **MACHINE}
# Packages that bring a service, and its name: Debian would start it.
SERVICES: Mapping[str, str] = {"haproxy": "haproxy"}
# Programs of Debian's essential packages, which every installation has.
ESSENTIAL = frozenset(
    {"apt-get", "bash", "cat", "cp", "echo", "env", "false", "kill", "mkdir", "mount", "nice", "nsenter", "rm"}
    | {"setpriv", "sh", "sleep", "tail", "taskset", "true", "umount", "unshare", "update-rc.d"}
)

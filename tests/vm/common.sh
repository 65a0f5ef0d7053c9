#!/usr/bin/env bash
# What tests/vm/fetch and tests/vm/run agree on.

# Names of kernels as a developer says them, and the meta-packages that depend on the newest image of each.
# shellcheck disable=SC2034  # used by those who source this
declare -rA vm_meta_packages=([6.1]=linux-image-cloud-amd64 [6.12]=linux-image-6.12-cloud-amd64)
# shellcheck disable=SC2034
declare -r vm_kernels="6.1 6.12"

# A folder per kernel: vmlinuz, initrd, release (what uname -r will say), lib/modules. Outside the tree: it survives a clean.
# shellcheck disable=SC2034
declare -r vm_cache=${LB_VM_CACHE:-/var/cache/lbd-vm}

# What the tier needs on the host, one sentence if it is not there.
vm_missing() {
  local program
  if [[ $(id -u) -ne 0 ]]; then echo "not root"; return; fi
  for program in qemu-system-x86_64 unshare setpriv findmnt; do
    command -v "$program" >/dev/null || { echo "$program is not installed (run tools/setup)"; return; }
  done
  [[ -x /usr/lib/qemu/virtiofsd ]] || { echo "qemu-system-common's virtiofsd is not installed (run tools/setup)"; return; }
}

# Ends the script when the tier cannot run: 77 is what ctest shows as skipped, but the machine that decides about a release must run it.
vm_skip_if_missing() {
  local missing kernel
  missing=$(vm_missing)
  for kernel in $vm_kernels; do
    [[ -n $missing || -f $vm_cache/$kernel/recipe ]] || missing="kernel $kernel is not in $vm_cache (run tests/vm/fetch)"
  done
  [[ -n $missing ]] || return 0
  printf 'cannot run machines: %s\n' "$missing"
  if [[ ,${LB_REQUIRE:-}, == *,vm,* ]]; then exit 1; fi
  exit 77
}

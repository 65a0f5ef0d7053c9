#!/usr/bin/env bash
# look [BIN]: whether the demo can run on this machine, before anything is installed or compiled. Sourced by tools/quickstart.
# What can be tried is tried, by programs that every Debian has; all that is in the way is named at once.
# Nothing is changed: what a trial needs (a cgroup, namespaces, a BPF program) goes with it.

tools=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")")

# The space that packages and build take: 1.5 GiB with 0.3 GiB of archives, and 0.1 GiB.
readonly packages_mib=2048 build_mib=512
readonly trial_program=lb_look
readonly elsewhere='run it on the host, or in a container started with --privileged'

obstacles=()
# missing WHAT DO: what is in the way, and the one thing to do.
missing() { obstacles+=("$1: $2"); }

# status_of FIELD: from what the kernel says of this shell.
status_of() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$$/status"; }

# Where cgroup2 is mounted whole. Beside v1 that is another folder than /sys/fs/cgroup.
cgroup2_mount() { awk '$4 == "/" && / - cgroup2 / { print $5; exit }' /proc/self/mountinfo; }

# The kernel asks for capabilities over the whole machine, which the root of a user namespace has not. CAP_SYS_ADMIN makes the demo's
# namespaces, and contains CAP_BPF and CAP_PERFMON.
look_at_rights() {
  local mask names=''
  if ((EUID)); then
    missing 'it needs root' "sudo tools/quickstart"
    return 1
  fi
  if [[ $(tr -s ' ' </proc/self/uid_map) != ' 0 0 4294967295' ]]; then
    missing 'this root is root of a user namespace only' 'run it, or its container, as root of the machine'
    return 1
  fi
  mask=$(status_of CapEff)
  ((0x$mask >> 21 & 1)) || names+=' CAP_SYS_ADMIN'
  ((0x$mask >> 12 & 1)) || names+=' CAP_NET_ADMIN'
  [[ -n $names ]] || return 0
  missing "root has been deprived of$names" "$elsewhere"
  return 1
}

look_at_kernel() {
  local release major minor
  release=$(uname -r)
  IFS=.- read -r major minor _ <<<"$release"
  if ((major < 6 || (major == 6 && minor < 1))); then
    missing "Linux $release is too old" 'boot Linux 6.1 or later; Debian 12 has it (apt-get install linux-image-amd64)'
  fi
  if [[ ! -d /sys/kernel ]]; then
    missing 'no sysfs is mounted' 'mount -t sysfs sysfs /sys'
  elif [[ ! -r /sys/kernel/btf/vmlinux ]]; then
    missing 'the kernel does not tell its types (no /sys/kernel/btf/vmlinux)' 'boot one built with CONFIG_DEBUG_INFO_BTF=y, as all of Debian are'
  fi
}

# Makes the cgroup $trial and enters it for a moment, as the demo does.
look_at_cgroup() {
  local error
  if [[ -z $mount ]]; then
    if grep -q ' - cgroup2 ' /proc/self/mountinfo; then
      missing 'only a part of cgroup2 is mounted here' 'start the container with --cgroupns=private, or run it on the host'
    else
      missing 'no cgroup2 is mounted' 'mkdir -p /run/cgroup2 && mount -t cgroup2 none /run/cgroup2'
    fi
    return
  fi
  ((may_try)) || return 0
  if ! error=$(mkdir "$mount/lbd-look.$$" 2>&1); then
    if [[ $error == *Read-only* ]]; then
      missing "the cgroup2 on $mount is read-only" "mount -o remount,bind,rw $mount"
    else
      missing "no cgroup can be made below $mount (${error##*: })" "$elsewhere"
    fi
    return
  fi
  trial=$mount/lbd-look.$$
  if ! error=$( (echo "$BASHPID" >"$trial/cgroup.procs") 2>&1); then
    missing "no process can be moved into a cgroup below $mount (${error##*: })" "$elsewhere"
  fi
}

# The demo's own namespaces, and in them a /proc and a bpffs.
look_at_namespaces() {
  local kind error refused='' full=''
  for kind in --net --mount '--pid --fork --mount-proc'; do
    # shellcheck disable=SC2086  # several options
    error=$(unshare $kind -- true 2>&1) && continue
    if [[ $error == *'No space'* ]]; then full+=" ${kind%% *}"; else refused+=" ${kind%% *}"; fi
  done
  [[ -z $full ]] || missing "the limit of namespaces is reached (unshare$full)" "raise the user.max_*_namespaces that 'sysctl user' shows"
  [[ -z $refused ]] || missing "namespaces are refused (unshare$refused)" "$elsewhere"
  if [[ ! -d /sys/kernel || "$full$refused" == *--mount* ]]; then return; fi
  if ! grep -qw bpf /proc/filesystems; then
    missing 'the kernel has no bpffs' 'boot one built with CONFIG_BPF_SYSCALL=y, as all of Debian are'
  elif ! error=$(unshare --mount -- mount -t bpf bpf /sys/fs/bpf 2>&1); then
    missing "no bpffs can be mounted on /sys/fs/bpf (${error##*: })" "$elsewhere"
  fi
}

# The least of what lbd does: a program that lets each connect pass, attached to the cgroup of descriptor 3 if that is one, and one
# that sees a tracepoint. Prints what was refused, and why. Perl is on every Debian, and needs no compiler to call bpf(2).
# shellcheck disable=SC2016  # Perl's variables
readonly bpf_trial='
  my ($number, $name, $cgroup) = @ARGV;
  sub bpf { my ($command, $attr) = @_; return syscall($number + 0, $command, $attr, length $attr); }
  sub refused { print "$_[0]: $!\n"; exit 1; }
  sub load {
    my ($type, $attach, $result) = @_;
    my $code = pack("CCsl" x 2, 0xb7, 0, 0, $result, 0x95, 0, 0, 0);
    my $licence = "GPL\0";
    return bpf(5, pack("LLPPLLQLLa16LL", $type, 2, $code, $licence, 0, 0, 0, 0, 0, $name, 0, $attach));
  }
  my $connect = load(18, 10, 1);
  refused("load a program for connect()") if $connect < 0;
  refused("attach it to a cgroup") if $cgroup && bpf(28, pack("LLLL", $connect, 3, 10, 0)) < 0;
  refused("load a program for a tracepoint") if load(17, 0, 0) < 0;'

# The kernel says only "no": who else has a say is looked at in turn.
why_bpf_is_refused() {
  local lockdown=/sys/kernel/security/lockdown said="the kernel refuses BPF to root ($1)"
  if [[ $(status_of Seccomp) == 2 && $1 != *Invalid* ]]; then
    missing "$said, a seccomp filter is in force" 'start the container with --security-opt seccomp=unconfined, or run it on the host'
  elif [[ -r $lockdown && $(<"$lockdown") != *'[none]'* && $1 != *Invalid* ]]; then
    missing "$said, it is locked down" 'boot it with lockdown=none, without Secure Boot'
  elif [[ $1 == *Invalid* || $1 == *implemented* ]]; then
    missing "$said" 'boot one built with CONFIG_BPF_SYSCALL=y and CONFIG_CGROUP_BPF=y, as all of Debian are'
  else
    missing "$said" 'look into dmesg for the security module that does it, and allow it there'
  fi
}

look_at_bpf() {
  local number said
  case $(uname -m) in
    x86_64) number=321 ;;
    aarch64 | riscv64) number=280 ;;
    *) number='' ;;
  esac
  if [[ -z $number ]] || ! command -v perl >/dev/null; then
    unknown='whether the kernel takes BPF programs is not known before lbd tries'
    return 0
  fi
  said=$(perl -e "$bpf_trial" "$number" "$trial_program" "${trial:+1}" 3<"${trial:-/}") || why_bpf_is_refused "$said"
}

# tools/setup is for Debian 12; where it has nothing to install any system will do.
look_at_packages() {
  local packages codename=''
  packages=$("$tools/setup" --missing | wc -l)
  ((packages)) || return 0
  need_space /usr "$packages_mib"
  [[ ! -r /etc/os-release ]] || codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  if [[ $codename != bookworm ]] || ! command -v apt-get >/dev/null; then
    missing "$packages packages are not installed, and this is not Debian 12 (bookworm), of which they are" \
      'run it there, or with --bin DIR and programs that were built there'
  fi
}

declare -A needed=()
# need_space FOLDER MIB: on the file system of FOLDER, beside what others need there.
need_space() {
  local at
  at=$(df --output=target "$1" | tail -n 1)
  needed[$at]=$((${needed[$at]:-0} + $2))
}

look_at_space() {
  local at free
  for at in "${!needed[@]}"; do
    free=$(($(df --output=avail -k "$at" | tail -n 1) / 1024))
    ((free >= needed[$at])) || missing "packages and build need ${needed[$at]} MiB on $at, where $free are free" "free $((needed[$at] - free)) MiB there"
  done
}

# Where nothing is installed, programs of ours and of others must be there.
look_at_programs() {
  local bin=$1 program absent=''
  for program in lbd lbctl; do
    [[ -x $bin/$program ]] || missing "$bin has no program $program" 'name the folder of lbd and lbctl by --bin'
  done
  for program in nginx etcd etcdctl jq curl ss ip; do
    [[ -x $(command -v "$program") ]] || absent+=" $program"  # command -v names files that cannot be run, too
  done
  [[ -z $absent ]] || missing "not installed:$absent" 'tools/setup'
}

# The dead leave their cgroup a moment after their end.
remove_trial() {
  [[ -n $trial ]] || return 0
  for _ in {1..250}; do
    rmdir "$trial" 2>/dev/null || [[ -d $trial ]] || return 0
    sleep 0.02
  done
}

# Says in a sentence what there is, or names all obstacles and returns 77. BIN: the programs to show, if none are built.
look() (
  bin=${1:-} trial='' unknown='' may_try=1
  if [[ ! -r /proc/self/mountinfo ]]; then
    printf 'tools/quickstart: no /proc: mount -t proc proc /proc\n' >&2
    exit 77
  fi
  export LC_ALL=C  # words of other programs are looked at
  mount=$(cgroup2_mount)
  trap remove_trial EXIT
  look_at_rights || may_try=0
  look_at_kernel
  look_at_cgroup
  if ((may_try)); then
    look_at_namespaces
    look_at_bpf
  fi
  if [[ -n $bin ]]; then
    look_at_programs "$bin"
  else
    need_space "$tools" "$build_mib"
    look_at_packages
    look_at_space
  fi
  if ((${#obstacles[@]})); then
    printf 'tools/quickstart: this machine cannot run it\n' >&2
    printf '  * %s\n' "${obstacles[@]}" >&2
    exit 77
  fi
  printf 'This machine can run it: Linux %s, cgroup2 on %s, bpffs, and root may load BPF programs%s.\n' "$(uname -r)" "$mount" \
    "${unknown:+ ($unknown)}"
)

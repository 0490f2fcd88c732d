#!/bin/bash
# A new user on a bare machine: makes a minimal Debian in a directory, installs what README names, and runs
# README's two commands, `make run` and `make test`. Prints how long each took and how many tests were skipped.
#
#     tests/bare_root.sh [bookworm|trixie] [COMMAND...]
#
# With a command (words for sh -c), that runs in the place of the two. PACKAGES are packages other than those that
# README names, NO_RUST=1 leaves out Rust, and ROOT_FILES are files that lie in /root/files there. Needs root, debootstrap and an installed
# Rust, which is copied in. Exits with 77 where one of these is missing. Nothing is mounted outside a private
# namespace, so nothing stays mounted. KEEP=1 keeps the directory; TMPDIR (default /var/tmp) says where it is made.
set -euo pipefail

suite=${1:-bookworm}
[ $# -eq 0 ] || shift
project=$(cd "$(dirname "$0")/.." && pwd)

skip() {
    echo "bare_root.sh: skipped: $1" >&2
    exit 77
}
[ "$(id -u)" = 0 ] || skip "only root can make a Debian root"
command -v debootstrap >/dev/null || skip "there is no debootstrap (Debian: apt install debootstrap)"
[ -n "${NO_RUST:-}" ] || command -v rustc >/dev/null || skip "there is no Rust to copy in"

# A mount and a process namespace of its own: its mounts and processes always end with it.
if [ -z "${BARE_ROOT_INSIDE:-}" ]; then
    BARE_ROOT_INSIDE=1 exec unshare --mount --pid --fork --kill-child --propagation private "$0" "$suite" "$@"
fi

seconds() { date +%s; }
say() { echo "== $suite: $*"; }

root=$(mktemp -d "${TMPDIR:-/var/tmp}/odograph-$suite-XXXXXX")
finish() {
    # A recursive rm must never meet a mount.
    umount --recursive --quiet "$root/proc" "$root/dev" 2>/dev/null || true
    if [ -n "${KEEP:-}" ]; then
        echo "kept: $root"
    else
        rm -rf --one-file-system "$root"
    fi
}
trap finish EXIT
trap 'exit 130' INT TERM

# Packages come from where this machine gets its own.
mirror=${MIRROR:-$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
    grep -v '^ *#' | grep -oE 'https?://[^ ]+/debian/?' | head -1 || true)}
mirror=${mirror:-http://deb.debian.org/debian}

started=$(seconds)
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root.log" 2>&1 || {
    tail -20 "$root.log" >&2
    exit 1
}
rm -f "$root.log"
say "made by debootstrap in $(($(seconds) - started)) s"

# The same way to the registries of packages, Python packages and crates as here.
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" \
    "$HOME/.cargo/config.toml" "$HOME/.cargo/config"; do
    if [ -f "$file" ]; then
        mkdir -p "$root$(dirname "$file")"
        cp -L "$file" "$root$file"
    fi
done
grep -lE '^ *Acquire::' /etc/apt/apt.conf.d/* 2>/dev/null | grep -v docker | xargs -r cp -t "$root/etc/apt/apt.conf.d"
# Packages may write the certificates that are trusted anew, from these.
if [ -d /usr/local/share/ca-certificates ]; then
    mkdir -p "$root/usr/local/share"
    cp -rL /usr/local/share/ca-certificates "$root/usr/local/share/"
fi
certificates=/etc/ssl/certs/ca-certificates.crt
trust() {
    if [ -f $certificates ]; then
        mkdir -p "$root/etc/ssl/certs"
        cp -L $certificates "$root$certificates"
    fi
}
trust
variables=(HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" PATH=/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
while IFS= read -r line; do
    case ${line%%=*} in
    *_proxy | *_PROXY | PIP_INDEX_URL | PIP_EXTRA_INDEX_URL | PIP_CERT | PIP_DEFAULT_TIMEOUT | SSL_CERT_FILE | CARGO_HTTP_* | CARGO_REGISTRIES_*)
        variables+=("$line")
        ;;
    esac
done < <(env)

# The installed Rust: the toolchain in use, as rustup lays it out.
if [ -z "${NO_RUST:-}" ]; then
    toolchain=$(rustc --print sysroot)
    mkdir -p "$root/root/.cargo/bin" "$root/root/rust"
    tar -C "$toolchain" --exclude=share -cf - . | tar -C "$root/root/rust" -xf -
    for program in "$toolchain"/bin/*; do ln -s "/root/rust/bin/${program##*/}" "$root/root/.cargo/bin/"; done
fi
mkdir -p "$root/root/files"
for file in ${ROOT_FILES:-}; do cp "$file" "$root/root/files/"; done

# The project as a clone of it would be, with what is not committed yet.
mkdir "$root/root/odograph"
(cd "$project" && git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --null -T - -cf -) | tar -C "$root/root/odograph" -xf -

mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
for number in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${number%:*}" "$root/dev/${number#*:}"; done

inside() { env -i "${variables[@]}" chroot "$root" sh -c "cd /root/odograph && $*" </dev/null; }

# What README says to install, and no more.
install=$(grep -m1 -oE 'apt install( [a-z0-9.+-]+)+' "$project/README.md")
[ -z "${PACKAGES:-}" ] || install="apt install $PACKAGES"
started=$(seconds)
inside "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends ${install#apt }" \
    >"$root/root/install.log" 2>&1 || {
    tail -20 "$root/root/install.log" >&2
    exit 1
}
trust
say "$install: $(($(seconds) - started)) s"

if [ $# -gt 0 ]; then
    inside "$*"
    exit
fi

status=0
for command in "make run" "make test"; do
    started=$(seconds)
    if inside "$command 2>&1" | tee "$root/root/output" | sed "s/^/   $suite: /"; then
        say "$command: $(($(seconds) - started)) s"
    else
        say "$command FAILED after $(($(seconds) - started)) s"
        status=1
    fi
done
say "tests: $(grep -E '^[0-9]+ (passed|failed)|(passed|failed).* in [0-9]' "$root/root/output" | tail -1)"
exit $status

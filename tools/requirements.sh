#!/bin/sh
# Says in one message what is missing to build Odograph, and what to install. Silent if nothing is.
#
# PYTHON names the Python to build for (default python3).
set -u
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")/.." && pwd)
oldest_rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/Cargo.toml")
directory=$(mktemp -d) || exit 1
trap 'rm -rf "$directory"' EXIT

missing=""
packages=""
needs() { # WHAT [PACKAGE...]
    missing="$missing
  $1"
    shift
    for package in "$@"; do
        case " $packages " in
        *" $package "*) ;;
        *) packages="$packages $package" ;;
        esac
    done
}

# at_least VERSION OLDEST: compares major and minor number.
at_least() {
    found_major=${1%%.*} found_minor=${1#*.} oldest_major=${2%%.*} oldest_minor=${2#*.}
    found_minor=${found_minor%%.*} oldest_minor=${oldest_minor%%.*}
    [ "$found_major" -gt "$oldest_major" ] ||
        { [ "$found_major" -eq "$oldest_major" ] && [ "$found_minor" -ge "$oldest_minor" ]; }
}

if ! command -v "$python" >/dev/null 2>&1; then
    needs "Python 3.11 or newer: $python was not found" python3 python3-venv
else
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=0.0
    if ! at_least "$version" 3.11; then
        needs "Python 3.11 or newer: $python is $version; name another with make PYTHON=python3.11"
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        needs "Python's modules venv and ensurepip: $python lacks them" python3-venv
    fi
fi

if ! command -v cc >/dev/null 2>&1; then
    needs "a C compiler, which Rust links with: cc was not found" gcc libc6-dev
else
    printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' >"$directory/probe.c"
    if ! cc -o "$directory/probe" "$directory/probe.c" >/dev/null 2>&1; then
        needs "the headers and start files of the C library: cc cannot build a small program" libc6-dev
    fi
fi

rust=""
if ! command -v cargo >/dev/null 2>&1 || ! command -v rustc >/dev/null 2>&1; then
    if [ -x "$HOME/.cargo/bin/cargo" ]; then
        rust="cargo lies in ~/.cargo/bin, which is not in PATH: . ~/.cargo/env"
    else
        rust="cargo or rustc was not found; install Rust as https://rustup.rs says"
    fi
else
    version=$(rustc --version 2>/dev/null | cut -d' ' -f2)
    case $version in
    [0-9]*.[0-9]*) at_least "$version" "$oldest_rust" || rust="rustc is $version; rustup update brings a newer one, https://rustup.rs rustup" ;;
    *) rust="rustc does not tell its version; rustup default stable sets one" ;;
    esac
fi
[ -z "$rust" ] || needs "Rust $oldest_rust or newer: $rust"

if [ -n "$missing" ]; then
    echo "Odograph cannot be built yet. Missing:$missing" >&2
    [ -z "$packages" ] || echo "On Debian or Ubuntu: apt install$packages" >&2
    exit 1
fi

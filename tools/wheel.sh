#!/bin/bash
# Builds the wheel and the source distribution in dist/, and dist/debug with the debug information of its libraries.
# PYTHON is a Python with pip, setuptools and wheel (make wheel: the one of .venv).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python3}

for program in cargo objcopy objdump; do
    command -v "$program" >/dev/null || {
        echo "tools/wheel.sh: $program was not found (Debian: apt install binutils; Rust: rustup.rs)" >&2
        exit 1
    }
done

# Nothing in the libraries tells where they were built.
export RUSTFLAGS="--remap-path-prefix=$PWD=odograph --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
export ODOGRAPH_CARGO_PROFILE=dist ODOGRAPH_DEBUG_FILES="$PWD/dist/debug"
rm -rf build/wheel dist/*.whl dist/*.tar.gz dist/debug
mkdir -p build/wheel dist
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir build/wheel .

# The oldest glibc that has every function that the libraries call: what PEP 600 wants in the tag of the platform.
made=$(echo build/wheel/odograph-*.whl)
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
"$python" -m zipfile -e "$made" "$unpacked"
glibc=$(find "$unpacked" -name '*.so' -exec objdump -T {} + | grep -oE 'GLIBC_[0-9]+\.[0-9]+' | sort -Vu | tail -1)
platform=manylinux_${glibc#GLIBC_}
platform=${platform/./_}_$(uname -m)
"$python" -m wheel tags --remove --platform-tag "$platform" "$made" >/dev/null
mv build/wheel/odograph-*.whl dist/
"$python" -c 'from setuptools.build_meta import build_sdist; build_sdist("dist")' >/dev/null
ls -l dist/*.whl dist/*.tar.gz dist/debug/*

#!/bin/bash
# The wheel on a bare machine: makes a minimal Debian, installs the wheel in it with pip, and records `ls` there.
#
#     tests/wheel_root.sh [bookworm|trixie] [WHEEL]
#
# Without WHEEL, `make wheel` makes one. Exits with 77 where bare_root.sh does; TMPDIR and KEEP are its.
set -euo pipefail
suite=${1:-bookworm}
project=$(cd "$(dirname "$0")/.." && pwd)
wheel=${2:-}
if [ -z "$wheel" ]; then
    make -C "$project" wheel
    wheel=$(echo "$project"/dist/odograph-*.whl)
fi
size=$(stat -c %s "$wheel")
[ "$size" -lt 10000000 ] || { echo "wheel_root.sh: the wheel has $size bytes; it should have less than 10 MB" >&2; exit 1; }
ROOT_FILES="$wheel" NO_RUST=1 PACKAGES="python3 python3-venv" exec "$project/tests/bare_root.sh" "$suite" "
set -eu
! command -v cargo && ! command -v gcc
python3 --version
python3 -m venv /root/venv
/root/venv/bin/pip install --quiet --disable-pip-version-check /root/files/$(basename "$wheel")
cd /
/root/venv/bin/odograph run -o /root/ls.data -- ls
/root/venv/bin/odograph verify /root/ls.data
/root/venv/bin/python - <<'PYTHON'
import importlib, pkgutil, sys, odograph
optional = {'distributed', 'unicorn', 'zstandard'}
loaded = 0
for module in pkgutil.walk_packages(odograph.__path__, 'odograph.'):
    if module.name.endswith('__main__') or module.name.endswith('_recorder'):
        continue
    try:
        importlib.import_module(module.name)
        loaded += 1
    except ImportError as error:
        assert error.name in optional, (module.name, error)
print('wheel_root.sh:', loaded, 'modules loaded by Python', sys.version.split()[0])
assert loaded > 200
PYTHON
for library in /root/venv/lib/python3*/site-packages/odograph/_native.abi3.so /root/venv/lib/python3*/site-packages/odograph/recorder/_recorder.abi3.so; do
    ldd \$library
    ! ldd \$library | grep 'not found'
done
"

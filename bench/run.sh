#!/bin/bash
# Runs every benchmark and prints what docs/BENCHMARKS.md records. Root, about 35 minutes and 12 GB of disk;
# needs the Debian packages bubblewrap, git, ninja-build, time and util-linux. Nothing else should run on the machine
# meanwhile.
# Usage: bench/run.sh [rounds]
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
jobs=$(nproc)
for program in bwrap:bubblewrap git:git ninja:ninja-build /usr/bin/time:time; do
	command -v "${program%%:*}" >/dev/null || apt-get install -y -q "${program#*:}" >/dev/null
done
cargo build --release -q
bld=$PWD/target/release/bld
scratch=$(mktemp -d "$PWD/target/bench.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

now() { date +%s.%N; }
since() { echo "$(now) - $1" | bc -l 2>/dev/null || awk -v a="$(now)" -v b="$1" 'BEGIN { printf "%.3f", a - b }'; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

echo "== sandbox"
cargo bench -q -p cli --bench sandbox

echo "== preparing: locking and exporting trees"
export BLD_STORE=$scratch/store
cp -r fixtures/drivers "$scratch/ws"
rm -rf "$scratch/ws/bld-out" "$scratch/ws/bld.lock"
ws=$scratch/ws
began=$(now)
"$bld" -C "$ws" lock >/dev/null 2>&1
echo "first lock (download and unpack): $(since "$began") s"

# The bare loop's directories: the same trees, copied out of the store before any clock starts.
cp bench/export.bzl "$ws/drivers/"
cat bench/export.BUILD >>"$ws/drivers/BUILD.bld"
"$bld" -C "$ws" build //drivers:bare >/dev/null 2>&1
bare=$scratch/bare
mkdir -p "$bare"
mv "$ws/bld-out/drivers/k" "$ws/bld-out/drivers/roots" "$bare/"
for root in "$bare"/roots/*; do mkdir -p "$root"/{k,src,bld,work,dev,proc,tmp}; done
cp -r fixtures/drivers/drivers/echo "$bare/src"
cp -r rules/scripts "$bare/scripts"
cp fixtures/drivers/drivers/BUILD.bld "$ws/drivers/BUILD.bld"
"$bld" -C "$ws" build --json //drivers:all 2>/dev/null >"$scratch/answer.json"
# kind, kernel and version of each cell that is built
sed -n 's/^ *"cell": {$/cell/p; s/^ *"\(kind\|kernel\|version\)": "\(.*\)",\{0,1\}$/\1 \2/p; s/^ *"status": "\(.*\)"$/status \1/p' \
	"$scratch/answer.json" | awk '
	$1 == "status" { if ($2 == "built" || $2 == "cached") print c["kind"], c["kernel"], c["version"] }
	{ c[$1] = $2 }' | sort -u >"$bare/cells"
echo "cells: $(wc -l <"$bare/cells")"

cold_bld() {
	rm -rf "$BLD_STORE"/{actions,failures,trees} "$ws/bld-out"
	sync
	local began; began=$(now)
	"$bld" -C "$ws" build -j "$jobs" //drivers:all >"$scratch/log" 2>&1 &
	local pid=$! peak=0 seen
	while kill -0 "$pid" 2>/dev/null; do
		seen=$(awk '/VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null || true)
		[ -n "$seen" ] && peak=$seen
		sleep 0.1
	done
	wait "$pid" || { tail -20 "$scratch/log" >&2; return 1; }
	since "$began"
	echo "$peak" >>"$scratch/peaks"
}

cold_bare() {
	rm -rf "$bare/work"
	while read -r kind kernel version; do
		mkdir -p "$bare/work/$kind-$kernel-$version"/{root,upper,overlay,cwd/out}
	done <"$bare/cells"
	sync
	local began; began=$(now)
	bench/bare-loop.sh "$bare" "$jobs"
	since "$began"
	[ "$(find "$bare/work" -path '*/cwd/out/*.gz' | wc -l)" = "$(wc -l <"$bare/cells")" ]
}

echo "== cold //drivers:all, downloads in the store, against the bare loop ($jobs at once)"
for _ in $(seq "$rounds"); do
	cold_bld >>"$scratch/cold-bld"
	cold_bare >>"$scratch/cold-bare"
	echo "bld $(tail -1 "$scratch/cold-bld") s, bare loop $(tail -1 "$scratch/cold-bare") s"
done
ours=$(median <"$scratch/cold-bld") theirs=$(median <"$scratch/cold-bare")
awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "cold: ratio %.3f (aim 1.05)\n", a / b }'
echo "peak memory of bld: $(sort -n "$scratch/peaks" | tail -1) kB (aim below 200000)"

echo "== outputs of both are the same bytes"
while read -r kind kernel version; do
	case $kind in mod) name=echo-$kernel.ko.gz ;; bpf) name=echo-ebpf-$kernel.o.gz ;; esac
	cmp "$ws/bld-out/drivers/$version/$name" "$bare/work/$kind-$kernel-$version"/cwd/out/*.gz
done <"$bare/cells" && echo same

echo "== nothing to do, and one source changed"
for _ in $(seq 7); do
	began=$(now); "$bld" -C "$ws" build //drivers:all >/dev/null 2>&1; since "$began"
done | median | sed 's/^/nothing to do: /; s/$/ s/'
for n in $(seq 3); do
	echo "/* $n */" >>"$ws/drivers/echo/2.0.0/ring.c"
	began=$(now)
	"$bld" -C "$ws" build "//drivers:echo{kernel=6.1.0-*-cloud-amd64,version=2.0.0,kind=mod}" >"$scratch/log" 2>&1
	echo "one source changed: $(since "$began") s; $(grep 'actions ran' "$scratch/log")"
done
"$bld" cache stat

# Milliseconds of wall clock that a command takes; what it says goes to the log.
wall() {
	local began=$EPOCHREALTIME
	"$@" >"$scratch/log" 2>&1 || { tail -20 "$scratch/log" >&2; return 1; }
	echo "$began $EPOCHREALTIME" | awk '{ printf "%.1f\n", ($2 - $1) * 1000 }'
}
peak() { /usr/bin/time -f %M -o "$scratch/peak" "$@" >/dev/null 2>&1 && cat "$scratch/peak"; }

echo "== 1,000 packages, 10,000 targets, 20,000 sources"
large=$scratch/large
cargo bench -q -p cli --bench workspace -- packages "$large"
(cd "$large" && git init -q . && git add . && git -c user.name=bench -c user.email=bench@localhost commit -qm large)
echo "first build: $(wall "$bld" -C "$large" build //...) ms of bld, $(wall ninja -C "$large") ms of ninja, unsandboxed"
sleep 3 # What was just written is read again once.
for _ in 1 2; do "$bld" -C "$large" build //... >/dev/null; git -C "$large" status >/dev/null; done
for _ in $(seq 15); do
	wall "$bld" -C "$large" build //... >>"$scratch/idle-bld"
	grep -q "^nothing to do" "$scratch/log"
	wall ninja -C "$large" >>"$scratch/idle-ninja"
	wall git -C "$large" status >>"$scratch/idle-git"
done
ours=$(median <"$scratch/idle-bld") ninja=$(median <"$scratch/idle-ninja") git=$(median <"$scratch/idle-git")
awk -v a="$ours" -v b="$ninja" -v c="$git" 'BEGIN {
	printf "nothing to do: bld %s ms, ninja %s ms, git status %s ms: %.2f of ninja (aim 0.5), %.2f of git (aim 1)\n", a, b, c, a / b, a / c }'
for n in $(seq 7); do
	echo "// $n" >>"$large/p13/q0933/s4.c"
	wall "$bld" -C "$large" build //... >>"$scratch/edit"
	grep -q "^1 action ran" "$scratch/log"
	# How long the action itself took, from being told to start until its result was there.
	"$bld" -C "$large" builds last --json | tr -d ' ,' | awk -F: -v wall="$(tail -1 "$scratch/edit")" '
		$1 == "\"began\"" && !began { began = $2 } $1 == "\"ended\"" && !ended { ended = $2 }
		END { printf "%.1f\n", wall - 1000 * (ended - began) }' >>"$scratch/over"
	echo "# $n" >>"$large/p13/q0933/BUILD.bld"
	wall "$bld" -C "$large" build //... >>"$scratch/redeclare"
done
echo "one source changed, one action: $(median <"$scratch/edit") ms, $(median <"$scratch/over") ms over the action itself (aim 50); a build file changed: $(median <"$scratch/redeclare") ms"
for _ in $(seq 5); do taskset -c 0 cargo bench -q -p cli --bench workspace -- analyse "$large"; done

echo "== plans of a matrix, all cached"
cells=$scratch/cells
cargo bench -q -p cli --bench workspace -- cells "$cells"
echo "first build of 40,000 cells: $(wall "$bld" -C "$cells" build //...) ms"
"$bld" -C "$cells" plan //... | tail -1
for kernels in '~k00[0-4].,version=?.0' 'k00??' '~k0[01]..' '~k0[0-4]..' 'k0???'; do
	pattern="//drivers:echo{kernel=$kernels}"
	for _ in $(seq 5); do wall "$bld" -C "$cells" plan "$pattern" >>"$scratch/plan"; done
	number=$("$bld" -C "$cells" plan --json "$pattern" | grep -c '"status": "cached"')
	awk -v p="$pattern" -v n="$number" -v ms="$(median <"$scratch/plan")" -v kb="$(peak "$bld" -C "$cells" plan "$pattern")" \
		'BEGIN { printf "%s: %d cells, %s ms, %.1f us a cell, %.0f MB\n", p, n, ms, 1000 * ms / n, kb / 1024 }'
	rm "$scratch/plan"
done

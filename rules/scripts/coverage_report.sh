# Merges what tests covered into one tracefile of lcov, and says how much that is.
set -eu
report=out/$REPORT
find /src -type f | sort >files
if [ ! -s files ]; then
	echo "coverage_report: no test wrote what it covered" >&2
	exit 1
fi
tr '\n' '\0' <files | xargs -0 awk -f /bld/lcov_merge.awk >merged
LC_ALL=C sort -t "$(printf '\t')" -k1,1 -k2,2n -k3,3 merged | cut -f4- >"$report"
awk -F: '
	$1 == "LF" { found += $2 }
	$1 == "LH" { hit += $2 }
	END { printf "%d of %d lines are covered (%.1f %%)\n", hit, found, found ? 100 * hit / found : 0 }
' "$report"

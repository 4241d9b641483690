# Merges lcov tracefiles into one: counts of the same line, function or branch of the same source are added up.
#
# What is written is sorted (by sort, in coverage_report.sh), so the order of the tests does not count. Each line that is
# printed has its source, a number for its place in the record and its own sort key before it.

# A count is written as it is, however large.
BEGIN { CONVFMT = "%.0f" }

function fail(why) {
	printf "coverage_report: %s:%d: %s: %s\n", FILENAME, FNR, why, $0 >"/dev/stderr"
	failed = 1
	exit 1
}

function number(text) {
	if (text !~ /^[0-9]+$/)
		fail("a count is not a number")
	return text + 0
}

function check_end() {
	if (source == "")
		return
	printf "coverage_report: %s: the last record has no end\n", file >"/dev/stderr"
	failed = 1
	exit 1
}

FNR == 1 {
	check_end()
	file = FILENAME
}

{ sub(/\r$/, "") }

/^SF:/ {
	if (source != "")
		fail("the record before has no end")
	source = substr($0, 4)
	if (source == "" || source ~ /\t/)
		fail("a source has no name, or a tab in it")
	sources[source] = 1
	next
}

/^end_of_record$/ {
	if (source == "")
		fail("a record ends that never began")
	source = ""
	next
}

# The name of a test, an empty line: nothing to count.
/^TN:/ || /^$/ || /^#/ { next }

source == "" { fail("not in the record of a source") }

# DA:<line>,<count>[,<checksum>]
/^DA:/ {
	split(substr($0, 4), part, ",")
	key = source SUBSEP number(part[1])
	lines[key] += number(part[2])
	next
}

# FN:<line>,[<last line>,]<name>: names of C++ have commas, too.
/^FN:/ {
	rest = substr($0, 4)
	if (!match(rest, /^[0-9]+,([0-9]+,)?/))
		fail("a function has no line")
	name = substr(rest, RLENGTH + 1)
	places[source SUBSEP name] = substr(rest, 1, RLENGTH)
	next
}

# FNDA:<count>,<name>
/^FNDA:/ {
	rest = substr($0, 6)
	if (!match(rest, /^[0-9]+,/))
		fail("a function has no count")
	key = source SUBSEP substr(rest, RLENGTH + 1)
	functions[key] += substr(rest, 1, RLENGTH - 1)
	next
}

# BRDA:<line>,<block>,<branch>,<count or - if its line was never reached>
/^BRDA:/ {
	rest = substr($0, 6)
	if (!match(rest, /,[^,]*$/))
		fail("a branch has no count")
	key = source SUBSEP substr(rest, 1, RSTART - 1)
	taken = substr(rest, RSTART + 1)
	if (taken == "-") {
		if (!(key in branches))
			branches[key] = "-"
	} else if (branches[key] == "-")
		branches[key] = number(taken)
	else
		branches[key] += number(taken)
	next
}

# Sums are made anew.
/^(LF|LH|FNF|FNH|BRF|BRH):/ { next }

{ fail("this kind of line is not known") }

function put(source, part, order, text) { printf "%s\t%d\t%s\t%s\n", source, part, order, text }

END {
	if (failed)
		exit 1
	check_end()
	for (source in sources)
		put(source, 0, "", "SF:" source)
	for (key in functions)
		if (!(key in places))
			places[key] = "0,"
	for (key in places) {
		split(key, part, SUBSEP)
		name = substr(key, length(part[1]) + 2)
		order = sprintf("%010d %s", places[key], name)
		put(part[1], 1, order, "FN:" places[key] name)
		put(part[1], 2, order, "FNDA:" (functions[key] + 0) "," name)
		found[part[1], 3]++
		hit[part[1], 3] += functions[key] > 0
	}
	for (key in branches) {
		split(key, part, SUBSEP)
		split(part[2], place, ",")
		put(part[1], 4, sprintf("%010d %s", place[1], part[2]), "BRDA:" part[2] "," branches[key])
		found[part[1], 5]++
		hit[part[1], 5] += branches[key] > 0 && branches[key] != "-"
	}
	for (key in lines) {
		split(key, part, SUBSEP)
		put(part[1], 6, sprintf("%010d", part[2]), "DA:" part[2] "," lines[key])
		found[part[1], 7]++
		hit[part[1], 7] += lines[key] > 0
	}
	sums[3] = "FN"
	sums[5] = "BR"
	sums[7] = "L"
	for (source in sources) {
		for (sum in sums)
			if ((source, sum) in found) {
				put(source, sum, "1", sums[sum] "F:" found[source, sum])
				put(source, sum, "2", sums[sum] "H:" (hit[source, sum] + 0))
			}
		put(source, 8, "", "end_of_record")
	}
}

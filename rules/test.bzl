"""Tests: programs that are run in a build root by `bld test`, and what they cover."""

load("@rules//debian.bzl", "BuildRootInfo")
load("@rules//files.bzl", "TreeInfo")
load("@rules//sandbox.bzl", "ENVIRONMENT")

_SCRIPT = read_text("scripts/test.sh")

# Where a test's program is shown.
_PROGRAM = "/test/program"

# Where tests leave their results and their coverage, below the working directory.
_RESULTS = "results"
_COVERAGE = "coverage.info"

def _test(ctx):
    if bool(ctx.attr.program) == bool(ctx.attr.cmd):
        fail("a test has a `program` or a `cmd`")
    inputs = {
        "/": ctx.attr.root[BuildRootInfo].tree,
        "/bld": ctx.actions.tree({"test.sh": ctx.actions.write(_SCRIPT)}),
    }
    if ctx.attr.program:
        inputs[_PROGRAM] = ctx.attr.program
    for path, artifact in ctx.attr.data.items():
        inputs["/src/" + path] = artifact
    for place, dep in ctx.attr.trees.items():
        inputs[place] = dep[TreeInfo].tree
    command = [_PROGRAM] if ctx.attr.program else ["/bin/sh", "-eu", "-c", ctx.attr.cmd, ctx.name]
    env = {"TEST_OUTPUT": "/work/out/" + _RESULTS}
    outputs = [_RESULTS]
    if ctx.attr.coverage:
        env["TEST_COVERAGE"] = "/work/out/" + _COVERAGE
        outputs.append(_COVERAGE)
    made = ctx.actions.run(
        arguments = ["/bin/sh", "-eu", "/bld/test.sh"] + command + ctx.attr.args,
        inputs = inputs,
        outputs = outputs,
        env = ENVIRONMENT | env | ctx.attr.env,
        timeout_seconds = ctx.attr.timeout_seconds if ctx.attr.timeout_seconds else None,
        role = "test",
        test = True,
    )
    return [TestInfo(results = made[0], coverage = made[1] if ctx.attr.coverage else None)]

# Runs a program in a build root. It passes if its exit status is 0.
#
# `program` is a file, of the package or made by a target; `cmd` is text for sh -eu -c. The command starts in /work, an
# empty folder; data lie under /src. What it puts into the folder $TEST_OUTPUT is kept, even if it fails. With
# `coverage = True` it has to write what it covered to the file $TEST_COVERAGE, as lcov has it.
#
#     test(
#         name = "greets",
#         cmd = "grep -q hello /src/hello.txt",
#         data = [":hello"],
#         root = ":shell",
#     )
test = rule(
    implementation = _test,
    attrs = {
        "program": attr.source(doc = "The program."),
        "cmd": attr.string(doc = "A command for sh -eu -c, in place of a program."),
        "args": attr.string_list(doc = "The arguments of the program or command."),
        "root": attr.label(mandatory = True, providers = [BuildRootInfo], doc = "The build root."),
        "data": attr.source_list(doc = "What it reads, under /src."),
        "trees": attr.label_dict(providers = [TreeInfo], doc = "Trees, by the place they are shown at."),
        "env": attr.string_dict(doc = "Added to the environment."),
        "timeout_seconds": attr.int(doc = "A time-out that is part of the key; none if 0."),
        "coverage": attr.bool(doc = "Whether it writes what it covered to $TEST_COVERAGE."),
    },
    test = True,
)

_REPORT_SCRIPT = read_text("scripts/coverage_report.sh")
_MERGE_SCRIPT = read_text("scripts/lcov_merge.awk")

def _coverage_report(ctx):
    covered = {}
    for number, dep in enumerate(ctx.attr.tests):
        if not dep[TestInfo].coverage:
            fail("the test {} measures no coverage: say coverage = True there".format(dep.label))
        covered["{}-{}.info".format(number, dep.name.replace("/", "_"))] = dep[TestInfo].coverage
    [report] = ctx.actions.run(
        arguments = ["/bin/sh", "/bld/report.sh"],
        inputs = {
            "/": ctx.attr.root[BuildRootInfo].tree,
            "/bld": ctx.actions.tree({
                "report.sh": ctx.actions.write(_REPORT_SCRIPT),
                "lcov_merge.awk": ctx.actions.write(_MERGE_SCRIPT),
            }),
            "/src": ctx.actions.tree(covered),
        },
        outputs = [ctx.name + ".info"],
        env = ENVIRONMENT | {"REPORT": ctx.name + ".info"},
        role = "coverage",
    )
    return [DefaultInfo(outputs = {ctx.name + ".info": report})]

# Merges what tests covered into one report, as lcov has it: counts of the same line, function or branch are added up.
# It runs the tests, as far as they have not passed yet.
#
#     coverage_report(
#         name = "coverage",
#         tests = [":unit", ":end-to-end"],    # with coverage = True
#         root = ":shell",
#     )
#
# The root needs coreutils, dash, findutils and mawk, as `awk`.
coverage_report = rule(
    implementation = _coverage_report,
    attrs = {
        "tests": attr.label_list(mandatory = True, providers = [TestInfo], doc = "The tests."),
        "root": attr.label(mandatory = True, providers = [BuildRootInfo], doc = "The build root with awk."),
    },
)

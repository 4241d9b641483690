"""Files: groups of them, and commands that make some out of others."""

load("@rules//debian.bzl", "BuildRootInfo")
load("@rules//sandbox.bzl", "ENVIRONMENT")

TreeInfo = provider(
    doc = "A target that is one tree.",
    fields = {"tree": "artifact"},
)

def _filegroup(ctx):
    tree = ctx.actions.tree({
        path.removeprefix(ctx.attr.strip_prefix): artifact
        for path, artifact in ctx.attr.srcs.items()
    })
    return [DefaultInfo(outputs = {ctx.name: tree}), TreeInfo(tree = tree)]

# Puts files of the package (and what other targets make) together into one tree.
#
#     filegroup(
#         name = "src",
#         srcs = glob(["echo/1.0.0/**"], exclude = ["**/*.orig"]),
#         strip_prefix = "echo/1.0.0/",
#     )
filegroup = rule(
    implementation = _filegroup,
    attrs = {
        "srcs": attr.source_list(mandatory = True, doc = "Files, folders and labels."),
        "strip_prefix": attr.string(doc = "Taken off the front of each path."),
    },
)

def _genrule(ctx):
    if not ctx.attr.outs:
        fail("genrule needs at least one name in `outs`")
    # Without a build root there is only the working directory, so sources lie there.
    inputs = {"/": ctx.attr.root[BuildRootInfo].tree} if ctx.attr.root else {}
    place = "/src/" if ctx.attr.root else "/work/src/"
    for path, artifact in ctx.attr.srcs.items():
        inputs[place + path] = artifact
    for place, dep in ctx.attr.trees.items():
        inputs[place] = dep[TreeInfo].tree
    made = ctx.actions.run(
        arguments = ["/bin/sh", "-eu", "-c", ctx.attr.cmd],
        inputs = inputs,
        outputs = ctx.attr.outs,
        env = ENVIRONMENT | ctx.attr.env,
        timeout_seconds = ctx.attr.timeout_seconds if ctx.attr.timeout_seconds else None,
    )
    return [DefaultInfo(outputs = dict(zip(ctx.attr.outs, made)))]

# Runs a shell command in a build root. Sources lie under /src, trees where `trees` says; the command starts in
# /work, an empty folder, and puts what it makes under out/.
#
# Without `root` it has the machine's own tools, which takes --sandbox=none: then sources lie in src/ below the
# working directory, and nothing is recorded.
#
#     genrule(
#         name = "version",
#         srcs = ["VERSION"],
#         cmd = "tr a-z A-Z < /src/VERSION > out/version.txt",
#         outs = ["version.txt"],
#         root = ":shell",
#     )
genrule = rule(
    implementation = _genrule,
    attrs = {
        "cmd": attr.string(mandatory = True, doc = "The command, for sh -eu -c."),
        "outs": attr.string_list(mandatory = True, doc = "What it makes, below out/."),
        "root": attr.label(providers = [BuildRootInfo], doc = "The build root."),
        "srcs": attr.source_list(doc = "What it reads, under /src."),
        "trees": attr.label_dict(providers = [TreeInfo], doc = "Trees, by the place they are shown at."),
        "env": attr.string_dict(doc = "Added to the environment."),
        "timeout_seconds": attr.int(doc = "A time-out that is part of the key; none if 0."),
    },
)

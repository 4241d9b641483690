"""Copies trees out under bld-out, for programs that know nothing of bld."""

load("@rules//debian.bzl", "BuildRootInfo")
load("@rules//files.bzl", "TreeInfo")

def _export(ctx):
    outputs = {"k/" + dep.cell["kernel"]: dep[TreeInfo].tree for dep in ctx.attr.headers}
    for kind, dep in ctx.attr.roots.items():
        outputs["roots/" + kind] = dep[BuildRootInfo].tree
    return [DefaultInfo(outputs = outputs)]

export = rule(
    implementation = _export,
    attrs = {
        "headers": attr.label_list(providers = [TreeInfo]),
        "roots": attr.label_dict(providers = [BuildRootInfo]),
    },
)

"""Kernels: which there are, their headers, and the modules and probes built against them."""

load("@rules//debian.bzl", "BuildRootInfo")
load("@rules//files.bzl", "TreeInfo")
load("@rules//sandbox.bzl", "ENVIRONMENT")

KernelListInfo = provider(
    doc = "The locked kernels: release to a dict of headers, common, kbuild and maybe image, each with a package's tree.",
    fields = {"kernels": "dict"},
)

KernelHeadersInfo = provider(
    doc = "A relocatable header tree: build/, common/ and kbuild/ beside each other, no version in any path.",
    fields = {"tree": "artifact", "release": "string"},
)

DriverInfo = provider(
    doc = "A compiled driver for one kernel.",
    fields = {"file": "artifact", "release": "string"},
)

def _role(package):
    if package.startswith("linux-kbuild-"):
        return "kbuild"
    if package.startswith("linux-image-"):
        return "image"
    if package.endswith("-common") or package.endswith("-common-rt"):
        return "common"
    return "headers"

def _kernel_list(ctx):
    kernels = {}
    for member in ctx.locked:
        kernels.setdefault(member.group, {})[_role(member.name)] = {
            "package": member.name,
            "version": member.version,
            "tree": member.tree,
        }
    for release, packages in kernels.items():
        lacking = [role for role in ["headers", "common", "kbuild"] if role not in packages]
        if lacking:
            fail("bld.lock pins no {} package for the kernel {}".format(" and no ".join(lacking), release))
    for release in ctx.attr.releases:
        if release not in kernels:
            reason = "no package source has headers for the kernel {}, and bld.lock pins none".format(release)
            kernels[release] = {"unavailable": reason}
    return [AxisInfo(values = sorted(kernels.keys())), KernelListInfo(kernels = kernels)]

# All kernels of the distribution whose release matches a pattern. Locking crawls the package sources; a kernel that
# vanishes from them stays locked.
#
#     kernel_list(
#         name = "kernels",
#         patterns = ["6.1.0-*-amd64", "6.12.*-cloud-amd64"],
#     )
#
# `releases` names kernels that are in the list in any case: those that people run, say. One that has no headers is
# unavailable: what needs it is neither built nor failed, and shown as such.
#
# It gives the axis `kernel` its values: matrix = {"kernel": ":kernels"}.
kernel_list = rule(
    implementation = _kernel_list,
    attrs = {
        "patterns": attr.string_list(mandatory = True, doc = "Globs on the release, as `uname -r` says it."),
        "releases": attr.string_list(doc = "Kernels that are listed even if they have no headers."),
        "arch": attr.string(default = "amd64", doc = "The architecture."),
        "images": attr.bool(doc = "Whether to lock the kernels themselves, too: what driver_load_test boots."),
    },
    lock = {"debian_kernels": ["patterns", "releases", "arch", "images"]},
)

# The markers below include/config tell make what to build again after a change of the configuration. A header tree
# never changes, no build opens them, and they are four files in ten.
_MARKERS = ["build/include/config/{}*".format(first) for first in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_".elems()]

# The only absolute path in a header package, made relative.
_MAKEFILE = "include $(dir $(abspath $(lastword $(MAKEFILE_LIST))))../common/Makefile\n"

def _kernel_headers(ctx):
    release = ctx.cell.get("kernel", ctx.attr.kernel)
    kernels = ctx.attr.kernels[KernelListInfo].kernels
    if release not in kernels:
        fail("the kernel `{}` is not in {}".format(release, ctx.attr.kernels.label))
    packages = kernels[release]
    if "unavailable" in packages:
        return [UnavailableInfo(reason = packages["unavailable"])]
    headers, common, kbuild = packages["headers"], packages["common"], packages["kbuild"]
    operations = [
        {"merge": {"tree": 0, "from": "usr/src/" + headers["package"], "to": "build"}},
        {"merge": {"tree": 1, "from": "usr/src/" + common["package"], "to": "common"}},
        {"merge": {"tree": 2, "from": "usr/lib/" + kbuild["package"], "to": "kbuild"}},
        {"file": {"path": "build/Makefile", "text": _MAKEFILE}},
        {"remove": {"paths": _MARKERS}},
    ] + [
        {"link": {"path": "{}/{}".format(part, name), "target": "../kbuild/" + name}}
        for part in ["build", "common"]
        for name in ["scripts", "tools"]
    ]
    tree = ctx.actions.builtin(
        "compose",
        inputs = [headers["tree"], common["tree"], kbuild["tree"]],
        options = operations,
        role = "headers",
    )
    return [
        TreeInfo(tree = tree),
        KernelHeadersInfo(tree = tree, release = release),
    ]

# A header tree for one kernel (or, with the axis `kernel`, for each): relocatable, because no path in it names a
# version, so that it can be shown at /k for every kernel alike.
#
#     kernel_headers(
#         name = "headers",
#         kernels = ":kernels",
#         matrix = {"kernel": ":kernels"},
#     )
kernel_headers = rule(
    implementation = _kernel_headers,
    attrs = {
        "kernels": attr.label(mandatory = True, providers = [KernelListInfo], doc = "The list."),
        "kernel": attr.string(doc = "Which of them, where there is no axis `kernel`."),
    },
)

_MODULE_SCRIPT = read_text("scripts/kernel_module.sh")
_PROBE_SCRIPT = read_text("scripts/ebpf_probe.sh")

def _compile(ctx, script, suffix, role, env):
    headers = ctx.attr.headers[KernelHeadersInfo]
    [made] = ctx.actions.run(
        arguments = ["/bin/sh", "/bld/build.sh"],
        inputs = {
            "/": ctx.attr.root[BuildRootInfo].tree,
            "/bld": ctx.actions.tree({"build.sh": ctx.actions.write(script)}),
            "/k": headers.tree,
            "/src": ctx.attr.src[TreeInfo].tree,
        },
        outputs = [ctx.attr.driver + suffix],
        env = ENVIRONMENT | {"NAME": ctx.attr.driver, "UNAME": headers.release} | env,
        role = role,
    )
    path = "{}-{}{}".format(ctx.attr.driver, headers.release, suffix)
    return [
        DefaultInfo(outputs = {path: made}),
        DriverInfo(file = made, release = headers.release),
    ]

def _kernel_module(ctx):
    return _compile(ctx, _MODULE_SCRIPT, ".ko.gz", "module", {})

_DRIVER_ATTRS = {
    "driver": attr.string(mandatory = True, doc = "The driver's name, as in `obj-m := name.o`."),
    "src": attr.label(mandatory = True, providers = [TreeInfo], doc = "Its sources, as one tree."),
    "headers": attr.label(mandatory = True, providers = [KernelHeadersInfo], doc = "The kernel's headers."),
    "root": attr.label(mandatory = True, providers = [BuildRootInfo], doc = "The build root with the tools."),
}

# A kernel module, compiled by kbuild against a header tree, stripped of debug information, compressed like gzip -n.
# Fails if its vermagic is not the kernel's release, if it has no code, or if the build root lacks the compiler that
# the kernel was built with.
#
#     kernel_module(
#         name = "echo-mod",
#         driver = "echo",
#         src = ":src",
#         headers = ":headers",
#         root = ":gcc",
#         matrix = {"kernel": ":kernels"},
#     )
kernel_module = rule(implementation = _kernel_module, attrs = _DRIVER_ATTRS)

def _ebpf_probe(ctx):
    return _compile(ctx, _PROBE_SCRIPT, ".o.gz", "probe", {
        "CLANG": ctx.attr.clang,
        "SOURCE": ctx.attr.source,
    })

# An eBPF probe, compiled by clang against a header tree; DWARF is stripped, BTF kept.
#
#     ebpf_probe(
#         name = "echo-bpf",
#         driver = "echo",
#         src = ":src",
#         headers = ":headers",
#         root = ":clang",
#         matrix = {"kernel": ":kernels"},
#     )
ebpf_probe = rule(
    implementation = _ebpf_probe,
    attrs = _DRIVER_ATTRS | {
        "clang": attr.string(default = "clang-14", doc = "The compiler; its LLVM tools have the same suffix."),
        "source": attr.string(default = "probe.bpf.c", doc = "The file in `src`."),
    },
)

_SUFFIX = {"mod": "", "bpf": "-ebpf"}
_ENDING = {"mod": ".ko.gz", "bpf": ".o.gz"}

def _driver_cell(ctx):
    info = ctx.attr.compiled[DriverInfo]
    kernel, kind, version = ctx.cell["kernel"], ctx.cell["kind"], ctx.cell["version"]
    path = "{}/{}{}-{}{}".format(version, ctx.attr.driver, _SUFFIX[kind], kernel, _ENDING[kind])
    return [
        DefaultInfo(
            outputs = {path: info.file},
            failure_log = "FAILURES/{}/{}/{}.log".format(kernel, version, kind),
        ),
        info,
    ]

_driver_cell_rule = rule(
    implementation = _driver_cell,
    attrs = {
        "driver": attr.string(mandatory = True),
        "compiled": attr.label(mandatory = True, providers = [DriverInfo]),
    },
)

# Returns what a blocklist excludes, for `exclude`. A line of it is
#
#     <kernel> [<driver version>] [mod|bpf]
#
# with `*` for any text; a word that begins with `~` is a regular expression; a missing word means `*`;
# what follows `#` is a comment.
def parse_blocklist(text):
    excluded = []
    for number, line in enumerate(text.split("\n")):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) > 3:
            fail("line {} of the blocklist has more than three words: {}".format(number + 1, line))
        entry = {"kernel": words[0]}
        for word in words[1:]:
            axis = "kind" if word in _SUFFIX else "version"
            if axis in entry:
                fail("line {} of the blocklist names two {}s: {}".format(number + 1, axis, line))
            entry[axis] = word
        excluded.append(entry)
    return excluded

# One driver for many kernels, in many versions, as module and as eBPF probe: a matrix of kernels, versions and kinds.
# Makes <version>/<driver>-<uname>.ko.gz and <version>/<driver>-ebpf-<uname>.o.gz; what fails leaves
# FAILURES/<uname>/<version>/<kind>.log.
#
#     driver_matrix(
#         name = "echo",
#         kernels = ":kernels",
#         versions = {"1.0.0": ":src-1.0.0", "2.0.0": ":src-2.0.0"},
#         probes = {"1.0.0": ":probe-1.0.0", "2.0.0": ":probe-2.0.0"},
#         roots = {"mod": ":gcc", "bpf": ":clang"},
#         blocklist = "BLOCKLIST",
#     )
#
# `xfail` names cells that must fail, as `exclude` does: [{"kernel": "6.12.*-rt-amd64", "kind": "mod"}].
# `parse_blocklist` makes such a list of a file.
#
# A probe is made of the same sources as the module unless `probes` says of which; apart, a change to one leaves the
# other alone.
#
# A cell is named //package:echo{kernel=6.1.0-56-amd64,version=1.0.0,kind=mod}; globs are allowed in the braces.
def driver_matrix(name, kernels, versions, roots, probes = {}, driver = "", blocklist = "", xfail = [], kinds = ["mod", "bpf"], tags = []):
    driver = driver or name
    for kind in kinds:
        if kind not in _SUFFIX:
            fail("`{}` is not a kind of driver: mod or bpf".format(kind))
        if kind not in roots:
            fail("`roots` names no build root for {}".format(kind))
    axes = {"kernel": kernels, "version": sorted(versions.keys())}
    for version in probes:
        if version not in versions:
            fail("`probes` names the version {}, which `versions` does not".format(version))
    sources = {"mod": versions, "bpf": versions | probes}
    kernel_headers(
        name = name + "-headers",
        kernels = kernels,
        matrix = {"kernel": kernels},
        tags = ["manual"],
    )
    compile = {"mod": kernel_module, "bpf": ebpf_probe}
    for kind in kinds:
        compile[kind](
            name = "{}-{}".format(name, kind),
            driver = driver,
            src = select({"version=" + version: label for version, label in sources[kind].items()}),
            headers = ":{}-headers".format(name),
            root = roots[kind],
            matrix = axes,
            tags = ["manual"],
        )
    _driver_cell_rule(
        name = name,
        driver = driver,
        compiled = select({"kind=" + kind: ":{}-{}".format(name, kind) for kind in kinds}),
        matrix = axes | {"kind": kinds},
        exclude = parse_blocklist(read_file(blocklist)) if blocklist else [],
        xfail = xfail,
        tags = tags,
    )

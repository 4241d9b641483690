"""Virtual machines: kernels that are really booted, to see what drivers do in them."""

load("@rules//debian.bzl", "BuildRootInfo")
load("@rules//kernel.bzl", "DriverInfo", "KernelListInfo")
load("@rules//sandbox.bzl", "ENVIRONMENT")

_SCRIPT = read_text("scripts/driver_load_test.sh")
_INIT = read_text("scripts/driver_load_init.sh")

# Under software emulation a kernel boots in 4 to 15 seconds; a busy machine takes some times that.
_SECONDS = 300

def _driver_load_test(ctx):
    driver = ctx.attr.module[DriverInfo]
    release = ctx.attr.kernel or driver.release
    kernels = ctx.attr.kernels[KernelListInfo].kernels
    if release not in kernels:
        fail("the kernel `{}` is not in {}".format(release, ctx.attr.kernels.label))
    if "image" not in kernels[release]:
        fail("bld.lock pins no image of the kernel {}: say images = True in {}, then `bld lock`; if that is there, no package source offers one".format(release, ctx.attr.kernels.label))
    inputs = {
        "/": ctx.attr.root[BuildRootInfo].tree,
        "/bld": ctx.actions.tree({"test.sh": ctx.actions.write(_SCRIPT)}),
        "/image": kernels[release]["image"]["tree"],
        "/vm": ctx.actions.tree({
            "init": ctx.actions.write(_INIT),
            "driver.ko.gz": driver.file,
            "exercise": ctx.attr.exercise,
        }),
    }
    for path, artifact in ctx.attr.data.items():
        inputs["/data/" + path] = artifact
    [results] = ctx.actions.run(
        arguments = ["/bin/sh", "/bld/test.sh"],
        inputs = inputs,
        outputs = ["results"],
        env = ENVIRONMENT | {
            "MEMORY_MB": str(ctx.attr.memory_mb),
            "PARAMETERS": " ".join(ctx.attr.parameters),
            "RELEASE": release,
            "SECONDS_MAX": str(ctx.attr.timeout_seconds),
        },
        role = "load",
        test = True,
    )
    return [TestInfo(results = results)]

# Boots the exact kernel that a module was built for in a virtual machine, loads it, exercises its device, unloads it,
# and reports what the kernel said. Fails if one of these does, and if the kernel reports an oops, a warning or a lockup.
#
#     driver_load_test(
#         name = "echo-load",
#         module = ":echo-mod",
#         kernels = ":kernels",        # with images = True
#         exercise = "exercise.sh",    # for busybox's sh -eu, in the machine, as root
#         root = ":qemu",
#         matrix = {"kernel": ":kernels"},
#     )
#
# The root needs busybox-static, coreutils, cpio, dash, findutils, grep, gzip, qemu-system-x86 and sed.
driver_load_test = rule(
    implementation = _driver_load_test,
    attrs = {
        "module": attr.label(mandatory = True, providers = [DriverInfo], doc = "The module."),
        "kernels": attr.label(mandatory = True, providers = [KernelListInfo], doc = "The list, with images."),
        "kernel": attr.string(doc = "The kernel to boot, if not the one that the module was built for."),
        "exercise": attr.source(mandatory = True, doc = "A script that tries the driver, for sh -eu in the machine."),
        "data": attr.source_list(doc = "What the script reads, under /data in the machine."),
        "parameters": attr.string_list(doc = "Parameters of the module."),
        "root": attr.label(mandatory = True, providers = [BuildRootInfo], doc = "The build root with qemu."),
        "memory_mb": attr.int(default = 256, doc = "The machine's memory."),
        "timeout_seconds": attr.int(default = _SECONDS, doc = "How long the machine may take."),
    },
    test = True,
)

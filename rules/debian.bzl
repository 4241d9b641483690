"""Build roots: trees composed of locked Debian packages. What mock's chroot is, but named by content."""

BuildRootInfo = provider(
    doc = "A tree that can be the root of a sandbox.",
    fields = {"tree": "artifact", "packages": "list"},
)

# What no command reads, and what would only make roots larger.
_UNREAD = [
    "usr/share/bash-completion",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/zsh",
]

def _build_root(ctx):
    operations = [
        {"merge": {"tree": number, "usr_merged": True}}
        for number in range(len(ctx.locked))
    ]
    operations.append({"usr_merge": {}})
    operations.append({"remove": {"paths": ctx.attr.remove}})
    operations += [
        {"link": {"path": path, "target": target}}
        for path, target in sorted(ctx.attr.links.items())
    ]
    tree = ctx.actions.builtin(
        "compose",
        inputs = [member.tree for member in ctx.locked],
        options = operations,
        role = "root",
    )
    packages = ["{} {}".format(member.name, member.version) for member in ctx.locked]
    return [BuildRootInfo(tree = tree, packages = packages)]

# Composes Debian packages and all they depend on into a root. `bld.lock` pins which.
#
# Maintainer scripts are not run. What they would have done, and a build needs, is said here, openly:
#   - alternatives are links in `links` ("usr/bin/awk": "mawk", "usr/bin/cc": "gcc-12");
#   - /bin, /sbin and /lib are links into /usr (usr-merge), for packages of before the move too;
#   - the linker cache is not made: the loader finds libraries in its own default directories, which are those
#     that Debian installs into;
#   - users, groups and what is in /etc of them are the sandbox's own (docs/FORMAT.md says which).
#
#     build_root(
#         name = "gcc",
#         packages = ["gcc-12", "make", "dash", "coreutils", "mawk"],
#         links = {"usr/bin/awk": "mawk"},
#     )
build_root = rule(
    implementation = _build_root,
    attrs = {
        "packages": attr.string_list(
            mandatory = True,
            doc = "Package names; `name=version` and `name (>= version)` are possible.",
        ),
        "arch": attr.string(default = "amd64", doc = "The architecture."),
        "links": attr.string_dict(doc = "Links to add: path to target."),
        "remove": attr.string_list(default = _UNREAD, doc = "Globs of what to leave out."),
    },
    lock = {"debian_packages": ["packages", "arch"]},
)

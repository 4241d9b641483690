"""Plain fetches: archives, files and commits, each pinned by its hash."""

load("@rules//files.bzl", "TreeInfo")

def _locked_tree(ctx):
    if len(ctx.locked) != 1:
        fail("bld.lock pins {} things for {}, not one".format(len(ctx.locked), ctx.label))
    tree = ctx.locked[0].tree
    return [DefaultInfo(outputs = {ctx.name: tree}), TreeInfo(tree = tree)]

# Downloads and unpacks a tar (plain or compressed with gzip, xz, zstd or bzip2), a zip or a deb.
#
# Links that leave the archive are refused, unless `root` says that it is (part of) a whole system, whose links may
# be absolute.
#
#     http_archive(
#         name = "zlib",
#         urls = ["https://example.org/zlib-1.3.tar.gz"],
#         sha256 = "ff0ba4c292013dbc27530b3a81e1f9a813cd39de01ca5e0f8bf355702efa593e",
#         strip_prefix = "zlib-1.3",
#     )
http_archive = rule(
    implementation = _locked_tree,
    attrs = {
        "urls": attr.string_list(mandatory = True, doc = "http:, https: or file: addresses of the same bytes."),
        "sha256": attr.string(mandatory = True, doc = "What the bytes hash to."),
        "strip_prefix": attr.string(doc = "The folder in the archive that becomes the root."),
        "root": attr.bool(doc = "Whether links may be absolute."),
    },
    lock = {"http_archive": ["urls", "sha256", "strip_prefix", "root"]},
)

def _http_file(ctx):
    if len(ctx.locked) != 1:
        fail("bld.lock pins {} things for {}, not one".format(len(ctx.locked), ctx.label))
    tree = ctx.locked[0].tree
    name = ctx.attr.file_name
    return [DefaultInfo(outputs = {name: subtree(tree, name)}), TreeInfo(tree = tree)]

_http_file_rule = rule(
    implementation = _http_file,
    attrs = {
        "urls": attr.string_list(mandatory = True, doc = "http:, https: or file: addresses of the same bytes."),
        "sha256": attr.string(mandatory = True, doc = "What the bytes hash to."),
        "file_name": attr.string(mandatory = True, doc = "What the file is called."),
        "executable": attr.bool(doc = "Whether it may be executed."),
    },
    lock = {"http_file": ["urls", "sha256", "file_name", "executable"]},
)

# Downloads a file and keeps it as it is.
#
#     http_file(
#         name = "licence",
#         urls = ["https://example.org/COPYING"],
#         sha256 = "8177f97513213526df2cf6184d8ff986c675afb514d4e68a404010521b880643",
#     )
def http_file(name, urls, sha256, file_name = "", executable = False, **kwargs):
    if not file_name:
        file_name = urls[0].split("/")[-1] if urls else name
    _http_file_rule(
        name = name,
        urls = urls,
        sha256 = sha256,
        file_name = file_name,
        executable = executable,
        **kwargs
    )

# Takes one commit of a git repository, without its history. Submodules are refused. Needs `git` on the machine.
#
#     git_source(
#         name = "driver-src",
#         remote = "https://example.org/driver.git",
#         commit = "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
#     )
git_source = rule(
    implementation = _locked_tree,
    attrs = {
        "remote": attr.string(mandatory = True, doc = "Where the repository is."),
        "commit": attr.string(mandatory = True, doc = "The full object name of the commit."),
    },
    lock = {"git_source": ["remote", "commit"]},
)

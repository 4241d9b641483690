//! A workspace whose actions are all built-ins: it needs no build root, no package and no network.

use crate::machine::Machine;

/// A box holds its sources and other boxes; what it drops is in none of its outputs.
const RULES: &str = r#"
BoxInfo = provider(fields = {"tree": "artifact"})

def _box(ctx):
    inputs = [ctx.actions.tree({"src/" + path: it for path, it in ctx.attr.srcs.items()})]
    inputs += [ctx.attr.deps[name][BoxInfo].tree for name in sorted(ctx.attr.deps.keys())]
    merges = [{"merge": {"tree": 0, "from": "", "to": ""}}]
    merges += [{"merge": {"tree": n + 1, "from": "", "to": "box%d" % n}} for n in range(len(ctx.attr.deps))]
    texts = [{"file": {"path": "say", "text": ctx.attr.say + "".join(ctx.cell.values())}}]
    drops = [{"remove": {"paths": ctx.attr.drop}}] if ctx.attr.drop else []
    tree = ctx.actions.builtin("compose", inputs = inputs, options = merges + texts + drops, role = "box")
    return [DefaultInfo(outputs = {ctx.name + "".join(["-" + it for it in ctx.cell.values()]): tree}), BoxInfo(tree = tree)]

box = rule(
    implementation = _box,
    attrs = {
        "srcs": attr.source_list(),
        "deps": attr.label_dict(providers = [BoxInfo]),
        "say": attr.string(),
        "drop": attr.string_list(),
    },
)
"#;

/// `inner` drops a file; `outer` holds it; `cells` reads a file in two of three cells; `alone` is alone.
const BUILD: &str = r#"
load("//:rules.bzl", "box")
box(name = "inner", srcs = ["a.txt", "notes.txt"], drop = ["src/notes.txt"])
box(name = "outer", deps = {"inner": ":inner"}, say = "outer")
box(
    name = "cells",
    srcs = select({"kernel=3": ["b.txt"], "default": ["c.txt"]}),
    matrix = {"kernel": ["1", "2", "3"], "kind": ["mod", "bpf"]},
    exclude = [{"kernel": "2", "kind": "bpf"}],
)
box(name = "alone", say = "alone")
"#;

impl Machine {
    /// Adds boxes to the workspace, in a package of that name.
    pub(crate) fn with_boxes(self) -> Self {
        self.write("rules.bzl", RULES);
        self.write("p/BUILD.bld", BUILD);
        for name in ["a", "b", "c", "notes"] {
            self.write(&format!("p/{name}.txt"), &format!("{name}\n"));
        }
        self
    }

    /// Changes a file of the workspace: every `from` becomes `to`.
    #[track_caller]
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "no `{from}` in {path}");
        self.write(path, &text.replace(from, to));
    }
}

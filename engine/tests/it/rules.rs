//! The rule library: the plan that a driver matrix makes of a lock.

use expect_test::expect;

use crate::fixture::Fixture;

const DRIVERS: &str = r#"
//- /drivers/BUILD.bld
load("@rules//debian.bzl", "build_root")
load("@rules//files.bzl", "filegroup")
load("@rules//kernel.bzl", "driver_matrix", "kernel_list")
kernel_list(name = "kernels", patterns = ["6.*-amd64"])
build_root(name = "gcc", packages = ["gcc-12"], links = {"usr/bin/awk": "mawk"}, remove = ["usr/share"], tags = ["manual"])
build_root(name = "clang", packages = ["clang-14"], remove = [], tags = ["manual"])
[
    filegroup(
        name = "echo-" + version,
        srcs = glob(["echo/{}/**".format(version)]),
        strip_prefix = "echo/{}/".format(version),
        tags = ["manual"],
    )
    for version in ["1.0.0", "2.0.0"]
]
driver_matrix(
    name = "echo",
    kernels = ":kernels",
    versions = {"1.0.0": ":echo-1.0.0", "2.0.0": ":echo-2.0.0"},
    roots = {"mod": ":gcc", "bpf": ":clang"},
    blocklist = "BLOCKLIST",
)
//- /drivers/echo/1.0.0/echo.c
//- /drivers/echo/2.0.0/echo.c
//- /drivers/echo/2.0.0/probe.bpf.c
"#;

fn locked(text: &str) -> Fixture {
    let package = |kernel: &'static str| {
        [
            (
                kernel,
                if kernel.starts_with("6.1.") {
                    "linux-headers-6.1.0-47-amd64"
                } else {
                    "linux-headers-6.12-amd64"
                },
                "1",
            ),
            (
                kernel,
                if kernel.starts_with("6.1.") {
                    "linux-headers-6.1.0-47-common"
                } else {
                    "linux-headers-6.12-common"
                },
                "1",
            ),
            (
                kernel,
                if kernel.starts_with("6.1.") { "linux-kbuild-6.1" } else { "linux-kbuild-6.12" },
                "1",
            ),
        ]
    };
    let kernels = [package("6.1.0-47-amd64"), package("6.12-amd64")].concat();
    Fixture::new(text)
        .with_rules()
        .locking("//drivers:kernels", &kernels)
        .locking("//drivers:gcc", &[("-", "gcc-12", "12.2"), ("-", "make", "4.3")])
        .locking("//drivers:clang", &[("-", "clang-14", "14.0")])
}

#[test]
fn a_driver_matrix_is_one_module_and_one_probe_for_each_kernel_and_version() {
    let text = format!("{DRIVERS}//- /drivers/BLOCKLIST\n6.12-amd64 1.0.0 bpf  # no BTF\n");
    let plan = locked(&text).render(&["//drivers:echo"]);
    // The markers that a header tree does without are thirty-seven globs.
    let short = plan.replace(&markers(), "…");
    expect![[r#"
        0 locked ccb42863
        1 locked 2f839278
        2 locked c87af6aa
        3 locked 1c05be02
        4 locked 9761af82
        5 locked 9447aaac
        6 builtin //drivers:echo-headers{kernel=6.1.0-47-amd64} (headers) compose [#0 #1 #2] [{"merge":{"from":"usr/src/linux-headers-6.1.0-47-amd64","to":"build","tree":0}},{"merge":{"from":"usr/src/linux-headers-6.1.0-47-common","to":"common","tree":1}},{"merge":{"from":"usr/lib/linux-kbuild-6.1","to":"kbuild","tree":2}},{"file":{"path":"build/Makefile","text":"include $(dir $(abspath $(lastword $(MAKEFILE_LIST))))../common/Makefile\n"}},{"remove":{"paths":[…]}},{"link":{"path":"build/scripts","target":"../kbuild/scripts"}},{"link":{"path":"build/tools","target":"../kbuild/tools"}},{"link":{"path":"common/scripts","target":"../kbuild/scripts"}},{"link":{"path":"common/tools","target":"../kbuild/tools"}}]
        7 locked 23291384
        8 locked d555a77d
        9 builtin //drivers:gcc (root) compose [#7 #8] [{"merge":{"tree":0,"usr_merged":true}},{"merge":{"tree":1,"usr_merged":true}},{"usr_merge":{}},{"remove":{"paths":["usr/share"]}},{"link":{"path":"usr/bin/awk","target":"mawk"}}]
        10 source drivers/echo/1.0.0/echo.c
        11 tree /echo.c=#10
        12 write "build a kernel_module\n"
        13 tree /build.sh=#12
        14 run //drivers:echo-mod{kernel=6.1.0-47-amd64,version=1.0.0} (module) ["/bin/sh", "/bld/build.sh"] /=#9 /bld=#13 /k=#6 /src=#11 > out/echo.ko.gz HOME=/work LC_ALL=C.UTF-8 NAME=echo PATH=/usr/bin:/bin:/usr/sbin:/sbin SOURCE_DATE_EPOCH=0 TZ=UTC UNAME=6.1.0-47-amd64
        15 source drivers/echo/2.0.0/echo.c
        16 source drivers/echo/2.0.0/probe.bpf.c
        17 tree /echo.c=#15 /probe.bpf.c=#16
        18 run //drivers:echo-mod{kernel=6.1.0-47-amd64,version=2.0.0} (module) ["/bin/sh", "/bld/build.sh"] /=#9 /bld=#13 /k=#6 /src=#17 > out/echo.ko.gz HOME=/work LC_ALL=C.UTF-8 NAME=echo PATH=/usr/bin:/bin:/usr/sbin:/sbin SOURCE_DATE_EPOCH=0 TZ=UTC UNAME=6.1.0-47-amd64
        19 locked a40f2fb5
        20 builtin //drivers:clang (root) compose [#19] [{"merge":{"tree":0,"usr_merged":true}},{"usr_merge":{}},{"remove":{"paths":[]}}]
        21 write "build a ebpf_probe\n"
        22 tree /build.sh=#21
        23 run //drivers:echo-bpf{kernel=6.1.0-47-amd64,version=1.0.0} (probe) ["/bin/sh", "/bld/build.sh"] /=#20 /bld=#22 /k=#6 /src=#11 > out/echo.o.gz CLANG=clang-14 HOME=/work LC_ALL=C.UTF-8 NAME=echo PATH=/usr/bin:/bin:/usr/sbin:/sbin SOURCE=probe.bpf.c SOURCE_DATE_EPOCH=0 TZ=UTC UNAME=6.1.0-47-amd64
        24 run //drivers:echo-bpf{kernel=6.1.0-47-amd64,version=2.0.0} (probe) ["/bin/sh", "/bld/build.sh"] /=#20 /bld=#22 /k=#6 /src=#17 > out/echo.o.gz CLANG=clang-14 HOME=/work LC_ALL=C.UTF-8 NAME=echo PATH=/usr/bin:/bin:/usr/sbin:/sbin SOURCE=probe.bpf.c SOURCE_DATE_EPOCH=0 TZ=UTC UNAME=6.1.0-47-amd64
        25 builtin //drivers:echo-headers{kernel=6.12-amd64} (headers) compose [#3 #4 #5] [{"merge":{"from":"usr/src/linux-headers-6.12-amd64","to":"build","tree":0}},{"merge":{"from":"usr/src/linux-headers-6.12-common","to":"common","tree":1}},{"merge":{"from":"usr/lib/linux-kbuild-6.12","to":"kbuild","tree":2}},{"file":{"path":"build/Makefile","text":"include $(dir $(abspath $(lastword $(MAKEFILE_LIST))))../common/Makefile\n"}},{"remove":{"paths":[…]}},{"link":{"path":"build/scripts","target":"../kbuild/scripts"}},{"link":{"path":"build/tools","target":"../kbuild/tools"}},{"link":{"path":"common/scripts","target":"../kbuild/scripts"}},{"link":{"path":"common/tools","target":"../kbuild/tools"}}]
        26 run //drivers:echo-mod{kernel=6.12-amd64,version=1.0.0} (module) ["/bin/sh", "/bld/build.sh"] /=#9 /bld=#13 /k=#25 /src=#11 > out/echo.ko.gz HOME=/work LC_ALL=C.UTF-8 NAME=echo PATH=/usr/bin:/bin:/usr/sbin:/sbin SOURCE_DATE_EPOCH=0 TZ=UTC UNAME=6.12-amd64
        27 run //drivers:echo-mod{kernel=6.12-amd64,version=2.0.0} (module) ["/bin/sh", "/bld/build.sh"] /=#9 /bld=#13 /k=#25 /src=#17 > out/echo.ko.gz HOME=/work LC_ALL=C.UTF-8 NAME=echo PATH=/usr/bin:/bin:/usr/sbin:/sbin SOURCE_DATE_EPOCH=0 TZ=UTC UNAME=6.12-amd64
        28 run //drivers:echo-bpf{kernel=6.12-amd64,version=2.0.0} (probe) ["/bin/sh", "/bld/build.sh"] /=#20 /bld=#22 /k=#25 /src=#17 > out/echo.o.gz CLANG=clang-14 HOME=/work LC_ALL=C.UTF-8 NAME=echo PATH=/usr/bin:/bin:/usr/sbin:/sbin SOURCE=probe.bpf.c SOURCE_DATE_EPOCH=0 TZ=UTC UNAME=6.12-amd64
        //drivers:echo{kernel=6.1.0-47-amd64,kind=bpf,version=1.0.0} 1.0.0/echo-ebpf-6.1.0-47-amd64.o.gz=#23:out/echo.o.gz log=FAILURES/6.1.0-47-amd64/1.0.0/bpf.log
        //drivers:echo{kernel=6.1.0-47-amd64,kind=bpf,version=2.0.0} 2.0.0/echo-ebpf-6.1.0-47-amd64.o.gz=#24:out/echo.o.gz log=FAILURES/6.1.0-47-amd64/2.0.0/bpf.log
        //drivers:echo{kernel=6.1.0-47-amd64,kind=mod,version=1.0.0} 1.0.0/echo-6.1.0-47-amd64.ko.gz=#14:out/echo.ko.gz log=FAILURES/6.1.0-47-amd64/1.0.0/mod.log
        //drivers:echo{kernel=6.1.0-47-amd64,kind=mod,version=2.0.0} 2.0.0/echo-6.1.0-47-amd64.ko.gz=#18:out/echo.ko.gz log=FAILURES/6.1.0-47-amd64/2.0.0/mod.log
        //drivers:echo{kernel=6.12-amd64,kind=bpf,version=1.0.0} excluded
        //drivers:echo{kernel=6.12-amd64,kind=bpf,version=2.0.0} 2.0.0/echo-ebpf-6.12-amd64.o.gz=#28:out/echo.o.gz log=FAILURES/6.12-amd64/2.0.0/bpf.log
        //drivers:echo{kernel=6.12-amd64,kind=mod,version=1.0.0} 1.0.0/echo-6.12-amd64.ko.gz=#26:out/echo.ko.gz log=FAILURES/6.12-amd64/1.0.0/mod.log
        //drivers:echo{kernel=6.12-amd64,kind=mod,version=2.0.0} 2.0.0/echo-6.12-amd64.ko.gz=#27:out/echo.ko.gz log=FAILURES/6.12-amd64/2.0.0/mod.log
    "#]].assert_eq(&short);
}

fn markers() -> String {
    let marker = |first: char| format!("\"build/include/config/{first}*\"");
    let all: Vec<_> = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_".chars().map(marker).collect();
    all.join(",")
}

#[test]
fn what_it_asks_to_be_locked() {
    let text = format!("{DRIVERS}//- /drivers/BLOCKLIST\n");
    expect![[r#"
        //drivers:clang wants {"debian_packages":{"arch":"amd64","packages":["clang-14"]}}
        //drivers:gcc wants {"debian_packages":{"arch":"amd64","packages":["gcc-12"]}}
        //drivers:kernels wants {"debian_kernels":{"arch":"amd64","images":false,"patterns":["6.*-amd64"],"releases":[]}}
    "#]]
    .assert_eq(&locked(&text).lock_requests());
}

#[test]
fn a_kernel_without_headers_is_in_the_grid_and_unavailable() {
    let text = format!("{DRIVERS}//- /drivers/BLOCKLIST\n");
    let text = text.replacen(
        "patterns = [",
        "releases = [\"5.10-amd64\", \"6.12-amd64\"], patterns = [",
        1,
    );
    let plan = locked(&text).plan(&["//drivers:echo"]).unwrap();
    let unavailable: String = plan
        .goals
        .iter()
        .filter_map(|goal| {
            Some(format!("{}{} {}\n", goal.label, goal.cell, goal.unavailable.as_ref()?))
        })
        .collect();
    expect![[r#"
        //drivers:echo{kernel=5.10-amd64,kind=bpf,version=1.0.0} no package source has headers for the kernel 5.10-amd64, and bld.lock pins none
        //drivers:echo{kernel=5.10-amd64,kind=bpf,version=2.0.0} no package source has headers for the kernel 5.10-amd64, and bld.lock pins none
        //drivers:echo{kernel=5.10-amd64,kind=mod,version=1.0.0} no package source has headers for the kernel 5.10-amd64, and bld.lock pins none
        //drivers:echo{kernel=5.10-amd64,kind=mod,version=2.0.0} no package source has headers for the kernel 5.10-amd64, and bld.lock pins none
    "#]]
    .assert_eq(&unavailable);
    assert_eq!(plan.goals.len(), 12);
}

#[test]
fn a_blocklist_excludes_cells() {
    let excluded = |blocklist: &str| {
        let text = format!("{DRIVERS}//- /drivers/BLOCKLIST\n{blocklist}\n");
        match locked(&text).plan(&["//drivers:echo"]) {
            Ok(plan) => {
                let cells = plan.goals.iter().filter(|goal| goal.excluded);
                let cells: Vec<_> = cells.map(|goal| format!("    {}\n", goal.cell)).collect();
                format!("{blocklist}\n{}", cells.concat())
            }
            Err(error) => format!("{blocklist}\n    {error}\n"),
        }
    };
    let blocklists = [
        "# nothing\n\n   # at all",
        "6.12-amd64",
        "6.1.* 1.0.0",
        "* * bpf # every probe",
        "~6\\.12.* bpf",
        "6.12-amd64 ~[12]\\.0\\.0 mod",
        "6.12-amd64 mod 2.0.0",
        "5.10-amd64",
        "one two three four",
        "6.12-amd64 1.0.0 2.0.0",
        "6.12-amd64 mod bpf",
        "~( mod",
    ];
    expect![[r##"
        # nothing

           # at all
        6.12-amd64
            {kernel=6.12-amd64,kind=bpf,version=1.0.0}
            {kernel=6.12-amd64,kind=bpf,version=2.0.0}
            {kernel=6.12-amd64,kind=mod,version=1.0.0}
            {kernel=6.12-amd64,kind=mod,version=2.0.0}
        6.1.* 1.0.0
            {kernel=6.1.0-47-amd64,kind=bpf,version=1.0.0}
            {kernel=6.1.0-47-amd64,kind=mod,version=1.0.0}
        * * bpf # every probe
            {kernel=6.1.0-47-amd64,kind=bpf,version=1.0.0}
            {kernel=6.1.0-47-amd64,kind=bpf,version=2.0.0}
            {kernel=6.12-amd64,kind=bpf,version=1.0.0}
            {kernel=6.12-amd64,kind=bpf,version=2.0.0}
        ~6\.12.* bpf
            {kernel=6.12-amd64,kind=bpf,version=1.0.0}
            {kernel=6.12-amd64,kind=bpf,version=2.0.0}
        6.12-amd64 ~[12]\.0\.0 mod
            {kernel=6.12-amd64,kind=mod,version=1.0.0}
            {kernel=6.12-amd64,kind=mod,version=2.0.0}
        6.12-amd64 mod 2.0.0
            {kernel=6.12-amd64,kind=mod,version=2.0.0}
        5.10-amd64
        one two three four
            line 1 of the blocklist has more than three words: one two three four
           --> @rules//kernel.bzl:233:13
            |
        233 |             fail("line {} of the blocklist has more than three words: {}".format(number + 1, line))
            |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            = called at drivers/BUILD.bld:16
            = called at @rules//kernel.bzl:297
        6.12-amd64 1.0.0 2.0.0
            line 1 of the blocklist names two versions: 6.12-amd64 1.0.0 2.0.0
           --> @rules//kernel.bzl:238:17
            |
        238 |                 fail("line {} of the blocklist names two {}s: {}".format(number + 1, axis, line))
            |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            = called at drivers/BUILD.bld:16
            = called at @rules//kernel.bzl:297
        6.12-amd64 mod bpf
            line 1 of the blocklist names two kinds: 6.12-amd64 mod bpf
           --> @rules//kernel.bzl:238:17
            |
        238 |                 fail("line {} of the blocklist names two {}s: {}".format(number + 1, axis, line))
            |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            = called at drivers/BUILD.bld:16
            = called at @rules//kernel.bzl:297
        ~( mod
            `exclude`: `~(` is not a pattern: unclosed group
          --> drivers/BUILD.bld:16:1
           |
        16 | driver_matrix(
           | ^^^^^^^^^^^^^^
    "##]].assert_eq(&blocklists.map(excluded).concat());
}

#[test]
fn a_driver_matrix_says_what_it_lacks() {
    let with = |from: &str, to: &str| {
        let text = format!("{DRIVERS}//- /drivers/BLOCKLIST\n").replace(from, to);
        locked(&text).render(&["//drivers:echo"])
    };
    expect![[r#"
        `roots` names no build root for bpf
           --> @rules//kernel.bzl:269:13
            |
        269 |             fail("`roots` names no build root for {}".format(kind))
            |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            = called at drivers/BUILD.bld:16
    "#]]
    .assert_eq(&with(r#""bpf": ":clang""#, ""));
    expect![[r#"
        there is no file `drivers/BLOKLIST`, did you mean `BLOCKLIST`?
           --> @rules//kernel.bzl:297:35
            |
        297 |         exclude = parse_blocklist(read_file(blocklist)) if blocklist else [],
            |                                   ^^^^^^^^^^^^^^^^^^^^
            = called at drivers/BUILD.bld:16
    "#]]
    .assert_eq(&with(r#"blocklist = "BLOCKLIST""#, r#"blocklist = "BLOKLIST""#));
    expect![[r#"
        `src` of //drivers:echo-mod: //drivers:gcc does not provide TreeInfo (it provides BuildRootInfo, DefaultInfo)
          --> drivers/BUILD.bld:16:1
           |
        16 | driver_matrix(
           | ^^^^^^^^^^^^^^
    "#]].assert_eq(&with(r#""2.0.0": ":echo-2.0.0""#, r#""2.0.0": ":gcc""#));
    let mut fixture = locked(&format!("{DRIVERS}//- /drivers/BLOCKLIST\n"));
    fixture.locked.get_mut("//drivers:kernels").unwrap().pop();
    expect![[r#"
        bld.lock pins no kbuild package for the kernel 6.12-amd64
          --> @rules//kernel.bzl:42:13
           |
        42 |             fail("bld.lock pins no {} package for the kernel {}".format(" and no ".join(lacking), release))
           |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
           = for //drivers:kernels at drivers/BUILD.bld:4
    "#]].assert_eq(&fixture.render(&["//drivers:echo"]));
}

#[test]
fn the_other_rules() {
    let text = r#"
//- /BUILD.bld
load("@rules//debian.bzl", "build_root")
load("@rules//fetch.bzl", "git_source", "http_archive", "http_file")
load("@rules//files.bzl", "genrule")
load("@rules//kernel.bzl", "kernel_headers", "kernel_list")
build_root(name = "shell", packages = ["dash"], remove = [])
http_archive(name = "zlib", urls = ["https://example.org/zlib.tar.gz"], sha256 = "ab")
http_file(name = "licence", urls = ["https://example.org/COPYING"], sha256 = "cd")
git_source(name = "driver", remote = "https://example.org/driver.git", commit = "ef")
genrule(name = "version", srcs = ["VERSION", ":licence"], trees = {"/zlib": ":zlib"}, cmd = "cp /src/VERSION out/v", outs = ["v"], root = ":shell", env = {"A": "1"}, timeout_seconds = 5)
//- /VERSION
1
"#;
    let fixture = Fixture::new(text)
        .with_rules()
        .locking("//:shell", &[("-", "dash", "0.5")])
        .locking("//:zlib", &[("-", "zlib", "-")])
        .locking("//:licence", &[("-", "licence", "-")])
        .locking("//:driver", &[("-", "driver", "-")]);
    expect![[r#"
        0 locked 8edb5138
        1 locked f375fa3d
        2 locked 4b6c89fc
        3 builtin //:shell (root) compose [#2] [{"merge":{"tree":0,"usr_merged":true}},{"usr_merge":{}},{"remove":{"paths":[]}}]
        4 source VERSION
        5 locked 32414193
        6 run //:version ["/bin/sh", "-eu", "-c", "cp /src/VERSION out/v"] /=#3 /src/COPYING=#1:COPYING /src/VERSION=#4 /zlib=#5 > out/v A=1 HOME=/work LC_ALL=C.UTF-8 PATH=/usr/bin:/bin:/usr/sbin:/sbin SOURCE_DATE_EPOCH=0 TZ=UTC within 5s
        //:driver driver=#0
        //:licence COPYING=#1:COPYING
        //:shell
        //:version v=#6:out/v
        //:zlib zlib=#5
    "#]].assert_eq(&fixture.render(&["//..."]));
    expect![[r#"
        //:driver wants {"git_source":{"commit":"ef","remote":"https://example.org/driver.git"}}
        //:licence wants {"http_file":{"executable":false,"file_name":"COPYING","sha256":"cd","urls":["https://example.org/COPYING"]}}
        //:shell wants {"debian_packages":{"arch":"amd64","packages":["dash"]}}
        //:zlib wants {"http_archive":{"root":false,"sha256":"ab","strip_prefix":"","urls":["https://example.org/zlib.tar.gz"]}}
    "#]].assert_eq(&fixture.lock_requests());
}

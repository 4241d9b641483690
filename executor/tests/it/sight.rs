//! What a command sees: its declared inputs, and the same machine everywhere.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use executor::Rung;
use rustix::io::{FdFlags, fcntl_setfd};

use crate::support::World;
use crate::tests;

tests![
    the_root_holds_inputs_and_the_sandboxs_own_directories_only,
    files_of_the_machine_are_invisible,
    the_environment_is_the_declared_one,
    the_host_name_is_fixed,
    the_user_is_fixed,
    etc_says_who_the_command_is,
    limits_and_umask_are_fixed,
    signals_do_what_they_do_by_default,
    standard_input_is_empty,
    no_descriptor_of_bld_is_open,
    no_privilege_is_left,
    the_terminal_is_out_of_reach,
    loopback_is_up,
    nothing_on_the_machine_answers,
    sockets_beyond_the_network_namespace_are_refused,
    keyrings_are_refused,
    only_harmless_devices_are_there,
    control_groups_have_no_names,
    other_processes_are_invisible,
];

fn the_root_holds_inputs_and_the_sandboxs_own_directories_only(rung: Rung) {
    let world = World::new(rung);
    let seen = world.sh("ls -A /").at("declared", world.file("x")).says();
    let own = ["bin", "declared", "dev", "etc", "lib", "lib64", "proc", "tmp", "usr", "work"];
    assert_eq!(seen.lines().collect::<Vec<_>>(), own);
    assert_eq!(world.sh("ls -A /tmp /dev/shm").says(), "/dev/shm:\n\n/tmp:\n");
    assert_eq!(world.sh("ls -A /work /work/out").says(), "/work:\nout\n\n/work/out:\n");
}

fn files_of_the_machine_are_invisible(rung: Rung) {
    let world = World::new(rung);
    let secret = world.outside().join("secret");
    fs::write(&secret, "secret").unwrap();
    let store = world.store.root().display().to_string();
    for absent in ["/root", "/home", "/sys", "/run", "/var", "/etc/shadow", &store] {
        let ran = world.run(&["/bin/ls", absent]).ran();
        assert_ne!(ran.exit_code(), 0, "{absent} is there: {}", ran.stdout);
    }
    assert_ne!(world.run(&["/bin/cat", &secret.display().to_string()]).ran().exit_code(), 0);
    assert_eq!(world.sh("cat /etc/hostname").says(), "bld\n");
    // Neither do links out of the root lead there, nor the ways around it that processes have.
    let up = format!("/work/{}{}", "../".repeat(40), secret.display());
    let around = format!("/proc/1/root{}", secret.display());
    for way in [up, around] {
        assert_ne!(world.run(&["/bin/cat", &way]).ran().exit_code(), 0, "{way}");
    }
}

fn the_environment_is_the_declared_one(rung: Rung) {
    let world = World::new(rung);
    let case = world.run(&["/usr/bin/env"]).environment(&[("A", "b c"), ("Z", "")]);
    assert_eq!(case.says(), "A=b c\nZ=\n");
}

fn the_host_name_is_fixed(rung: Rung) {
    let world = World::new(rung);
    assert_eq!(world.run(&["/bin/uname", "-n"]).says(), "bld\n");
    assert_eq!(world.sh("cat /proc/sys/kernel/domainname").says(), "\n");
}

fn the_user_is_fixed(rung: Rung) {
    let world = World::new(rung);
    assert_eq!(world.sh("id -u; id -g; id -G").says(), "1000\n1000\n1000\n");
    assert_eq!(
        world.sh("touch a /tmp/b out/c; stat -c %u:%g a /tmp/b out/c . out").says(),
        "1000:1000\n".repeat(5)
    );
}

fn etc_says_who_the_command_is(rung: Rung) {
    let world = World::new(rung);
    let passwd = world.sh("cat /etc/passwd").says();
    assert!(passwd.contains("bld:x:1000:1000:bld:/work:/bin/sh\n"), "{passwd}");
    assert!(world.sh("cat /etc/group").says().contains("bld:x:1000:\n"));
    assert!(world.sh("cat /etc/hosts").says().contains("127.0.0.1 localhost\n"));
}

fn limits_and_umask_are_fixed(rung: Rung) {
    let world = World::new(rung);
    assert_eq!(world.sh("umask").says(), "0022\n");
    let limits = world.run(&["/bin/cat", "/proc/self/limits"]).says();
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(limit("Max open files"), "4096 4096");
    assert_eq!(limit("Max core file size"), "0 0");
    assert_eq!(limit("Max stack size"), "8388608 8388608");
    assert_eq!(limit("Max file size"), "17179869184 17179869184");
}

fn signals_do_what_they_do_by_default(rung: Rung) {
    let world = World::new(rung);
    // A Rust program ignores SIGPIPE, and what it starts would do so too.
    let status = world.sh("cat /proc/self/status").says();
    for line in ["SigIgn:\t0000000000000000", "SigBlk:\t0000000000000000"] {
        assert!(status.contains(line), "{status}");
    }
    let ran = world.sh("yes | head -n 1").ran();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("y\n", ""));
}

fn standard_input_is_empty(rung: Rung) {
    let world = World::new(rung);
    assert_eq!(
        world.sh("cat; stat -c %N /proc/self/fd/0").says(),
        "'/proc/self/fd/0' -> '/dev/null'\n"
    );
}

fn no_descriptor_of_bld_is_open(rung: Rung) {
    let world = World::new(rung);
    // What somebody further up left open, without the mark that closes it.
    let inherited = File::open("/etc/hostname").unwrap();
    fcntl_setfd(&inherited, FdFlags::empty()).unwrap();
    // The fourth is the directory that `ls` itself reads.
    assert_eq!(world.run(&["/bin/ls", "/proc/self/fd"]).says(), "0\n1\n2\n3\n");
    assert_eq!(
        world.perl(r#"print readlink("/proc/1/fd/1") // $!+0"#).says(),
        libc::EACCES.to_string()
    );
    for inside in ["environ", "fd/0", "fd/1", "maps", "mem"] {
        let ran = world.run(&["/bin/cat", &format!("/proc/1/{inside}")]).ran();
        assert_ne!(ran.exit_code(), 0, "{inside}: {}", ran.stdout);
    }
    drop(inherited);
}

fn no_privilege_is_left(rung: Rung) {
    let world = World::new(rung);
    let script = "cp /usr/bin/cat mine; chmod 4755 mine; ./mine /proc/self/status";
    let status = world.sh(script).says();
    for line in [
        "NoNewPrivs:\t1",
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "Uid:\t1000\t1000\t1000\t1000",
        "Gid:\t1000\t1000\t1000\t1000",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(line), "{line} is not in\n{status}");
    }
}

fn the_terminal_is_out_of_reach(rung: Rung) {
    let world = World::new(rung);
    assert_ne!(world.sh("cat < /dev/tty").ran().exit_code(), 0);
    // The session's leader is init, and the session has no terminal: fields six and seven.
    let stat = world.run(&["/bin/cat", "/proc/self/stat"]).says();
    let fields: Vec<_> = stat.split_whitespace().collect();
    assert_eq!((fields[5], fields[6]), ("1", "0"), "{stat}");
}

fn loopback_is_up(rung: Rung) {
    let world = World::new(rung);
    let script = r#"
        socket(my $server, 2, 1, 0) or die "socket: $!";
        bind($server, pack("S n C4 x8", 2, 0, 127, 0, 0, 1)) or die "bind: $!";
        listen($server, 1) or die "listen: $!";
        socket(my $client, 2, 1, 0) or die "socket: $!";
        connect($client, getsockname($server)) or die "connect: $!";
        print "connected";
    "#;
    assert_eq!(world.perl(script).says(), "connected");
    let interfaces = world.sh("cat /proc/net/dev").says();
    let names: Vec<_> =
        interfaces.lines().skip(2).map(|line| line.trim().split(':').next()).collect();
    assert_eq!(names, [Some("lo")]);
}

fn nothing_on_the_machine_answers(rung: Rung) {
    let world = World::new(rung);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!(
        r#"socket(my $s, 2, 1, 0) or die; connect($s, pack("S n C4 x8", 2, {port}, 127, 0, 0, 1)) and print "connected"; print $!+0"#
    );
    assert_eq!(world.perl(&connect).says(), libc::ECONNREFUSED.to_string());
    let beyond = r#"socket(my $s, 2, 2, 0) or die; connect($s, pack("S n C4 x8", 2, 53, 192, 0, 2, 1)) and print "connected"; print $!+0"#;
    assert_eq!(world.perl(beyond).says(), libc::ENETUNREACH.to_string());

    let name = format!("bld-it-{}-{rung:?}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let connect = format!(
        r#"socket(my $s, 1, 1, 0) or die; connect($s, pack("S x a*", 1, "{name}")) and print "connected"; print $!+0"#
    );
    assert_eq!(world.perl(&connect).says(), libc::ECONNREFUSED.to_string());
}

fn sockets_beyond_the_network_namespace_are_refused(rung: Rung) {
    let world = World::new(rung);
    for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_BLUETOOTH, libc::AF_PACKET] {
        let script = format!("socket(my $s, {family}, 1, 0) and die 'it is there'; print $!+0");
        assert_eq!(world.perl(&script).says(), libc::EAFNOSUPPORT.to_string());
    }
}

fn keyrings_are_refused(rung: Rung) {
    let world = World::new(rung);
    let script = format!(
        "for my $call ({}, {}, {}, {}) {{ print syscall($call, 0, 0, 0, 0, 0), ' ', $!+0, ';' }}",
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_io_uring_setup
    );
    assert_eq!(world.perl(&script).says(), format!("-1 {};", libc::ENOSYS).repeat(4));
}

fn only_harmless_devices_are_there(rung: Rung) {
    let world = World::new(rung);
    let seen = world.sh("ls -A /dev").says();
    let own = "fd\nfull\nnull\nrandom\nshm\nstderr\nstdin\nstdout\nurandom\nzero\n";
    assert_eq!(seen, own);
    let script = "echo x > /dev/null; echo x >> /dev/zero; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c";
    assert_eq!(world.sh(script).says(), "4\n4\n");
    assert_ne!(world.sh("echo x > /dev/full").ran().exit_code(), 0);
    assert_eq!(world.sh("echo shared > /dev/shm/a; cat /dev/shm/a").says(), "shared\n");
}

fn control_groups_have_no_names(rung: Rung) {
    let world = World::new(rung);
    let groups = world.run(&["/bin/cat", "/proc/self/cgroup"]).says();
    assert!(groups.lines().all(|line| line.ends_with(":/")), "{groups}");
}

fn other_processes_are_invisible(rung: Rung) {
    let world = World::new(rung);
    let script = r"opendir(my $proc, '/proc'); print join(' ', sort { $a <=> $b } grep /^\d+$/, readdir $proc)";
    assert_eq!(world.perl(script).says(), "1 2");
    let kill = format!("kill 9, {} or print $!+0", std::process::id());

    assert_eq!(world.perl(&kill).says(), libc::ESRCH.to_string());
}

//! Who may use a server: tokens and certificates, as an operator makes them.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use expect_test::{Expect, expect};
use serde_json::json;

use crate::machine::Machine;

/// Runs `bld server`, which must exit with 2, and compares what it says on standard error.
#[track_caller]
fn refused(machine: &Machine, arguments: &[&str], expected: &Expect) {
    let said = machine.run(&[&["server"], arguments].concat()).expect(2).stderr;
    expected.assert_eq(&said.replace(machine.root().to_str().unwrap(), "$MACHINE"));
}

#[test]
fn a_token_is_printed_once_and_alone_and_its_file_does_not_hold_it() {
    let machine = Machine::bare();
    let made = machine.run(&[
        "server",
        "token",
        "create",
        "ci",
        "--namespace",
        "pr/17",
        "--reads",
        "branch/main",
        "--rights",
        "read,write-blobs",
        "--expires",
        "30d",
    ]);
    let made = made.expect(0);
    let token = made.stdout.strip_suffix('\n').unwrap();
    assert!(token.starts_with("bld_") && !token.contains(char::is_whitespace), "{token}");
    assert!(!made.stderr.contains(token));
    assert!(
        made.stderr.starts_with("ci may read,write-blobs in pr/17, until 2"),
        "{}",
        made.stderr
    );

    let file = machine.root().join("home/.local/share/bld-server/tokens.toml");
    assert!(!fs::read_to_string(&file).unwrap().contains(&token[21..]));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let listed = machine.run(&["server", "token", "list", "--json"]).expect(0);
    assert!(!listed.stdout.contains(&token[21..]));
    let listed = listed.json();
    assert_eq!(listed[0]["name"], "ci");
    assert_eq!(listed[0]["namespace"], "pr/17");
    assert_eq!(listed[0]["reads"], json!(["branch/main"]));
    assert_eq!(listed[0]["rights"], json!(["read", "write-blobs"]));
    let lifetime = listed[0]["expires"].as_u64().unwrap() - listed[0]["created"].as_u64().unwrap();
    assert_eq!(lifetime, 30 * 24 * 60 * 60);

    let revoked = machine.run(&["server", "token", "revoke", "ci"]).expect(0);
    assert_eq!(revoked.stdout, "revoked ci\n");
    assert_eq!(machine.run(&["server", "token", "list", "--json"]).expect(0).json(), json!([]));
}

#[test]
fn a_configuration_says_where_tokens_are_wherever_it_lies() {
    let machine = Machine::new();
    machine.write("bld-server.toml", "[identity]\ntokens = \"here.toml\"\n");
    machine.write("other/there.toml", "root = \"data\"\n");
    machine.run(&["server", "token", "create", "one"]).expect(0);
    machine.run(&["server", "--config", "other/there.toml", "token", "create", "two"]).expect(0);
    assert!(machine.read("here.toml").contains("name = \"one\""));
    assert!(machine.read("other/data/tokens.toml").contains("name = \"two\""));
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let machine = Machine::new();
    machine.run(&["server", "token", "create", "ci"]).expect(0);
    refused(
        &machine,
        &["token", "create", "ci"],
        &expect![[r#"
        error: there is a token named `ci` already: revoke it, or choose another name
    "#]],
    );
    refused(
        &machine,
        &["token", "create", "a b"],
        &expect![[r#"
        error: `a b` cannot be a name: names are 1 to 128 letters, digits, `-`, `_`, `.`, `@` or `+`, and begin with a letter or digit
    "#]],
    );
    refused(
        &machine,
        &["token", "revoke", "cj"],
        &expect![[r#"
        error: there is no token named `cj` in $MACHINE/home/.local/share/bld-server/tokens.toml
    "#]],
    );
    refused(
        &machine,
        &["token", "create", "x", "--namespace", "trusted", "--reads", "pr/1"],
        &expect![[r#"
            error: `trusted` cannot read `pr/1`: reads go up, from `pr/<name>` to `branch/<name>`, from both to `trusted`
        "#]],
    );
    refused(
        &machine,
        &["token", "create", "x", "--rights", "write"],
        &expect![[r#"
        error: invalid value 'write' for '--rights <RIGHTS>': `write` is no right; there are `read`, `write-blobs`, `write-values`, `execute` and `administer`

        For more information, try '--help'.
    "#]],
    );
    refused(
        &machine,
        &["token", "create", "x", "--namespace", "main"],
        &expect![[r#"
        error: invalid value 'main' for '--namespace <NAMESPACE>': `main` is no namespace; there are `trusted`, `branch/<name>` and `pr/<name>`

        For more information, try '--help'.
    "#]],
    );
    refused(
        &machine,
        &["token", "create", "x", "--expires", "soon"],
        &expect![[r#"
        error: invalid value 'soon' for '--expires <PERIOD>': `soon` is no period: write a whole number and s, m, h or d, as in `90s`, `3h` or `30d`

        For more information, try '--help'.
    "#]],
    );
    refused(
        &machine,
        &["ca", "list"],
        &expect![[r#"
        error: there is no authority in $MACHINE/home/.local/share/bld-server/ca: `bld server ca init` makes one
    "#]],
    );
    refused(
        &machine,
        &["--config", "nowhere.toml", "token", "list"],
        &expect![[r#"
        error: cannot read $MACHINE/workspace/nowhere.toml
          because: No such file or directory (os error 2)
    "#]],
    );
    machine.write("bld-server.toml", "[store]\nbuget = \"1 GiB\"\n");
    refused(
        &machine,
        &["token", "list"],
        &expect![[r#"
        error: $MACHINE/workspace/bld-server.toml:2: `store`: unknown field `buget`, expected one of `path`, `budget`, `acknowledge`, `lease`; did you mean `budget`?
    "#]],
    );
}

#[test]
fn an_authority_issues_lists_and_revokes() {
    let machine = Machine::new();
    let run = |arguments: &[&str]| machine.run(&[&["server", "ca"], arguments].concat());
    run(&["init"]).expect(0);
    run(&["issue", "cache", "--role", "server", "--dns", "cache.example", "--ip", "::1"]).expect(0);
    let client = ["issue", "worker", "--role", "client", "--rights", "read,execute", "--json"];
    let issued = run(&client).expect(0).json();
    for file in ["certificate", "key"] {
        assert!(fs::metadata(issued[file].as_str().unwrap()).unwrap().is_file());
    }
    assert_eq!(machine.read("worker.pem").lines().next(), Some("-----BEGIN CERTIFICATE-----"));

    run(&["revoke", "worker"]).expect(0);
    let listed = run(&["list"]).expect(0).stdout;
    let lines: Vec<_> = listed.lines().collect();
    assert!(lines[0].starts_with("cache   ") && lines[0].contains("server cache.example ::1  "));
    assert!(
        lines[1].contains("client read,execute in trusted") && lines[1].contains("  revoked 2")
    );

    refused(
        &machine,
        &["ca", "init"],
        &expect![[r#"
        error: $MACHINE/home/.local/share/bld-server/ca/ca.pem is there already: an authority is not overwritten, because all that it issued would be void
    "#]],
    );
    refused(
        &machine,
        &["ca", "revoke", "worker"],
        &expect![[r#"
        error: no certificate with the name or number `worker` is in use: `bld server ca list` shows them
    "#]],
    );
    refused(
        &machine,
        &["ca", "issue", "x", "--role", "server"],
        &expect![[r#"
        error: a server's certificate is for the names or addresses by which it is called: name at least one (`--dns`, `--ip`)
    "#]],
    );
    let rights = ["ca", "issue", "x", "--role", "server", "--ip", "::1", "--rights", "read"];
    refused(
        &machine,
        &rights,
        &expect![[r#"
        error: --namespace, --reads and --rights are for the certificates of clients, and this is a server's
    "#]],
    );
    let address = ["ca", "issue", "x", "--role", "client", "--ip", "::1"];
    refused(
        &machine,
        &address,
        &expect![[r#"
        error: --dns and --ip are for the certificates of servers, and this is a client's
    "#]],
    );
    let long = ["ca", "issue", "x", "--role", "client", "--expires", "1000d"];
    refused(
        &machine,
        &long,
        &expect![[r#"
        error: 1000d is no time for a certificate to last: it can be up to 398d
    "#]],
    );
}

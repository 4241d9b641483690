//! What an operator may write, what holds where he does not, and what he is told when it is wrong.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use cas_server::{
    Acknowledge, Config, ConfigError, DEFAULT_PORT, Limits, LogFormat, LogLevel, Rights,
};
use expect_test::{Expect, expect};
use model::ByteSize;

use crate::asking::fault;

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new("/etc/bld/bld-server.toml"), Some(Path::new("/data"))).unwrap()
}

/// Compares what is said of configurations that cannot be, a line for each.
#[track_caller]
fn refused(configs: &[&str], expect: &Expect) {
    let faults: Vec<_> = configs.iter().map(|config| format!("{}\n", fault(config))).collect();
    expect.assert_eq(&faults.concat());
}

#[test]
fn without_a_file_it_listens_on_loopback_and_whoever_is_there_may_do_everything() {
    for config in [Config::zero(Path::new("/data")), parse("")] {
        assert_eq!(config.listen.tcp, [SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT))]);
        assert_eq!(config.identity.anonymous.rights, Rights::ALL);
        assert_eq!(config.identity.anonymous.namespace.to_string(), "trusted");
        assert_eq!(config.store.path, Path::new("/data/store"));
        assert_eq!(config.store.lease, store::Settings::new(config.store.budget).lease);
        assert_eq!(config.identity.tokens, Path::new("/data/tokens.toml"));
        assert!(config.tls.is_none());
        assert_eq!(config.exposed(), None);
    }
}

#[test]
fn everything_can_be_said_and_paths_begin_where_the_file_lies() {
    let config = parse(
        r#"
        root = "data"
        drain = "1m"

        [listen]
        tcp = ["0.0.0.0:9000", "[::1]:9000"]
        unix = "/run/bld.socket"

        [store]
        path = "/big/store"
        budget = "2 TiB"
        acknowledge = "committed"
        lease = "6h"

        [tls]
        certificate = "server.pem"
        key = "server.key"
        client_authority = "ca.pem"
        client_revocations = "/keys/ca.crl"

        [identity]
        tokens = "who.toml"

        [[identity.jwt]]
        name = "github"
        keys = "github.json"
        issuer = "https://token.example"
        audience = "bld"

        [[identity.jwt.rule]]
        claims = { repository = "acme/drivers", event_name = "pull_request", ref = "refs/pull/*/merge", base_ref = "*" }
        namespace = "pr/{ref}"
        reads = ["branch/{base_ref}"]
        rights = ["read", "write-blobs", "write-values"]

        [[identity.certificate]]
        claims = { organizational_unit = "builders" }
        namespace = "trusted"
        rights = ["read", "execute"]

        [limits]
        message = "8 MiB"
        streams_per_identity = 16

        [telemetry]
        otlp = "https://127.0.0.1:4317"
        otlp_authority = "collectors.pem"
        log = "debug"
        format = "json"
        "#,
    );
    assert_eq!(config.root, Path::new("/etc/bld/data"));
    assert_eq!(config.drain, Duration::from_secs(60));
    assert_eq!(config.listen.tcp.len(), 2);
    assert_eq!(config.listen.unix.as_deref(), Some(Path::new("/run/bld.socket")));
    assert_eq!(config.store.path, Path::new("/big/store"));
    assert_eq!(config.store.budget, 2 << 40);
    assert_eq!(config.store.acknowledge, Acknowledge::Committed);
    assert_eq!(config.store.lease, Duration::from_secs(6 * 3600));
    let tls = config.tls.as_ref().unwrap();
    assert_eq!(tls.key, Path::new("/etc/bld/server.key"));
    assert_eq!(tls.client_authority.as_deref(), Some(Path::new("/etc/bld/ca.pem")));
    assert_eq!(tls.client_revocations.as_deref(), Some(Path::new("/keys/ca.crl")));
    let collectors = config.telemetry.otlp_authority.as_deref();
    assert_eq!(collectors, Some(Path::new("/etc/bld/collectors.pem")));
    assert_eq!(config.identity.tokens, Path::new("/etc/bld/who.toml"));
    assert_eq!(config.identity.issuers[0].keys, Path::new("/etc/bld/github.json"));
    assert_eq!(config.identity.issuers[0].subject, "sub");
    assert_eq!(config.identity.certificates.len(), 1);
    assert!(
        config.identity.anonymous.rights.is_empty(),
        "others can reach it, so it has to be said"
    );
    let defaults = Limits::default();
    assert_eq!(config.limits, Limits { message: 8 << 20, streams_per_identity: 16, ..defaults });
    assert_eq!(config.telemetry.log, LogLevel::Debug);
    assert_eq!(config.telemetry.format, LogFormat::Json);
    assert_eq!(config.exposed().unwrap().to_string(), "0.0.0.0:9000");
}

#[test]
fn every_example_in_the_documentation_is_a_configuration() {
    let text = include_str!("../../../docs/SERVER.md");
    let examples = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    assert_eq!(examples.map(parse).count(), 3);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    refused(
        &[
            "\n[limits]\nstreams_per_identiti = 3\n",
            "[identiy]\n",
            "[store]\nacknowledge = \"writen\"\n",
            "[telemetry]\nlog = \"loud\"\n",
        ],
        &expect![[r#"
            bld-server.toml:3: `limits`: unknown field `streams_per_identiti`, expected one of `message`, `blob`, `connections`, `streams_per_identity`, `bytes_in_flight_per_identity`, `directory_width`, `directory_depth`, `decompression_ratio`; did you mean `streams_per_identity`?
            bld-server.toml:1: unknown field `identiy`, expected one of `root`, `drain`, `listen`, `store`, `tls`, `identity`, `limits`, `assets`, `telemetry`; did you mean `identity`?
            bld-server.toml:2: `store.acknowledge`: unknown variant `writen`, expected `written` or `committed`; did you mean `written`?
            bld-server.toml:2: `telemetry.log`: unknown variant `loud`, expected one of `error`, `warn`, `info`, `debug`, `trace`
        "#]],
    );
}

#[test]
fn a_value_that_cannot_be_is_named_with_what_could() {
    refused(
        &[
            "[limits]\nstreams_per_identity = 0\n",
            "[limits]\nmessage = \"1 GiB\"\n",
            "[limits]\nmessage = 4194304\n",
            "[store]\nbudget = \"lots\"\n",
            "[store]\nlease = \"1 week\"\n",
            "[store]\nlease = \"30d\"\n",
            "[store]\npath = \"\"\n",
            "[listen]\ntcp = [\n  \"127.0.0.1:8980\",\n  \"localhost\",\n]\n",
            "[identity.anonymous]\nrights = [\"read\", \"wirte\"]\n",
            "[identity.anonymous]\nrights = []\nnamespace = \"main\"\n",
            "[tls]\ncertificate = \"server.pem\"\n",
            "this is no TOML",
        ],
        &expect![[r#"
            bld-server.toml:2: `limits.streams_per_identity`: 0 is out of bounds: from 1 to 1000000 is allowed
            bld-server.toml:2: `limits.message`: 1.0 GiB is out of bounds: from 64.0 KiB to 64.0 MiB is allowed
            bld-server.toml:2: `limits.message`: invalid type: integer `4194304`, expected a size, as in "4 MiB"
            bld-server.toml:2: `store.budget`: `lots` is not a size: write a number and maybe K, M, G or T (with or without iB)
            bld-server.toml:2: `store.lease`: `1 week` is no period: write a whole number and s, m, h or d, as in `90s`, `3h` or `30d`
            bld-server.toml:2: `store.lease`: 30d is out of bounds: from 1m to 7d is allowed
            bld-server.toml:2: `store.path`: an empty path leads nowhere
            bld-server.toml:2: `listen.tcp`: `localhost` is no address: write its numbers and a port, as in `127.0.0.1:8980` or `[::]:8980`
            bld-server.toml:2: `identity.anonymous.rights`: `wirte` is no right; there are `read`, `write-blobs`, `write-values`, `execute` and `administer`
            bld-server.toml:3: `identity.anonymous.namespace`: `main` is no namespace; there are `trusted`, `branch/<name>` and `pr/<name>`
            bld-server.toml:1: `tls`: missing field `key`
            bld-server.toml:1: key with no value, expected `=`
        "#]],
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    let rule = "[[identity.certificate]]\nclaims = { dns = \"a\" }\nnamespace = \"trusted\"\nrights = []\n";
    let issuer = "[[identity.jwt]]\nname = \"a\"\nkeys = \"k\"\nissuer = \"i\"\naudience = \"x\"\nrule = []\n";
    refused(
        &[
            "[listen]\ntcp = []\n",
            rule,
            "[tls]\ncertificate = \"c\"\nkey = \"k\"\nclient_revocations = \"r\"\n",
            &format!("{issuer}{issuer}"),
            &issuer.replace("\"a\"", "\"a:b\""),
        ],
        &expect![[r#"
            the server would listen nowhere: `listen.tcp` or `listen.unix` says where
            `identity.certificate` and `tls.client_revocations` are about certificates of clients, and none is asked for: `tls.client_authority` names who issues them
            `identity.certificate` and `tls.client_revocations` are about certificates of clients, and none is asked for: `tls.client_authority` names who issues them
            `identity.jwt` has another issuer with the name or the `issuer` of `a`
            bld-server.toml:2: `identity.jwt.name`: `a:b` is no name: it is 1 to 64 lower-case letters, digits and `-`
        "#]],
    );
}

#[test]
fn nothing_lies_in_the_folder_of_the_store_which_sets_aside_what_is_not_its_own() {
    refused(
        &[
            "root = \"/data\"\n[store]\npath = \"/data\"\n",
            "root = \"/data/x/../root\"\n[store]\npath = \"/data/\"\n",
            "[store]\npath = \"/big\"\n[identity]\ntokens = \"/big/tokens.toml\"\n",
            "[store]\npath = \"/big\"\n[listen]\nunix = \"/big/socket\"\n",
            "[store]\npath = \"/big\"\n[tls]\ncertificate = \"/c\"\nkey = \"/big/key\"\n",
            "[store]\npath = \"/big\"\n[[identity.jwt]]\nname = \"a\"\nkeys = \"/big/k\"\nissuer = \"i\"\n\
             audience = \"x\"\nrule = []\n",
            "[store]\npath = \"/big\"\n[telemetry]\notlp = \"https://a:1\"\notlp_authority = \"/big/ca\"\n",
            "[store]\npath = \".\"\n",
        ],
        &expect![[r#"
            `root` is /data, in the folder of the store, /data, which sets aside whatever it did not put there: say another place, or give the store a folder for itself, as in `store.path = "/data/store"` (or --store)
            `root` is /data/x/../root, in the folder of the store, /data/, which sets aside whatever it did not put there: say another place, or give the store a folder for itself, as in `store.path = "/data/store"` (or --store)
            `identity.tokens` is /big/tokens.toml, in the folder of the store, /big, which sets aside whatever it did not put there: say another place, or give the store a folder for itself, as in `store.path = "/big/store"` (or --store)
            `listen.unix` is /big/socket, in the folder of the store, /big, which sets aside whatever it did not put there: say another place, or give the store a folder for itself, as in `store.path = "/big/store"` (or --store)
            `tls.key` is /big/key, in the folder of the store, /big, which sets aside whatever it did not put there: say another place, or give the store a folder for itself, as in `store.path = "/big/store"` (or --store)
            `identity.jwt.keys` is /big/k, in the folder of the store, /big, which sets aside whatever it did not put there: say another place, or give the store a folder for itself, as in `store.path = "/big/store"` (or --store)
            `telemetry.otlp_authority` is /big/ca, in the folder of the store, /big, which sets aside whatever it did not put there: say another place, or give the store a folder for itself, as in `store.path = "/big/store"` (or --store)
            the configuration is bld-server.toml, in the folder of the store, ., which sets aside whatever it did not put there: say another place, or give the store a folder for itself, as in `store.path = "./store"` (or --store)
        "#]],
    );
}

#[test]
fn what_leads_into_the_folder_of_the_store_lies_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("big")).unwrap();
    std::os::unix::fs::symlink("big", path("link")).unwrap();
    let config = |tokens: &str| {
        let text = format!("[store]\npath = \"link\"\n[identity]\ntokens = \"{tokens}\"\n");
        Config::parse(&text, &path("bld-server.toml"), Some(&path("root")))
    };
    config("bigger/tokens.toml").unwrap();
    for tokens in ["big/new/tokens.toml", "link/tokens.toml", "root/../big/tokens.toml"] {
        let error = config(tokens).unwrap_err();
        assert!(matches!(error, ConfigError::InStore { what: "`identity.tokens`", .. }), "{error}");
    }
}

#[test]
fn what_is_said_of_the_store_later_is_checked_as_if_it_stood_in_the_file() {
    let said = |path: Option<&str>, budget: Option<u64>| {
        let config = parse("[identity]\ntokens = \"/keys/tokens.toml\"\n");
        config.with_store(path.map(Path::new), budget.map(ByteSize))
    };
    let config = said(Some("/big"), Some(64 << 20)).unwrap();
    assert_eq!((config.store.path.as_path(), config.store.budget), (Path::new("/big"), 64 << 20));
    assert_eq!(said(None, None).unwrap().store, parse("").store);
    for path in ["/data", "/keys", "/etc/bld", "/"] {
        let error = said(Some(path), None).unwrap_err();
        assert!(matches!(error, ConfigError::InStore { .. }), "{path}: {error}");
    }
    for budget in [0, (64 << 20) - 1, (1 << 50) + 1] {
        let error = said(None, Some(budget)).unwrap_err();
        assert!(matches!(error, ConfigError::Budget(_)), "{budget}: {error}");
        assert!(error.is_mistake());
    }
}

#[test]
fn a_rule_that_could_be_turned_against_its_writer_is_refused() {
    let rule = |claims: &str, namespace: &str, reads: &str| {
        format!(
            "[[identity.certificate]]\nclaims = {claims}\nnamespace = \"{namespace}\"\nreads = [{reads}]\nrights = [\"read\"]\n"
        )
    };
    let any = "{ dns = \"*\" }";
    refused(
        &[
            &rule("{}", "trusted", ""),
            &rule("{ dns = \"*.*\" }", "trusted", ""),
            &rule(any, "{dns}", ""),
            &rule(any, "branch/{dsn}", ""),
            &rule(any, "branch/{dns", ""),
            &rule(any, "team/{dns}", ""),
            &rule(any, "trusted", "\"pr/{dns}\""),
            &rule(any, "branch/{dns}", "\"branch/main\""),
        ],
        &expect![[r#"
            bld-server.toml:1: `identity.certificate`: a rule without `claims` would hold for everybody: name at least one, with the value that it must have
            bld-server.toml:1: `identity.certificate`: `*.*` has more than one `*`
            bld-server.toml:1: `identity.certificate`: `{dns}` has to begin with `branch/` or `pr/`: no claim may say how far its holder is trusted
            bld-server.toml:1: `identity.certificate`: `{dsn}` in `branch/{dsn}` stands for no claim of this rule: add it to `claims`, where `*` stands for any value
            bld-server.toml:1: `identity.certificate`: `branch/{dns` has a `{` without `}`
            bld-server.toml:1: `identity.certificate`: `team/x` is no namespace; there are `trusted`, `branch/<name>` and `pr/<name>`
            bld-server.toml:1: `identity.certificate`: `trusted` cannot read `pr/x`: reads go up, from `pr/<name>` to `branch/<name>`, from both to `trusted`
            bld-server.toml:1: `identity.certificate`: `branch/x` cannot read `branch/main`: reads go up, from `pr/<name>` to `branch/<name>`, from both to `trusted`
        "#]],
    );
}

#[test]
fn other_machines_get_in_only_as_somebody_unless_it_is_said_in_words() {
    let listen = "[listen]\ntcp = [\"127.0.0.1:8980\", \"0.0.0.0:8980\", \"[::]:8980\"]\n";
    let words = "[identity]\nallow_unauthenticated_beyond_loopback = true\n";
    let reading = "[identity.anonymous]\nrights = [\"read\"]\n";
    refused(
        &[&format!("{listen}{reading}"), &format!("{listen}{words}")],
        &expect![[r#"
            other machines can reach 0.0.0.0:8980, [::]:8980, and without saying who they are they would have the rights read: listen on 127.0.0.1, set `identity.anonymous.rights = []`, or say in words `identity.allow_unauthenticated_beyond_loopback = true`
            `identity.allow_unauthenticated_beyond_loopback` lets other machines in that do not say who they are; `identity.anonymous.rights` has to say what for, as in `["read"]`
        "#]],
    );

    let open = parse(&format!("{listen}{words}{reading}"));
    assert_eq!(open.identity.anonymous.rights.to_string(), "read");
    assert_eq!(open.exposed().unwrap().to_string(), "0.0.0.0:8980, [::]:8980");
    assert!(parse(listen).identity.anonymous.rights.is_empty());
}

#[test]
fn what_is_wrong_in_a_file_is_told_without_repeating_its_lines() {
    let text = fault("[identity]\ntoken = \"bld_0123456789abcdef_secret\"\n");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error =
        Config::read(Path::new("/nowhere/bld-server.toml"), Some(Path::new("/data"))).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nowhere/bld-server.toml");
}

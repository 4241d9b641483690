//! `bld.toml`: what it may say.

use engine::{Config, ConfigError};
use expect_test::expect;

use crate::fixture::in_full;

fn said(text: &str) -> String {
    match Config::parse(text) {
        Ok(config) => format!("{config:#?}\n"),
        Err(error) => format!("{}\n", in_full(&error).trim_end()),
    }
}

#[test]
fn everything_has_a_default() {
    expect![[r#"
        Config {
            function: Blake3,
            settings: {},
            mirrors: [],
            rules: None,
            remote: None,
        }
    "#]]
    .assert_eq(&said(""));
}

#[test]
fn what_it_does_not_know_is_refused_where_it_stands() {
    expect![[r#"
        bld.toml cannot be read: TOML parse error at line 2, column 1
          |
        2 | digets = "sha256"
          | ^^^^^^
        unknown field `digets`, expected one of `digest`, `rules`, `settings`, `debian`, `remote`
    "#]]
    .assert_eq(&said("digest = \"blake3\"\ndigets = \"sha256\"\n"));
    expect![[r#"
        bld.toml cannot be read: TOML parse error at line 2, column 1
          |
        2 | mirror = []
          | ^^^^^^
        unknown field `mirror`, expected `mirrors`
    "#]]
    .assert_eq(&said("[debian]\nmirror = []\n"));
    expect![[r#"
        bld.toml cannot be read: TOML parse error at line 1, column 1
          |
        1 | [[debian.mirrors]]
          | ^^^^^^^^^^^^^^^^^^
        missing field `suites`
    "#]]
    .assert_eq(&said("[[debian.mirrors]]\nurl = \"http://x\"\n"));
    expect![[r#"
        bld.toml names a digest function that cannot be used: unknown digest function `md5` (known: blake3, sha256)
    "#]].assert_eq(&said("digest = \"md5\"\n"));
    expect![[r#"
        `rules` in bld.toml is not a folder of the workspace: `..` is not a name
    "#]]
    .assert_eq(&said("rules = \"../elsewhere\"\n"));
    expect![[r#"
        the setting `mode` in bld.toml has no values: list what it may be, the default first
    "#]]
    .assert_eq(&said("[settings]\nmode = []\n"));
    expect![[r#"
        bld.toml cannot be read: TOML parse error at line 1, column 10
          |
        1 | digest = 
          |          ^
        string values must be quoted, expected literal string
    "#]]
    .assert_eq(&said("digest = \n"));
}

#[test]
fn a_remote_is_written_to_unless_it_says_otherwise_and_has_no_secret() {
    let remote =
        |text: &str| Config::parse(&format!("[remote]\n{text}")).map(|it| it.remote.unwrap());
    let plain = remote("url = \"grpcs://cache\"").unwrap();
    assert_eq!(
        (plain.url.as_str(), plain.instance.as_str(), plain.upload),
        ("grpcs://cache", "", true)
    );
    let read =
        remote("url = \"grpcs://cache\"\nupload = false\ncredential_helper = \"login\"").unwrap();
    assert_eq!((read.upload, read.credential_helper.as_deref()), (false, Some("login")));
    for wrong in [
        "",
        "url = \"grpcs://cache\"\ncredential_helper = \"./login\"",
        "url = \"grpcs://cache\"\npassword = \"secret\"",
    ] {
        remote(wrong).unwrap_err();
    }
    // A token there is nothing that anybody should read, in a log neither.
    for token in ["\"s3cret\"", "[\"s3cret\"]"] {
        let error = remote(&format!("url = \"grpcs://cache\"\ntoken = {token}")).unwrap_err();
        assert!(matches!(error, ConfigError::Token), "{error}");
    }
}

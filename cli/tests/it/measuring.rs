//! `bld bench cache`: what is measured, and what is refused.

use std::net::TcpListener;

use crate::machine::{Machine, Ran};
use crate::operating::{GUARDED, guard};
use crate::served::Served;

#[test]
fn the_ceiling_is_measured_without_any_server() {
    let rows = "write,read,get-result";
    let words = ["bench", "cache", "--ceiling", "--seconds", "0.05", "--clients", "1,3", "--rows"];
    let ran = Machine::bare().run(&[&words[..], &[rows, "--json"]].concat());
    let answer = ran.expect(0).json();
    let rows = answer["rows"].as_array().unwrap();
    let of = |key: &str| rows.iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("row"), ["write", "write", "read", "read"]);
    assert_eq!(of("clients"), [1, 3, 1, 3]);
    assert_eq!(of("failures"), [0; 4]);
    assert!(of("per_second").iter().all(|rate| rate.as_f64().unwrap() > 0.0), "{rows:?}");
}

#[test]
fn a_server_elsewhere_has_to_be_meant_and_one_that_is_not_there_is_named() {
    let machine = Machine::bare();
    // An address for documentation: nobody is there, and nothing is sent to it.
    let said = machine.run(&["bench", "cache", "--remote", "grpc://192.0.2.1"]).expect(2).stderr;
    assert!(said.contains("--beyond-loopback"), "{said}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("peer=grpc://{}", listener.local_addr().unwrap());
    drop(listener);
    let said = machine.run(&["bench", "cache", "--remote", &nobody]).expect(3).stderr;
    assert!(said.contains("cannot reach peer"), "{said}");
    let words = ["bench", "cache", "--remote", &nobody, "--server-pid", "1", "--server-pid", "1"];
    machine.run(&words).expect(2);
}

#[test]
fn a_time_to_measure_is_within_its_bounds() {
    for seconds in ["0", "NaN", "-1", "600.1", "inf"] {
        let seconds = format!("--seconds={seconds}");
        let refused = Machine::bare().run(&["bench", "cache", "--ceiling", &seconds]).expect(2);
        refused.says(&["more than 0 and at most 600"]);
    }
}

#[test]
fn a_server_that_wants_a_token_is_measured_with_it() {
    let machine = Machine::new();
    let create =
        ["server", "token", "create", "bench", "--rights", "read,write-blobs,write-values"];
    machine.write("token", &machine.run(&create).expect(0).stdout);
    let served = Served::start_with(&machine, "[identity.anonymous]\nrights = []\n");
    let url = served.address().replace("http://", "grpc://");
    let words = ["bench", "cache", "--remote", &url, "--seconds", "0.05", "--clients", "1"];
    let rows = ["--rows", "write,read,find-missing,update-result"];
    let token = |path| [&words[..], &rows, &["--token-file", path]].concat();
    machine.run(&token("token")).expect(0);
    machine.run(&[&words[..], &rows].concat()).expect(3);
    machine.run(&token("nowhere")).expect(2).says(&["nowhere"]);
}

#[test]
fn a_server_that_encrypts_is_measured_by_who_may_ask_it_as_any_command_does() {
    let machine = Machine::new();
    guard(&machine, &[("token", "read,write-blobs")]);
    let issue = ["server", "ca", "issue", "bench", "--role", "client"];
    machine.run(&[&issue[..], &["--rights", "read,write-blobs"]].concat()).expect(0);
    let folder = machine.root().join("home/.local/share/bld-server/ca");
    let authority = folder.join("ca.pem").to_str().unwrap().to_owned();
    let tls = format!("[tls]\nclient_authority = \"{authority}\"\n");
    let served = Served::start_with(&machine, &GUARDED.replace("[tls]\n", &tls));
    let url = served.address().replace("https://", "grpcs://");
    let measure = |more: &[&str], variables: &[(&str, &str)]| {
        let words = ["bench", "cache", "--remote", &url, "--seconds", "0.05", "--clients", "2"];
        let rows = ["--rows", "write,read", "--json"];
        let mut command = machine.command(&[&words[..], &rows, more].concat());
        Ran::of(command.envs(variables.iter().copied()))
    };
    let ca = ("BLD_REMOTE_CA_FILE", &*authority);
    let token = ("BLD_REMOTE_TOKEN_FILE", "token");
    let identity = [("BLD_REMOTE_CERTIFICATE", "bench.pem"), ("BLD_REMOTE_KEY", "bench.key"), ca];
    for measured in [
        measure(&["--token-file", "token"], &[ca]),
        measure(&[], &[ca, token]),
        measure(&[], &identity),
    ] {
        let rows = measured.expect(0).json();
        let rows = rows["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|it| it["failures"] == 0 && it["calls"] != 0), "{rows:?}");
    }

    // Who is not believed is told nothing, and who is not known may not do anything.
    measure(&[], &[token]).expect(3).says(&["cannot reach", &url]);
    let refused = measure(&[], &[ca]).expect(3).json();
    assert_ne!(refused["rows"][0]["failures"], 0, "{refused}");
    // What proves who asks is for the first one alone.
    let other = format!("other={url}");
    let compared = measure(&["--remote", &other], &[ca, token]).expect(3).json();
    let failed = |of: &str| {
        let rows = compared["rows"].as_array().unwrap().iter();
        rows.filter(|it| it["server"] == of).all(|it| it["failures"] != 0)
    };
    assert!(failed("other") && !failed(&url), "{compared}");
    measure(&[], &[("BLD_REMOTE_CA_FILE", "token")]).expect(2).says(&["token", "PEM"]);
    measure(&[], &[("BLD_REMOTE_CERTIFICATE", "bench.pem")]).expect(2).says(&["only one is named"]);
}

//! Tokens: made, shown, ended, taken away.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cas_server::{Denied, Right, Secret, TokenError, Unauthenticated};
use proptest::prelude::*;

use crate::asking::{CLOSED, House, bearing, grant, request};

fn basic(user_and_password: &str) -> String {
    format!("Basic {}", STANDARD.encode(user_and_password))
}

#[test]
fn what_root_writes_into_the_folder_of_a_server_belongs_to_that_server() {
    let house = House::new(CLOSED);
    // Only root can give anything away, and where this is checked it is root.
    chown(house.path(""), Some(65_532), Some(65_532)).unwrap();
    house.token("ci", grant("read", "trusted", &[]));
    let made = house.path("tokens.toml").metadata().unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (65_532, 65_532, 0o600));
}

#[test]
fn who_shows_a_token_has_what_it_grants_and_nothing_more() {
    let house = House::new(CLOSED);
    let secret = house.token("ci@drivers", grant("read,write-blobs", "pr/17", &["branch/main"]));

    let caller = house.identify(&bearing(&secret)).unwrap();
    assert_eq!(&*caller.name, "token:ci@drivers");
    assert_eq!(caller.namespace.to_string(), "pr/17");
    let reads: Vec<_> = caller.reads.iter().map(ToString::to_string).collect();
    assert_eq!(reads, ["pr/17", "branch/main", "trusted"]);
    caller.require(Right::Read).unwrap();
    caller.require(Right::WriteBlobs).unwrap();
    for right in [Right::WriteValues, Right::Execute, Right::Administer] {
        let denied = caller.require(right).unwrap_err();
        assert_eq!(denied, Denied::Forbidden { caller: caller.name.clone(), right });
    }
}

#[test]
fn a_token_that_nobody_could_ever_use_is_not_made() {
    let house = House::new(CLOSED);
    let create = |lifetime| {
        house.tokens().create(
            "ci",
            grant("read", "trusted", &[]),
            SystemTime::now(),
            Some(lifetime),
        )
    };
    let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    for lifetime in
        [Duration::ZERO, century + Duration::from_secs(1), Duration::from_secs(u64::MAX)]
    {
        let error = create(lifetime).unwrap_err();
        assert!(matches!(error, TokenError::Lifetime { .. }) && error.is_mistake(), "{error}");
    }
    assert!(house.tokens().list().unwrap().is_empty());
    create(century).unwrap();
}

#[test]
fn a_token_is_the_same_as_a_bearer_and_as_a_password_of_a_url() {
    let house = House::new(CLOSED);
    let secret = house.token("ci", grant("read", "trusted", &[]));
    let token = secret.reveal();
    for authorization in [
        format!("Bearer {token}"),
        format!("bearer {token}"),
        basic(&format!("ci:{token}")),
        basic(&format!(":{token}")),
        basic(&format!("{token}:")),
        basic(&format!("x-token-auth:{token}")).replace("Basic", "basic"),
    ] {
        let caller = house.identify(&request(&[("authorization", &authorization)])).unwrap();
        assert_eq!(&*caller.name, "token:ci", "{}", authorization.len());
    }
}

#[test]
fn a_token_that_is_almost_right_is_refused_and_never_anonymous() {
    // Anonymous callers may do everything here: who shows something wrong is still not one of them.
    let house = House::new("");
    let token = house.token("ci", grant("read", "trusted", &[])).reveal().to_owned();
    let id = token[4..20].to_owned();
    let mut last = token.clone();
    last.replace_range(token.len() - 1.., if token.ends_with('0') { "1" } else { "0" });
    for wrong in [
        last,
        token[..token.len() - 1].to_owned(),
        format!("{token}0"),
        token.to_uppercase(),
        format!("bld_{id}_{}", "0".repeat(64)),
        format!("bld_{id}_"),
        format!("bld_{}_{}", "0".repeat(16), &token[21..]),
        "hunter2".to_owned(),
        "bld_".to_owned(),
    ] {
        let refusal = house.identify(&request(&[("authorization", &format!("Bearer {wrong}"))]));
        assert_eq!(refusal.unwrap_err(), Unauthenticated::UnknownToken, "{wrong}");
    }
    for unclear in
        ["Bearer", "Bearer ", "Basic !", "Basic bm9jb2xvbg==", "Digest x", "", "Basic Og=="]
    {
        let refusal = house.identify(&request(&[("authorization", unclear)]));
        assert!(matches!(refusal, Err(Unauthenticated::Credential(_))), "{unclear}: {refusal:?}");
    }
    let twice = [("authorization", "Bearer x"), ("authorization", "Bearer y")];
    assert!(matches!(house.identify(&request(&twice)), Err(Unauthenticated::Credential(_))));
    let long = format!("Bearer {}", "a.".repeat(20_000));
    let refusal = house.identify(&request(&[("authorization", &long)]));
    assert!(matches!(refusal, Err(Unauthenticated::Credential(_))));
}

#[test]
fn a_token_ends_when_it_was_said_to() {
    let house = House::new(CLOSED);
    let secret = house.token("ci", grant("read", "trusted", &[]));
    let ends = SystemTime::now() + Duration::from_secs(3600);
    let minute = Duration::from_secs(60);
    house.identify_at(&bearing(&secret), ends - minute).unwrap();
    let refusal = house.identify_at(&bearing(&secret), ends + minute).unwrap_err();
    assert_eq!(refusal, Unauthenticated::Expired);
}

#[test]
fn a_token_without_an_end_has_none() {
    let house = House::new(CLOSED);
    let now = SystemTime::now();
    let made = house.tokens().create("ci", grant("read", "trusted", &[]), now, None);
    let (_, secret) = made.unwrap();
    house.refresh();
    let century = Duration::from_secs(100 * 365 * 24 * 3600);
    house.identify_at(&bearing(&secret), now + century).unwrap();
}

#[test]
fn a_token_that_is_revoked_while_the_server_runs_is_refused() {
    let house = House::new(CLOSED);
    let secret = house.token("ci", grant("read", "trusted", &[]));
    let other = house.token("other", grant("read", "trusted", &[]));
    house.identify(&bearing(&secret)).unwrap();

    house.tokens().revoke("ci").unwrap();
    house.refresh();
    let refusal = house.identify(&bearing(&secret)).unwrap_err();
    assert_eq!(refusal, Unauthenticated::UnknownToken);
    house.identify(&bearing(&other)).unwrap();

    std::fs::remove_file(house.path("tokens.toml")).unwrap();
    house.refresh();
    house.identify(&bearing(&other)).unwrap_err();
}

#[test]
fn a_file_that_makes_no_sense_revokes_nobody() {
    let house = House::new(CLOSED);
    let secret = house.token("ci", grant("read", "trusted", &[]));
    house.write("tokens.toml", "[[token]]\nid = 7\n");
    house.refresh();
    house.identify(&bearing(&secret)).unwrap();
    assert!(matches!(house.tokens().list(), Err(TokenError::Toml(_))));
    assert!(
        matches!(house.tokens().revoke("ci"), Err(TokenError::Toml(_))),
        "it is not overwritten"
    );
}

#[test]
fn a_file_that_contradicts_itself_is_refused() {
    let house = House::new(CLOSED);
    house.token("ci", grant("read", "trusted", &[]));
    let good = std::fs::read_to_string(house.path("tokens.toml")).unwrap();
    let token = &good[good.find("[[token]]").unwrap()..];
    house.write("tokens.toml", &format!("{token}\n{token}"));
    assert!(matches!(house.tokens().list(), Err(TokenError::SameId { .. })));
    for (right, wrong) in [
        ("namespace = \"trusted\"", "namespace = \"main\""),
        ("namespace = \"trusted\"", "namespace = \"trusted\"\nreads = [\"pr/1\"]"),
        ("rights = [\"read\"]", "rights = [\"root\"]"),
        ("name = \"ci\"", "name = \"c i\""),
        ("hash = \"", "hash = \"0"),
        ("id = \"", "id = \"0"),
    ] {
        house.write("tokens.toml", &token.replace(right, wrong));
        assert!(matches!(house.tokens().list(), Err(TokenError::Toml(_))), "{wrong}");
    }
    std::fs::write(house.path("tokens.toml"), [0xff]).unwrap();
    assert!(matches!(house.tokens().list(), Err(TokenError::NotText { .. })));
}

#[test]
fn the_file_holds_no_token_and_only_its_owner_can_read_it() {
    let house = House::new(CLOSED);
    let secret = house.token("ci", grant("read", "trusted", &[]));
    let text = std::fs::read_to_string(house.path("tokens.toml")).unwrap();
    assert!(!text.contains(&secret.reveal()[21..]));
    let mode = house.path("tokens.toml").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn names_are_unique_until_they_are_free_again() {
    let house = House::new(CLOSED);
    let trusted = || grant("read", "trusted", &[]);
    let tokens = house.tokens();
    let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
    tokens.create("ci", trusted(), now, Some(hour)).unwrap();
    let taken = tokens.create("ci", trusted(), now, None).unwrap_err();
    assert!(matches!(taken, TokenError::Taken(_)));
    tokens.create("ci", trusted(), now + hour, None).expect("the first has expired");
    assert_eq!(tokens.list().unwrap().len(), 1);
    tokens.revoke("ci").unwrap();
    assert!(matches!(tokens.revoke("ci"), Err(TokenError::NoSuchToken { .. })));
    for name in ["", "a b", "a\nb", "ü", &"x".repeat(129)] {
        let refused = tokens.create(name, trusted(), now, None).unwrap_err();
        assert!(matches!(refused, TokenError::Invalid(_)), "{name:?}");
    }
}

#[test]
fn tokens_that_are_made_at_once_are_all_there() {
    let house = House::new(CLOSED);
    std::thread::scope(|threads| {
        for at in 0..8 {
            let tokens = house.tokens();
            threads.spawn(move || {
                let grant = grant("read", "trusted", &[]);
                tokens.create(&format!("ci-{at}"), grant, SystemTime::now(), None).unwrap();
            });
        }
    });
    assert_eq!(house.tokens().list().unwrap().len(), 8);
}

proptest! {
    #[test]
    fn whatever_is_shown_is_never_repeated(secret in "[A-Za-z0-9_.-]{12,80}", basic_too: bool) {
        let house = House::new(CLOSED);
        let header = if basic_too { basic(&format!("user:{secret}")) } else { format!("Bearer {secret}") };
        let refusal = house.identify(&request(&[("authorization", &header)])).unwrap_err();
        let shown = format!("{refusal} {refusal:?} {:?}", Secret::new(secret.clone()));
        prop_assert!(!shown.contains(&secret));
    }

    #[test]
    fn no_header_makes_the_server_stumble(header in prop::collection::vec(0x20_u8..=0xff, 0..200)) {
        let house = House::new(CLOSED);
        let mut request = request(&[]);
        if let Ok(value) = http::HeaderValue::from_bytes(&header) {
            request.headers_mut().insert("authorization", value);
            prop_assert!(house.identify(&request).is_err());
        }
    }
}

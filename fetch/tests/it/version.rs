//! Versions compare as dpkg compares them.

use std::cmp::Ordering;

use fetch::deb::version::Version;

fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

/// The cases that dpkg's own tests and Debian Policy 5.6.12 name, and those that others got wrong.
const EARLIER_THEN_LATER: &[(&str, &str)] = &[
    ("~~", "~~a"),
    ("~~a", "~"),
    ("~", "0"),
    ("1.0~beta1~svn1245", "1.0~beta1"),
    ("1.0~beta1", "1.0"),
    ("1.0~rc1-1", "1.0-1"),
    ("1.0-1~bpo12+1", "1.0-1"),
    ("1.0-1", "1.0-1+b1"),
    ("1.0-1+b1", "1.0-1+deb12u1"),
    ("1.0", "1.0a"),
    ("1.0a", "1.0b"),
    ("1.0a", "1.0+"),
    ("1.0Z", "1.0a"),
    ("1.0-1+", "1.0+"),
    ("1.0-1", "1.0+-1"),
    ("1.2", "1.10"),
    ("9", "10"),
    ("1.9.9", "1:0"),
    ("1:2", "2:1"),
    ("0:9", "1:0"),
    ("1.0", "1.0.0"),
    ("1.0-0", "1.0-0.1"),
    ("1-1", "1.0-1"),
    ("2.36-9+deb12u7", "2.36-9+deb12u13"),
    ("6.1.9-1", "6.1.10-1"),
    ("6.1.190-1", "6.1.192-1"),
    ("0.1.20240101120000", "20240101120000"),
    ("99999999999999999999998", "99999999999999999999999"),
    ("1.2.3-4~", "1.2.3-4"),
    ("1.0-1-1", "1.0-1-2"),
];

const EQUAL: &[(&str, &str)] = &[
    ("1.0", "1.0-0"),
    ("1.0", "0:1.0"),
    ("1.00", "1.0"),
    ("1.0-01", "1.0-1"),
    ("00:1", "1"),
    ("1.", "1.0"),
];

#[test]
fn versions_compare_as_policy_says() {
    for (earlier, later) in EARLIER_THEN_LATER {
        assert_eq!(version(earlier).cmp(&version(later)), Ordering::Less, "{earlier} {later}");
        assert_eq!(version(later).cmp(&version(earlier)), Ordering::Greater, "{later} {earlier}");
    }
    for (one, other) in EQUAL {
        assert_eq!(version(one), version(other), "{one} {other}");
    }
}

#[test]
fn what_is_no_version_is_refused() {
    for text in ["", " 1", "1 2", "a:1", ":1", "1é"] {
        Version::new(text).unwrap_err();
    }
}

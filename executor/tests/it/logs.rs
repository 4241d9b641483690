//! What a command says is kept as it is.

use executor::Rung;
use model::{Digest, DigestFunction};

use crate::support::World;
use crate::tests;

tests![
    both_streams_are_kept_apart,
    a_command_that_says_nothing_has_no_logs,
    bytes_are_kept_as_they_are,
    much_is_kept_whole,
    a_stream_can_be_opened_again_by_its_name,
    what_descendants_say_is_kept_too,
    a_log_whose_mode_was_taken_away_is_kept,
];

/// How much is much: far more than any pipe or buffer holds.
const MUCH: usize = 50_000_000;

fn both_streams_are_kept_apart(rung: Rung) {
    let world = World::new(rung);
    let ran = world.sh("echo out; echo err >&2; echo out again; exit 7").ran();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\nout again\n", "err\n"));
    assert_eq!(ran.exit_code(), 7);
}

fn a_command_that_says_nothing_has_no_logs(rung: Rung) {
    let world = World::new(rung);
    let result = world.sh("true").ran().execution.result;
    assert_eq!((result.stdout, result.stderr), (None, None));
}

fn bytes_are_kept_as_they_are(rung: Rung) {
    let world = World::new(rung);
    let result = world.run(&["/bin/printf", r"\000\377\n\r\001"]).ran().execution.result;
    assert_eq!(world.bytes(result.stdout), b"\0\xff\n\r\x01");
}

fn much_is_kept_whole(rung: Rung) {
    let world = World::new(rung);
    let script = format!("yes 0123456789 | head -c {MUCH}; yes abc | head -c {MUCH} >&2");
    let result = world.sh(&script).ran().execution.result;
    let digest = |line: &str| {
        let text = line.repeat(MUCH / line.len() + 1);
        Digest::of(DigestFunction::Blake3, &text.as_bytes()[..MUCH])
    };
    assert_eq!(result.stdout, Some(digest("0123456789\n")));
    assert_eq!(result.stderr, Some(digest("abc\n")));
    world.is_clean();
}

fn a_stream_can_be_opened_again_by_its_name(rung: Rung) {
    let world = World::new(rung);
    let ran =
        world.sh("echo one; echo two >> /dev/stdout; echo three; echo four >> /dev/stderr").ran();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("one\ntwo\nthree\n", "four\n"));
    // Truncated by the command itself; but no hole is left where it was.
    assert_eq!(world.sh("echo one; echo two > /dev/stdout; echo three").says(), "two\nthree\n");
}

fn what_descendants_say_is_kept_too(rung: Rung) {
    let world = World::new(rung);
    assert_eq!(world.sh("(echo a; (echo b; setsid printf 'c\\n')); wait").says(), "a\nb\nc\n");
}

fn a_log_whose_mode_was_taken_away_is_kept(rung: Rung) {
    let world = World::new(rung);
    assert_eq!(world.sh("echo kept; chmod 000 /proc/self/fd/1").says(), "kept\n");
}

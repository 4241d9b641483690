//! What was seen of files holds until it may not hold any more.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine::{Changes, DiskFiles, Files as _, Packed, Snapshot};
use model::RelativePath;
use tempfile::TempDir;

/// Long enough after anything that a test writes for it to be settled.
const LATER: Duration = Duration::from_secs(60);

fn path(text: &str) -> RelativePath {
    RelativePath::new(text).unwrap()
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("text", "one\n");
        folder.write("input", "one\n");
        folder.write("folder/child", "one\n");
        folder
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
    }

    /// Returns the time by the clock that files have theirs from.
    fn now(&self) -> SystemTime {
        self.write("clock", "");
        self.at("clock").metadata().unwrap().modified().unwrap()
    }

    fn files(&self, before: &Snapshot, now: SystemTime) -> DiskFiles {
        let files = DiskFiles::looked_at(self.0.path().to_owned(), now);
        files.know(Arc::new(before.pack()));
        files
    }

    /// Looks at everything, as a build at that time does.
    fn look(&self, now: SystemTime) -> Snapshot {
        let files = self.files(&Snapshot::default(), now);
        files.read(&path("text")).unwrap();
        files.read(&path("absent")).unwrap();
        files.list(&path("folder")).unwrap();
        files.kind(&path("folder")).unwrap();
        files.kind(&path("input")).unwrap();
        files.file(&path("input")).unwrap();
        files.snapshot()
    }

    fn changes(&self, before: &Snapshot) -> Changes {
        before.pack().look(&self.files(before, self.now() + LATER), 2).unwrap()
    }
}

fn settled(folder: &Folder) -> Snapshot {
    folder.look(folder.now() + LATER)
}

#[test]
fn what_was_not_touched_is_not_read_again() {
    let folder = Folder::new();
    assert_eq!(folder.changes(&settled(&folder)), Changes::default());
}

#[test]
fn what_was_touched_is_read_again_and_found_the_same() {
    let folder = Folder::new();
    let before = settled(&folder);
    let past = FileTimes::new().set_modified(folder.now() - LATER);
    for name in ["text", "input"] {
        File::options().write(true).open(folder.at(name)).unwrap().set_times(past).unwrap();
    }
    let changes = folder.changes(&before);
    assert!(changes.is_none() && changes.looked_again, "{changes:?}");
}

#[test]
fn what_may_have_changed_within_the_clocks_granularity_is_read_again_even_if_all_looks_the_same() {
    let folder = Folder::new();
    let before = folder.look(folder.now());
    let changes = folder.changes(&before);
    assert!(changes.is_none() && changes.looked_again, "{changes:?}");
    // Having been looked at once more, later, it is settled.
    assert!(!folder.changes(&settled(&folder)).looked_again);
}

#[test]
fn what_is_newer_than_a_clock_that_was_set_back_is_read_again() {
    let folder = Folder::new();
    let before = folder.look(folder.now() - 100 * LATER);
    assert!(folder.changes(&before).looked_again);
}

#[test]
fn every_edit_is_noticed_and_told_from_what_only_inputs_can_be() {
    type Edit = fn(&Folder);
    let inputs: [(&str, Edit); 3] = [
        ("another text of the same length", |it| it.write("input", "two\n")),
        ("another text that keeps its time", |it| {
            let time = it.at("input").metadata().unwrap().modified().unwrap();
            it.write("input", "two\n");
            let file = File::options().write(true).open(it.at("input")).unwrap();
            file.set_times(FileTimes::new().set_modified(time)).unwrap();
        }),
        ("another mode", |it| {
            fs::set_permissions(it.at("input"), Permissions::from_mode(0o755)).unwrap();
        }),
    ];
    for (what, edit) in inputs {
        let folder = Folder::new();
        let before = settled(&folder);
        edit(&folder);
        let changes = folder.changes(&before);
        assert!(
            changes.loaded.is_empty() && changes.sources == [path("input")],
            "{what}: {changes:?}"
        );
    }
    let loading: [(&str, Edit); 8] = [
        ("another BUILD text", |it| it.write("text", "two\n")),
        ("a file that was not there", |it| it.write("absent", "")),
        ("a file that is gone", |it| fs::remove_file(it.at("input")).unwrap()),
        ("a link in the place of a file", |it| {
            fs::remove_file(it.at("input")).unwrap();
            symlink("text", it.at("input")).unwrap();
        }),
        ("a folder in the place of a file", |it| {
            fs::remove_file(it.at("input")).unwrap();
            fs::create_dir(it.at("input")).unwrap();
        }),
        ("one child more", |it| it.write("folder/other", "")),
        ("a child of another name", |it| {
            fs::rename(it.at("folder/child"), it.at("folder/other")).unwrap();
        }),
        ("a link in the place of a folder", |it| {
            fs::rename(it.at("folder"), it.at("moved")).unwrap();
            symlink("moved", it.at("folder")).unwrap();
        }),
    ];
    for (what, edit) in loading {
        let folder = Folder::new();
        let before = settled(&folder);
        edit(&folder);
        assert!(!folder.changes(&before).loaded.is_empty(), "{what}");
    }
}

#[test]
fn results_that_are_edited_or_gone_are_told_like_inputs() {
    for gone in [false, true] {
        let folder = Folder::new();
        folder.write("bld-out/made", "one\n");
        let files = folder.files(&Snapshot::default(), folder.now() + LATER);
        files.file(&path("bld-out/made")).unwrap();
        let before = files.snapshot();
        if gone {
            fs::remove_file(folder.at("bld-out/made")).unwrap();
        } else {
            folder.write("bld-out/made", "two\n");
        }
        let changes = folder.changes(&before);
        assert!(
            changes.loaded.is_empty() && changes.sources == [path("bld-out/made")],
            "{changes:?}"
        );
    }
}

#[test]
fn the_newer_of_two_snapshots_counts_and_nothing_is_lost() {
    let folder = Folder::new();
    let older = settled(&folder);
    folder.write("input", "two\n");
    let files = folder.files(&Snapshot::default(), folder.now() + LATER);
    files.file(&path("input")).unwrap();
    files.kind(&path("zebra")).unwrap();
    let changes = folder.changes(&older);
    assert_eq!(changes.sources, [path("input")]);
    let both = older.pack().renewed(&changes, &files.snapshot()).unwrap();
    assert_eq!(both.len(), older.len() + 1);
    let look = |packed: &Packed| {
        packed.look(&folder.files(&Snapshot::default(), folder.now() + LATER), 2).unwrap()
    };
    assert_eq!(look(&both), Changes::default());
    // Of what is known to hold it need not be known that it is there.
    let again = folder.files(&Snapshot::default(), folder.now() + LATER);
    again.kind(&path("input")).unwrap();
    assert_eq!(both.renewed(&Changes::default(), &again.snapshot()), Some(both.clone()));
    // What is different and was not asked again is not asked any more.
    let rest = older.pack().renewed(&changes, &Snapshot::default()).unwrap();
    assert_eq!(rest.len(), older.len() - 1);
    assert_eq!(look(&rest), Changes::default());
}

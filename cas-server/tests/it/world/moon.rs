//! moon over gRPC, from the npm registry: its keys are no digests of `Action` messages.

use std::fs;
use std::path::Path;

use super::{installed, run, start};

fn workspace(folder: &Path, address: &str) {
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let remote = format!("projects: ['app']\nremote:\n  host: 'grpc://{address}'\n");
    write(".moon/workspace.yml", &remote);
    write(
        "app/moon.yml",
        "language: 'bash'\ntasks:\n  make:\n    command: 'bash make.sh'\n    inputs: ['make.sh']\n    \
         outputs: ['out.txt', 'large.txt']\n",
    );
    write("app/make.sh", "echo making it\nseq 1000 > out.txt\nseq 1000000 > large.txt\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn moon_finds_what_another_checkout_made() {
    let (_server, address) = start().await;
    let moon = installed::npm(installed::MOON).await.join("moon");
    let moon = moon.to_str().unwrap();

    let mut made = Vec::new();
    for is_first in [true, false] {
        let checkout = tempfile::tempdir().unwrap();
        workspace(checkout.path(), &address);
        run(checkout.path(), "git", &["init", "-q"]).await;
        run(checkout.path(), "git", &["add", "-A"]).await;
        let author = ["-c", "user.name=a", "-c", "user.email=a@localhost"];
        let commit = [&author[..], &["commit", "-q", "-m", "all"]].concat();
        run(checkout.path(), "git", &commit).await;
        let said = run(checkout.path(), moon, &["run", "app:make", "--log", "info"]).await;
        assert_eq!(said.contains("cached from remote"), !is_first, "{said}");
        made.push(fs::read(checkout.path().join("app/large.txt")).unwrap());
    }
    assert_eq!(made[0], made[1]);
}

//! Signatures of Release files: asked of the machine's `gpgv`, or of `sqv` where only that is there.
//!
//! Only what the checker itself calls signed is ever parsed. A single good signature by a key that
//! counts is enough; a bad one spoils all.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;

use super::sources::Keys;

/// The numbers (RFC 9580, 9.5) of digests that no longer mean anything: MD5, SHA-1, RIPEMD-160.
const WEAK_DIGESTS: [&str; 3] = ["1", "2", "3"];

/// A program that checks signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checker {
    /// `gpgv`, and where it is.
    Gpgv(PathBuf),
    /// `sqv`, and where it is. It is given detached signatures only.
    Sqv(PathBuf),
}

/// Why a Release file is not believed.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Neither program is on the machine.
    #[error(
        "signatures cannot be checked: neither gpgv nor sqv is installed (`apt-get install gpgv`)"
    )]
    NoChecker,
    /// There is no keyring to check with.
    #[error("no keyring is configured or readable; name one with Signed-By")]
    NoKeys,
    /// A keyring's armour cannot be undone.
    #[error("the armoured keyring {origin} is malformed")]
    Armour {
        /// Which.
        origin: String,
    },
    /// The program cannot be run, or files for it cannot be written.
    #[error("cannot {verb} {}", path.display())]
    Run {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A signature does not match the text.
    #[error("BAD signature: the file was changed after it was signed")]
    Bad,
    /// No signature by a key that counts.
    #[error("no valid signature by a known key ({details})")]
    Unknown {
        /// What the program said, in short.
        details: String,
    },
    /// The signed text is not text.
    #[error("the signed text is not UTF-8")]
    NotText,
}

impl Checker {
    /// Returns the checker in the directories of `path` (the value of `PATH`), if there is one.
    pub fn find(path: &OsStr) -> Option<Self> {
        let look = |name: &str| {
            std::env::split_paths(path).map(|dir| dir.join(name)).find(|file| file.is_file())
        };
        if let Some(gpgv) = look("gpgv") {
            return Some(Self::Gpgv(gpgv));
        }
        look("sqv").map(Self::Sqv)
    }

    /// Returns whether text with its signature around it (`InRelease`) can be checked.
    pub fn reads_inline(&self) -> bool {
        match self {
            Self::Gpgv(_) => true,
            Self::Sqv(_) => false,
        }
    }

    /// Returns the text inside `inline` that a good signature covers. `scratch` is an empty directory.
    pub fn open_inline(
        &self,
        inline: &[u8],
        keys: &Keys,
        scratch: &Path,
    ) -> Result<String, SignatureError> {
        let file = write(scratch, "InRelease", inline)?;
        let text = scratch.join("text");
        let extra = [OsStr::new("--output"), text.as_os_str()];
        self.check(keys, scratch, &extra, &[file.as_os_str()])?;
        let bytes = fs::read(&text).map_err(run("read", &text))?;
        as_text(bytes)
    }

    /// Returns `text` if `signature` is a good one of it. `scratch` is an empty directory.
    pub fn open_detached(
        &self,
        text: Vec<u8>,
        signature: &[u8],
        keys: &Keys,
        scratch: &Path,
    ) -> Result<String, SignatureError> {
        let file = write(scratch, "Release", &text)?;
        let signature = write(scratch, "Release.gpg", signature)?;
        self.check(keys, scratch, &[], &[signature.as_os_str(), file.as_os_str()])?;
        as_text(text)
    }

    fn check(
        &self,
        keys: &Keys,
        scratch: &Path,
        extra: &[&OsStr],
        files: &[&OsStr],
    ) -> Result<(), SignatureError> {
        let program = match self {
            Self::Gpgv(program) | Self::Sqv(program) => program,
        };
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C.UTF-8").env("HOME", scratch).current_dir(scratch);
        if let Self::Gpgv(_) = self {
            command.arg("--homedir").arg(scratch).args(["--quiet", "--status-fd", "1"]);
        }
        for keyring in keyrings(keys, scratch)? {
            command.arg("--keyring").arg(keyring);
        }
        command.args(extra).arg("--").args(files);
        let output = command.output().map_err(run("run", program))?;
        match self {
            Self::Gpgv(_) => judge_gpgv(&output, &keys.fingerprints),
            Self::Sqv(_) => judge_sqv(&output, &keys.fingerprints),
        }
    }
}

fn as_text(bytes: Vec<u8>) -> Result<String, SignatureError> {
    String::from_utf8(bytes).or(Err(SignatureError::NotText))
}

fn run(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SignatureError {
    let path = path.to_owned();
    move |source| SignatureError::Run { verb, path, source }
}

fn write(scratch: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, SignatureError> {
    let path = scratch.join(name);
    fs::write(&path, bytes).map_err(run("write", &path))?;
    Ok(path)
}

/// Returns the keyrings as binary files: gpgv reads no armour.
fn keyrings(keys: &Keys, scratch: &Path) -> Result<Vec<PathBuf>, SignatureError> {
    let mut paths = Vec::new();
    let mut plain = |bytes: Vec<u8>| {
        let name = format!("keyring-{}.gpg", paths.len());
        paths.push(write(scratch, &name, &bytes)?);
        Ok(())
    };
    for file in &keys.files {
        // apt, too, goes on without a keyring that is not there: another may know the key.
        let Ok(bytes) = fs::read(file) else { continue };
        plain(if is_armoured(&bytes) {
            dearmour(&bytes, &file.display().to_string())?
        } else {
            bytes
        })?;
    }
    for block in &keys.blocks {
        plain(dearmour(block.as_bytes(), "in Signed-By")?)?;
    }
    if paths.is_empty() { Err(SignatureError::NoKeys) } else { Ok(paths) }
}

fn is_armoured(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"-----BEGIN PGP")
}

/// Undoes the ASCII armour (RFC 9580, 6.2) of one key block after another.
fn dearmour(armoured: &[u8], origin: &str) -> Result<Vec<u8>, SignatureError> {
    let malformed = || SignatureError::Armour { origin: origin.to_owned() };
    let text = std::str::from_utf8(armoured).or(Err(malformed()))?;
    let mut bytes = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while lines.by_ref().any(|line| line == "-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        let mut body = String::new();
        let mut in_headers = true;
        loop {
            let line = lines.next().ok_or_else(malformed)?;
            if line == "-----END PGP PUBLIC KEY BLOCK-----" {
                break;
            }
            if in_headers && line.contains(": ") {
                continue;
            }
            in_headers = false;
            // A line with `=` in front is the checksum, which protects from nothing that matters here.
            if !line.starts_with('=') {
                body.push_str(line);
            }
        }
        let block = base64::engine::general_purpose::STANDARD.decode(body).or(Err(malformed()))?;
        bytes.extend(block);
    }
    if bytes.is_empty() { Err(malformed()) } else { Ok(bytes) }
}

/// Reads gpgv's status lines: each signature begins with NEWSIG; GOODSIG and VALIDSIG together mean yes.
fn judge_gpgv(output: &Output, fingerprints: &[String]) -> Result<(), SignatureError> {
    let status = String::from_utf8_lossy(&output.stdout);
    let mut is_good = false;
    let mut counts = false;
    let mut details = Vec::new();
    for line in status.lines() {
        let mut words = line.strip_prefix("[GNUPG:] ").unwrap_or_default().split_whitespace();
        match words.next() {
            Some("NEWSIG") => is_good = false,
            Some("GOODSIG") => is_good = true,
            Some("BADSIG") => return Err(SignatureError::Bad),
            Some(bad @ ("EXPSIG" | "EXPKEYSIG" | "REVKEYSIG" | "NO_PUBKEY")) => {
                is_good = false;
                details.push(format!("{bad} {}", words.next().unwrap_or_default()));
            }
            Some("VALIDSIG") if is_good => {
                let fields: Vec<&str> = words.collect();
                let (key, digest, primary) = (fields.first(), fields.get(7), fields.get(9));
                if digest.is_some_and(|digest| WEAK_DIGESTS.contains(digest)) {
                    details.push("a weak digest".to_owned());
                } else if is_wanted(fingerprints, key, primary) {
                    counts = true;
                } else {
                    details.push(format!(
                        "signed by {}, which Signed-By does not name",
                        key.unwrap_or(&"?")
                    ));
                }
            }
            _ => {}
        }
    }
    if counts {
        return Ok(());
    }
    if details.is_empty() {
        details.push(last_line(&output.stderr));
    }
    Err(SignatureError::Unknown { details: details.join(", ") })
}

fn is_wanted(fingerprints: &[String], key: Option<&&str>, primary: Option<&&str>) -> bool {
    fingerprints.is_empty()
        || fingerprints.iter().any(|wanted| match wanted.strip_suffix('!') {
            Some(exact) => key == Some(&exact),
            None => key == Some(&wanted.as_str()) || primary == Some(&wanted.as_str()),
        })
}

/// Reads sqv's answer: one fingerprint of a certificate per good signature.
fn judge_sqv(output: &Output, fingerprints: &[String]) -> Result<(), SignatureError> {
    let signers = String::from_utf8_lossy(&output.stdout);
    let wanted = |signer: &str| is_wanted(fingerprints, Some(&signer), Some(&signer));
    if output.status.success() && signers.lines().any(|signer| wanted(signer.trim())) {
        return Ok(());
    }
    Err(SignatureError::Unknown { details: last_line(&output.stderr) })
}

fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it is not signed")
        .trim()
        .to_owned()
}

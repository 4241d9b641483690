//! Nothing that an operator says a server keeps or reads lies in the folder of its store, which sets aside what is not its own.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::{Config, ConfigError, TlsConfig};

impl Config {
    /// Fails if something lies in the folder of the store: at the next start it would be gone from there.
    pub fn keep_apart(&self, what: &'static str, path: &Path) -> Result<(), ConfigError> {
        let is_below = |path: &Path| {
            let (path, store) = (real(path)?, real(&self.store.path)?);
            io::Result::Ok(path.starts_with(store))
        };
        // Where not even the working directory can be told, whoever opens the file says so.
        if !is_below(path).unwrap_or(false) {
            return Ok(());
        }
        let (path, store) = (path.to_owned(), self.store.path.clone());
        Err(ConfigError::InStore { what, path, store })
    }

    pub(super) fn check_apart(&self) -> Result<(), ConfigError> {
        let issuers = self.identity.issuers.iter().map(|it| ("`identity.jwt.keys`", &it.keys));
        let places = [("`root`", &self.root), ("`identity.tokens`", &self.identity.tokens)]
            .into_iter()
            .chain(self.file.iter().map(|it| ("the configuration", it)))
            .chain(self.listen.unix.iter().map(|it| ("`listen.unix`", it)))
            .chain(self.tls.iter().flat_map(TlsConfig::places))
            .chain(
                self.telemetry.otlp_authority.iter().map(|it| ("`telemetry.otlp_authority`", it)),
            )
            .chain(issuers);
        for (what, path) in places {
            self.keep_apart(what, path)?;
        }
        Ok(())
    }
}

impl TlsConfig {
    fn places(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let always = [("`tls.certificate`", &self.certificate), ("`tls.key`", &self.key)];
        let authority = self.client_authority.iter().map(|it| ("`tls.client_authority`", it));
        let revocations = self.client_revocations.iter().map(|it| ("`tls.client_revocations`", it));
        always.into_iter().chain(authority).chain(revocations)
    }
}

/// Returns where a path leads, also where nothing is there yet.
fn real(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let known = path.ancestors().find_map(|it| Some((it, it.canonicalize().ok()?)));
    let Some((known, mut real)) = known else { return Ok(path) };
    for component in path.strip_prefix(known).expect("it is an ancestor").components() {
        match component {
            Component::ParentDir => drop(real.pop()),
            Component::Normal(_)
            | Component::CurDir
            | Component::RootDir
            | Component::Prefix(_) => real.push(component),
        }
    }
    Ok(real)
}

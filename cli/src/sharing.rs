//! Where results are shared: what a command, the environment, a person and a workspace say of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::RemoteConfig;
use fetch::Progress as _;
use model::DigestFunction;
use store::{Remote, RemoteConnection, RemoteOptions, RemoteStore, Retry, Secret, Tls};

use crate::error::CliError;
use crate::progress::Display;
use crate::settings::Settings;
use crate::terminal::chain;
use crate::workspace::OpenWorkspace;

/// What switches a remote off that somebody else chose.
const NONE: &str = "none";

/// What a command says of the remote.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RemoteArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// Only read from the remote
    #[arg(long)]
    pub(crate) no_upload: bool,
}

/// Which remote is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct PlaceArgs {
    /// Share results with this remote: grpc://HOST:PORT, grpcs://HOST:PORT, unix:PATH; or none
    #[arg(long, value_name = "URL")]
    pub(crate) remote: Option<String>,

    /// Which instance of the remote: for bld server, the project
    #[arg(long, value_name = "NAME")]
    pub(crate) remote_instance: Option<String>,
}

impl PlaceArgs {
    /// Returns what a command says that gives the remote nothing.
    pub(crate) fn to_read(&self) -> RemoteArgs {
        RemoteArgs { place: self.clone(), no_upload: true }
    }
}

/// How a command shares results.
#[derive(Clone, Debug)]
pub(crate) struct Sharing {
    options: RemoteOptions,
    uploads: bool,
    /// Whether it is not told what would prove who asks.
    withholds: bool,
}

/// A remote that was reached, and what may be done there.
#[derive(Clone)]
pub(crate) struct Reached {
    pub(crate) store: RemoteStore,
    /// Whether what is made here goes there.
    pub(crate) uploads: bool,
}

impl Sharing {
    /// Returns how results are shared; `None` if they are not.
    pub(crate) fn of(
        settings: &Settings,
        workspace: &OpenWorkspace,
        args: &RemoteArgs,
    ) -> Result<Option<Self>, CliError> {
        let Some(said) = Said::of(settings, Some(workspace), args.place.remote.as_deref())? else {
            return Ok(None);
        };
        let uploads = said.may_upload() && !args.no_upload;
        let function = workspace.config.function;
        let instance = args.place.remote_instance.clone();
        let proof = said.proof()?;
        let withholds = proof.is_none();
        let options = said.options(proof.unwrap_or_default(), instance, function)?;
        Ok(Some(Self { options, uploads, withholds }))
    }

    /// Returns where it is.
    pub(crate) fn url(&self) -> &str {
        &self.options.address
    }

    /// Reaches the remote. One that cannot be reached is warned of and done without; one that is set up wrongly is a
    /// mistake.
    pub(crate) async fn reach(&self, display: &Display) -> Result<Option<Reached>, CliError> {
        if self.withholds {
            display.note(&CliError::NotChosen(self.url().to_owned()).to_string());
        }
        let store = match self.try_to_reach().await {
            Ok(store) => store,
            Err(error) if error.is_mistake() => return Err(CliError::Remote(error)),
            Err(error) => {
                let text = chain(&error).join(": ");
                display.warn(&format!("{text}; everything is made here"));
                return Ok(None);
            }
        };
        let may_write = store.is_writable();
        if self.uploads && !may_write {
            let who = self.url();
            display.note(&format!("{who} may only be read by who asks here: nothing is uploaded"));
        }
        Ok(Some(Reached { store, uploads: self.uploads && may_write }))
    }

    /// Like [`Sharing::reach`], without a word.
    pub(crate) async fn try_to_reach(&self) -> Result<RemoteStore, store::RemoteError> {
        RemoteStore::connect(self.options.clone()).await
    }
}

impl Reached {
    /// Returns the remote as a build uses it.
    pub(crate) fn remote(&self) -> Arc<dyn Remote> {
        let store: Arc<dyn Remote> = Arc::new(self.store.clone());
        if self.uploads { store } else { Arc::new(store::ReadOnlyStore::new(store)) }
    }
}

/// What a command that only asks a server says of it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AskedArgs {
    /// Which server [default: where results are shared]
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    pub(crate) remote: Option<String>,
}

impl AskedArgs {
    /// Returns a connection to that server, with what proves who asks; whether it is there is not known yet.
    pub(crate) fn connection(&self, settings: &Settings) -> Result<RemoteConnection, CliError> {
        let typed = self.remote.as_deref().filter(|it| !it.is_empty());
        RemoteConnection::open(asked(settings, typed)?).map_err(CliError::Remote)
    }
}

/// Returns how to get to the server that was typed, or else where results are shared, and what proves who asks.
pub(crate) fn asked(settings: &Settings, typed: Option<&str>) -> Result<RemoteOptions, CliError> {
    let workspace = match OpenWorkspace::find(settings) {
        Ok(workspace) => Some(workspace),
        Err(CliError::NoWorkspace(_)) => None,
        Err(error) => return Err(error),
    };
    let said = Said::of(settings, workspace.as_ref(), typed)?.ok_or(CliError::NoRemote)?;
    let proof = said.proof()?.ok_or_else(|| CliError::NotChosen(said.url.clone()))?;
    // Nothing that is built is kept there, so what would name it does not matter.
    said.options(proof, None, DigestFunction::Blake3)
}

/// What proves who asks.
#[derive(Default)]
struct Proof {
    secret: Secret,
    /// A certificate and its key.
    identity: Option<(PathBuf, PathBuf)>,
}

/// What is said of the remote that counts.
struct Said<'a> {
    url: String,
    /// Whether whoever builds here chose it, and not only the workspace, which may be anybody's.
    is_chosen: bool,
    variables: Variables,
    /// By the workspace, and where its root is.
    configured: Option<(&'a RemoteConfig, &'a Path)>,
}

impl<'a> Said<'a> {
    /// Returns what is said of the remote that was typed, else of the one that is chosen or configured; `None` if there is
    /// none.
    fn of(
        settings: &Settings,
        workspace: Option<&'a OpenWorkspace>,
        typed: Option<&str>,
    ) -> Result<Option<Self>, CliError> {
        let configured =
            workspace.and_then(|it| Some((it.config.remote.as_ref()?, it.root.as_path())));
        let chosen = typed.or_else(|| settings.choices.value("remote"));
        let Some(url) = chosen.or(configured.map(|(it, _)| it.url.as_str())) else {
            return Ok(None);
        };
        if url == NONE {
            return Ok(None);
        }
        // What the workspace says of one remote, its secrets above all, is not for another.
        let configured = configured.filter(|(it, _)| it.url == url);
        let (url, is_chosen) = (url.to_owned(), chosen.is_some());
        Ok(Some(Self { url, is_chosen, variables: Variables::read()?, configured }))
    }

    fn may_upload(&self) -> bool {
        self.configured.is_none_or(|(it, _)| it.upload) && self.variables.upload.unwrap_or(true)
    }

    /// Returns what proves who asks; `None` if that belongs to whoever builds here, who did not choose to whom it goes.
    fn proof(&self) -> Result<Option<Proof>, CliError> {
        let secret = secret(&self.variables, self.configured)?;
        let identity = self.identity()?;
        let may_be_told = self.is_chosen
            || match &secret {
                Secret::None => true,
                Secret::TokenFile(path) => self.is_of_workspace(path),
                Secret::Token(_) | Secret::Helper(_) => false,
            };
        let may_be_shown = self.is_chosen
            || identity.as_ref().is_none_or(|(certificate, key)| {
                self.is_of_workspace(certificate) && self.is_of_workspace(key)
            });
        Ok((may_be_told && may_be_shown).then_some(Proof { secret, identity }))
    }

    /// Returns the certificate by which whoever builds is known, and its key.
    fn identity(&self) -> Result<Option<(PathBuf, PathBuf)>, CliError> {
        let Variables { certificate, key, .. } = &self.variables;
        let certificate = self.file(certificate.as_ref(), |it| it.certificate.as_ref())?;
        let key = self.file(key.as_ref(), |it| it.key.as_ref())?;
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => Err(CliError::HalfIdentity),
        }
    }

    /// Returns the file that a variable names, else the workspace.
    fn file(
        &self,
        variable: Option<&String>,
        configured: fn(&RemoteConfig) -> Option<&String>,
    ) -> Result<Option<PathBuf>, CliError> {
        if let Some(path) = variable {
            return absolute(Path::new(path)).map(Some);
        }
        let said = self.configured.and_then(|(it, root)| Some((configured(it)?, root)));
        said.map(|(path, root)| from_root(root, path)).transpose()
    }

    fn is_of_workspace(&self, path: &Path) -> bool {
        self.configured.is_some_and(|(_, root)| !is_outside(path, root))
    }

    /// Returns how to get there; `instance` is the one that was typed.
    fn options(
        self,
        proof: Proof,
        instance: Option<String>,
        function: DigestFunction,
    ) -> Result<RemoteOptions, CliError> {
        let ca_file = self.file(self.variables.ca_file.as_ref(), |it| it.ca_file.as_ref())?;
        let Self { url, variables, configured, is_chosen: _ } = self;
        let Proof { secret, identity } = proof;
        let configured_instance = || configured.map(|(it, _)| it.instance.clone());
        let instance = instance.or_else(|| variables.instance.clone()).or_else(configured_instance);
        Ok(RemoteOptions {
            address: url,
            instance: instance.unwrap_or_default(),
            function,
            secret,
            tls: Tls { ca_file, identity },
            retry: Retry::default(),
            invocation: invocation()?,
        })
    }
}

/// What the environment says.
struct Variables {
    instance: Option<String>,
    upload: Option<bool>,
    token: Option<String>,
    token_file: Option<String>,
    credential_helper: Option<String>,
    ca_file: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Variables {
    fn read() -> Result<Self, CliError> {
        let upload = match variable("BLD_REMOTE_UPLOAD")?.as_deref() {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => {
                let (name, value) = ("BLD_REMOTE_UPLOAD", other.to_owned());
                return Err(CliError::Variable { name, value, why: "it is true or false" });
            }
        };
        Ok(Self {
            instance: variable("BLD_REMOTE_INSTANCE")?,
            upload,
            token: variable("BLD_REMOTE_TOKEN")?,
            token_file: variable("BLD_REMOTE_TOKEN_FILE")?,
            credential_helper: variable("BLD_REMOTE_CREDENTIAL_HELPER")?,
            ca_file: variable("BLD_REMOTE_CA_FILE")?,
            certificate: variable("BLD_REMOTE_CERTIFICATE")?,
            key: variable("BLD_REMOTE_KEY")?,
        })
    }
}

/// Returns what a variable says; an empty one says nothing.
fn variable(name: &'static str) -> Result<Option<String>, CliError> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    let Some(value) = value else { return Ok(None) };
    let Ok(text) = value.into_string() else { return Err(CliError::NotText(name)) };
    Ok(Some(text))
}

/// The environment counts before the workspace, and in each what is nearest to the secret itself.
fn secret(
    variables: &Variables,
    configured: Option<(&RemoteConfig, &Path)>,
) -> Result<Secret, CliError> {
    if let Some(token) = &variables.token {
        return Ok(Secret::Token(token.clone()));
    }
    if let Some(file) = &variables.token_file {
        return Ok(Secret::TokenFile(absolute(Path::new(file))?));
    }
    if let Some(helper) = &variables.credential_helper {
        return Ok(Secret::Helper(helper.clone()));
    }
    let Some((configured, root)) = configured else { return Ok(Secret::None) };
    if let Some(file) = &configured.token_file {
        return Ok(Secret::TokenFile(from_root(root, file)?));
    }
    Ok(configured.credential_helper.clone().map_or(Secret::None, Secret::Helper))
}

/// Returns whether a file lies elsewhere, whatever leads there. One that is not there lies nowhere.
fn is_outside(path: &Path, root: &Path) -> bool {
    let root = root.canonicalize();
    let file = path.canonicalize();
    file.is_ok_and(|file| !root.is_ok_and(|root| file.starts_with(root)))
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(CliError::disk("find", path))
}

/// A path in bld.toml is meant from the workspace's root, or begins with `~/`.
fn from_root(root: &Path, text: &str) -> Result<PathBuf, CliError> {
    let Some(rest) = text.strip_prefix("~/") else { return Ok(root.join(text)) };
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|it| it.is_absolute());
    let no_home = || CliError::NoHome { place: "bld.toml".to_owned(), text: text.to_owned() };
    Ok(home.ok_or_else(no_home)?.join(rest))
}

/// Returns a name that no other build has.
fn invocation() -> Result<String, CliError> {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    let name = std::fs::read_to_string(path).map_err(CliError::disk("read", path))?;
    Ok(name.trim().to_owned())
}

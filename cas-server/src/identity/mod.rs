//! Who calls: a token, a JWT, a certificate, or nobody known.

mod certificate;
mod credential;
mod granted;
mod here;
mod issuer;
mod jwks;
mod jwt;
mod layer;
mod name;
mod peer;
mod refusal;
mod rule;
mod secret;
mod token;
mod tokens;

use std::sync::Arc;
use std::time::SystemTime;

use http::Request;

use crate::caller::Caller;
use crate::config::{Config, Exposed};
use crate::reload::{Refresh, Reloaded};
use certificate::Certificates;
use credential::credential;
use jwt::Jwts;
use tokens::Tokens;

pub use certificate::{CertificateError, PeerCertificate, RevocationsError};
pub use credential::CredentialError;
pub use granted::GrantedError;
pub(crate) use granted::uri as granted_uri;
pub use issuer::{IssuerConfig, IssuerError};
pub use jwks::KeysError;
pub use jwt::JwtError;
pub use layer::{Identified, IdentityLayer};
pub use name::InvalidName;
pub(crate) use name::check as check_name;
pub use peer::{Peer, PeerAddress};
pub use refusal::{Elsewhere, Unauthenticated};
pub use rule::{Rule, RuleError};
pub(crate) use secret::random_hex;
pub use secret::{NoRandomness, Secret, TokenId};
pub(crate) use token::seconds;
pub use token::{InvalidToken, Token};
pub use tokens::{TokenError, TokenFile};

/// Why callers cannot be known.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not by tokens.
    #[error("cannot use the tokens")]
    Tokens(#[from] TokenError),
    /// Not by JWTs.
    #[error("cannot use the keys of an issuer of JWTs")]
    Issuer(#[from] IssuerError),
    /// Not by certificates.
    #[error("cannot use the list of revoked certificates")]
    Revocations(#[from] RevocationsError),
}

impl IdentityError {
    /// Returns whether somebody can mend it in a file.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Tokens(error) => error.is_mistake(),
            Self::Issuer(error) => error.is_mistake(),
            Self::Revocations(error) => error.is_mistake(),
        }
    }
}

/// Everybody whom a server knows.
pub struct Identities {
    tokens: Arc<Reloaded<Tokens, TokenError>>,
    jwts: Jwts,
    certificates: Certificates,
    anonymous: Arc<Caller>,
    takes_anonymous_from_elsewhere: bool,
    knows_certificates: bool,
}

impl Identities {
    /// Reads the files that say who is known.
    pub fn open(config: &Config) -> Result<Self, IdentityError> {
        let identity = &config.identity;
        let revoked = config.tls.as_ref().and_then(|tls| tls.client_revocations.as_deref());
        let identities = Self {
            tokens: Arc::new(Tokens::watch(&identity.tokens)?),
            jwts: Jwts::open(&identity.issuers)?,
            certificates: Certificates::open(&identity.certificates, revoked)?,
            anonymous: Arc::new(Caller::anonymous(&identity.anonymous)),
            takes_anonymous_from_elsewhere: identity.allow_unauthenticated_beyond_loopback,
            knows_certificates: config.knows_certificates(),
        };
        if let Some(addresses) = config.exposed() {
            identities.warn(config, &addresses);
        }
        Ok(identities)
    }

    /// Tells whoever runs the server what he may not have meant, though it lets nobody in.
    fn warn(&self, config: &Config, addresses: &Exposed) {
        if config.tls.is_none() {
            tracing::warn!(
                %addresses,
                "tokens travel unencrypted: `tls.certificate` and `tls.key` would change that, or a proxy before the server"
            );
        }
        if !self.shows_somebody() && self.anonymous.rights.is_empty() {
            let tokens = config.identity.tokens.display();
            tracing::warn!(
                %addresses, %tokens,
                "nobody can say who he is: make a token (`bld server token create`), or name an issuer under `identity.jwt` or \
                 a `tls.client_authority`"
            );
        }
    }

    /// Returns whether there is anything by which somebody could show who he is.
    fn shows_somebody(&self) -> bool {
        self.knows_certificates || !self.jwts.is_empty() || !self.tokens.get().is_empty()
    }

    /// Returns the files that have to be looked at again and again, for [`keep_fresh`](crate::keep_fresh).
    pub fn refreshers(&self) -> Vec<Arc<dyn Refresh>> {
        let tokens = Arc::clone(&self.tokens) as Arc<dyn Refresh>;
        let others = self.jwts.refreshers().chain(self.certificates.refresher());
        std::iter::once(tokens).chain(others).collect()
    }

    /// Returns who makes a request. What he shows counts before the certificate of the connection, and that before nothing.
    /// What is wrong is refused: nobody becomes another because he could not show who he is.
    pub fn identify<B>(
        &self,
        request: &Request<B>,
        now: SystemTime,
    ) -> Result<Arc<Caller>, Unauthenticated> {
        if let Some(shown) = credential(request.headers())?
            && !self.knows_nobody()
        {
            return if Tokens::could_be_one(&shown) {
                self.tokens.get().caller(&shown, now)
            } else if shown.reveal().contains('.') {
                Ok(self.jwts.caller(&shown, now)?)
            } else {
                Err(Unauthenticated::UnknownToken)
            };
        }
        let peer = request.extensions().get::<Peer>();
        if let Some(certificate) = peer.and_then(Peer::certificate) {
            return Ok(self.certificates.caller(certificate, now)?);
        }
        if self.anonymous.rights.is_empty() {
            return Err(Unauthenticated::Nothing);
        }
        if !self.takes_anonymous_from_elsewhere {
            here::check(request, peer).map_err(Unauthenticated::NotFromHere)?;
        }
        Ok(Arc::clone(&self.anonymous))
    }

    /// Returns whether nobody could show who he is, and need not. Turborepo, for one, sends a token whether there are any or not.
    fn knows_nobody(&self) -> bool {
        !self.shows_somebody() && !self.anonymous.rights.is_empty()
    }
}

//! Proxies, as the usual environment variables name them.

use super::url::{Scheme, Url};

/// Which proxy is asked for which address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http` addresses.
    pub http: Option<String>,
    /// For `https` addresses.
    pub https: Option<String>,
    /// Hosts and domains that are asked without a proxy; `*` for all.
    pub none: Vec<String>,
}

impl Proxies {
    /// Returns what `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` say; `lookup` reads a variable.
    pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let found = lookup(name).or_else(|| lookup(&name.to_ascii_uppercase()));
            found.filter(|value| !value.trim().is_empty())
        };
        let none = either("no_proxy").unwrap_or_default();
        let entries = none.split(',').map(|entry| entry.trim().to_ascii_lowercase());
        Self {
            http: either("http_proxy").or_else(|| either("all_proxy")),
            https: either("https_proxy").or_else(|| either("all_proxy")),
            none: entries.filter(|entry| !entry.is_empty()).collect(),
        }
    }

    /// Returns the proxy that is asked for `url`, if one is.
    pub(super) fn choose(&self, url: &Url) -> Option<&str> {
        let proxy = match url.scheme {
            Scheme::File => None,
            Scheme::Http => self.http.as_deref(),
            Scheme::Https => self.https.as_deref(),
        };
        proxy.filter(|_| !self.excepts(&url.host().to_ascii_lowercase()))
    }

    fn excepts(&self, host: &str) -> bool {
        self.none.iter().any(|entry| {
            let domain = entry
                .split(':')
                .next()
                .unwrap_or(entry)
                .trim_start_matches("*.")
                .trim_start_matches('.');
            entry == "*"
                || host == domain
                || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_asked_without_a_proxy_only_if_it_is_excepted() {
        let environment = |name: &str| match name {
            "http_proxy" => Some("http://proxy:3128".to_owned()),
            "NO_PROXY" => Some("localhost, .corp.example,10.0.0.1:80".to_owned()),
            _ => None,
        };
        let proxies = Proxies::from_environment(environment);
        let asks = |url: &str| proxies.choose(&Url::parse(url).unwrap()).is_some();
        assert!(asks("http://deb.debian.org/debian"));
        assert!(asks("http://notcorp.example"));
        for url in [
            "http://localhost:8080/",
            "http://a.Corp.example/",
            "http://corp.example",
            "http://10.0.0.1/",
        ] {
            assert!(!asks(url), "{url}");
        }
        assert!(!asks("https://deb.debian.org/debian"));
    }
}

//! What the sockets of a mail server's own processes are, by its conventions: one function for each server that has any.
//!
//! In: the server's name and the peer of a socket. Out: the service's name and the cause of a wait for it. The evidence is the path.

use crate::event::Endpoint;
use crate::report::Cause;

/// What a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The cause of a wait for it.
    pub cause: Cause,
    /// Its name, in the server's words.
    pub name: String,
}

/// The service behind a peer; none: nothing is known.
pub fn service_of(mta: &str, peer: &Endpoint) -> Option<Service> {
    match (mta, peer) {
        ("postfix", Endpoint::Unix(path)) => postfix(path),
        _ => None,
    }
}

/// Postfix's `master` listens for its services in two folders of the queue directory, each under the service's name (master(5)); what is served
/// there by others is told by what it is asked.
fn postfix(path: &str) -> Option<Service> {
    let (folder, name) = path.rsplit_once('/')?;
    let is_own = ["private", "public"].contains(&folder.rsplit('/').next().unwrap_or(folder));
    let cause = match name {
        "anvil" | "bounce" | "cleanup" | "defer" | "dnsblog" | "flush" | "pickup" | "qmgr" | "rewrite" | "showq" | "tlsmgr" | "tlsproxy"
        | "trace" | "verify" => Cause::Mta,
        "proxymap" | "proxywrite" => Cause::Map,
        _ => return None,
    };
    is_own.then(|| Service { cause, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mta: &str, path: &str) -> Option<(Cause, String)> {
        service_of(mta, &Endpoint::Unix(path.to_owned())).map(|Service { cause, name }| (cause, name))
    }

    #[test]
    fn postfix_names_its_services_by_their_sockets() {
        assert_eq!(of("postfix", "/var/spool/postfix/private/anvil"), Some((Cause::Mta, "anvil".to_owned())));
        assert_eq!(of("postfix", "public/cleanup"), Some((Cause::Mta, "cleanup".to_owned())));
        assert_eq!(of("postfix", "private/proxymap"), Some((Cause::Map, "proxymap".to_owned())));
        for (mta, path) in [("postfix", "/run/cleanup"), ("postfix", "private/mypolicy"), ("sendmail", "private/anvil"), ("postfix", "cleanup")] {
            assert_eq!(of(mta, path), None, "{mta} {path}");
        }
    }
}

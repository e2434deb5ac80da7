//! A source must not fetch from the gateway itself: the cache would be warmed from the cache (incident B60).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use url::{Host, Url};

/// The listener that `url` leads to, if it is one of `listeners`.
///
/// Names are not looked up, except `localhost`: a name that leads here is not noticed.
pub(super) fn leads_to(url: &Url, listeners: &[SocketAddr]) -> Option<SocketAddr> {
    let host = match url.host()? {
        Host::Ipv4(ip) => IpAddr::V4(ip),
        Host::Ipv6(ip) => IpAddr::V6(ip).to_canonical(),
        Host::Domain(name) if is_localhost(name) => Ipv4Addr::LOCALHOST.into(),
        Host::Domain(_) => return None,
    };
    let port = url.port_or_known_default()?;
    listeners.iter().copied().find(|listener| listener.port() == port && reaches(host, listener.ip().to_canonical()))
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether a connection to `host` arrives at a listener bound to `bound`.
fn reaches(host: IpAddr, bound: IpAddr) -> bool {
    // To connect to the unspecified address is to connect to this machine.
    let to_loopback = host.is_loopback() || host.is_unspecified();
    host == bound
        || to_loopback && (bound.is_loopback() || bound.is_unspecified())
        || bound.is_unspecified() && is_ours(host)
}

/// Whether `ip` is an address of this machine: only such can be bound.
fn is_ours(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, listener: &str, expected: bool) {
        let listener = listener.parse().expect("an address");
        let found = leads_to(&Url::parse(url).expect("a URL"), &[listener]);
        assert_eq!(found, expected.then_some(listener), "{url} {listener}");
    }

    #[test]
    fn b60_a_url_that_leads_to_a_listener_is_recognised() {
        for (url, listener) in [
            ("http://127.0.0.1:8002/api", "127.0.0.1:8002"),
            ("http://localhost:8002", "127.0.0.1:8002"),
            ("http://gate.localhost:8002", "[::1]:8002"),
            ("http://[::1]:8002", "[::1]:8002"),
            ("http://[::ffff:127.0.0.1]:8002", "127.0.0.1:8002"),
            ("http://0.0.0.0:8002", "127.0.0.1:8002"),
            ("http://127.0.0.1:8002", "0.0.0.0:8002"),
            ("http://127.0.0.1", "[::]:80"),
            ("https://127.0.0.1", "0.0.0.0:443"),
            ("http://192.0.2.7:8002", "192.0.2.7:8002"),
        ] {
            check(url, listener, true);
        }
    }

    #[test]
    fn another_port_host_or_machine_is_an_origin() {
        for (url, listener) in [
            ("http://127.0.0.1:8003", "127.0.0.1:8002"),
            ("http://192.0.2.7:8002", "127.0.0.1:8002"),
            // An address for documentation, which is nobody's.
            ("http://192.0.2.7:8002", "0.0.0.0:8002"),
            ("http://127.0.0.1:8002", "192.0.2.7:8002"),
            ("http://example.com:8002", "0.0.0.0:8002"),
        ] {
            check(url, listener, false);
        }
    }
}

//! Which requests are served. No I/O.

use std::net::IpAddr;

use hyper::header::{ACCEPT, HOST};
use hyper::{HeaderMap, Method, StatusCode, Uri};

/// What may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The page.
    Page,
    /// The status as an object.
    Object,
    /// The metrics, as OpenMetrics.
    Metrics,
    /// The metrics, in the older text format of Prometheus.
    PlainMetrics,
    /// A sign of life.
    Health,
}

/// Decides on a request to this port, or to a unix socket.
pub(super) fn decide(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    port: Option<u16>,
) -> Result<Target, StatusCode> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if let Some(port) = port {
        // A page of another site whose name leads here (DNS rebinding) has that name.
        let host = host.and_then(|host| host.to_str().ok()).filter(|_| more.is_none());
        let authority = uri.authority().map(hyper::http::uri::Authority::as_str);
        let is_ours = host.is_some_and(|name| is_own(name, port))
            && authority.is_none_or(|name| is_own(name, port));
        if !is_ours {
            return Err(StatusCode::MISDIRECTED_REQUEST);
        }
    }
    if method != Method::GET && method != Method::HEAD {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    match uri.path() {
        "/" => Ok(Target::Page),
        "/status.json" => Ok(Target::Object),
        "/metrics" if wants_plain(headers) => Ok(Target::PlainMetrics),
        "/metrics" => Ok(Target::Metrics),
        "/healthz" => Ok(Target::Health),
        _ => Err(StatusCode::NOT_FOUND),
    }
}

/// Whether who asks knows the older format only.
fn wants_plain(headers: &HeaderMap) -> bool {
    let accepts = |kind: &str| {
        headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.contains(kind))
    };
    accepts("text/plain") && !accepts("openmetrics")
}

/// Whether this is `localhost` or a loopback address, with this port. Port 80 may be left out.
fn is_own(name: &str, port: u16) -> bool {
    let (host, named) = match name.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            (host, digits.parse().ok().filter(|_| is_number))
        }
        _ => (name, Some(80)),
    };
    let address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().filter(IpAddr::is_ipv6),
        None => host.parse().ok().filter(IpAddr::is_ipv4),
    };
    let is_loopback = address.is_some_and(|address: IpAddr| address.is_loopback());
    named == Some(port) && (is_loopback || host.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, uri: &str, hosts: &[&str], port: Option<u16>) -> Result<Target, u16> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        let method = method.parse().unwrap();
        decide(&method, &uri.parse().unwrap(), &headers, port).map_err(|status| status.as_u16())
    }

    #[test]
    fn what_there_is_may_be_read_and_nothing_else() {
        let own = &["localhost:9100"][..];
        for (method, path, answer) in [
            ("GET", "/", Ok(Target::Page)),
            ("HEAD", "/status.json?x=1", Ok(Target::Object)),
            ("GET", "/metrics", Ok(Target::Metrics)),
            ("GET", "/healthz", Ok(Target::Health)),
            ("GET", "/metrics/", Err(404)),
            ("GET", "/../etc/passwd", Err(404)),
            ("GET", "/%2e", Err(404)),
            ("POST", "/", Err(405)),
            ("OPTIONS", "/", Err(405)),
            ("get", "/", Err(405)),
            ("CONNECT", "localhost:9100", Err(405)),
        ] {
            assert_eq!(ask(method, path, own, Some(9100)), answer, "{method} {path}");
        }
    }

    #[test]
    fn metrics_come_in_the_format_that_is_known() {
        for (accept, target) in [
            ("application/openmetrics-text; version=1.0.0,text/plain;q=0.5", Target::Metrics),
            ("*/*", Target::Metrics),
            ("text/plain; version=0.0.4", Target::PlainMetrics),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            let decided = decide(&Method::GET, &"/metrics".parse().unwrap(), &headers, None);
            assert_eq!(decided, Ok(target), "{accept}");
        }
    }

    #[test]
    fn only_names_of_the_host_itself_are_answered() {
        for own in
            ["localhost:9100", "LocalHost:9100", "127.0.0.1:9100", "127.9.9.9:9100", "[::1]:9100"]
        {
            assert_eq!(ask("GET", "/", &[own], Some(9100)), Ok(Target::Page), "{own}");
        }
        for other in [
            "evil.example:9100",
            "localhost",
            "localhost:9101",
            "localhost:",
            "localhost:9100:9100",
            "localhost.evil:9100",
            "127.0.0.1",
            "127.0.0.1.evil:9100",
            "[::ffff:127.0.0.1]:9100",
            "::1:9100",
            "[::1]",
            "[::1]:91000",
            "10.0.0.1:9100",
            "0.0.0.0:9100",
            "2130706433:9100",
            "a@localhost:9100",
            "localhost:+9100",
            "localhost:9100x",
            "",
            " localhost:9100",
        ] {
            assert_eq!(ask("GET", "/", &[other], Some(9100)), Err(421), "{other}");
        }
        assert_eq!(ask("GET", "/", &[], Some(9100)), Err(421), "none");
        let two = ["localhost:9100", "localhost:9100"];
        assert_eq!(ask("GET", "/", &two, Some(9100)), Err(421), "two");
        let uri = "http://evil.example/";
        assert_eq!(ask("GET", uri, &["localhost:9100"], Some(9100)), Err(421), "{uri}");
        let uri = "http://localhost:9100/healthz";
        assert_eq!(ask("GET", uri, &["localhost:9100"], Some(9100)), Ok(Target::Health));
        assert_eq!(ask("GET", "/", &["localhost"], Some(80)), Ok(Target::Page));
        assert_eq!(ask("GET", "/", &["anything"], None), Ok(Target::Page), "a socket has no name");
    }
}

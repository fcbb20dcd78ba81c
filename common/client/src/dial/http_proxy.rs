//! Connections through an HTTP proxy, by its method CONNECT (RFC 9110, section 9.3.6).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lariat_base::escape::{escape, shortened};
use lariat_base::os_error::io_error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use super::tcp;
use super::{BoxStream, Dial, DialError, Dialing};
use crate::address::Address;
use crate::peer::Peer;

/// Longest answer of a proxy, in bytes.
const MOST: usize = 8 * 1024;

/// Most characters of what a proxy says that are shown.
const SHOWN: usize = 80;

/// Connects through a proxy, as `HTTPS_PROXY` and `NO_PROXY` say.
pub struct HttpProxy {
    address: Address,
    /// What the header Proxy-Authorization says.
    credentials: Option<Zeroizing<String>>,
    /// What is connected to directly.
    exceptions: Vec<String>,
}

/// A text is no proxy. It is not quoted, since it may have a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("HTTPS_PROXY is no proxy such as http://proxy:3128 or http://USER:PASSWORD@proxy:3128")]
pub struct BadProxy;

impl FromStr for HttpProxy {
    type Err = BadProxy;

    fn from_str(text: &str) -> Result<Self, BadProxy> {
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains("://") || rest.contains('/') {
            return Err(BadProxy);
        }
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(decoded(user)?), place),
            None => (None, rest),
        };
        // Without a port, the one that such proxies usually have; and never ours.
        let has_port = place.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let place = if has_port { place.to_owned() } else { format!("{place}:3128") };
        let address = place.parse().map_err(|_| BadProxy)?;
        let credentials =
            user.map(|user| Zeroizing::new(format!("Basic {}", STANDARD.encode(&*user))));
        Ok(Self { address, credentials, exceptions: Vec::new() })
    }
}

/// Undoes the %XX of a URL's user and password.
fn decoded(text: &str) -> Result<Zeroizing<Vec<u8>>, BadProxy> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let mut byte = [0];
                hex::decode_to_slice([*high, *low], &mut byte).map_err(|_| BadProxy)?;
                (byte[0], tail)
            }
            (b'%', _) => return Err(BadProxy),
            (&byte, tail) => (byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    Ok(bytes)
}

impl fmt::Debug for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpProxy").field(&self.address).finish()
    }
}

impl HttpProxy {
    /// Connects directly to what `NO_PROXY` lists: names, which stand for what is below them too, and addresses; `*` is
    /// everything.
    #[must_use]
    pub fn without(self, exceptions: &str) -> Self {
        let parts = exceptions.split([',', ' ']).map(|part| part.trim_start_matches("*."));
        let parts = parts.map(|part| part.trim_start_matches('.').to_ascii_lowercase());
        let exceptions = parts.filter(|part| !part.is_empty()).collect();
        Self { exceptions, ..self }
    }

    fn is_for(&self, address: &Address) -> bool {
        let host = address.host().trim_end_matches('.').to_ascii_lowercase();
        let is_ip = host.parse::<IpAddr>().is_ok();
        !self.exceptions.iter().any(|part| {
            let below = || host.strip_suffix(part.as_str()).is_some_and(|rest| rest.ends_with('.'));
            part == "*" || *part == host || (!is_ip && below())
        })
    }

    async fn through(&self, peer: &Peer) -> Result<BoxStream, DialError> {
        let address = peer.address.as_ref().ok_or(DialError::NoAddress)?;
        if !self.is_for(address) {
            return Ok(Box::new(tcp::connect(address).await?));
        }
        let failed = |why: String| DialError::Proxy { proxy: self.address.to_string(), why };
        let stream = tcp::connect(&self.address).await;
        let mut stream = stream.map_err(|error| failed(error.to_string()))?;
        let asked = async {
            stream.write_all(self.request(address).as_bytes()).await?;
            answer(&mut stream).await
        };
        let answer = asked.await.map_err(|error| failed(io_error(&error)))?;
        accepted(&answer).map_err(failed)?;
        Ok(Box::new(stream))
    }

    fn request(&self, address: &Address) -> Zeroizing<String> {
        let authorization = self.credentials.as_ref().map_or_else(Zeroizing::default, |all| {
            Zeroizing::new(format!("Proxy-Authorization: {}\r\n", all.as_str()))
        });
        Zeroizing::new(format!(
            "CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{}\r\n",
            authorization.as_str()
        ))
    }
}

/// Reads the head of an answer, and no byte of what follows it.
async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MOST {
            return Err(std::io::Error::other("its answer has no end"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

/// Whether an answer says that the connection exists.
fn accepted(head: &[u8]) -> Result<(), String> {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (version, code) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_http = version.starts_with("HTTP/1.") && code.len() == 3;
    if is_http && code.starts_with('2') && code.bytes().all(|digit| digit.is_ascii_digit()) {
        return Ok(());
    }
    Err(format!("it answered {}", shortened(&escape(line.as_bytes()), SHOWN)))
}

impl Dial for HttpProxy {
    fn dial<'a>(&'a self, peer: &'a Peer) -> Dialing<'a> {
        Box::pin(self.through(peer))
    }
}

#[cfg(test)]
mod tests {
    use lariat_base::name::EnrolmentId;
    use tokio::net::TcpListener;

    use super::*;

    fn proxy(text: &str) -> HttpProxy {
        text.parse().unwrap()
    }

    fn to(address: &str) -> Peer {
        let address = Some(address.parse().unwrap());
        let enrolment = EnrolmentId([0; 16]);
        Peer { name: "gw1".parse().unwrap(), address, enrolment, spki: [0; 32], next_spki: None }
    }

    #[test]
    fn proxies_are_urls_and_a_password_is_not_told() {
        for (text, address) in [
            ("http://proxy:8080/", "proxy:8080"),
            ("proxy", "proxy:3128"),
            ("http://[::1]:80", "[::1]:80"),
            ("http://[::1]", "[::1]:3128"),
        ] {
            assert_eq!(proxy(text).address.to_string(), address, "{text}");
            assert!(proxy(text).credentials.is_none());
        }
        let own = proxy("http://me:p%40ss%3A@10.0.0.1:80");
        assert_eq!(own.credentials.as_ref().unwrap().as_str(), "Basic bWU6cEBzczo=");
        assert!(!format!("{own:?}").contains("Basic"));
        for bad in
            ["", "https://proxy:80", "socks5://x:1", "http://a b:1", "http://x:0", "http://%4@x:1"]
        {
            assert_eq!(bad.parse::<HttpProxy>().err(), Some(BadProxy), "{bad}");
        }
    }

    #[test]
    fn what_is_excepted_is_connected_to_directly() {
        let proxy = proxy("http://p:1").without("localhost, .corp.example,10.0.0.5,*.lan");
        let is_for = |address: &str| proxy.is_for(&address.parse().unwrap());
        for direct in ["localhost:1", "GW.corp.example:1", "corp.example.:1", "10.0.0.5:1", "a.lan"]
        {
            assert!(!is_for(direct), "{direct}");
        }
        for through in ["notcorp.example:1", "110.0.0.5:1", "10.0.0.50:1", "example:1"] {
            assert!(is_for(through), "{through}");
        }
        let none = HttpProxy::without("p".parse().unwrap(), "*");
        assert!(!none.is_for(&"x:1".parse().unwrap()));
    }

    #[test]
    fn only_a_2xx_of_http_1_is_a_connection() {
        for good in
            ["HTTP/1.1 200 Connection established\r\n\r\n", "HTTP/1.0 200\r\nVia: x\r\n\r\n"]
        {
            assert_eq!(accepted(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in
            ["", "HTTP/1.1 407 No\x1b[2J\r\n\r\n", "SSH-2.0-x", "HTTP/2 200", "HTTP/1.1 2x0", "200"]
        {
            let said = accepted(bad.as_bytes()).unwrap_err();
            assert!(said.starts_with("it answered ") && !said.contains('\x1b'), "{said}");
        }
    }

    /// A proxy that answers with `head`. Returns its address, and what it is asked, followed by what comes through it.
    async fn playing(head: &'static [u8]) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = answer(&mut stream).await.unwrap();
            stream.write_all(head).await.unwrap();
            stream.shutdown().await.unwrap();
            let _ = stream.read_to_end(&mut asked).await;
            asked
        });
        (address, asked)
    }

    #[tokio::test]
    async fn a_proxy_connects_and_no_byte_behind_its_answer_is_lost() {
        let (address, asked) = playing(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello").await;
        let proxy = proxy(&format!("http://me:pw@{address}"));
        let mut stream = proxy.through(&to("gw1.example:7433")).await.unwrap();
        let mut came = [0; 5];
        stream.read_exact(&mut came).await.unwrap();
        assert_eq!(&came, b"hello");
        stream.write_all(b"ours").await.unwrap();
        assert!(stream.into_tcp().is_some());
        let asked = String::from_utf8(asked.await.unwrap()).unwrap();
        assert_eq!(
            asked,
            "CONNECT gw1.example:7433 HTTP/1.1\r\nHost: gw1.example:7433\r\n\
             Proxy-Authorization: Basic bWU6cHc=\r\n\r\nours"
        );
    }

    #[tokio::test]
    async fn what_a_proxy_refuses_is_told_with_its_address() {
        for (head, why) in [
            (&b"HTTP/1.1 403 Forbidden\r\n\r\n"[..], "it answered HTTP/1.1 403 Forbidden"),
            (b"HTTP/1.1 200", "unexpected end of file"),
            (&[b'x'; MOST + 9], "its answer has no end"),
        ] {
            let (address, _asked) = playing(head).await;
            let error = proxy(&address).through(&to("gw1:1")).await.err().unwrap();
            assert_eq!(error.to_string(), format!("proxy {address}: {why}"));
        }
    }
}

//! Answers probes for this fleet's hosts on the local network: with the host's name and port, signed by its certificate's
//! key. Off unless the configuration says `discover = true`.
//!
//! It has a thread of its own, so that a flood of datagrams costs the one that accepts connections nothing. What a
//! stranger can cause is bounded: one answer that is no longer than the probe, ten of them a second, to this network
//! segment alone.

mod on_link;
mod rate;
mod sockets;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lariat_base::private;
use lariat_wire::discover::{self, Answer, PROBE_LEN, Probe, Tag};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::SignatureScheme;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tracing::{info, warn};

use crate::config::Config;
use crate::core::Agent;
use on_link::is_on_link;
use rate::Rate;
use sockets::{Probes, attached};

/// The longest time until a probe is answered: at random, so that the hosts of a network do not all answer at once.
const LATEST: Duration = Duration::from_millis(500);

/// How often new interfaces are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Signatures that controllers can verify, the preferred first.
const SCHEMES: [SignatureScheme; 4] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
];

/// An answer that waits for its time.
struct Waiting {
    due: Instant,
    /// The socket that the probe came by.
    by: usize,
    to: SocketAddr,
    datagram: Vec<u8>,
}

/// The tag of the fleet that this host is of.
pub fn tag(config: &Config) -> Result<Tag, String> {
    let text = private::read_public(&config.ca).map_err(|error| error.to_string())?;
    let ca = CertificateDer::from_pem_slice(text.as_bytes());
    let wrong = |_| format!("{}: no CA's certificate in PEM form", config.ca.display());
    Ok(discover::tag(&ca.map_err(wrong)?))
}

/// Answers probes for an agent that listens on this TCP port, until the process ends.
pub fn start(agent: Arc<Agent>, port: u16) -> io::Result<()> {
    let tag = tag(&agent.config()).map_err(io::Error::other)?;
    let sockets = Probes::open()?;
    let work = move || serve(&agent, tag, port, &sockets);
    std::thread::Builder::new().name("discover".into()).spawn(work)?;
    info!("answering probes on UDP port {}", discover::PORT);
    Ok(())
}

fn serve(agent: &Agent, tag: Tag, port: u16, sockets: &[Probes]) {
    let (mut rate, mut waiting) = (Rate::default(), Vec::<Waiting>::new());
    let mut look = Instant::now();
    loop {
        let now = Instant::now();
        if look <= now {
            let mut interfaces: Vec<_> = attached().iter().map(|one| one.interface).collect();
            interfaces.sort_unstable();
            interfaces.dedup();
            sockets.iter().for_each(|socket| socket.join(&interfaces));
            look = now + LOOK_AGAIN;
        }
        for answer in waiting.extract_if(.., |answer| answer.due <= now) {
            // Who has gone meanwhile needs none.
            let _ = sockets[answer.by].answer(&answer.datagram, answer.to);
        }
        let next = waiting.iter().map(|answer| answer.due).chain([look]).min().unwrap_or(look);
        if let Err(error) = wait(sockets, next.saturating_duration_since(now)) {
            return warn!("probes are no longer answered: {error}");
        }
        for (by, socket) in sockets.iter().enumerate() {
            let mut buffer = [0; PROBE_LEN + 1];
            // A few at a time, so that a flood holds up no answer.
            for _ in 0..rate::MOST {
                let Ok((len, from, way)) = socket.next(&mut buffer) else { break };
                let probe = Probe::decode(&buffer[..len]).ok().filter(|probe| probe.tag == tag);
                let Some((probe, way)) = probe.zip(way) else { continue };
                if !is_on_link(from, way, &attached()) || !rate.allows(Instant::now()) {
                    continue;
                }
                let due = Instant::now() + LATEST.mul_f64(rand::random());
                if let Some(datagram) = answer(agent, &probe, port) {
                    waiting.push(Waiting { due, by, to: from, datagram });
                }
            }
        }
    }
}

/// Waits until a datagram is there, or this time has passed.
fn wait(sockets: &[Probes], limit: Duration) -> io::Result<()> {
    let mut polled: Vec<_> = sockets
        .iter()
        .map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN))
        .collect();
    // Rounded up, so that what is due then is due.
    let limit = Timespec::try_from(limit + Duration::from_millis(1)).map_err(io::Error::other)?;
    match poll(&mut polled, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The answer to a probe of this fleet.
fn answer(agent: &Agent, probe: &Probe, port: u16) -> Option<Vec<u8>> {
    let (identity, name) = (agent.certificates.present(), agent.config().name.clone());
    let signer = identity.certified.key.choose_scheme(&SCHEMES)?;
    let signature = signer.sign(&discover::signed(&probe.nonce, &name, port)).ok()?;
    let certificate = identity.certified.cert.first()?.to_vec();
    let scheme = u16::from(signer.scheme());
    Answer { nonce: probe.nonce, name, port, scheme, signature, certificate }.encode()
}

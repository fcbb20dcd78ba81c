//! Keeps one connection parked at a gateway.

use std::time::{Duration, Instant};

use lariat_base::name::HostName;
use lariat_base::private;
use lariat_base::secret::Secret;
use lariat_base::toml_file::{self, secret};
use lariat_client::parking::{ParkError, Parking};
use lariat_client::{Dial, HttpProxy, Tcp};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::wanted::{Arrived, Files};
use crate::config::Gateway;
use crate::transport::Origin;

/// How long one attempt may take, from the look-up of the address to the answer. A gateway that comes back lets in one
/// host after another.
const LIMIT: Duration = Duration::from_secs(30);

/// The most that the first connection waits before it is dialled for the first time after a loss, and each further one:
/// they are there for the moment in which the first is being used.
const FIRST: Duration = Duration::from_secs(1);
const FURTHER: Duration = Duration::from_secs(10);

/// Why a connection is not parked.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// A file can't be used.
    #[error("{0}")]
    File(String),
    /// The gateway could not be reached, or refused.
    #[error(transparent)]
    Park(#[from] ParkError),
}

/// The file of the key that parks connections.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(deserialize_with = "secret")]
    secret: Secret,
}

/// Keeps connection `number` of this host parked at a gateway, until it is dropped. What controllers use goes to
/// `arrived`.
pub(super) async fn keep(
    host: HostName,
    files: Files,
    gateway: Gateway,
    number: usize,
    arrived: mpsc::Sender<Arrived>,
) {
    let mut backoff = Backoff::new(if number == 0 { FIRST } else { FURTHER });
    // Of the same host's connections only one is told of.
    let mut told = String::new();
    let mut wait = if number == 0 { Duration::ZERO } else { FIRST };
    loop {
        sleep(wait.mul_f64(rand::random())).await;
        let mut since = None;
        let used = used(&host, &files, &gateway, || {
            since = Some(Instant::now());
            if number == 0 && told != "parked" {
                "parked".clone_into(&mut told);
                info!("parked at {gateway}");
            }
        });
        match used.await {
            Ok((stream, origin)) => {
                backoff.used();
                wait = Duration::ZERO;
                let Ok(stream) = stream.into_std() else { continue };
                // The agent is stopping.
                if arrived.send(Arrived { stream, origin }).await.is_err() {
                    return;
                }
            }
            Err(failed) => {
                let parked = since.map(|since| since.elapsed()).unwrap_or_default();
                wait = backoff.failed(parked);
                let why = failed.to_string();
                if number == 0 && told != why {
                    warn!("not parked at {}: {why}", gateway.name);
                    told = why;
                } else {
                    debug!("not parked at {}: {why}", gateway.name);
                }
            }
        }
    }
}

/// Parks a connection, and waits until a controller uses it. The files and the address are looked at anew.
async fn used(
    host: &HostName,
    files: &Files,
    gateway: &Gateway,
    parked: impl FnOnce(),
) -> Result<(TcpStream, Origin), Failed> {
    let (own, files) = (host.clone(), files.clone());
    let load = tokio::task::spawn_blocking(move || parking(own, &files));
    let parking = load.await.map_err(|error| Failed::File(error.to_string()))??;
    let dial = dial()?;
    let connection = parking.park(&gateway.name, &gateway.address, &*dial, LIMIT).await?;
    parked();
    let stream = connection.handed().await?;
    let address = stream.peer_addr().map_err(|error| Failed::File(error.to_string()))?;
    Ok((stream, Origin::Gateway { name: gateway.name.clone(), address }))
}

/// Loads the key and the CA.
fn parking(host: HostName, files: &Files) -> Result<Parking, Failed> {
    let failed = |error: &dyn std::fmt::Display| Failed::File(error.to_string());
    let KeyFile { secret } = toml_file::load(&files.key).map_err(|error| failed(&error))?;
    let ca = private::read_public(&files.ca).map_err(|error| failed(&error))?;
    let wrong = || Failed::File(format!("{}: no CA's certificate in PEM form", files.ca.display()));
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).map_err(|_| wrong())?;
    Parking::new(ca, secret, host).map_err(|_| wrong())
}

/// What is wrong with the files of `[dial]`, if anything is.
pub(super) fn unfit(host: &HostName, files: &Files) -> Option<String> {
    parking(host.clone(), files).err().map(|error| error.to_string())
}

/// How to connect: through the proxy of the service's environment, if it has one.
fn dial() -> Result<Box<dyn Dial>, Failed> {
    let variable = |names: [&str; 2]| {
        let values = names.into_iter().filter_map(|name| std::env::var(name).ok());
        values.into_iter().find(|value| !value.is_empty())
    };
    let Some(proxy) = variable(["HTTPS_PROXY", "https_proxy"]) else { return Ok(Box::new(Tcp)) };
    let proxy: HttpProxy = proxy.parse().map_err(|bad| Failed::File(format!("{bad}")))?;
    Ok(match variable(["NO_PROXY", "no_proxy"]) {
        Some(exceptions) => Box::new(proxy.without(&exceptions)),
        None => Box::new(proxy),
    })
}

//! The login: the agent's challenge, the client's proof followed by the first request, the agent's proof.

use std::cell::Cell;

use lariat_base::secret::Secret;
use lariat_wire::auth::controller::Proving;
use lariat_wire::link::{LinkError, hello_frame, read_hello};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::hello::{Denied, Welcome};
use tokio::io::{AsyncRead, AsyncWriteExt};

use super::error::{Cause, Stage};
use super::tls::Secured;
use crate::peer::Peer;

/// Reads the agent's challenge.
pub(super) async fn challenge<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, Cause> {
    Ok(hello(stream, Kind::Challenge, Stage::Login).await?.1)
}

/// Answers the challenge and sends `request`, a whole frame, in the same write.
pub(super) async fn login(
    Secured { stream, exporter, .. }: &mut Secured,
    challenge: &[u8],
    peer: &Peer,
    key: &Secret,
    request: &[u8],
    stage: &Cell<Stage>,
) -> Result<Welcome, Cause> {
    let (proving, login) = Proving::answer(key, &peer.name, &peer.enrolment, exporter, challenge)?;
    let mut flight = hello_frame(Kind::Login, &login);
    flight.extend_from_slice(request);
    stage.set(Stage::Answer);
    let sent = async {
        stream.write_all(&flight).await?;
        stream.flush().await
    };
    if let Err(error) = sent.await {
        return Err(Cause::from_link(error.into(), Stage::Answer));
    }
    let (kind, payload) = hello(stream, Kind::Welcome, Stage::Answer).await?;
    if kind == Kind::Denied {
        stage.set(Stage::Login);
        return Err(
            Denied::decode(&payload).map_or_else(|bad| Cause::Login(bad.into()), |_| Cause::Denied)
        );
    }
    Ok(proving.welcome(&payload)?)
}

/// Reads a login message of the expected kind; a denial may replace a welcome.
pub(super) async fn hello<S: AsyncRead + Unpin>(
    stream: &mut S,
    due: Kind,
    stage: Stage,
) -> Result<(Kind, Vec<u8>), Cause> {
    match read_hello(stream).await {
        Ok((kind, payload)) if kind == due => Ok((kind, payload)),
        Ok((Kind::Denied, payload)) if due == Kind::Welcome => Ok((Kind::Denied, payload)),
        Ok((kind, _)) => Err(Cause::from_link(LinkError::Unexpected(kind), stage)),
        Err(error) => Err(Cause::from_link(error, stage)),
    }
}

//! `renew`: gives the host a new certificate.

use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::renewal::{Install, Installed, Renew};
use lariat_wire::protocol::request::CertificateRequest;

use crate::core::{Outcome, Permit, Session};
use crate::renewal;
use crate::transport::SessionLink;

/// Answers with a signing request, or tries or keeps a certificate.
pub(super) fn serve(
    link: &SessionLink,
    request: CertificateRequest,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let (config, certificates) = (session.agent.config(), &session.agent.certificates);
    let outcome = match request {
        CertificateRequest::Renew(Renew { new_key }) => {
            match renewal::request(&config, certificates, new_key) {
                Ok(request) => {
                    link.outbox().post(&request)?;
                    Outcome::Done("made".to_owned().into())
                }
                Err(error) => Outcome::Failed(Failure::from(error)),
            }
        }
        CertificateRequest::Install(Install { certificate }) => {
            let made_with = session.identity.as_deref();
            match renewal::install(&config, certificates, made_with, certificate) {
                Ok(is_kept) => {
                    link.outbox().post(&Installed { is_kept })?;
                    let done = if is_kept { "kept" } else { "tried for a minute" };
                    Outcome::Done(done.to_owned().into())
                }
                Err(error) => Outcome::Failed(Failure::from(error)),
            }
        }
    };
    permit.finish(link.outbox(), &outcome)
}

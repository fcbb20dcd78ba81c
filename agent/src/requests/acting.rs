//! Whose files a request is about.

use lariat_common::protocol::failure::{Cause, Failure};

use crate::guise::Guise;
use crate::session::Session;
use crate::user::User;

/// The user as whom a request is done. Until it is dropped, this thread has the user's rights over
/// files and no others.
pub(super) struct Acting {
    /// The user.
    pub(super) user: User,
    _guise: Option<Guise>,
}

impl Acting {
    /// As the user of this name, or as the agent's own. May ask a directory service.
    pub(super) fn begin(session: &Session, name: Option<&str>) -> Result<Self, Failure> {
        let own = &session.agent.user;
        let Some(name) = name else { return Ok(Self { user: own.clone(), _guise: None }) };
        let failed = |error: std::io::Error| {
            Failure::request(error.raw_os_error().map_or(Cause::Internal, Cause::Os))
        };
        let user = User::named(name).map_err(failed)?;
        let user = user.ok_or_else(|| Failure::request(Cause::NoSuchUser(name.to_owned())))?;
        if user.uid == own.uid {
            return Ok(Self { user, _guise: None });
        }
        let credentials = user.credentials().map_err(failed)?;
        let guise = Guise::take(&credentials).map_err(|_| {
            let own = String::from_utf8_lossy(&own.name);
            let why = format!(
                "this agent runs as {own}, and only one that runs as root can act as {name}"
            );
            Failure::request(Cause::BadRequest(why))
        })?;
        Ok(Self { user, _guise: Some(guise) })
    }
}

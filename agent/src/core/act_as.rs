//! The user that a request is served as.

use lariat_wire::protocol::failure::{Cause, Failure};

use crate::user::{Credentials, User};

/// The user that a request is served as.
#[derive(Clone, Debug)]
pub enum ActAs {
    /// The agent's own user.
    Agent(User),
    /// Another user, with that user's credentials.
    Other(User, Credentials),
}

impl ActAs {
    /// The user.
    pub fn user(&self) -> &User {
        match self {
            Self::Agent(user) | Self::Other(user, _) => user,
        }
    }

    /// The user of this name, or the agent's own. May query a directory service.
    pub(super) fn named(own: &User, name: Option<&str>) -> Result<Self, Failure> {
        let name = name.filter(|&name| name.as_bytes() != own.name.as_slice());
        let Some(name) = name else { return Ok(Self::Agent(own.clone())) };
        let failed = |error: std::io::Error| {
            Failure::request(error.raw_os_error().map_or(Cause::Internal, Cause::Os))
        };
        let user = User::named(name).map_err(failed)?;
        let user = user.ok_or_else(|| Failure::request(Cause::NoSuchUser(name.to_owned())))?;
        if user.uid == own.uid {
            return Ok(Self::Agent(user));
        }
        if own.uid != 0 {
            let own = own.name();
            let why = format!(
                "this agent runs as {own}, and only one that runs as root can act as {name}"
            );
            return Err(Failure::request(Cause::BadRequest(why)));
        }
        let credentials = user.credentials().map_err(failed)?;
        Ok(Self::Other(user, credentials))
    }
}

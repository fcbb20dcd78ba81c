//! `lariatd status`: how this host is, from the agent that runs here, over its local socket.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_client::HostHandle;
use lariat_client::status::{StatusObject, describe};
use lariat_wire::protocol::verb::Verb;
use serde::Serialize;

use crate::config::Config;
use crate::transport::local_socket;

/// How long the agent may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// The status as an object.
#[derive(Serialize)]
struct Object<'a> {
    host: &'a HostName,
    #[serde(flatten)]
    status: StatusObject<'a>,
}

/// The status of the agent with this configuration, in lines or as an object; or why there is none.
pub(crate) fn run(path: &Path, json: bool) -> Result<String, String> {
    let config = Config::load(path).map_err(|error| error.to_string())?;
    if !config.local.contains(&Verb::Status) {
        return Err(format!(
            "the agent's own socket is not open for it; set local = [\"status\"] in {} and restart lariatd",
            path.display()
        ));
    }
    let socket = local_socket(&config.state);
    let agent = HostHandle::local(config.name.clone(), socket, Arc::new(()));
    let agent = agent.connecting_within(LIMIT).reconnecting(Some(Duration::ZERO));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let measured = runtime.block_on(agent.status()).map_err(|error| error.to_string())?;
    if !json {
        return Ok(describe(&measured.report, None));
    }
    let object = Object { host: &config.name, status: StatusObject::of(&measured.report, None) };
    serde_json::to_string(&object).map(|line| line + "\n").map_err(|error| error.to_string())
}

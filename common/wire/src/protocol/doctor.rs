//! Messages of an examination: what an agent finds on its host.
//!
//! ```text
//! controller          agent
//!   Examine      →
//!                ←    Examined, or Failed
//! ```

use serde::{Deserialize, Serialize};

/// Asks the agent to examine its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examine;

/// Answers [`Examine`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// The agent's version.
    pub version: String,
    /// The host's clock, in milliseconds since 1970; before then, 0.
    pub time_ms: u64,
    /// The most that its kernel buffers for one TCP connection.
    pub buffers: Buffers,
    /// What the agent found.
    pub findings: Vec<Finding>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How it is.
    pub grade: Grade,
    /// What was found.
    pub text: String,
    /// What to do; empty if there is nothing to do.
    pub todo: String,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// In order.
    Ok,
    /// It works, but should not stay so.
    Warn,
    /// Something does not work because of it.
    Bad,
}

/// The most that a kernel buffers for one TCP connection (`net.ipv4.tcp_rmem` and `tcp_wmem`, tcp(7)), in bytes; 0 if that
/// is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffers {
    /// Of what was received.
    pub receive: u64,
    /// Of what is sent.
    pub send: u64,
}

impl Finding {
    /// Something that is in order.
    pub fn ok(text: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, text: text.into(), todo: String::new() }
    }

    /// Something that should not stay so.
    pub fn warn(text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { grade: Grade::Warn, text: text.into(), todo: todo.into() }
    }

    /// Something because of which something does not work.
    pub fn bad(text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { grade: Grade::Bad, text: text.into(), todo: todo.into() }
    }
}

impl Buffers {
    /// Those of this machine.
    pub fn here() -> Self {
        let most = |name: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?;
            text.split_whitespace().next_back()?.parse().ok()
        };
        Self {
            receive: most("tcp_rmem").unwrap_or_default(),
            send: most("tcp_wmem").unwrap_or_default(),
        }
    }
}

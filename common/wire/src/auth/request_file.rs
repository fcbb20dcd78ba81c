//! A key's request to be added to hosts: its id and label, and for each host a verifier that is good for that
//! enrollment of it only. The file is as secret as a keyring.

use std::fmt::Write;
use std::path::Path;

use lariat_base::name::{EnrolmentId, HostName, KeyId, KeyLabel};
use lariat_base::secret::Secret;
use lariat_base::toml_file::{self, BadContent, from_text, secret};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::auth::proof::Verifier;

/// A request.
pub struct RequestFile {
    /// The key's id.
    pub id: KeyId,
    /// The key's label.
    pub label: KeyLabel,
    /// The hosts that it wants to log in to.
    pub hosts: Vec<HostRequest>,
}

/// What a request has for one host.
pub struct HostRequest {
    /// The host.
    pub host: HostName,
    /// Its enrollment when the request was made.
    pub enrolment: EnrolmentId,
    /// What the host checks the key's logins with.
    pub verifier: Verifier,
}

impl RequestFile {
    /// Parses a request; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, BadContent> {
        let Written { id, label, host } = toml_file::parse(path, text)?;
        let hosts = host.into_iter().map(|written| HostRequest {
            host: written.name,
            enrolment: written.enrolment,
            verifier: Verifier { stored: written.stored, agent: written.agent },
        });
        Ok(Self { id, label, hosts: hosts.collect() })
    }

    /// The file's text.
    pub fn to_toml(&self) -> Zeroizing<String> {
        // Room for all of it at once: a String that grows leaves its old bytes behind.
        let mut text = Zeroizing::new(String::with_capacity(1024 + 512 * self.hosts.len()));
        let mut write = |line: std::fmt::Arguments<'_>| {
            text.write_fmt(line).expect("a String takes what is written to it");
        };
        write(format_args!(
            "# A lariat key asks to be added to hosts: lariat key add FILE TARGET. Give it to nobody else.\n\
             id = \"{}\"\nlabel = \"{}\"\n",
            self.id, self.label
        ));
        for HostRequest { host, enrolment, verifier } in &self.hosts {
            let (stored, agent) = (verifier.stored.to_hex(), verifier.agent.to_hex());
            write(format_args!(
                "\n[[host]]\nname = \"{host}\"\nenrolment = \"{enrolment}\"\nstored = \"{}\"\nagent = \"{}\"\n",
                stored.as_str(),
                agent.as_str()
            ));
        }
        text
    }

    /// What the request has for this host.
    pub fn host(&self, name: &HostName) -> Option<&HostRequest> {
        self.hosts.iter().find(|request| request.host == *name)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(deserialize_with = "from_text")]
    id: KeyId,
    #[serde(deserialize_with = "from_text")]
    label: KeyLabel,
    #[serde(default)]
    host: Vec<WrittenHost>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHost {
    #[serde(deserialize_with = "from_text")]
    name: HostName,
    #[serde(deserialize_with = "from_text")]
    enrolment: EnrolmentId,
    #[serde(deserialize_with = "secret")]
    stored: Secret,
    #[serde(deserialize_with = "secret")]
    agent: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::proof::{HostKeys, key_id};

    #[test]
    fn a_request_is_read_as_it_is_written_and_has_no_key_in_it() {
        let key = Secret::new([7; 32]);
        let hosts = ["web1", "web2"].map(|host| {
            let (host, enrolment) = (host.parse().unwrap(), EnrolmentId([1; 16]));
            let verifier = HostKeys::derive(&key, &host, &enrolment).verifier();
            HostRequest { host, enrolment, verifier }
        });
        let label = "bob@laptop".parse().unwrap();
        let request = RequestFile { id: key_id(&key), label, hosts: hosts.into() };
        let text = request.to_toml();
        assert!(text.capacity() < 4096 && !text.contains(key.to_hex().as_str()));
        let read = RequestFile::parse(Path::new("REQ"), &text).unwrap();
        assert_eq!((read.id, &read.label, read.hosts.len()), (request.id, &request.label, 2));
        let (web2, none) = (read.host(&"web2".parse().unwrap()), read.host(&"db".parse().unwrap()));
        assert!(web2.unwrap().verifier.stored.matches(request.hosts[1].verifier.stored.expose()));
        assert!(none.is_none());
        let wrong = text.replace("bob@laptop", "bob laptop");
        let error = RequestFile::parse(Path::new("REQ"), &wrong).err().unwrap().to_string();
        assert!(error.starts_with("REQ:3: \"bob laptop\" is not a key's label"), "{error}");
    }
}

//! Enrolls one host: looks, decides, and does it step by step.
//!
//! On the host agent.toml comes before the keyring, which is derived for the enrolment that agent.toml names; in the
//! inventory it is entered once its files are there. So what was begun is always found again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use lariat_base::certificate::CertificateInfo;
use lariat_base::clock::signed_seconds;
use lariat_base::name::{EnrolmentId, HostName};
use lariat_certs::ca::Ca;
use lariat_certs::request::{RequestedKey, certificate_pem};
use lariat_client::Address;
use lariat_wire::auth::proof::HostKeys;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::bundle::{Reach, agent_toml, keyring_toml};
use crate::enrollment::facts::Facts;
use crate::enrollment::list::Entry;
use crate::enrollment::plan::{Plan, Step, Wanted, plan};
use crate::enrollment::program::Program;
use crate::enrollment::remote::{Broken, Remote, Tell, line, script};
use crate::enrollment::unit;
use crate::error::CliError;
use crate::fanout::End;
use crate::home::Home;
use crate::inventory::{Enrolled, Host, Inventory, Spki, Tag, edit};
use crate::key::ControllerKey;
use crate::ssh::Ssh;

/// Where packages keep an agent's state.
const STATE: &str = "/var/lib/lariat";

/// What all hosts need.
pub(crate) struct Installer {
    pub(crate) home: Home,
    pub(crate) ca: Ca,
    pub(crate) key: ControllerKey,
    pub(crate) program: Option<Program>,
    pub(crate) ssh: Ssh,
    /// Say what would be done, and change nothing.
    pub(crate) dry_run: bool,
    /// Whether a person sees what is done while it is done.
    pub(crate) is_watched: bool,
}

/// What was done on a host, or would be.
pub(crate) struct Installation {
    pub(crate) steps: Vec<Step>,
    /// Whether anything was changed, there or in the inventory.
    pub(crate) changed: bool,
    pub(crate) address: Address,
    /// The host's entry; `None` before it has one.
    pub(crate) enrolled: Option<Enrolled>,
    /// What a person should know.
    pub(crate) notes: Vec<String>,
    /// The agent's program, where nothing but a person starts it.
    pub(crate) started_by_hand: Option<&'static str>,
    pub(crate) took: Duration,
}

impl Installer {
    /// Enrolls a host. `address` is where its agent is to be reached, unless the inventory says so, or ssh.
    pub(crate) async fn install(
        &self,
        entry: &Entry,
        address: Option<&Address>,
    ) -> Result<Installation, CliError> {
        let began = Instant::now();
        let Entry { name, place, .. } = entry;
        let known = Inventory::load(&self.home)?;
        let known = known.contains(name).then(|| known.host(name).cloned()).transpose()?;
        let address = match address.or(known.as_ref().and_then(|known| known.address.as_ref())) {
            Some(address) => address.clone(),
            None => self.ssh.address(place).await.ok_or_else(|| {
                CliError::new(format!("{} is no address for its agent", place.host))
                    .hint(format!("lariat enroll {name} --ssh {place} --address ADDR"))
            })?,
        };
        let script = script(address.port());
        let of_ssh = |broken| self.broken(&broken, entry);
        let tell = self.is_watched.then(|| {
            let name = name.clone();
            let tell = move |said: &str| crate::output::note(&format!("{name}: ssh: {said}"));
            Box::new(tell) as Tell
        });
        let command = self.ssh.command(place, &line(&script));
        let mut remote = Remote::open(command, &script, tell).await.map_err(of_ssh)?;
        let facts = remote.facts().await.map_err(of_ssh)?;
        let enrolled = known.as_ref().and_then(|known| known.enrolled);
        let plan = self.decide(&facts, name, &address, enrolled)?;
        let mut done = Installation {
            steps: plan.steps.clone(),
            changed: !plan.steps.is_empty(),
            address,
            enrolled,
            notes: plan.notes.clone(),
            started_by_hand: (!facts.systemd).then_some(plan.agent),
            took: Duration::ZERO,
        };
        if !self.dry_run {
            let work = Work { installer: self, entry, plan: &plan, address: &done.address };
            done.changed |= work.run(&mut remote, facts.unfinished, &mut done.enrolled).await?;
        }
        remote.close().await;
        done.took = began.elapsed();
        Ok(done)
    }

    /// Enters a host's address, where it has answered. Returns whether that is a new one.
    pub(crate) fn set_address(&self, name: &HostName, address: &Address) -> Result<bool, CliError> {
        let lock = self.home.lock()?;
        let mut host = Inventory::load(&self.home)?.host(name)?.clone();
        if host.address.as_ref() == Some(address) {
            return Ok(false);
        }
        host.address = Some(address.clone());
        edit::add(&self.home, &lock, name, &host)?;
        Ok(true)
    }

    fn decide(
        &self,
        facts: &Facts,
        name: &HostName,
        address: &Address,
        known: Option<Enrolled>,
    ) -> Result<Plan, CliError> {
        let ca = self.ca.certificate();
        let wanted = Wanted {
            name,
            port: address.port(),
            program: self.program.as_ref(),
            known,
            is_of_fleet: &|der, info| has_issued(ca, der, info),
            now: signed_seconds(SystemTime::now()),
        };
        plan(facts, &wanted).map_err(|problems| {
            let count = problems.len();
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let problems = problems.join("; ");
            let problems =
                if count > 1 { format!("{count} problems: {problems}") } else { problems };
            CliError::new(format!("preflight: {problems}; nothing was changed"))
                .counting_as(End::Refused)
        })
    }

    /// The error of a session that did not come as far as to the first step.
    fn broken(&self, broken: &Broken, entry: &Entry) -> CliError {
        let error = CliError::new(format!("ssh to {}: {broken}", entry.place));
        let error = error.counting_as(End::Unreachable);
        match broken {
            Broken::Bad(_) => error,
            _ => error.hint(self.ssh.by_hand(&entry.place)),
        }
    }
}

/// The work on one host.
struct Work<'a> {
    installer: &'a Installer,
    entry: &'a Entry,
    plan: &'a Plan,
    address: &'a Address,
}

impl Work<'_> {
    /// Does the steps, and enters the host in the inventory. Returns whether its entry is another one now.
    async fn run(
        &self,
        remote: &mut Remote,
        unfinished: bool,
        enrolled: &mut Option<Enrolled>,
    ) -> Result<bool, CliError> {
        let begins = unfinished || !self.plan.steps.is_empty();
        if begins {
            self.did("begin", remote.ask("begin").await)?;
        }
        let mut record = match (*enrolled, self.plan.spki) {
            (Some(known), _) => Some(known),
            (None, None) => None,
            (None, Some(spki)) => Some(self.record(spki)?),
        };
        let is_file = |step: &&Step| !matches!(step, Step::Unit | Step::Start);
        for step in self.plan.steps.iter().filter(is_file) {
            self.tell(*step);
            self.file(*step, remote, &mut record).await?;
        }
        let Some(record) = record else {
            return Err(CliError::new("it has no certificate, and none was made"));
        };
        let changed = self.enter(record)?;
        *enrolled = Some(record);
        for step in self.plan.steps.iter().filter(|step| !is_file(step)) {
            self.tell(*step);
            if *step == Step::Unit {
                let path = "/etc/systemd/system/lariatd.service";
                self.did(step.name(), remote.put(path, "644", unit::text().as_bytes()).await)?;
            } else {
                self.did("lariatd check", remote.ask("check").await)?;
                self.did(step.name(), remote.ask("start").await)?;
            }
        }
        if begins {
            self.did("finish", remote.ask("finish").await)?;
        }
        Ok(changed)
    }

    /// Copies the program, or makes one of the agent's own files.
    async fn file(
        &self,
        step: Step,
        remote: &mut Remote,
        record: &mut Option<Enrolled>,
    ) -> Result<(), CliError> {
        let (name, key) = (&self.entry.name, &self.installer.key);
        let missing = || CliError::new("it has no certificate yet").during(step.name());
        let done = match step {
            Step::Program => {
                let program = self.installer.program.as_ref().ok_or_else(missing)?;
                remote.put("/usr/local/bin/lariatd", "755", &program.bytes).await
            }
            Step::Certificate => {
                let request = self.did(step.name(), remote.ask("request").await)?;
                let (certificate, spki) =
                    self.issue(&request.unwrap_or_default()).map_err(|e| e.during(step.name()))?;
                if record.is_none_or(|known| !known.has_key(spki)) {
                    *record = Some(self.record(spki)?);
                }
                let ca = self.installer.home.ca_pem()?;
                self.did(
                    step.name(),
                    remote.put("/etc/lariat/ca.pem", "600", ca.as_bytes()).await,
                )?;
                remote.put("/etc/lariat/host.pem", "600", certificate.as_bytes()).await
            }
            Step::Config => {
                let enrolment = record.ok_or_else(missing)?.enrolment;
                let reach = Reach { listen: Some(self.address.listen()), dial: &[] };
                let text = agent_toml(name, enrolment, &reach, STATE);
                remote.put("/etc/lariat/agent.toml", "600", text.as_bytes()).await
            }
            Step::Keyring => {
                let enrolment = record.ok_or_else(missing)?.enrolment;
                let verifier = HostKeys::derive(&key.secret, name, &enrolment).verifier();
                let text = keyring_toml(name, key, &verifier);
                remote.put("/etc/lariat/keyring.toml", "600", text.as_bytes()).await
            }
            Step::Unit | Step::Start => Ok(()),
        };
        self.did(step.name(), done)
    }

    /// A host's entry, for the key that it has.
    fn record(&self, spki: [u8; 32]) -> Result<Enrolled, CliError> {
        let enrolment = self.plan.enrolment.map_or_else(EnrolmentId::generate, Ok)?;
        Ok(Enrolled { enrolment, spki: Spki(spki), next: None })
    }

    /// Issues a certificate for the key of a host's request. Returns it with the key's hash.
    fn issue(&self, request: &[u8]) -> Result<(String, [u8; 32]), CliError> {
        let name = &self.entry.name;
        let request = hex::decode(request.trim_ascii())
            .map_err(|_| CliError::new("what it sent is no signing request"))?;
        let key = RequestedKey::verify(&request)?;
        let spki = key.spki();
        let inventory = Inventory::load(&self.installer.home)?;
        let known = if inventory.contains(name) { inventory.host(name)?.enrolled } else { None };
        if known.is_some_and(|known| !known.has_key(spki)) {
            let error =
                CliError::new("this machine has another key than the one that was enrolled");
            return Err(error.hint(format!("lariat forget {name} first, to enroll it anew")));
        }
        refuse_copy(&inventory, name, spki)?;
        let certificate = self.installer.ca.issue_for(name, &key)?;
        Ok((certificate_pem(&certificate), spki))
    }

    /// Enters the host in the inventory. Returns whether that has changed it.
    fn enter(&self, enrolled: Enrolled) -> Result<bool, CliError> {
        let (home, Entry { name, tags, .. }) = (&self.installer.home, self.entry);
        let lock = home.lock()?;
        let inventory = Inventory::load(home)?;
        refuse_copy(&inventory, name, enrolled.spki.0)?;
        let before = if inventory.contains(name) { Some(inventory.host(name)?) } else { None };
        let tags = Tag::joined(before.map(|before| &*before.tags), tags);
        // A new address counts once the host has answered there.
        let known = before.filter(|before| before.enrolled.is_some());
        let known = known.and_then(|known| known.address.as_ref());
        let address = Some(known.unwrap_or(self.address).clone());
        let host = Host { address, tags, via: None, proxy: None, enrolled: Some(enrolled) };
        if before == Some(&host) {
            return Ok(false);
        }
        edit::add(home, &lock, name, &host)?;
        Ok(true)
    }

    fn tell(&self, step: Step) {
        if self.installer.is_watched {
            crate::output::note(&format!("{}: {}", self.entry.name, step.doing()));
        }
    }

    /// The error of a step, with what to do.
    fn did<T>(&self, step: &str, done: Result<T, Broken>) -> Result<T, CliError> {
        let Entry { name, place, .. } = self.entry;
        done.map_err(|broken| {
            let end = match &broken {
                Broken::Failed(_) | Broken::Bad(_) => End::Errored,
                _ => End::Unreachable,
            };
            let error = CliError::new(broken.to_string()).during(step).counting_as(end);
            error.next(format!(
                "once that is repaired, run it again to resume: lariat enroll {name} --ssh {place}"
            ))
        })
    }
}

/// Refuses a key that another host has: one of the two is a copy of the other.
fn refuse_copy(inventory: &Inventory, name: &HostName, spki: [u8; 32]) -> Result<(), CliError> {
    let others: BTreeSet<&HostName> = inventory
        .iter()
        .filter(|(other, host)| *other != name && host.enrolled.is_some_and(|e| e.has_key(spki)))
        .map(|(other, _)| other)
        .collect();
    others.first().map_or(Ok(()), |other| {
        Err(CliError::new(format!("its key is that of {other}: one is a copy of the other"))
            .next("remove /etc/lariat on the copy, and enroll it again"))
    })
}

/// Whether this CA has issued a certificate, whenever that ends.
fn has_issued(
    ca: &CertificateDer<'static>,
    leaf: &CertificateDer<'_>,
    info: &CertificateInfo,
) -> bool {
    let mut roots = RootCertStore::empty();
    let Ok(parsed) = ParsedCertificate::try_from(leaf) else { return false };
    if roots.add(ca.clone()).is_err() {
        return false;
    }
    let start = u64::try_from(info.not_before).unwrap_or_default();
    let start = UnixTime::since_unix_epoch(Duration::from_secs(start));
    let algorithms = lariat_wire::tls::provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], start, algorithms).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_of_the_fleet_that_issued_it() {
        let [ca, other] = [(); 2].map(|()| Ca::create().unwrap());
        let leaf = ca.issue(&"web1".parse().unwrap()).unwrap().certificate;
        let info = CertificateInfo::parse(&leaf).unwrap();
        assert!(has_issued(ca.certificate(), &leaf, &info));
        assert!(!has_issued(other.certificate(), &leaf, &info));
    }
}

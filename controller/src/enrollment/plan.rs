//! From facts about a host to problems, or to what has to be done there.

use std::fmt;

use lariat_base::certificate::CertificateInfo;
use lariat_base::name::{EnrolmentId, HostName};
use lariat_base::toml_file::from_text;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;

use crate::enrollment::facts::{Directory, Facts};
use crate::enrollment::program::{Program, version_of};
use crate::enrollment::unit;
use crate::inventory::Enrolled;

/// The oldest kernel that the agent runs on.
const KERNEL: (u32, u32) = (5, 9);

/// Free bytes that have to be left beside the agent's program, and where its state is.
const ROOM: u64 = 16 * 1024 * 1024;

/// By how many seconds the host's clock may be wrong. Certificates begin an hour before they are issued.
const MOST_SKEW: u64 = 30 * 60;

/// By how many seconds it may be wrong without a word.
const SOME_SKEW: u64 = 60;

/// What is wanted of a host.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a HostName,
    /// The agent's port.
    pub(super) port: u16,
    /// The program to copy, if there is one.
    pub(super) program: Option<&'a Program>,
    /// What the inventory has of the host, if it is enrolled.
    pub(super) known: Option<Enrolled>,
    /// Whether the fleet's CA has issued a certificate.
    pub(super) is_of_fleet: &'a dyn Fn(&CertificateDer<'_>, &CertificateInfo) -> bool,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// Something to do on a host, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Copy the agent's program.
    Program,
    /// Have the host sign a request, and give it a certificate.
    Certificate,
    /// Write agent.toml.
    Config,
    /// Write the keyring.
    Keyring,
    /// Write the unit.
    Unit,
    /// Start the agent, now and with the host.
    Start,
}

impl Step {
    /// The step's name in errors and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Program => "lariatd",
            Self::Certificate => "certificate",
            Self::Config => "agent.toml",
            Self::Keyring => "keyring",
            Self::Unit => "unit",
            Self::Start => "start",
        }
    }

    /// What is being done.
    pub(super) fn doing(self) -> &'static str {
        match self {
            Self::Program => "copying lariatd",
            Self::Certificate => "issuing its certificate",
            Self::Config => "writing agent.toml",
            Self::Keyring => "writing its keyring",
            Self::Unit => "writing the unit",
            Self::Start => "starting lariatd",
        }
    }

    /// What would be done.
    pub(crate) fn would(self) -> &'static str {
        match self {
            Self::Program => "copy lariatd to /usr/local/bin/lariatd",
            Self::Certificate => {
                "make a private key there if it has none, and issue a certificate for it"
            }
            Self::Config => "write /etc/lariat/agent.toml",
            Self::Keyring => "write /etc/lariat/keyring.toml, with your key in it",
            Self::Unit => "write /etc/systemd/system/lariatd.service",
            Self::Start => "enable lariatd, and start it",
        }
    }
}

/// What is to be done on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// The enrolment that its files are of, if they are of one.
    pub(super) enrolment: Option<EnrolmentId>,
    /// SHA-256 of the key that its certificate is for, if it has one.
    pub(super) spki: Option<[u8; 32]>,
    /// The agent's program.
    pub(super) agent: &'static str,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

/// What keeps a host from being enrolled, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    what: String,
    advice: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.advice)
    }
}

/// Decides what to do, or says everything that is in the way.
pub(super) fn plan(facts: &Facts, wanted: &Wanted<'_>) -> Result<Plan, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut problem = |what: String, advice: &str| {
        problems.push(Problem { what, advice: advice.to_owned() });
    };
    system(facts, &mut problem);
    let program = !facts.package
        && match (wanted.program, &facts.program) {
            (Some(own), theirs) => theirs.as_ref() != Some(&own.sum),
            (None, theirs) => theirs.is_none(),
        };
    if program {
        copying(facts, wanted, &mut problem);
    }
    let listens_elsewhere = holder(facts, wanted.port, &mut problem);
    let notes =
        clock(facts, wanted.now, &mut problem).into_iter().chain(listens_elsewhere).collect();
    let certificate = certificate(facts);
    let enrolment = identity(facts, wanted, certificate.as_ref(), &mut problem);
    if !problems.is_empty() {
        return Err(problems);
    }
    let is_good = |info: &CertificateInfo| {
        info.days_left(wanted.now).is_none() && info.is_valid_at(wanted.now) && facts.key
    };
    let info = certificate.map(|(_, info)| info);
    let by_systemd = facts.systemd;
    let mut steps: Vec<Step> = [
        (Step::Program, program),
        (Step::Certificate, !info.as_ref().is_some_and(is_good)),
        (Step::Config, facts.config.is_none()),
        (Step::Keyring, !facts.keyring),
        (Step::Unit, by_systemd && !facts.package && facts.unit.as_ref() != Some(&unit::sum())),
    ]
    .into_iter()
    .filter_map(|(step, is_needed)| is_needed.then_some(step))
    .collect();
    let is_as_it_was = steps.is_empty() && facts.active && facts.enabled && !facts.unfinished;
    if by_systemd && !is_as_it_was {
        steps.push(Step::Start);
    }
    let agent = if facts.package { "/usr/bin/lariatd" } else { "/usr/local/bin/lariatd" };
    Ok(Plan { steps, enrolment, spki: info.map(|info| info.spki), agent, notes })
}

/// Whether an agent could run there, and be installed.
fn system(facts: &Facts, problem: &mut dyn FnMut(String, &str)) {
    if let Some(why) = &facts.no_root {
        problem(
            format!("{} is not root there, and sudo -n does not work: {why}", facts.user),
            "ssh as root, or let sudo work without a password",
        );
    }
    let kernel = &facts.kernel;
    let version = kernel.strip_prefix("Linux ").and_then(version_of);
    if version.is_none_or(|version| version < KERNEL) {
        problem(format!("its kernel is {kernel}"), "lariatd needs Linux 5.9 or newer");
    }
    if !facts.missing.is_empty() {
        problem(format!("it lacks {}", facts.missing.join(", ")), "install coreutils there");
    }
    for Directory { path, owner, mode } in &facts.directories {
        if path == "/var/lib" {
            continue;
        }
        let is_private = path == "/etc/lariat";
        let not_others = if is_private { 0o077 } else { 0o022 };
        if *owner != 0 {
            problem(format!("{path} belongs to user {owner}"), &format!("chown root {path}"));
        } else if mode & not_others != 0 {
            let (doing, mend) =
                if is_private { ("open to", "700") } else { ("writable by", "go-w") };
            let what = format!("{path} is {doing} others than root (mode {mode:04o})");
            problem(what, &format!("chmod {mend} {path}"));
        }
    }
    let mut full = Vec::new();
    for (path, free) in &facts.disks {
        // Most of them are of one file system.
        if *free < ROOM && !full.contains(free) {
            full.push(*free);
            problem(
                format!("{path} has {} KiB free", free / 1024),
                &format!("{} MiB are needed", ROOM / (1024 * 1024)),
            );
        }
    }
}

/// Whether the program can be copied, and would run.
fn copying(facts: &Facts, wanted: &Wanted<'_>, problem: &mut dyn FnMut(String, &str)) {
    let Some(program) = wanted.program else {
        return problem(
            "there is no lariatd beside lariat to copy".to_owned(),
            "--lariatd FILE says where one is",
        );
    };
    let (path, machine) = (program.path.display(), &program.machine);
    let runs = |host: &str| {
        host == machine || (machine == "i686" && matches!(host, "x86_64" | "i386" | "i586"))
    };
    if !runs(&facts.machine) {
        problem(
            format!("its processor is {}, and {path} is for {machine}", facts.machine),
            "--lariatd FILE with one for it",
        );
    }
    if let Some((major, minor)) = program.glibc {
        let theirs = facts.libc.strip_prefix("glibc ").and_then(version_of);
        if theirs.is_none_or(|theirs| theirs < (major, minor)) {
            problem(
                format!("its C library is {}, and {path} needs glibc {major}.{minor}", facts.libc),
                "--lariatd FILE with one that was built on an older system",
            );
        }
    }
    let need = ROOM.saturating_add(program.bytes.len().try_into().unwrap_or(u64::MAX));
    let beside = ["/usr/local/bin", "/usr/local"];
    let disk = facts.disks.iter().find(|(path, _)| beside.contains(&path.as_str()));
    if let Some((path, free)) = disk.filter(|(_, free)| (ROOM..need).contains(free)) {
        problem(
            format!("{path} has {} KiB free", free / 1024),
            &format!("{} KiB are needed", need / 1024),
        );
    }
}

/// Whether the port is free, or the agent's. A note where the agent has another one.
fn holder(facts: &Facts, port: u16, problem: &mut dyn FnMut(String, &str)) -> Option<String> {
    let is_installed = facts.config.is_some();
    let is_agent = |(pid, program): &(u32, String)| {
        // systemd may hold its socket.
        let by_systemd = facts.main != 0 && *pid == facts.main || *pid == 1 && is_installed;
        by_systemd || (!facts.systemd && program == "lariatd" && is_installed)
    };
    let other = facts.holders.iter().find(|holder| !is_agent(holder));
    if other.is_some() && facts.holders.iter().any(|(pid, _)| facts.main != 0 && *pid == facts.main)
    {
        // One of them is the agent itself, whose socket others have inherited.
        return None;
    }
    match other {
        Some((0, _)) => problem(
            format!("something listens on its port {port} already"),
            "end it, or choose another port: --address ADDR:PORT",
        ),
        Some((pid, program)) => problem(
            format!("its port {port} is taken by {program}, process {pid}"),
            "end it, or choose another port: --address ADDR:PORT",
        ),
        None => {}
    }
    let listen = facts.config.as_deref().and_then(|config| Agent::parse(config).ok()?.listen);
    let own = listen.and_then(|listen| listen.rsplit_once(':')?.1.parse::<u16>().ok());
    own.filter(|own| *own != port)
        .map(|own| format!("its agent.toml listens on port {own}, and is left as it is"))
}

/// Whether the clock is right. A note where it is nearly.
fn clock(facts: &Facts, now: i64, problem: &mut dyn FnMut(String, &str)) -> Option<String> {
    let Some(time) = facts.time else {
        problem("it does not say its time".to_owned(), "date +%s has to work there");
        return None;
    };
    let skew = time.abs_diff(now);
    let side = if time < now { "behind" } else { "ahead of" };
    let what = format!("its clock is {skew} s {side} this machine's");
    if skew > MOST_SKEW {
        problem(what, "set the clock that is wrong: timedatectl set-ntp true");
        return None;
    }
    (skew > SOME_SKEW).then_some(what)
}

/// The certificate that is there, if it is one.
fn certificate(facts: &Facts) -> Option<(CertificateDer<'static>, CertificateInfo)> {
    let der = CertificateDer::from_pem_slice(facts.certificate.as_deref()?).ok()?;
    let info = CertificateInfo::parse(&der).ok()?;
    Some((der, info))
}

/// What matters of an agent.toml.
#[derive(Deserialize)]
struct Agent {
    #[serde(deserialize_with = "from_text")]
    name: HostName,
    #[serde(deserialize_with = "from_text")]
    enrolment: EnrolmentId,
    listen: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    keyring: Option<String>,
}

impl Agent {
    fn parse(config: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(config).map_err(|_| "it is not UTF-8 text".to_owned())?;
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    /// Whether its files are those that enrollment writes.
    fn has_own_files(&self) -> bool {
        let is = |path: &Option<String>, name: &str| {
            let path = path.as_deref().unwrap_or_default();
            path.strip_prefix("/etc/lariat/").unwrap_or(path) == name
        };
        is(&self.certificate, "host.pem")
            && is(&self.key, "host.key")
            && is(&self.keyring, "keyring.toml")
    }
}

/// Whether what is installed there, if anything, is this host of this fleet. Returns its enrolment.
fn identity(
    facts: &Facts,
    wanted: &Wanted<'_>,
    certificate: Option<&(CertificateDer<'static>, CertificateInfo)>,
    problem: &mut dyn FnMut(String, &str),
) -> Option<EnrolmentId> {
    let name = wanted.name;
    let anew = format!("lariat forget {name} first, to enroll it anew");
    let clear = "if that agent is not needed any more, stop it and remove /etc/lariat there";
    if let Some((der, info)) = certificate {
        if !(wanted.is_of_fleet)(der, info) {
            problem("it is a host of another fleet, by /etc/lariat/host.pem".to_owned(), clear);
            return None;
        }
        if !info.is_for(name) {
            let names = info.names.join(", ");
            problem(format!("it is {names} of this fleet, by /etc/lariat/host.pem"), clear);
            return None;
        }
    }
    let agent = match facts.config.as_deref().map(Agent::parse) {
        None => None,
        Some(Ok(agent)) => Some(agent),
        Some(Err(why)) => {
            problem(format!("its /etc/lariat/agent.toml can't be read: {why}"), "mend it there");
            return None;
        }
    };
    if let Some(agent) = &agent {
        if agent.name != *name {
            let other = &agent.name;
            problem(format!("it is the agent of {other}, by /etc/lariat/agent.toml"), clear);
        } else if !agent.has_own_files() {
            problem(
                "its agent.toml names other files than host.pem, host.key and keyring.toml in /etc/lariat"
                    .to_owned(),
                "such an agent is changed by hand: lariatd check says what is wrong",
            );
        }
    }
    let Some(known) = wanted.known else { return agent.map(|agent| agent.enrolment) };
    let own = |spki: [u8; 32]| known.has_key(spki);
    if agent.as_ref().is_some_and(|agent| agent.enrolment != known.enrolment) {
        problem(format!("{name} was enrolled anew since it was installed there"), &anew);
    } else if certificate.is_some_and(|(_, info)| !own(info.spki)) {
        problem(
            format!("its certificate is for another key than the one of {name}'s enrolment"),
            &anew,
        );
    } else if facts.no_root.is_none() && !facts.key {
        problem(format!("{name} is enrolled, and this machine has no private key of it"), &anew);
    }
    Some(known.enrolment)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
pub(super) mod tests;

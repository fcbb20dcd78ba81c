//! `lariatd check`: reports everything that would keep the agent from serving.
//!
//! It continues after a mistake, so that one run reports all of them.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use lariat_base::clock::signed_seconds;
use lariat_base::escape::escape;
use lariat_base::private::check_directory;

use crate::config::{Config, Exec, StatusPlace};
use crate::core::{own_files, store};
use crate::identity::Identity;
use crate::keyring::{Entry, Host, Keyring, Store, lint};
use crate::policy::Clock;
use crate::user::User;
use crate::{dial, discover};

/// Exit code for a wrong configuration (`EX_CONFIG`, sysexits.h); systemd does not restart the agent after
/// it.
pub const EXIT_CONFIG: u8 = 78;

/// The controllers of the host's control groups, version 2 (cgroups(7)).
const CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.controllers";

/// What a check found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is in order, one line each.
    pub good: Vec<String>,
    /// What is wrong, one line each.
    pub wrong: Vec<String>,
    /// What the agent can serve with, though hardly as it is meant, one line each.
    pub doubtful: Vec<String>,
}

/// Checks, writes what is in order to `out` and what is wrong to `err`, and returns the exit code.
pub fn run(config: &Path, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let findings = check(config, SystemTime::now());
    for line in &findings.good {
        writeln!(out, "{}", escape(line.as_bytes()))?;
    }
    for line in findings.doubtful.iter().chain(&findings.wrong) {
        writeln!(err, "lariatd: {}", escape(line.as_bytes()))?;
    }
    Ok(if findings.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CONFIG) })
}

/// Checks configuration, certificate, key, keyring and state directory, with the dates valid at `now`.
pub fn check(path: &Path, now: SystemTime) -> Findings {
    let mut findings = Findings::default();
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            findings.wrong.push(error.to_string());
            return findings;
        }
    };
    let place = config.listen.map_or("nowhere".to_owned(), |listen| listen.to_string());
    findings.good.push(format!("{}: {} on {place}", path.display(), config.name));
    check_dial(path, &config, &mut findings);
    if config.discover {
        findings.wrong.extend(discover::tag(&config).err());
        if config.listen.is_none() {
            let why = "warning: discover has no effect without listen";
            findings.doubtful.push(format!("{}: {why}", path.display()));
        }
    }
    let controllers = std::fs::read_to_string(CONTROLLERS).unwrap_or_default();
    let limits = without_controller(&config.exec, &controllers).into_iter();
    let odd = limits.chain(odd_path(&config.exec.path));
    findings.doubtful.extend(odd.map(|what| format!("{}: warning: {what}", path.display())));
    match Identity::load(&config) {
        Ok(identity) => check_identity(&config, &identity, now, &mut findings),
        Err(error) => findings.wrong.push(error.to_string()),
    }
    // Roots are looked at with the other rules.
    let store = Store { own: Vec::new(), ..store(path, &config, &config.state) };
    match store.load() {
        Ok(loaded) => {
            let file = config.keyring.display();
            let of_no_effect = |label: String| {
                format!("{file}: {label} is of no effect: its key was revoked here")
            };
            findings.wrong.extend(loaded.ignored.into_iter().map(of_no_effect));
            check_keyring(&config, &loaded.keyring, now, &mut findings);
            check_rules(path, &config, &loaded.keyring, &mut findings);
        }
        Err(error) => findings.wrong.push(error.to_string()),
    }
    if let Err(error) = check_state(&config.state) {
        findings.wrong.push(error);
    }
    let page = unserved_page(&config).into_iter();
    findings.wrong.extend(page.map(|why| format!("{}: [status] listen: {why}", path.display())));
    findings
}

/// Why the status page can't be served where it is to be.
fn unserved_page(config: &Config) -> Option<String> {
    match config.status.listen.as_ref()? {
        StatusPlace::Loopback(address) => {
            let own =
                config.listen.filter(|own| own.port() != 0 && own.port() == address.port())?;
            let taken = own.ip().is_unspecified() || own.ip().to_canonical() == address.ip();
            taken.then(|| format!("the agent itself listens on {own}; take another port"))
        }
        StatusPlace::Socket(path) => {
            let (Some(directory), Some(_)) = (path.parent(), path.file_name()) else {
                return Some("there is no name for the socket".to_owned());
            };
            let place = directory.display();
            (!directory.is_dir()).then(|| format!("there is no directory {place} for the socket"))
        }
    }
}

/// Whether the gateways can be dialled, and whether one that fails can be done without.
fn check_dial(path: &Path, config: &Config, findings: &mut Findings) {
    let Some(dial) = &config.dial else { return };
    if let Some(why) = dial::unfit(config) {
        findings.wrong.push(why);
    }
    if let ([only], None) = (dial.gateway.as_slice(), config.listen) {
        findings.doubtful.push(format!(
            "{}: warning: [dial] names one gateway only: while {} is down, nobody can reach this host",
            path.display(),
            only.name
        ));
    }
}

/// The limits on jobs that the kernel can't enforce, because its control groups lack the controller for them.
fn without_controller(exec: &Exec, controllers: &str) -> Vec<String> {
    let limits = [
        ("tasks_max", exec.tasks_max.is_some(), "pids"),
        ("memory_max", exec.memory_max.is_some(), "memory"),
    ];
    limits
        .into_iter()
        .filter(|(_, is_set, needs)| *is_set && !controllers.split_whitespace().any(|c| c == *needs))
        .map(|(limit, _, needs)| {
            format!(
                "[exec] {limit} has no effect: this host's control groups (version 2) do not have the controller {needs}"
            )
        })
        .collect()
}

/// Whether the state directory is usable, or could be created.
fn check_state(state: &Path) -> Result<(), String> {
    let no_place = |directory: &Path, why: &str| {
        Err(format!("state {}: {} {why}", state.display(), directory.display()))
    };
    match state.metadata() {
        Ok(metadata) if !metadata.is_dir() => return no_place(state, "is not a directory"),
        Ok(_) => check_directory(state).map_err(|error| error.to_string())?,
        Err(_) => {}
    }
    // The agent creates the directory and its missing parents.
    let Some(directory) = state.ancestors().find(|directory| directory.exists()) else {
        return Ok(());
    };
    if !directory.is_dir() {
        return no_place(directory, "is not a directory");
    }
    let kind = rustix::fs::statfs(directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    if kind.f_type == rustix::fs::PROC_SUPER_MAGIC
        || rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_err()
    {
        return no_place(directory, "can't be written to");
    }
    Ok(())
}

fn check_identity(config: &Config, identity: &Identity, now: SystemTime, findings: &mut Findings) {
    let file = config.certificate.display();
    // With a clock before 1970 every certificate is "not valid yet", which points at the clock.
    let now = signed_seconds(now);
    let unfit = identity.unfit(&config.name, now);
    if unfit.is_empty() {
        let days = identity.info.not_after.saturating_sub(now) / 86400;
        findings.good.push(format!("{file}: for {}, valid for {days} more days", config.name));
        findings.doubtful.extend(
            identity.ends_soon(&config.name, now).map(|why| format!("{file}: warning: {why}")),
        );
    }
    findings.wrong.extend(unfit.iter().map(|unfit| format!("{file}: {unfit}")));
}

/// What of the commands' PATH leads to no directory, or to one of whoever runs there.
fn odd_path(path: &str) -> Option<String> {
    let odd = path.split(':').find(|directory| !directory.starts_with('/'))?;
    Some(format!(
        "[exec] path: {odd:?} is no absolute directory, and no rule finds a program there"
    ))
}

fn check_keyring(config: &Config, keyring: &Keyring, now: SystemTime, findings: &mut Findings) {
    let file = config.keyring.display();
    let clock = Clock { now, is_set: true };
    let current = keyring.entries().filter(|entry| entry.is_current(clock)).count();
    if current == 0 {
        findings.wrong.push(format!("{file}: no key in it may log in now, so nobody can"));
    }
    for entry in keyring.entries() {
        let state = if entry.is_current(clock) { "may log in" } else { "may not log in now" };
        findings.good.push(format!("{file}: {} {state}", entry.label));
    }
}

/// What the rules name on this host, and what undoes them.
fn check_rules(path: &Path, config: &Config, keyring: &Keyring, findings: &mut Findings) {
    let user = match User::current() {
        Ok(user) => user,
        Err(error) => return findings.wrong.push(format!("look up this process's user: {error}")),
    };
    let host = Host { own: own_files(path, config), path: &config.exec.path, user: &user };
    let file = config.keyring.display();
    let of_agent = of_agents_user(keyring, &user).map(|what| format!("{file}: warning: {what}"));
    findings.doubtful.extend(of_agent);
    let mut labels = BTreeSet::new();
    let twice = keyring.entries().filter(|entry| !labels.insert(entry.label.as_str()));
    findings.doubtful.extend(twice.map(|entry| {
        let label = &entry.label;
        format!(
            "{file}: warning: several keys have the label {label}, which then names none of them"
        )
    }));
    for key in keyring.entries() {
        for finding in lint(key).into_iter().chain(host.look(key)) {
            let line = format!("{file}:{finding}");
            let list = if finding.is_error { &mut findings.wrong } else { &mut findings.doubtful };
            list.push(line);
        }
    }
}

/// What rules are worth where commands run as the agent's own user, who may write to its files.
fn of_agents_user(keyring: &Keyring, user: &User) -> Option<String> {
    let has_rules = |key: &Arc<Entry>| {
        key.commands.is_some() || key.push.is_some() || key.pull.is_some() || key.users.is_some()
    };
    (user.uid != 0 && keyring.entries().any(has_rules)).then(|| {
        let user = user.name();
        format!("commands run as {user}, as the agent does: rules hold only as far as programs do")
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use lariat_base::private;
    use lariat_certs::ca::Ca;

    use super::*;

    /// A bundle as enrollment makes it.
    fn bundle() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = crate::private_directory();
        let leaf = Ca::create().unwrap().issue(&"web1".parse().unwrap()).unwrap();
        let write = |name: &str, text: &str| {
            private::replace(&directory.path().join(name), text.as_bytes()).unwrap();
        };
        write("host.pem", &leaf.certificate_pem);
        write("host.key", &leaf.key_pem);
        let (id, secret) = ("01".repeat(16), "ab".repeat(32));
        write(
            "keyring.toml",
            &format!(
                "[[key]]\nid = \"{id}\"\nlabel = \"alice@box\"\nstored = \"{secret}\"\n\
                 agent = \"{secret}\"\nverbs = [\"run\"]\n"
            ),
        );
        write(
            "agent.toml",
            &format!(
                "name = \"web1\"\nenrolment = \"{id}\"\nlisten = \"127.0.0.1:0\"\n\
                 certificate = \"host.pem\"\nkey = \"host.key\"\nkeyring = \"keyring.toml\"\n\
                 state = \"state\"\n"
            ),
        );
        let config = directory.path().join("agent.toml");
        (directory, config)
    }

    fn edit(path: &Path, from: &str, to: &str) {
        let text = private::read(path).unwrap();
        assert!(text.contains(from));
        private::replace(path, text.replace(from, to).as_bytes()).unwrap();
    }

    #[test]
    fn a_bundle_is_fit() {
        let (_directory, config) = bundle();
        let findings = check(&config, SystemTime::now());
        assert!(findings.wrong.is_empty(), "{findings:?}");
        assert_eq!(findings.good.len(), 3);
        assert!(findings.good[1].contains("for web1, valid for 36"), "{findings:?}");
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let (directory, config) = bundle();
        edit(&config, "\"web1\"", "\"web2\"");
        private::replace(&directory.path().join("keyring.toml"), b"").unwrap();
        let later = SystemTime::now() + Duration::from_secs(366 * 86400);
        let findings = check(&config, later);
        let ends = [
            "host.pem: the certificate is for web1, not for web2",
            "host.pem: the certificate expired 1 day(s) ago; try, on the controller: lariat enroll web2 --ssh [USER@]ADDR",
            "keyring.toml: no key in it may log in now, so nobody can",
        ];
        assert_eq!(findings.wrong.len(), ends.len(), "{findings:?}");
        for (line, end) in findings.wrong.iter().zip(ends) {
            assert!(line.ends_with(end), "{line}");
        }
        let mut err = Vec::new();
        run(&config, &mut Vec::new(), &mut err).unwrap();
        assert!(err.starts_with(b"lariatd: "));
    }

    #[test]
    fn what_undoes_rules_is_told_and_the_agent_s_own_is_no_root() {
        let (directory, config) = bundle();
        let keyring = directory.path().join("keyring.toml");
        edit(&keyring, "[\"run\"]\n", "[\"run\"]\ncommands = [[\"/bin/sh\"]]\n");
        let findings = check(&config, SystemTime::now());
        assert!(findings.wrong.is_empty(), "{findings:?}");
        let told = |part: &str| findings.doubtful.iter().any(|line| line.contains(part));
        assert!(told("keyring.toml:7: warning: /bin/sh can start programs"), "{findings:?}");
        let rules = format!("[\"push\"]\npush = [{:?}]\n", directory.path());
        edit(&keyring, "[\"run\"]\ncommands = [[\"/bin/sh\"]]\n", &rules);
        let findings = check(&config, SystemTime::now());
        assert!(findings.wrong[0].ends_with("agent.toml is the agent's own"), "{findings:?}");

        let keyring = Keyring::load(&keyring).unwrap();
        let user = User::current().unwrap();
        assert_eq!(of_agents_user(&keyring, &User { uid: 0, ..user.clone() }), None);
        let what = of_agents_user(&keyring, &User { uid: 1, ..user.clone() }).unwrap();
        assert!(what.contains(&format!("commands run as {}, ", user.name())), "{what}");
        assert_eq!(of_agents_user(&Keyring::default(), &User { uid: 1, ..user }), None);
    }

    #[test]
    fn another_pair_s_key_and_one_that_others_can_read_are_told() {
        let (directory, config) = bundle();
        let (other, _) = bundle();
        let key = directory.path().join("host.key");
        std::fs::copy(other.path().join("host.key"), &key).unwrap();
        let findings = check(&config, SystemTime::now());
        assert!(findings.wrong[0].contains("host.key: not the key of the certificate"));
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
        let findings = check(&config, SystemTime::now());
        assert!(findings.wrong[0].contains("host.key is open to others (mode 0644)"));
    }

    #[test]
    fn limits_without_effect_are_told() {
        let exec = Exec { tasks_max: NonZeroU32::new(9), memory_max: Some(9), ..Exec::default() };
        assert!(without_controller(&exec, "cpu memory pids\n").is_empty());
        assert!(without_controller(&Exec::default(), "").is_empty());
        let [memory] = &without_controller(&exec, "cpu pids\n")[..] else { panic!("one") };
        assert!(memory.starts_with("[exec] memory_max has no effect: "), "{memory}");
    }

    #[test]
    fn a_path_that_is_relative_is_told() {
        assert_eq!(odd_path("/usr/bin:/bin"), None);
        for (path, part) in [("bin:/bin", "\"bin\""), ("", "\"\""), ("/bin:", "\"\"")] {
            let told = odd_path(path).unwrap();
            assert!(told.contains(&format!("path: {part} is no absolute directory")), "{told}");
        }
    }

    #[test]
    fn a_page_that_can_t_be_served_is_told() {
        for (listen, place, part) in [
            ("127.0.0.1:7433", "127.0.0.1:7433", Some("the agent itself listens on")),
            ("0.0.0.0:7433", "127.0.0.1:7433", Some("the agent itself listens on")),
            ("[::]:7433", "127.0.0.1:7433", Some("the agent itself listens on")),
            ("[::]:7433", "127.0.0.1:9433", None),
            ("127.0.0.2:7433", "127.0.0.1:7433", None),
            ("127.0.0.1:0", "missing/page.sock", Some("there is no directory")),
            ("127.0.0.1:0", "page.sock", None),
            ("127.0.0.1:0", "/", Some("there is no name")),
        ] {
            let (_directory, config) = bundle();
            edit(&config, "127.0.0.1:0", listen);
            edit(
                &config,
                "state = \"state\"\n",
                &format!("state = \"state\"\n[status]\nlisten = \"{place}\"\n"),
            );
            let findings = check(&config, SystemTime::now());
            match (part, &findings.wrong[..]) {
                (None, []) => {}
                (Some(part), [wrong]) => {
                    let told = format!("[status] listen: {part}");
                    assert!(wrong.contains(&told), "{listen} {place}: {wrong}");
                }
                _ => panic!("{listen} {place}: {findings:?}"),
            }
        }
    }

    #[test]
    fn keys_of_one_label_are_told() {
        let (directory, config) = bundle();
        let keyring = directory.path().join("keyring.toml");
        let text = std::fs::read_to_string(&keyring).unwrap();
        let entry = text.find("[[key]]").unwrap();
        let start = text[entry..].find("id = \"").unwrap() + entry + 6;
        let other = text[..start].to_owned() + &"ab".repeat(16) + &text[start + 32..];
        let both = text.clone() + &other[entry..];
        private::replace(&keyring, both.as_bytes()).unwrap();
        let findings = check(&config, SystemTime::now());
        let [told] = &findings.doubtful[..] else { panic!("{findings:?}") };
        assert!(told.contains("several keys have the label"), "{told}");
    }

    #[test]
    fn a_state_directory_that_can_t_be_is_told() {
        for (state, part) in
            [("/proc/x", "/proc can't be written to"), ("host.pem", "host.pem is not a directory")]
        {
            let (_directory, config) = bundle();
            edit(&config, "\"state\"", &format!("\"{state}\""));
            let findings = check(&config, SystemTime::now());
            assert_eq!(findings.wrong.len(), 1, "{findings:?}");
            assert!(findings.wrong[0].ends_with(part), "{findings:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let findings = check(Path::new("/nonexistent/agent.toml"), SystemTime::now());
        assert_eq!(findings.wrong, ["read /nonexistent/agent.toml: no such file or directory"]);
    }
}

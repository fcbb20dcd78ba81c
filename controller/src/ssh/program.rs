//! The operator's own ssh, with its configuration, its jumps and its agent.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use lariat_client::Address;
use tokio::process::Command;
use tokio::time::timeout;

use super::place::Place;
use crate::error::CliError;

/// What no configuration may bring along: a host could use the operator's agent or display, or run a program here.
const OPTIONS: [&str; 7] =
    ["-T", "-o", "ForwardAgent=no", "-o", "ForwardX11=no", "-o", "PermitLocalCommand=no"];

/// How long ssh may take to show its configuration, and a name to be resolved.
const LOOK_UP: Duration = Duration::from_secs(10);

/// How ssh is started.
pub(crate) struct Ssh {
    program: PathBuf,
    options: Vec<String>,
    /// Whether somebody could answer its questions.
    is_attended: bool,
}

impl Ssh {
    /// From `--ssh-command`, a program and its options as a shell splits them.
    pub(crate) fn new(command: &str) -> Result<Self, CliError> {
        let wrong = |why: &str| {
            CliError::new(format!("--ssh-command {command}: {why}"))
                .hint("--ssh-command 'ssh -F FILE', for example")
        };
        let words = shlex::split(command).ok_or_else(|| wrong("a quote is not closed"))?;
        let mut words = words.into_iter();
        let program = words.next().ok_or_else(|| wrong("it is empty"))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = std::env::current_exe().ok();
        let program = find(&program, &path, own.as_deref())
            .ok_or_else(|| wrong("there is no such program in PATH"))?;
        Ok(Self { program, options: words.collect(), is_attended: std::io::stdin().is_terminal() })
    }

    /// The command that runs a line of a shell on a host.
    pub(crate) fn command(&self, place: &Place, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.options).args(OPTIONS);
        if !self.is_attended {
            command.args(["-o", "BatchMode=yes"]);
        }
        Self::name(&mut command, place);
        command.arg(line).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// The command that logs in to a machine, and returns once connections through it can be made by `socket`.
    pub(super) fn master(&self, place: &Place, socket: &Path) -> Command {
        let mut command = self.plain(socket);
        // It ends by itself if this program is killed.
        command.args(["-o", "ControlMaster=yes", "-o", "ControlPersist=60", "-f", "-N"]);
        if !self.is_attended {
            command.args(["-o", "BatchMode=yes"]);
        }
        Self::name(&mut command, place);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// The command whose stdin and stdout are a connection from that machine to an address.
    pub(super) fn forward(&self, place: &Place, socket: &Path, address: &Address) -> Command {
        let mut command = self.plain(socket);
        command.args(["-o", "ControlMaster=no", "-o", "BatchMode=yes", "-W", &address.to_string()]);
        Self::name(&mut command, place);
        command
    }

    /// The command that ends what [`Self::master`] began.
    pub(super) fn end(&self, place: &Place, socket: &Path) -> std::process::Command {
        let mut command = self.plain(socket);
        command.args(["-O", "exit"]);
        Self::name(&mut command, place);
        command.into_std()
    }

    fn plain(&self, socket: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.options).args(OPTIONS).arg("-S").arg(socket).kill_on_drop(true);
        command
    }

    fn name(command: &mut Command, place: &Place) {
        if let Some(port) = place.port {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &place.user {
            command.args(["-l", user]);
        }
        command.args(["--", &place.host]);
    }

    /// The address of the agent of a host that ssh reaches there: a name that only ssh knows is what ssh takes it for.
    pub(crate) async fn address(&self, place: &Place) -> Option<Address> {
        let address = place.agent()?;
        if place.is_ip() || resolves(&address).await {
            return Some(address);
        }
        let mut command = Command::new(&self.program);
        command.args(&self.options).arg("-G");
        Self::name(&mut command, place);
        command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let output = timeout(LOOK_UP, command.output()).await.ok()?.ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let name = text.lines().find_map(|line| line.strip_prefix("hostname "));
        let name = name.and_then(|name| name.parse::<Place>().ok()?.agent());
        Some(name.unwrap_or(address))
    }

    /// How a person tries it, for advice.
    pub(crate) fn by_hand(&self, place: &Place) -> String {
        let mut words = vec![self.program.display().to_string()];
        words.extend(self.options.iter().map(|word| crate::shell_word::shell_word(word)));
        if let Some(port) = place.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        let user = place.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        words.push(format!("{user}{}", place.host));
        words.join(" ")
    }
}

async fn resolves(address: &Address) -> bool {
    let found = tokio::net::lookup_host((address.host(), address.port()));
    timeout(LOOK_UP, found).await.is_ok_and(|found| found.is_ok())
}

/// The program of this name in a PATH. This very program is passed over, which answers to the name `ssh` as well.
fn find(name: &str, path: &OsString, own: Option<&Path>) -> Option<PathBuf> {
    let own = own.and_then(|own| own.metadata().ok());
    let is_other = |found: &PathBuf| {
        let Ok(metadata) = found.metadata() else { return false };
        let is_own = own
            .as_ref()
            .is_some_and(|own| (own.dev(), own.ino()) == (metadata.dev(), metadata.ino()));
        metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 && !is_own
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(is_other);
    }
    std::env::split_paths(path).map(|directory| directory.join(name)).find(is_other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_under_the_name_of_ssh_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
        std::fs::create_dir(&first).unwrap();
        std::fs::create_dir(&second).unwrap();
        let own = directory.path().join("lariat");
        std::fs::write(&own, "").unwrap();
        std::fs::set_permissions(&own, PermissionsExt::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&own, first.join("ssh")).unwrap();
        std::fs::write(first.join("notes"), "").unwrap();
        std::fs::copy(&own, second.join("ssh")).unwrap();
        let path = std::env::join_paths([&first, &second]).unwrap();
        assert_eq!(find("ssh", &path, Some(&own)), Some(second.join("ssh")));
        assert_eq!(find("ssh", &path, None), Some(first.join("ssh")));
        assert_eq!(find("notes", &path, None), None, "it is no program");
        assert_eq!(find(first.join("ssh").to_str().unwrap(), &path, Some(&own)), None);
    }

    #[test]
    fn options_stand_before_the_host_and_the_line_after_it() {
        let ssh = Ssh {
            program: "/usr/bin/ssh".into(),
            options: vec!["-J".into(), "gw".into()],
            is_attended: false,
        };
        let command = ssh.command(&"bob@[::1]:2222".parse().unwrap(), "true");
        let words: Vec<_> =
            command.as_std().get_args().map(|word| word.to_str().unwrap()).collect();
        let expected = "-J gw -T -o ForwardAgent=no -o ForwardX11=no -o PermitLocalCommand=no \
                        -o BatchMode=yes -p 2222 -l bob -- ::1 true";
        assert_eq!(words.join(" "), expected);
        assert_eq!(ssh.by_hand(&"bob@web1".parse().unwrap()), "/usr/bin/ssh -J gw bob@web1");
        for wrong in ["", "ssh 'x", "/nonexistent/ssh"] {
            assert!(Ssh::new(wrong).is_err(), "{wrong}");
        }
    }
}

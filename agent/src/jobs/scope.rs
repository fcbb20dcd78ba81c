//! Runs processes in systemd scopes of their own, if the agent is a systemd service.
//!
//! Processes that a service starts belong to it: systemd lists them in a warning at every restart of the
//! service, and its limits include them. So supervisors and commands run in a separate scope. It is delegated
//! to the agent, so that each job can have a control group with a limit below it.
//!
//! The scope is ordered after the service, so it is stopped before it at shutdown: a session that follows a
//! command still receives its exit.

use std::fs;
use std::path::Path;
use std::process::Command;

use rand::RngExt;

use super::settings::OWN_BINARY;

/// Whether systemd is the host's first process (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// Runs a program in a scope, with the same process id and stdin.
const RUN: &str = "/usr/bin/systemd-run";

/// Time for the scope's processes to end at shutdown. Supervisors send SIGKILL after 5 s.
const STOP: &str = "TimeoutStopSec=15s";

/// The command that runs `program` in a new scope, if this process belongs to a systemd service.
pub(super) fn command(program: &Path) -> Option<Command> {
    let after = format!("After={}", own_service()?);
    let properties = ["Delegate=yes", "TasksMax=infinity", STOP, &after];
    Some(scoped(program, "lariatd-jobs", "Commands run by lariatd", &properties))
}

/// The service that this process belongs to, if systemd has one for it.
pub(crate) fn own_service() -> Option<String> {
    if !rustix::process::geteuid().is_root() || !Path::new(BOOTED).is_dir() {
        return None;
    }
    service(&fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// The command that runs `program` in a new scope, whose name begins with `unit`.
pub(crate) fn scoped(
    program: &Path,
    unit: &str,
    description: &str,
    properties: &[&str],
) -> Command {
    let mut command = Command::new(RUN);
    command.args(["--scope", "--quiet", "--collect"]);
    command.arg(format!("--description={description}"));
    command.arg(format!("--unit={unit}-{:016x}", rand::rng().random::<u64>()));
    for property in properties {
        command.args(["--property", property]);
    }
    command.arg("--");
    // `systemd-run` is another process, for which `/proc/self` is different.
    if program == Path::new(OWN_BINARY) {
        command.arg(format!("/proc/{}/exe", std::process::id()));
    } else {
        command.arg(program);
    }
    command
}

/// The service of a process, from its `cgroup` file (proc(5)). With several hierarchies, systemd may use any of
/// them.
fn service(cgroup: &str) -> Option<String> {
    cgroup.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let unit = path.rsplit('/').find(|part| part.contains('.'))?;
        let is_systemds = controllers.is_empty() || controllers == "name=systemd";
        (is_systemds && unit.ends_with(".service")).then(|| unit.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_services_are_recognized() {
        let unit = Some("lariatd.service".to_owned());
        assert_eq!(service("0::/system.slice/lariatd.service\n"), unit);
        assert_eq!(service("0::/system.slice/lariatd.service/sub\n"), unit);
        let mixed = "4:memory:/x.slice\n1:name=systemd:/system.slice/lariatd.service\n0::/y\n";
        assert_eq!(service(mixed), unit);
        assert_eq!(service("9:name=systemd:/box\n0::/system.slice/lariatd.service\n"), unit);
        for other in [
            "0::/user.slice/user-0.slice/session-3.scope\n",
            "0::/user.slice/user-0.slice/user@0.service/app.slice/run-1.scope\n",
            "0::/\n",
            "4:memory:/lariatd.service\n",
            "",
            "x",
        ] {
            assert_eq!(service(other), None, "{other}");
        }
    }
}

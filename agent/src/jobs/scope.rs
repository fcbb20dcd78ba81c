//! A unit of systemd's for the jobs of an agent that is a service.
//!
//! What a service has started is counted with it: its processes are looked through, and told of one by one,
//! whenever the service is started again, and its limits are theirs together. So supervisors and commands
//! have a scope of their own. It is delegated to us: each job gets a group, and so a limit, below it.
//!
//! The scope is ordered behind the service, and so is ended before it when the host goes down: who follows a
//! command hears of its end.

use std::fs;
use std::path::Path;
use std::process::Command;

use rand::RngExt;

/// Whether systemd is the host's first process (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// The program that runs another one in a scope, keeping its process id and its stdin.
const RUN: &str = "/usr/bin/systemd-run";

/// The agent's own binary, as it calls it itself.
const OWN: &str = "/proc/self/exe";

/// How long the scope's processes have to end when the host goes down: SIGTERM, and SIGKILL 5 s later.
const STOP: &str = "TimeoutStopSec=15s";

/// What runs `program` in a scope of its own, if this process is a service of systemd's.
pub(super) fn command(program: &Path) -> Option<Command> {
    if !rustix::process::geteuid().is_root() || !Path::new(BOOTED).is_dir() {
        return None;
    }
    let service = service(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
    let mut command = Command::new(RUN);
    command.args(["--scope", "--quiet", "--collect", "--description=Commands run by lariatd"]);
    command.arg(format!("--unit=lariatd-jobs-{:016x}", rand::rng().random::<u64>()));
    for property in ["Delegate=yes", "TasksMax=infinity", STOP, &format!("After={service}")] {
        command.args(["--property", property]);
    }
    command.arg("--");
    // It is another process that looks for it.
    if program == Path::new(OWN) {
        command.arg(format!("/proc/{}/exe", std::process::id()));
    } else {
        command.arg(program);
    }
    Some(command)
}

/// The service that a process is in, of its `cgroup` file (proc(5)). Of several hierarchies, systemd may use
/// any.
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
    fn a_service_is_told_from_what_is_none() {
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

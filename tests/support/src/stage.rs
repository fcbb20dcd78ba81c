//! The machines that the documents speak of: `adminbox` with the operators Alice and Bob, and hosts at 10.0.0.1 and up.
//!
//! Each host has a name, an address, a home, an /etc and a /srv of its own, so that commands do here what the documents
//! show. It needs root, for namespaces and mounts, and `ip`.

use std::fs;
use std::io::{self, Read, Seek};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, Signal, kill_process};

use crate::binaries::binaries;
use crate::machine::Machine;
use crate::wait;

/// Makes the operators' machine of the calling thread's namespaces, and a network to `$2` hosts. `$1` is the stage's
/// directory.
const SET_UP: &str = r#"
set -e
mount --make-rprivate /
echo adminbox >/proc/sys/kernel/hostname
for directory in /home /run; do mount -t tmpfs -o mode=755 tmpfs $directory; done
ip link set lo up
ip link add lan type bridge
ip addr add 10.0.0.100/24 dev lan
ip link set lan up
for host in $(seq "$2"); do
    name=10.0.0.$host
    ip netns add $name
    ip link add host$host type veth peer name eth0 netns $name
    ip link set host$host master lan up
    ip -n $name link set lo up
    ip -n $name addr add $name/24 dev eth0
    ip -n $name link set eth0 up
done
for name in alice bob; do
    mkdir -m 700 /home/$name
    { echo "$name:x:0:0::/home/$name:/bin/bash"; cat /etc/passwd; } >"$1/passwd-$name"
done
mount --bind "$1/passwd-alice" /etc/passwd
"#;

/// Runs `$2` as Bob, on a machine of his own. `$1` is the stage's directory.
const AS_BOB: &str = r#"
mount --bind "$1/passwd-bob" /etc/passwd && echo laptop >/proc/sys/kernel/hostname && exec bash -c "$2"
"#;

/// In place of ssh: the one of the machine whose address stands after `--`.
const SSH: &str = r#"#!/bin/sh
found=
for word; do
    [ -z "$found" ] || break
    [ "$word" != -- ] || found=yes
done
exec nsenter --net=/run/netns/"$word" "$(dirname "$0")/../$word/ssh" "$@"
"#;

/// Makes an enrolled host of a machine, from the bundle that is in /etc/lariat.
const START: &str = r#"
sed -i 's|^state = .*|state = "/var/lib/lariat"|' /etc/lariat/agent.toml
echo 'ExecStart=/usr/local/bin/lariatd' >/etc/systemd/system/lariatd.service
systemctl daemon-reload && systemctl enable lariatd && systemctl restart lariatd
"#;

/// The longest that a command may take.
const LIMIT: &str = "60";

/// Who runs a command.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// The fleet's first operator, in her home.
    Alice,
    /// Another operator, in his home, with a machine of his own.
    Bob,
    /// Root on a host.
    Host(&'a str),
}

/// The machines. Dropping it ends all that runs on them.
pub struct Stage {
    hosts: Vec<(String, Machine)>,
    directory: tempfile::TempDir,
}

impl Stage {
    /// Moves the calling thread, which should have been made for this, to machines of its own: Alice's fleet with these
    /// hosts, and machines without lariat after them. Without hosts there is no fleet.
    ///
    /// # Errors
    /// Says why this machine can't do it.
    ///
    /// # Panics
    /// If lariat fails.
    pub fn new(hosts: &[String], machines: &[String]) -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("lariat-stage-").tempdir();
        let directory = directory.map_err(|e| format!("no directory: {e}"))?;
        let all = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
        unshare(all).map_err(|e| format!("no namespaces: {e}"))?;
        let names = hosts.iter().chain(machines).zip(1..);
        let mut stage = Self { hosts: Vec::new(), directory };
        for (name, number) in names {
            let machine = Machine::new(stage.path(&format!("10.0.0.{number}")));
            let machine = machine.ok_or("no machine can be made")?;
            machine.write("name", name);
            machine.write("var/lib/machine/listen", &format!("10.0.0.{number}:7433"));
            stage.hosts.push((name.clone(), machine));
        }
        stage.set_up().map_err(|e| format!("no machines: {e}"))?;
        if !hosts.is_empty() {
            stage.ok("lariat init");
            hosts.iter().zip(1..).for_each(|(host, number)| stage.start(host, number));
        }
        Ok(stage)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn set_up(&self) -> io::Result<()> {
        let hosts = self.hosts.len().to_string();
        let mut command = Command::new("sh");
        command.args(["-c", SET_UP, "-"]).arg(self.directory.path()).arg(hosts);
        let output = command.output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        fs::create_dir(self.path("bin"))?;
        let binaries = binaries();
        for (name, program) in [("lariat", &binaries.lariat), ("lariatd", &binaries.lariatd)] {
            symlink(program, self.path("bin").join(name))?;
        }
        let ssh = self.path("bin").join("ssh");
        fs::write(&ssh, SSH)?;
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755))
    }

    /// Enrolls a host and starts its agent, as `enroll --ssh` would, only quicker.
    fn start(&self, host: &str, number: usize) {
        let Some(machine) = self.machine(host) else { return };
        let tag = host.trim_end_matches(|c: char| c.is_ascii_digit());
        let etc = machine.path("etc/lariat").display().to_string();
        self.ok(&format!("lariat enroll {host} --address 10.0.0.{number} --tag {tag} --out {etc}"));
        machine.put_program();
        self.ok(&format!("ssh -- 10.0.0.{number} \"$(cat <<'END'\n{START}\nEND\n)\" 2>&1"));
    }

    fn machine(&self, host: &str) -> Option<&Machine> {
        self.hosts.iter().find(|(name, _)| name == host).map(|(_, machine)| machine)
    }

    fn ok(&self, command: &str) {
        let (status, printed) = self.run(Who::Alice, command).expect("bash can be run");
        assert!(status.success(), "{command}: {status}: {printed}");
    }

    /// Puts a file into Alice's home.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        // The whole process shares the path, but only this thread has the mount.
        fs::write(Path::new("/home/alice").join(name), text)
    }

    /// Whether there is a program of this name.
    pub fn has(&self, program: &str) -> bool {
        self.run(Who::Alice, &format!("command -v {program}"))
            .is_ok_and(|(status, _)| status.success())
    }

    /// Runs a line of a shell; returns its status and all that it printed.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn run(&self, who: Who<'_>, line: &str) -> io::Result<(ExitStatus, String)> {
        let mut printed = tempfile::tempfile()?;
        let mut command = self.command(who, line)?;
        command.stdin(Stdio::null()).stdout(printed.try_clone()?).stderr(printed.try_clone()?);
        let status = command.status()?;
        printed.rewind()?;
        let mut text = Vec::new();
        printed.read_to_end(&mut text)?;
        Ok((status, String::from_utf8_lossy(&text).into_owned()))
    }

    fn command(&self, who: Who<'_>, line: &str) -> io::Result<Command> {
        let mut command = Command::new("timeout");
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let ours = format!("{}:{path}", self.path("bin").display());
        command.env_clear().env("PATH", &ours).env("LANG", "C.UTF-8").arg(LIMIT);
        match who {
            Who::Alice => {
                command.args(["bash", "-c", line]).env("HOME", "/home/alice");
                command.current_dir("/home/alice");
            }
            Who::Bob => {
                command.args(["unshare", "-m", "-u", "sh", "-c", AS_BOB, "-"]);
                command.arg(self.directory.path()).arg(line).env("HOME", "/home/bob");
                command.current_dir("/home/bob");
            }
            Who::Host(host) => {
                let machine = self.machine(host).ok_or_else(|| io::Error::other("no such host"))?;
                let pid = machine.read("var/lib/machine/pid");
                command.args(["nsenter", "-t", pid.trim(), "-m", "-n", "-u", "-r", "-w", "--"]);
                command.args(["bash", "-c", line]).env("PATH", path).env("HOME", "/root");
            }
        }
        Ok(command)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Jobs outlive their agents; whatever is on these networks is ours.
        let own = fs::read_link("/proc/thread-self/ns/net").into_iter();
        let named = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let named = named.filter_map(|name| Some(format!("net:[{}]", name.metadata().ok()?.ino())));
        let ours: Vec<PathBuf> = own.chain(named.map(PathBuf::from)).collect();
        let pids = || -> Vec<Pid> {
            let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
            let here = processes.filter(|process| {
                fs::read_link(process.path().join("ns/net")).is_ok_and(|net| ours.contains(&net))
            });
            here.filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))
                .collect()
        };
        wait::until("all processes of a stage to end", || {
            let pids = pids();
            for &pid in &pids {
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::KILL);
            }
            pids.is_empty().then_some(())
        });
    }
}

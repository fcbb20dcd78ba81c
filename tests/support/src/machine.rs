//! A host that is reached over ssh: a directory that looks like a machine of its own to what runs there, and a program in
//! place of ssh. It needs root, for mounts.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use crate::binaries::binaries;

/// Starts a line of a shell on the machine, as sshd does. It is a script for `--ssh-command`.
const SSH: &str = r#"#!/bin/sh
machine=$(dirname "$0")
echo "$*" >>"$machine/called"
while [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done
[ ! -f "$machine/down" ] || { cat "$machine/down" >&2; exit 255; }
echo "Welcome to $2"
run() {
    unshare -m -u sh -c '
        mount --make-rprivate / && mount --rbind / "$1/root" || exit
        [ ! -f "$1/name" ] || cat "$1/name" >/proc/sys/kernel/hostname
        mount -t tmpfs -o mode=700 tmpfs "$1/root/root" || exit
        for directory in etc usr/local var/lib run srv; do
            mount --bind "$1/$directory" "$1/root/$directory" || exit
        done
        exec chroot "$1/root" sh -c "$2"' - "$machine" "$1"
}
if [ -f "$machine/cut" ] || [ -f "$machine/kill" ]; then
    # The connection ends so many lines after the facts, or whoever started this does.
    run "$3" | {
        left=$(cat "$machine/cut" "$machine/kill" 2>/dev/null) after=
        while read -r line; do
            echo "$line"
            [ "$line" != ':lariat: end' ] || after=yes
            [ -z "$after" ] || { [ "$left" -gt 0 ] || break; left=$((left - 1)); }
        done
        [ ! -f "$machine/kill" ] || kill -9 $PPID
    }
    exit 255
elif [ -f "$machine/cut-input" ]; then
    # The connection ends after so many bytes to the machine.
    line=$3
    exec 3<&0 </dev/null
    dd bs=1 count="$(cat "$machine/cut-input")" <&3 2>/dev/null | (exec 3<&-; run "$line") &
    exec 3<&-
    wait $!
    exit 255
fi
run "$3"
"#;

/// A service manager for one service.
const SYSTEMCTL: &str = r#"#!/bin/sh
state=/var/lib/machine
pid=$(cat $state/pid 2>/dev/null) && kill -0 "$pid" 2>/dev/null || pid=0
echo "$*" >>$state/systemctl
case $1 in
is-active) [ "$pid" != 0 ] && echo active || echo inactive ;;
is-enabled) [ -f $state/enabled ] && echo enabled || echo disabled ;;
show) echo "$pid" ;;
daemon-reload) cp /etc/systemd/system/lariatd.service $state/unit ;;
enable) touch $state/enabled ;;
restart)
    [ "$pid" = 0 ] || kill "$pid"
    while [ "$pid" != 0 ] && kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
    rm -f $state/log
    "$(sed -n 's/^ExecStart=//p' $state/unit)" --listen "$(cat $state/listen)" </dev/null >$state/log 2>&1 &
    echo $! >$state/pid
    until grep -q 'listening on' $state/log 2>/dev/null; do
        kill -0 $! 2>/dev/null || { cat $state/log >&2; exit 1; }
        sleep 0.01
    done ;;
reload) kill -HUP "$pid" ;;
stop)
    [ "$pid" = 0 ] || kill "$pid"
    while [ "$pid" != 0 ] && kill -0 "$pid" 2>/dev/null; do sleep 0.01; done ;;
esac
"#;

/// How many there were, so that each has a port of its own.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A machine. Dropping it ends what it started.
pub struct Machine {
    directory: PathBuf,
    /// The agent's address.
    pub address: String,
}

impl Machine {
    /// Makes a machine in a directory that is not there yet; `None`, with a sentence on stderr, if this user may not.
    ///
    /// # Panics
    /// If it can't be made.
    pub fn new(directory: PathBuf) -> Option<Self> {
        let unshared = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
        if !rustix::process::geteuid().is_root() || !unshared.is_ok_and(|status| status.success()) {
            let why = "not checked: a machine needs root and a mount namespace of its own";
            let _ = writeln!(std::io::stderr(), "{why}");
            return None;
        }
        let number = std::process::id().wrapping_mul(31) ^ COUNT.fetch_add(1, Ordering::Relaxed);
        let [_, a, b, c] = (std::process::id() << 8 ^ number).to_be_bytes();
        // Nobody is given a port below 32768 by the system.
        let port = 20_000 + number % 10_000;
        let address = format!("127.{}.{b}.{c}:{port}", 128 | a);
        for part in [
            "root",
            "usr/local/bin",
            "usr/local/sbin",
            "var/lib/machine",
            "run/systemd/system",
            "srv",
            "etc",
        ] {
            fs::create_dir_all(directory.join(part)).expect("a directory");
        }
        fs::create_dir_all(directory.join("etc/systemd/system")).expect("a directory");
        for file in ["passwd", "group", "nsswitch.conf", "ld.so.cache", "ld.so.conf"] {
            // Not each of them is there.
            let _ = fs::copy(Path::new("/etc").join(file), directory.join("etc").join(file));
        }
        for file in ["alternatives", "ld.so.conf.d"] {
            symlink(Path::new("/etc").join(file), directory.join("etc").join(file))
                .expect("a link");
        }
        let machine = Self { directory, address };
        machine.write("var/lib/machine/listen", &machine.address);
        machine.program("ssh", SSH);
        machine.program("usr/local/sbin/systemctl", SYSTEMCTL);
        machine.program("usr/local/sbin/journalctl", "#!/bin/sh\nexit 1\n");
        Some(machine)
    }

    /// Puts the agent's program there, as an earlier enrollment has.
    ///
    /// # Panics
    /// If it can't be copied.
    pub fn put_program(&self) {
        let (from, to) = (&binaries().lariatd, self.path("usr/local/bin/lariatd"));
        if fs::hard_link(from, &to).is_err() {
            fs::copy(from, &to).expect("it can be copied");
        }
    }

    /// The program in place of ssh.
    pub fn ssh(&self) -> String {
        self.path("ssh").display().to_string()
    }

    /// A path on the machine, or beside it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file there.
    ///
    /// # Panics
    /// If it can't be written.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("it can be written");
    }

    /// Reads a file there.
    ///
    /// # Panics
    /// If there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Removes a file or directory there, if there is one.
    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }

    /// Makes a program there.
    ///
    /// # Panics
    /// If it can't be written.
    pub fn program(&self, name: &str, text: &str) {
        self.write(name, text);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path(name), mode).expect("it can be made a program");
    }

    /// What is there, with sums, modes and times: two of the same are of a machine that nothing has changed.
    ///
    /// # Panics
    /// If it can't be read.
    pub fn state(&self) -> String {
        let mut state = String::new();
        for part in ["etc/lariat", "etc/systemd", "usr/local", "var/lib/machine/pid"] {
            list(&self.path(part), &mut state);
        }
        state
    }

    /// Ends the agent.
    pub fn stop(&self) {
        let pid = fs::read_to_string(self.path("var/lib/machine/pid")).ok();
        let pid = pid.and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::KILL);
        }
        self.remove("var/lib/machine/pid");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Adds what a directory has to a list.
fn list(path: &Path, state: &mut String) {
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = path.symlink_metadata() else { return };
    let (mode, time) = (metadata.mode(), (metadata.mtime(), metadata.mtime_nsec()));
    let (inode, length) = (metadata.ino(), metadata.len());
    writeln!(state, "{} {mode:o} {length} {inode} {time:?}", path.display()).expect("a String");
    if metadata.is_dir() {
        let entries = fs::read_dir(path).expect("a directory");
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().for_each(|path| list(path, state));
    }
}

//! A private sshd, and the tools that use it.
//!
//! It has its own host key and one authorized key, listens on loopback, and gives its sessions an empty home,
//! so that no start-up file of the user is read. The clients read only our configuration.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lariat_testing::wait;
use rustix::process::Pid;

use super::{Server, Tools, Way, listening};
use crate::guard::Guard;
use crate::stage::Stage;
use crate::stage::Temporary;

/// The connection's cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cipher {
    /// ssh's default.
    Default,
    /// The fastest on a processor with AES instructions.
    Aes128Gcm,
}

impl Cipher {
    fn args(self) -> &'static [&'static str] {
        match self {
            Self::Default => &[],
            Self::Aes128Gcm => &["-c", "aes128-gcm@openssh.com"],
        }
    }
}

/// A running sshd, and how to reach it.
pub(crate) struct Ssh {
    server: Server,
    port: u16,
    config: PathBuf,
    directory: PathBuf,
    client: PathBuf,
    scp: PathBuf,
    sftp: PathBuf,
}

/// The server's name for the clients.
const NAME: &str = "bench";

impl Ssh {
    /// Generates the keys, starts sshd, and logs in once.
    pub(crate) fn start(tools: &Tools, guard: &Guard) -> Result<Self, String> {
        let [client, scp, sftp, sshd, keygen] = [
            tools.get("ssh")?,
            tools.get("scp")?,
            tools.get("sftp")?,
            tools.get("sshd")?,
            tools.get("ssh-keygen")?,
        ];
        let directory = guard.directory().join("ssh");
        let made = fs::create_dir_all(directory.join("home"));
        made.map_err(|e| format!("make a directory for ssh: {e}"))?;
        for key in ["host", "user"] {
            let mut command = guard.command(&keygen);
            command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(directory.join(key));
            let status = command.status().map_err(|e| format!("ssh-keygen: {e}"))?;
            if !status.success() {
                return Err(format!("ssh-keygen: {status}"));
            }
        }
        let (server_config, log) = (directory.join("sshd_config"), directory.join("sshd.log"));
        write(&server_config, &sshd_config(&directory))?;
        let daemon = |port: u16| {
            let mut command = guard.command(&sshd);
            command.arg("-D").arg("-f").arg(&server_config).arg("-E").arg(&log);
            command.arg("-o").arg(format!("ListenAddress=127.0.0.1:{port}"));
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let (child, port) = listening(daemon, &log).map_err(|e| format!("sshd {e}"))?;
        let config = directory.join("config");
        write(&config, &ssh_config(&directory, port)?)?;
        let this = Self { server: Server(child), port, config, directory, client, scp, sftp };
        let output = this.run(guard, Cipher::Default, &["true"]).output();
        let output = output.map_err(|e| format!("ssh: {e}"))?;
        if output.status.success() {
            return Ok(this);
        }
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("can't log in: {errors} {}", fs::read_to_string(&log).unwrap_or_default()))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.server.0)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The remote shell for rsync.
    pub(crate) fn shell(&self, cipher: Cipher) -> OsString {
        let words =
            [&self.client, Path::new("-F"), &self.config].map(|word| word.as_os_str().to_owned());
        let cipher = cipher.args().iter().map(OsString::from);
        words.into_iter().chain(cipher).collect::<Vec<_>>().join(" ".as_ref())
    }

    /// Runs a command.
    pub(crate) fn run(&self, guard: &Guard, cipher: Cipher, argv: &[&str]) -> Command {
        let mut command = guard.command(&self.client);
        command.arg("-F").arg(&self.config).args(cipher.args()).arg(NAME).args(argv);
        command
    }

    /// Copies one file with scp, with these additional options.
    pub(crate) fn scp(
        &self,
        stage: &Stage,
        cipher: Cipher,
        way: Way,
        options: &[&str],
        from: &Path,
        to: &Path,
    ) -> Command {
        let mut command = stage.guard.command(&self.scp);
        command.arg("-q").arg("-F").arg(&self.config).args(cipher.args()).args(options);
        // Otherwise it searches PATH for ssh.
        command.arg("-S").arg(&self.client);
        match way {
            Way::Push => command.arg(from).arg(remote(to)),
            Way::Pull => command.arg(remote(from)).arg(to),
        };
        command
    }

    /// Runs one sftp command (`put`, `get`, `reput`), with the largest buffers that servers accept and enough
    /// requests in flight.
    pub(crate) fn sftp(
        &self,
        stage: &Stage,
        cipher: Cipher,
        verb: &str,
        from: &Path,
        to: &Path,
    ) -> Result<Command, String> {
        let batch = self.directory.join("batch");
        write(&batch, &format!("{verb} \"{}\" \"{}\"\n", from.display(), to.display()))?;
        let mut command = stage.guard.command(&self.sftp);
        command.arg("-q").arg("-F").arg(&self.config).args(cipher.args());
        command.args(["-B", "261120", "-R", "128", "-b"]).arg(batch).arg("-S").arg(&self.client);
        command.arg(NAME);
        Ok(command)
    }

    /// The clients' configuration.
    pub(super) fn config(&self) -> &Path {
        &self.config
    }

    /// Opens a master connection, and waits until it is usable.
    pub(crate) fn master(&self, guard: &Guard) -> Result<Master, String> {
        let master = self.begin_master(guard, "master")?;
        wait::until("the master connection", || {
            let mut check = self.run_by(&master, guard, &["true"]);
            let status = check.stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success() && master.socket.exists()).then_some(())
        });
        Ok(master)
    }

    /// Starts a master connection, which is usable once its socket of this name exists.
    pub(super) fn begin_master(&self, guard: &Guard, name: &str) -> Result<Master, String> {
        let socket = self.directory.join(name);
        let mut command = guard.command(&self.client);
        command.arg("-F").arg(&self.config).arg("-MNS").arg(&socket).arg(NAME);
        let child = command.stdout(Stdio::null()).spawn().map_err(|e| format!("ssh -M: {e}"))?;
        // A killed one leaves its socket behind, and the next of that name would not use it.
        Ok(Master { server: Server(child), socket: Temporary::new(socket) })
    }

    /// Runs a command over a master connection.
    pub(crate) fn run_by(&self, master: &Master, guard: &Guard, argv: &[&str]) -> Command {
        self.run_by_socket(&master.socket, guard, argv)
    }

    /// Runs a command over the master connection of this socket.
    pub(super) fn run_by_socket(&self, socket: &Path, guard: &Guard, argv: &[&str]) -> Command {
        let mut command = guard.command(&self.client);
        command.arg("-F").arg(&self.config).arg("-S").arg(socket).arg(NAME).args(argv);
        command
    }
}

/// A path on the server, as the clients name it.
pub(super) fn remote(path: &Path) -> OsString {
    let mut remote = OsString::from(format!("{NAME}:"));
    remote.push(path);
    remote
}

/// A master connection, which ends when this is dropped.
pub(crate) struct Master {
    server: Server,
    socket: Temporary,
}

impl Master {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.server.0)
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

fn sshd_config(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "HostKey {directory}/host\nAuthorizedKeysFile {directory}/user.pub\nPidFile none\nUsePAM no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
         # The directory above ours belongs to everybody.\nStrictModes no\nUseDNS no\nPrintMotd no\n\
         PermitUserRC no\nSetEnv HOME={directory}/home\nMaxSessions 100\nMaxStartups 1000\nLogLevel ERROR\n\
         Subsystem sftp internal-sftp\n",
    )
}

fn ssh_config(directory: &Path, port: u16) -> Result<String, String> {
    let host =
        fs::read_to_string(directory.join("host.pub")).map_err(|e| format!("host key: {e}"))?;
    write(&directory.join("known_hosts"), &format!("{NAME} {host}"))?;
    let directory = directory.display();
    Ok(format!(
        "# Other names are its too, for tools that go to many hosts.\nHost {NAME} h*\nHostName 127.0.0.1\nPort {port}\nHostKeyAlias {NAME}\n\
         IdentityFile {directory}/user\nIdentitiesOnly yes\nIdentityAgent none\n\
         UserKnownHostsFile {directory}/known_hosts\nGlobalKnownHostsFile /dev/null\n\
         StrictHostKeyChecking yes\nPreferredAuthentications publickey\nBatchMode yes\n\
         Compression no\nLogLevel ERROR\n",
    ))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("write {}: {e}", path.display()))
}

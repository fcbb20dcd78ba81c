//! The machine on which the figures were taken.

use std::fs;
use std::process::Command;

use lariat_testing::binaries::binaries;

use crate::tools::Tools;

/// A machine and its software, as lines of a name and a value.
pub(crate) struct Machine(pub(crate) Vec<(&'static str, String)>);

impl Machine {
    /// Describes this machine.
    pub(crate) fn look(tools: &Tools) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let kib: u64 = field("/proc/meminfo", "MemTotal")
            .split_whitespace()
            .next()
            .and_then(|kib| kib.parse().ok())
            .unwrap_or_default();
        let uname = rustix::system::uname();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let mut lines = vec![
            ("date", output(Command::new("date").args(["-u", "+%F %H:%M UTC"]))),
            ("cpu", format!("{cores} × {}", field("/proc/cpuinfo", "model name"))),
            ("memory", format!("{} GiB", (kib + (1 << 19)) >> 20)),
            (
                "kernel",
                format!(
                    "{} {}",
                    uname.sysname().to_string_lossy(),
                    uname.release().to_string_lossy()
                ),
            ),
            ("load before", load.split_whitespace().next().unwrap_or("?").to_owned()),
            ("lariat", lariat()),
        ];
        lines.extend(tools.versions());
        Self(lines)
    }

    /// The description for a terminal.
    pub(crate) fn text(&self) -> String {
        let lines = self.0.iter().map(|(name, value)| format!("{name:12} {value}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The binary's version, and the commit if the sources are a git repository.
fn lariat() -> String {
    let version = output(Command::new(&binaries().lariat).arg("--version"));
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    match output(&mut git).as_str() {
        "" => version,
        commit => format!("{version} ({commit})"),
    }
}

/// The value of a file's first line that begins with this name.
fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':')).map_or("?", |(_, value)| value.trim()).to_owned()
}

/// The first line of a command's output, on either stream; empty if the command does not exist.
pub(crate) fn output(command: &mut Command) -> String {
    let Ok(output) = command.stdin(std::process::Stdio::null()).output() else {
        return String::new();
    };
    let all = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&all).lines().next().unwrap_or_default().trim().to_owned()
}

//! Completions in real shells: what Tab makes of a line.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use lariat_testing::binaries::binaries;
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;
use lariat_testing::screen::Screen;

/// What is typed before Tab, and the line that it becomes.
const LINES: [(&str, &str); 13] = [
    ("lariat pin", "lariat ping"),
    ("lariat run we", "lariat run web1"),
    ("lariat run --json @d", "lariat run --json @db"),
    ("lariat run web1,d", "lariat run web1,db1"),
    ("lariat run --us", "lariat run --user"),
    ("lariat run web1 --tim", "lariat run web1 --timeout"),
    ("lariat run bob@we", "lariat run bob@web1"),
    ("lariat logs web1 3", "lariat logs web1 3f"),
    ("lariat push notes we", "lariat push notes web1:"),
    ("lariat push no", "lariat push notes"),
    ("lariat pull we", "lariat pull web1:"),
    ("lariat --key ali", "lariat --key alice@desk"),
    ("lariat key revoke ali", "lariat key revoke alice@desk"),
];

/// Makes a fleet whose host has had a detached job.
fn fleet() -> TestFleet {
    let fleet = TestFleet::new();
    let _agent = fleet.agent("web1");
    fleet.enroll("db1", "127.0.0.1:1");
    let hosts = fleet.home().join("hosts.toml");
    let inventory = fs::read_to_string(&hosts).unwrap();
    let tagged = inventory.replacen("tags = []", "tags = [\"web\"]", 1).replacen(
        "tags = []",
        "tags = [\"db\"]",
        1,
    );
    fs::write(&hosts, tagged).unwrap();
    let job =
        format!("{{\"host\":\"web1\",\"job\":\"3f{}\",\"command\":\"make\"}}\n", "0".repeat(30));
    fs::write(fleet.home().join("known-jobs.jsonl"), job).unwrap();
    fleet.ok(["key", "new", "alice@desk"]);
    fs::write(fleet.path("notes"), "").unwrap();
    fleet
}

/// Types the lines into a shell, which `begin` prepares.
fn complete_in(shell: &str, arguments: &[&str], begin: &str) {
    if Command::new(shell).arg("-c").arg("true").stderr(Stdio::null()).status().is_err() {
        let _ = writeln!(std::io::stderr(), "not checked: there is no {shell} here");
        return;
    }
    let fleet = fleet();
    let programs = binaries().lariat.parent().unwrap().to_str().unwrap().to_owned();
    // With a terminal of its own.
    let mut command = Command::new("setsid");
    command.args(["--ctty", shell]).args(arguments).env_clear().current_dir(fleet.path(""));
    command.env("PATH", format!("{programs}:/usr/local/bin:/usr/bin:/bin")).env("LANG", "C.UTF-8");
    command.env("LARIAT_HOME", fleet.home()).env("HOME", fleet.path("")).env("EDITOR", "emacs");
    let mut screen = Screen::start(&mut command);
    screen.types(&format!("{begin}; echo re''ady\n"));
    screen.sees("ready\r\n");
    for (typed, expected) in LINES {
        // The line is printed instead of run.
        screen.types(&format!("{typed}\t\x01echo '<' \x05 '>'\n"));
        let whole = if expected.ends_with("3f") {
            format!("{expected}{}", "0".repeat(30))
        } else {
            expected.to_owned()
        };
        screen.sees(&format!("< {whole} >\r\n"));
    }
}

#[test]
fn bash_completes_hosts_tags_jobs_and_keys() {
    complete_in("bash", &["--norc", "--noprofile", "-i"], "PS1='$ '; . <(lariat completions bash)");
}

#[test]
fn zsh_completes_hosts_tags_jobs_and_keys() {
    let begin = "PS1='$ '; autoload -Uz compinit; compinit -u -D; . <(lariat completions zsh)";
    complete_in("zsh", &["-f", "-i"], begin);
}

#[test]
fn fish_completes_hosts_tags_jobs_and_keys() {
    complete_in("fish", &["--no-config", "-i"], "lariat completions fish | source");
}

#[test]
fn only_what_is_on_this_machine_is_looked_at() {
    let fleet = fleet();
    let complete = |words: &[&str]| {
        let output = fleet.lariat().args(["complete", "--"]).args(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let words =
            text(&output.stdout).lines().map(|line| line.split('\t').next().unwrap().to_owned());
        words.collect::<Vec<_>>().join(" ")
    };
    for (words, expected) in [
        (&["run", ""][..], "db1 web1 @db @web all"),
        (&["run", "all,!"], "all,!db1 all,!web1 all,!@db all,!@web all,!all"),
        (&["run", "web1", "--", "we"], ""),
        (&["push", "f", "web1:/et"], ""),
        (&["pull", "web1:/etc/hosts", ""], ":files"),
        (&["hosts", ""], "import db1 web1 @db @web all"),
        (&["hosts", "import", ""], ":files"),
        (&["enroll", ""], ""),
        (&["run", "web1", "--cwd", ""], ""),
        (&["run", "web1", "--out", ""], ":directories"),
        (&["ping", "--col"], "--color"),
        (&["ping", "--color="], "--color=auto --color=always --color=never"),
        (&["ping", "--color", "al"], "always"),
        (&["kill", "web1", "-s", "K"], "KILL"),
        (&["logs", "web1", "--encoding", "g"], "gbk gb18030"),
        (&["logs", "db1", ""], ""),
        (&["key", "re"], "request revoke"),
        (&["key", "new", ""], ""),
        (&["rsh", "we"], "web1"),
        (&["compl"], "completions"),
        (&["--home", "/none", "run", ""], ""),
        (&["nonsense", ""], ""),
    ] {
        assert_eq!(complete(words), expected, "{words:?}");
    }
}

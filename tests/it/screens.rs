//! What a terminal shows while hosts work, at several sizes, and what is left of it afterwards.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use lariat_testing::files::random_file;
use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::fleet_of;
use lariat_testing::screen::Screen;
use lariat_testing::wait;
use rustix::process::{Pid, Signal, kill_process};

/// Numbers as `#`, bars as `=`, and one space between two words.
fn masked(line: &str) -> String {
    let mut masked = String::new();
    for word in line.split_whitespace() {
        let mut text = String::new();
        for letter in word.chars() {
            let letter = match letter {
                '0'..='9' | '.' => '#',
                '█' | '░' => '=',
                letter => letter,
            };
            if !(text.ends_with(letter) && "#=".contains(letter)) {
                text.push(letter);
            }
        }
        masked.push(' ');
        masked.push_str(&text);
    }
    masked.trim_start().to_owned()
}

/// A push of two files, at this rate.
fn push(fleet: &TestFleet, target: &str, rate: &str) -> Vec<String> {
    let [one, other] = ["one", "other"].map(|name| fleet.path(name));
    random_file(&one, 2 << 20, 1);
    random_file(&other, 16 << 20, 2);
    let place = format!("{target}:{}/{{host}}/", fleet.path("").display());
    let files = [&one, &other].map(|file| file.to_str().unwrap().to_owned());
    [&["push".to_owned()], &files[..], &[place, "--bwlimit".into(), rate.into()]].concat()
}

/// The second file is on its way, and its rate is known.
fn is_under_way(lines: &[String]) -> bool {
    let last = lines.last().map(String::as_str).unwrap_or_default();
    last.contains("2/2") && last.contains("MiB/s")
}

#[test]
fn a_push_to_many_hosts_shows_how_far_each_is() {
    let (fleet, _agents) = fleet_of(3);
    for (columns, shown) in [(200, 4), (80, 4)] {
        let mut screen =
            Screen::start_sized(fleet.lariat().args(push(&fleet, "all", "16M")), 24, columns);
        let lines = screen.until(|lines| lines.len() == shown && is_under_way(lines));
        let masked: Vec<String> = lines.iter().map(|line| masked(line)).collect();
        assert_eq!(masked[0], "#/# MiB #% # MiB/s ETA #s # ok, # running", "{lines:#?}");
        for line in &masked[1..] {
            let row =
                line.strip_prefix("h# #/# = #% #/# MiB # ").unwrap_or_else(|| panic!("{lines:#?}"));
            assert!(row.starts_with("MiB/s") || row.starts_with("KiB/s"), "{lines:#?}");
        }
        assert!(!screen.is_wrapped());
        assert_eq!(screen.child.wait().unwrap().code(), Some(0));
        let left = screen.until(|lines| lines.concat().ends_with(" s"));
        assert!(left[0].starts_with("3 ok; 6 files, 54.00 MiB: sent "), "{left:#?}");
        assert!(!left.concat().contains('%'), "{left:#?}");
        for host in ["h0001", "h0002", "h0003"] {
            std::fs::remove_dir_all(fleet.path(host)).unwrap();
        }
    }
    // In a narrow terminal the percentages are left, and nothing is wrapped.
    let mut screen = Screen::start_sized(fleet.lariat().args(push(&fleet, "all", "16M")), 24, 40);
    let lines = screen.until(|lines| lines.len() == 4 && lines[3].contains("2/2"));
    assert!(lines.iter().all(|line| line.contains('%')) && !screen.is_wrapped(), "{lines:#?}");
    // Ctrl-C leaves no line of it behind.
    kill_process(Pid::from_child(&screen.child), Signal::INT).unwrap();
    assert_eq!(screen.child.wait().unwrap().code(), Some(130));
    screen.until(|lines| lines.concat().ends_with(" s") && !lines.concat().contains('%'));
}

#[test]
fn a_push_to_one_host_shows_which_file_of_how_many() {
    let (fleet, _agent) = TestFleet::with_agent();
    for (columns, expected) in [
        (200, "other #/# = #% #/# MiB # MiB/s ETA #s"),
        (80, "other #/# = #% #/# MiB # MiB/s ETA #s"),
        (40, "other #/# #% #/# MiB # MiB/s"),
    ] {
        let mut screen =
            Screen::start_sized(fleet.lariat().args(push(&fleet, "web1", "4M")), 24, columns);
        let lines = screen.until(|lines| lines.len() == 1 && is_under_way(lines));
        assert_eq!(masked(&lines[0]), expected, "{lines:#?}");
        assert!(!screen.is_wrapped(), "{lines:#?}");
        kill_process(Pid::from_child(&screen.child), Signal::INT).unwrap();
        assert_eq!(screen.child.wait().unwrap().code(), Some(130));
        let left = screen.until(|lines| !lines.is_empty() && !lines.concat().contains('%'));
        assert!(left[0].starts_with("lariat: push "), "{left:#?}");
        std::fs::remove_dir_all(fleet.path("web1")).unwrap();
    }
}

#[test]
fn of_many_hosts_as_many_as_fit_are_shown() {
    let fleet = TestFleet::new();
    // They accept connections, and stay silent.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    (1..=12).for_each(|number| fleet.enroll(&format!("h{number:02}"), &address));
    let run = ["run", "all", "--parallel", "10", "--", "true"];
    let screen = Screen::start_sized(fleet.lariat().args(run), 14, 60);
    let lines = screen.until(|lines| lines.len() == 8);
    assert_eq!(masked(&lines[0]), "#/# hosts #% #s # ok, # running, # waiting", "{lines:#?}");
    assert_eq!(lines[7], "+4 more");
    assert!(lines[1..7].iter().all(|line| line.starts_with('h')), "{lines:#?}");

    // A verb that only asks hosts is ended by a signal, and leaves nothing there.
    let mut screen = Screen::start_sized(fleet.lariat().args(["ping", "all"]), 14, 60);
    screen.until(|lines| lines.len() > 3);
    kill_process(Pid::from_child(&screen.child), Signal::INT).unwrap();
    assert_eq!(screen.child.wait().unwrap().code(), Some(130));
    screen.until(<[String]>::is_empty);
}

/// What a push to many hosts draws, with these options, variables and stdout.
fn drawn(fleet: &TestFleet, options: &[&str], term: &str, stdout: Option<&Path>) -> String {
    let mut command = fleet.lariat();
    command.args(push(fleet, "all", "32M")).args(options).env("TERM", term);
    let mut screen = Screen::start_by(&mut command, 24, 80, |command| {
        if let Some(path) = stdout {
            let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
            command.stdout(Stdio::from(file));
        }
    });
    wait::until("its end", || screen.child.try_wait().unwrap());
    screen.until(|lines| options.contains(&"-q") || !lines.is_empty());
    screen.shown()
}

#[test]
fn progress_and_colors_are_shown_where_they_are_wanted() {
    let (fleet, _agents) = fleet_of(2);
    let drawn = |options: &[&str], term: &str, stdout: Option<&Path>| {
        std::fs::remove_dir_all(fleet.path("h0001")).unwrap_or_default();
        std::fs::remove_dir_all(fleet.path("h0002")).unwrap_or_default();
        drawn(&fleet, options, term, stdout)
    };
    let all = drawn(&[], "xterm", None);
    assert!(
        all.contains("% ") && all.contains("\x1b[32m2 ok") && all.contains("\x1b[33m4 changed")
    );
    let plain = drawn(&["--color", "never"], "xterm", None);
    assert!(plain.contains("% ") && !plain.contains("\x1b[3"), "{plain:?}");
    let never = drawn(&["--progress", "never"], "xterm", None);
    assert!(!never.contains("% ") && never.contains("2 ok"), "{never:?}");
    let dumb = drawn(&[], "dumb", None);
    assert!(!dumb.contains('\x1b') && dumb.contains("2 ok; 4 files"), "{dumb:?}");
    assert_eq!(drawn(&["-q"], "xterm", None), "");
    // Behind a pipe a pager may have the terminal.
    let fifo = fleet.path("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let piped = drawn(&[], "xterm", Some(&fifo));
    assert!(!piped.contains("% ") && piped.contains("2 ok"), "{piped:?}");
}

#[test]
fn without_a_terminal_it_is_a_line_from_time_to_time_and_only_if_asked_for() {
    let (fleet, _agent) = TestFleet::with_agent();
    let told = |options: &[&str], rate: &str| {
        let output =
            fleet.lariat().args(push(&fleet, "web1", rate)).args(options).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    // Longer than the time between two lines.
    let lines = told(&["--progress", "always"], "2M");
    let masked: Vec<String> = lines.lines().map(masked).collect();
    assert!(masked.len() >= 2 && !lines.contains(['\x1b', '\r']), "{lines:?}");
    assert_eq!(masked[0], "other #/# = #% #/# MiB # MiB/s ETA #s", "{lines:?}");
    assert_eq!(told(&[], "1G").lines().count(), 1);
}

/// A terminal that wraps its lines anew when it is resized, as most do: a window of tmux.
pub(crate) struct Window<'a> {
    fleet: &'a TestFleet,
}

impl<'a> Window<'a> {
    /// Runs `sh -c script` in a window of this width; `None` without tmux.
    pub(crate) fn open(fleet: &'a TestFleet, columns: u16, script: &str) -> Option<Self> {
        Command::new("tmux").arg("-V").output().ok()?;
        let window = Self { fleet };
        let (columns, lariat) = (columns.to_string(), fleet.lariat());
        let mut command = window.tmux();
        for (name, value) in lariat.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.args(["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", "24"]);
        assert!(command.args(["/bin/sh", "-c", script]).status().unwrap().success());
        Some(window)
    }

    pub(crate) fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.fleet.path("tmux"));
        command
    }

    pub(crate) fn resize(&self, columns: u16) {
        let columns = columns.to_string();
        let done = self.tmux().args(["resize-window", "-x", &columns]).status().unwrap();
        assert!(done.success());
    }

    /// What is on the screen.
    fn lines(&self) -> Vec<String> {
        let output = self.tmux().args(["capture-pane", "-p"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    pub(crate) fn until(&self, is_such: impl Fn(&[String]) -> bool) -> Vec<String> {
        wait::until_or(
            || Some(self.lines()).filter(|lines| is_such(lines)),
            || format!("other lines than {:#?}", self.lines()),
        )
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        // It ends by itself when the script does.
        let _ = self.tmux().arg("kill-server").output();
    }
}

#[test]
fn progress_stays_whole_in_a_terminal_that_is_resized() {
    let (fleet, _agents) = fleet_of(3);
    let words: Vec<String> =
        push(&fleet, "all", "8M").iter().map(|word| format!("'{word}'")).collect();
    let lariat = fleet.lariat().get_program().to_str().unwrap().to_owned();
    let script =
        format!("trap : INT; echo above; {lariat} {}; echo below; sleep 600", words.join(" "));
    let Some(window) = Window::open(&fleet, 120, &script) else {
        let _ = writeln!(std::io::stderr(), "not checked: there is no tmux here");
        return;
    };
    let widest =
        |lines: &[String]| lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let lines = window.until(|lines| lines.len() == 5 && is_under_way(lines));
    assert_eq!(lines[0], "above");
    assert!(widest(&lines) > 60, "{lines:#?}");
    // What tmux moves into the history when it wraps lines anew is out of reach, `above` among it.
    let progress = |lines: &[String]| {
        lines.iter().filter(|line| *line != "above").cloned().collect::<Vec<_>>()
    };
    for columns in [60, 40, 100, 30, 120] {
        // tmux tells programs of a size at most four times a second, and until then what they draw is of another width.
        let mut before = window.lines();
        for _ in 0..4 {
            before = window.until(|lines| *lines != before);
        }
        window.resize(columns);
        // What was drawn for another width is removed, however many lines it had become.
        window.until(|lines| {
            let drawn = progress(lines);
            drawn.len() == 4
                && widest(&drawn) <= columns.into()
                && drawn.iter().all(|line| line.contains('%'))
        });
    }
    window.tmux().args(["send-keys", "C-c"]).status().unwrap();
    let left = window.until(|lines| lines.iter().any(|line| line == "below"));
    assert!(!left.concat().contains('%'), "{left:#?}");
}

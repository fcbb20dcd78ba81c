//! Terminals: `lariat shell` and `run --tty`, in a real pseudo terminal.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;
use rustix::process::{Pid, Signal};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// A terminal on this machine, in which `lariat` runs.
struct Terminal {
    ours: fs::File,
    theirs: OwnedFd,
    before: Termios,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
}

/// The settings of a terminal that a program could leave wrong.
fn modes(termios: &Termios) -> impl PartialEq + std::fmt::Debug {
    let (input, output) = (termios.input_modes, termios.output_modes);
    (input, output, termios.local_modes, termios.control_modes)
}

impl Terminal {
    fn start(fleet: &TestFleet, args: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = ioctl_tiocgptpeer(&ours, flags).unwrap();
        let before = tcgetattr(&theirs).unwrap();
        let size = Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&theirs, size).unwrap();
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = fleet.lariat();
        command.args(args).env("TERM", "xterm-test").env("COLORTERM", "truecolor");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, into) = (fs::File::from(ours.try_clone().unwrap()), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..len]);
            }
        });
        Self { ours: ours.into(), theirs, before, child, seen }
    }

    /// Starts a shell and waits for its prompt.
    fn shell(fleet: &TestFleet, args: &[&str]) -> Self {
        let mut terminal = Self::start(fleet, &[&["shell", "web1"], args].concat());
        // The text that is typed differs from its output, so that its echo is not taken for it.
        terminal.type_in("exec sh\r");
        terminal.type_in("PS1=; echo rea''dy\r");
        terminal.sees("ready\r\n");
        terminal
    }

    fn type_in(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for a text, and forgets everything up to its end.
    fn sees(&self, text: &str) {
        wait::until(text, || {
            let mut seen = self.seen.lock().unwrap();
            let at = seen.windows(text.len()).position(|window| window == text.as_bytes())?;
            seen.drain(..at + text.len());
            Some(())
        });
    }

    /// Waits for the end. The terminal's settings must be restored.
    fn ends(&mut self) -> i32 {
        let status = self.child.wait().unwrap();
        let now = tcgetattr(&self.theirs).unwrap();
        assert_eq!(modes(&now), modes(&self.before));
        status.code().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_host_that_is_not_there_leaves_the_terminal_alone() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let mut shell = Terminal::start(&fleet, &["shell", "web1"]);
    assert_eq!(shell.ends(), 255);
    shell.sees("127.0.0.1:1");
    let seen = shell.seen.lock().unwrap();
    assert!(!seen.contains(&b'\x1b'), "nothing was shown that must be undone");
}

#[test]
fn a_shell_is_a_real_terminal() {
    let (fleet, _agent) = TestFleet::with_agent();
    let mut shell = Terminal::shell(&fleet, &[]);
    assert_ne!(modes(&tcgetattr(&shell.theirs).unwrap()), modes(&shell.before), "it is raw");
    shell.type_in("echo \"<$TERM $COLORTERM $(stty size)>\"; tty\r");
    shell.sees("<xterm-test truecolor 33 99>\r\n/dev/");
    let size = Winsize { ws_row: 44, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&shell.theirs, size).unwrap();
    rustix::process::kill_process(Pid::from_child(&shell.child), Signal::WINCH).unwrap();
    shell.type_in("while [ \"$(stty size)\" != '44 111' ]; do sleep 0.01; done; echo res''ized\r");
    shell.sees("resized\r\n");
    // What says so runs in the foreground already.
    shell.type_in("sh -c \"echo sle''eps; exec sleep 300\"\r");
    shell.sees("sleeps\r\n");
    // Text that is typed before the shell has handled the signal may be discarded with the command.
    shell.type_in("\x03");
    shell.sees("^C");
    shell.type_in("echo \"<$?>\"\r");
    shell.sees("<130>");
    shell.type_in("~?");
    shell.sees("~.  leave");
    shell.type_in("exit 7\r");
    assert_eq!(shell.ends(), 7);
}

#[test]
fn what_is_typed_and_shown_survives_cuts_and_the_agents_death() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let faulty = Faulty::start(agent.address, Fault::default());
    fleet.set_address("web1", faulty.address);
    let mut shell = Terminal::shell(&fleet, &[]);
    faulty.set(Fault { cut_down: Some(24_000), ..Fault::default() });
    shell.type_in("stty -echo; seq -f 'line %g;' 20000; echo al''l\r");
    for number in (1..=20_000).step_by(999) {
        shell.sees(&format!("line {number};\r\n"));
    }
    shell.sees("line 20000;\r\nall\r\n");
    assert!(faulty.accepted() > 5, "{}", faulty.accepted());
    faulty.set(Fault::default());
    shell.type_in("read x; echo \"<$x>\"\r");
    agent.kill_and_restart();
    shell.type_in("after a kill\r");
    shell.sees("<after a kill>\r\n");
    shell.type_in("exit 3\r");
    assert_eq!(shell.ends(), 3);
}

#[test]
fn however_it_is_left_the_terminal_is_what_it_was_and_nothing_runs_on() {
    let (fleet, agent) = TestFleet::with_agent();
    let pid = fleet.path("pid");
    let line = format!("echo $$ > {}; echo go''ing\r", pid.display());
    let started = |args: &[&str]| {
        let mut shell = Terminal::shell(&fleet, args);
        shell.type_in(&line);
        shell.sees("going\r\n");
        let pid = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        (shell, Pid::from_raw(pid).unwrap())
    };
    let gone = |pid| {
        wait::until("the shell's end", || {
            rustix::process::test_kill_process(pid).is_err().then_some(())
        });
    };
    let (mut shell, pid) = started(&[]);
    shell.type_in("\r~.");
    assert_eq!(shell.ends(), 255);
    gone(pid);
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let (mut shell, pid) = started(&[]);
        rustix::process::kill_process(Pid::from_child(&shell.child), signal).unwrap();
        assert_eq!(shell.ends(), code);
        gone(pid);
    }
    let (mut shell, pid) = started(&["--reconnect", "1s"]);
    agent.signal(Signal::KILL);
    assert_eq!(shell.ends(), 255);
    // Its controller never comes back: it is ended after its grace time, with or without the agent.
    gone(pid);
}

#[test]
fn a_command_in_a_terminal() {
    let (fleet, _agent) = TestFleet::with_agent();
    let line = "tty > /dev/null && echo a terminal; read x; echo \"<$x>\"; exit 9";
    let mut run = Terminal::start(&fleet, &["run", "--tty", "web1", "--", line]);
    run.sees("a terminal\r\n");
    run.type_in("typed\r");
    run.sees("<typed>\r\n");
    assert_eq!(run.ends(), 9);
    // Without a local terminal the command has one all the same, and stdin is typed into it.
    let output = fleet.run(["run", "--tty", "web1", "--", "test -t 0 && test -t 1 && echo yes"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"yes\r\n"[..]));
    let mut cat = fleet.lariat();
    cat.args(["run", "--tty", "-i", "web1", "--", "stty -echo; echo ready; cat"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = cat.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 7]).unwrap();
    cat.stdin.take().unwrap().write_all(b"~.\n").unwrap();
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), cat.wait().unwrap().code()), ("~.\r\n", Some(0)));
    let error = fleet.fails(255, ["shell", "web1"]);
    assert!(
        error.contains("stdin is no terminal") && error.contains("lariat run -i web1"),
        "{error}"
    );
    let error = fleet.fails(255, ["run", "--tty", "web[1-2]", "--", "top"]);
    assert!(error.contains("a terminal is for one"), "{error}");
}

#[test]
fn a_shell_is_a_permission_of_its_own() {
    let (fleet, agent) = TestFleet::with_agent();
    drop(agent);
    let keyring = fleet.bundle("web1").join("keyring.toml");
    let text = fs::read_to_string(&keyring).unwrap();
    let verbs = text.lines().find(|line| line.starts_with("verbs")).unwrap();
    let start = |new: &str| {
        fs::write(&keyring, text.replace(verbs, new)).unwrap();
        let agent = fleet.start("web1");
        fleet.set_address("web1", agent.address);
        agent
    };
    let agent = start("verbs = [\"run\"]");
    let mut shell = Terminal::start(&fleet, &["shell", "web1"]);
    shell.sees("this key is not permitted to open a shell on this host");
    assert_eq!(shell.ends(), 255);
    drop(agent);
    let mut agent = start("verbs = [\"shell\"]");
    fleet.fails(255, ["run", "web1", "--", "true"]);
    let mut shell = Terminal::shell(&fleet, &[]);
    // The key's verb `shell` permits coming back too.
    agent.kill_and_restart();
    shell.type_in("exit 4\r");
    assert_eq!(shell.ends(), 4);
}

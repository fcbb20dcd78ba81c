//! The tour: a temporary fleet of twelve hosts, and what happens to its connections, with explanations.
//!
//! It runs and shows the commands that a user would, as separate processes. The agents and the directory are
//! removed however it ends.

mod files;
mod keeper;
mod link;
mod narrator;
mod stage;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::error::CliError;
use crate::output;
use crate::output::quantity::Bytes;
use link::Link;
use narrator::Narrator;
use stage::Stage;

/// The hosts, with their tags.
const HOSTS: [(&str, &str); 12] = [
    ("web01", "web"),
    ("web02", "web"),
    ("web03", "web"),
    ("web04", "web"),
    ("web05", "web"),
    ("web06", "web"),
    ("web07", "web"),
    ("web08", "web"),
    ("web09", "web"),
    ("web10", "web"),
    ("db1", "db"),
    ("db2", "db"),
];

/// The host whose configuration is another one.
const ODD: &str = "web07";

/// The host whose link is cut.
const CUT: &str = "web03";

/// The host whose agent is killed.
const KILLED: &str = "db1";

/// Size of the file that is pushed, in bytes.
const SIZE: u64 = 256 * 1024 * 1024;

/// The bytes of it after which the link is cut.
const CUT_AT: u64 = SIZE / 2;

/// The link's rate, in bytes a second.
const RATE: u64 = 120 * 1024 * 1024;

/// How long the link is cut: longer than an outage has to be to be shown.
const DOWN_FOR: Duration = Duration::from_millis(3200);

/// How long there is no agent.
const NO_AGENT_FOR: Duration = Duration::from_millis(800);

/// Runs the tour; `keep` lets the user play with its fleet at the end.
pub(crate) fn run(is_fast: bool, keep: bool) -> Result<ExitCode, CliError> {
    let began = Instant::now();
    let (stage, narrator) = (Stage::new()?, Narrator::new(is_fast));
    stage.end_on_signals()?;
    tour(&stage, &narrator).inspect_err(|_| stage.settle())?;
    let took = began.elapsed().as_secs_f64();
    if keep {
        playground(&stage, &narrator)?;
    }
    drop(stage);
    narrator.chapter(&format!("That was all, in {took:.1} s, and nothing is left of it."))?;
    say("Your own fleet begins with:")?;
    say("  lariat init")?;
    say("  lariat enroll web1 --ssh root@ADDRESS")?;
    say("  lariat run web1 -- uptime")?;
    Ok(ExitCode::SUCCESS)
}

fn tour(stage: &Stage, narrator: &Narrator) -> Result<(), CliError> {
    let directory = stage.directory()?;
    say("lariat: commands and files on many hosts, over connections that may break.")?;
    say(&format!("Everything runs on this machine, in DEMO={directory}."))?;
    fleet(stage, narrator)?;

    narrator.chapter("One command on all of them. Equal output is printed once.")?;
    show(stage, narrator, &["run", "all", "--gather", "--", "uname -sr"])?;

    narrator.chapter("Which host is configured in another way?")?;
    let cat = "cat $LARIAT_HOST/app.conf";
    show(stage, narrator, &["run", "all", "--diff", "--cwd", directory, "--", cat])?;

    pushes(stage, narrator)?;
    counter(stage, narrator)
}

/// Makes the fleet, and starts the agents.
fn fleet(stage: &Stage, narrator: &Narrator) -> Result<(), CliError> {
    let began = Instant::now();
    narrator
        .chapter("A fleet has a CA of its own: no host is trusted because it answers first.")?;
    narrator.command(&stage.line(&["init"])?)?;
    stage.quietly(&["init"])?;
    let (first, tag) = HOSTS[0];
    let line = stage.line(&["enroll", first, "--address", "127.0.0.1", "--tag", tag])?;
    narrator.command(&format!("{line}    # and eleven others"))?;
    for (host, tag) in HOSTS {
        stage.enroll(host, tag)?;
        stage.start(host, "127.0.0.1:0")?;
        let place = stage.path(host);
        let port = if host == ODD { 8081 } else { 8080 };
        let conf = format!("listen = 0.0.0.0\nport = {port}\nworkers = 4\n");
        let written =
            std::fs::create_dir(&place).and_then(|()| std::fs::write(place.join("app.conf"), conf));
        written.map_err(|e| CliError::from(e).during(format!("write {}", place.display())))?;
    }
    let addresses = HOSTS.map(|(host, _)| stage.address(host).map(|address| (host, address)));
    stage.move_hosts(&addresses.into_iter().collect::<Result<Vec<_>, _>>()?)?;
    let took = began.elapsed().as_secs_f64();
    say(&format!("Twelve agents listen on loopback, after {took:.1} s."))
}

/// Pushes a file over a link that is cut, and again when it has one byte more.
fn pushes(stage: &Stage, narrator: &Narrator) -> Result<(), CliError> {
    let (big, size) = (stage.path("big.bin"), Bytes(SIZE));
    let (directory, place) = (stage.directory()?, stage.path(CUT));
    files::make(&big, SIZE)?;
    let link = Link::new(stage.address(CUT)?, RATE, DOWN_FOR)?;
    stage.move_hosts(&[(CUT, link.address)])?;
    let half = Bytes(CUT_AT);
    narrator.chapter(&format!(
        "A push of {size} over a slow link, which is cut after {half} for {:.0} s.",
        DOWN_FOR.as_secs_f32()
    ))?;
    let push = ["push", &format!("{directory}/big.bin"), &format!("{CUT}:{directory}/{CUT}/")];
    link.cut_after(CUT_AT);
    show(stage, narrator, &push)?;
    if !link.was_cut() {
        return Err(CliError::new("the push did not go over the link"));
    }
    files::compare(&big, &place.join("big.bin"))?;
    say("Equal to the last byte, and nobody had to do anything.")?;

    narrator.chapter("Now one byte is put in front of the file. Only what differs is sent.")?;
    files::prepend(&big)?;
    show(stage, narrator, &push)?;
    files::compare(&big, &place.join("big.bin"))?;
    say("Equal to the last byte again.")
}

/// Kills an agent under a command that counts.
fn counter(stage: &Stage, narrator: &Narrator) -> Result<(), CliError> {
    narrator.chapter("A command counts, and its agent is killed. The command does not notice.")?;
    let count = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done; exit 3";
    let run = ["run", KILLED, "--", count];
    narrator.command(&stage.line(&run)?)?;
    let address = stage.address(KILLED)?.to_string();
    let status = stage.follow(&run, |line| {
        output::bytes(format!(" {line}").as_bytes())?;
        if line == "3" {
            stage.kill(KILLED)?;
            narrator.event("agent killed")?;
            std::thread::sleep(NO_AGENT_FOR);
            stage.start(KILLED, &address)?;
            narrator.event("agent back")?;
        }
        Ok(())
    })?;
    say("")?;
    if status.code() != Some(3) {
        return Err(CliError::new(format!("{}: {status}", stage.line(&run)?)));
    }
    say("Every number came once, and the exit status is the command's: 3.")
}

/// Gives the user a shell with the fleet.
fn playground(stage: &Stage, narrator: &Narrator) -> Result<(), CliError> {
    narrator.chapter("The fleet is yours until you leave this shell. Try:")?;
    for line in [
        "lariat hosts",
        "lariat run @web -- uptime",
        "lariat push $DEMO/big.bin 'all:$DEMO/{host}/'",
        "lariat run all --detach -- 'sleep 9; exit 3'     (then: lariat attach all)",
        "lariat shell web01",
        "exit",
    ] {
        say(&format!("  {line}"))?;
    }
    stage.shell()
}

/// A remark.
fn say(text: &str) -> Result<(), CliError> {
    output::line(text)
}

fn show(stage: &Stage, narrator: &Narrator, arguments: &[&str]) -> Result<(), CliError> {
    narrator.command(&stage.line(arguments)?)?;
    stage.show(arguments)
}

//! The tour: a temporary fleet, from its creation to a push that resumes after a failure, with explanations.
//!
//! It runs and shows the commands that a user would, as separate processes. The agent and the directory are
//! removed however it ends.

mod files;
mod keeper;
mod stage;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::error::CliError;
use crate::output;
use crate::output::quantity::Bytes;
use stage::{Stage, Transfer, failed, text};

/// Size of the file that is pushed, in bytes.
const SIZE: u64 = 256 * 1024 * 1024;

/// The part of the file after which the push is cut, in percent.
const CUT_AT: u64 = 50;

/// Runs the tour.
pub(crate) fn run() -> Result<ExitCode, CliError> {
    let began = Instant::now();
    let stage = Stage::new()?;
    stage.end_on_signals()?;
    tour(&stage).inspect_err(|_| stage.settle())?;
    drop(stage);
    let took = began.elapsed().as_secs_f64();
    chapter(&format!("That was all, in {took:.1} s, and nothing is left of it"))?;
    say("Your own fleet begins with:")?;
    say("  lariat init")?;
    say("  lariat enroll web1 --address ADDRESS")?;
    say("  lariat run web1 -- uptime")?;
    Ok(ExitCode::SUCCESS)
}

fn tour(stage: &Stage) -> Result<(), CliError> {
    say("lariat: remote commands and files that survive a broken connection.")?;
    say("Everything here happens on this machine, in a directory that goes when the tour ends.")?;

    chapter("A fleet is a CA of its own and a key: no host is ever trusted on first use")?;
    show(&["init"])?;
    stage.quietly(&["init"])?;

    chapter("Enrolment issues a host's certificate, and what it may check your key with")?;
    show(&["enroll", "demo1", "--address", "127.0.0.1"])?;
    stage.enroll()?;
    let address = stage.start_agent()?;
    say(&format!("  lariatd, a real agent, is {address}"))?;

    chapter("A command: TLS 1.3, a proof from both ends, and its exact output")?;
    let command = "echo \"hello from $(uname -n)\"; uname -sr; exit 3";
    show(&["run", "demo1", "--", &format!("'{command}'")])?;
    let ran = Instant::now();
    let output = stage.lariat(&["run", "demo1", "--", command])?;
    let took = ran.elapsed();
    output::bytes(&indented(&output.stdout))?;
    say(&format!("  its exit status was {}; all of it took {}", status(&output), ms(took)))?;
    if output.status.code() != Some(3) {
        return Err(failed(&output));
    }

    chapter(&format!("A push of {}, and the network fails in the middle", Bytes(SIZE)))?;
    let big = stage.path("big.bin");
    files::make(&big, SIZE)?;
    show(&["push", "big.bin", "demo1:/srv/"])?;
    let reached = stage.cut_push(&big, SIZE / 100 * CUT_AT)?;
    say(&format!("  killed with -9 when {} had arrived", Bytes(reached)))?;

    chapter("The same command again: what is there is hashed, and only the rest is sent")?;
    show(&["push", "big.bin", "demo1:/srv/"])?;
    let push = stage.transfer(&["push", "--json", &text(&big)?, &stage.remote("")?])?;
    told(&push)?;
    let all = push.sent + push.reused == SIZE;
    if !all || push.reused == 0 {
        let why = format!("the push sent {} and reused {}", push.sent, push.reused);
        return Err(CliError::new(why));
    }
    say(&format!("  {} were not sent again", Bytes(push.reused)))?;

    chapter("And back, to compare")?;
    let back = stage.path("back.bin");
    show(&["pull", "demo1:/srv/big.bin", "back.bin"])?;
    told(&stage.transfer(&["pull", "--json", &stage.remote("big.bin")?, &text(&back)?])?)?;
    files::compare(&big, &back)?;
    say("  equal, to the last byte")
}

fn say(text: &str) -> Result<(), CliError> {
    output::line(text)
}

fn chapter(title: &str) -> Result<(), CliError> {
    output::line(&format!("\n{title}."))
}

/// Prints a command line.
fn show(arguments: &[&str]) -> Result<(), CliError> {
    output::line(&format!("  $ lariat {}", arguments.join(" ")))
}

fn told(transfer: &Transfer) -> Result<(), CliError> {
    say(&format!(
        "  {}: sent {}, reused {}, {}",
        Bytes(transfer.bytes),
        Bytes(transfer.sent),
        Bytes(transfer.reused),
        ms(Duration::try_from_secs_f64(transfer.seconds).unwrap_or_default()),
    ))
}

fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn status(output: &std::process::Output) -> String {
    output.status.code().map_or_else(|| output.status.to_string(), |code| code.to_string())
}

/// Indents each line of a command's output.
fn indented(bytes: &[u8]) -> Vec<u8> {
    let lines = bytes.split_inclusive(|&b| b == b'\n');
    lines.flat_map(|line| [b"  > ".as_slice(), line].concat()).collect()
}

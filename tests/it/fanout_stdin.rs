//! One stdin for commands on several hosts.

use std::fs;
use std::process::Stdio;

use lariat_testing::files::random_file;
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;

const SIZE: u64 = 12 * 1024 * 1024;

#[test]
fn one_that_does_not_read_its_stdin_holds_up_nobody_and_gets_all_of_it_later() {
    let fleet = TestFleet::new();
    let _agents = ["web1", "web2", "web3"].map(|host| fleet.agent(host));
    let [stdin, sums, first, gate] =
        ["stdin", "sums", "first", "gate"].map(|name| fleet.path(name));
    random_file(&stdin, SIZE, 7);
    // The first of them waits before it reads.
    let line = format!(
        "if mkdir {} 2>/dev/null; then while ! [ -e {} ]; do sleep 0.02; done; fi; cksum >> {}",
        first.display(),
        gate.display(),
        sums.display()
    );
    let mut run = fleet.lariat();
    run.args(["run", "all", "-i", "--", &line]).stdin(fs::File::open(&stdin).unwrap());
    let run = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = || fs::read_to_string(&sums).unwrap_or_default().lines().count();
    wait::until("two of three to have all of it", || (lines() == 2).then_some(()));
    fs::write(&gate, "").unwrap();
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&sums).unwrap();
    let one = text.lines().next().unwrap();
    assert!(one.ends_with(&format!(" {SIZE}")) && text.lines().all(|line| line == one), "{text}");
    assert_eq!(text.lines().count(), 3);
}

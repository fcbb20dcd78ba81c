//! `--verify`: both ends hash the whole file, the receiver as it is on its disk.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::random_file;
use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::fleet_of;
use lariat_testing::output::{objects, text};
use serde_json::Value;

fn b3sum(path: &Path) -> String {
    blake3::hash(&fs::read(path).unwrap()).to_hex().to_string()
}

fn object(fleet: &TestFleet, args: &[&str]) -> Value {
    serde_json::from_str(&fleet.ok(args)).unwrap()
}

#[test]
fn a_single_file_s_hash_is_told_both_ways_and_as_another_user() {
    let (fleet, _agent) = TestFleet::with_agent();
    random_file(&fleet.path("f"), 1_300_000, 1);
    let there = fleet.path("there").display().to_string();
    let sum = Value::from(b3sum(&fleet.path("f")));
    // Fresh, and what is there already.
    for changed in [1, 0] {
        let told = object(&fleet, &["push", "f", &format!("web1:{there}"), "--verify", "--json"]);
        assert_eq!((&told["b3sum"], &told["changed"]), (&sum, &changed.into()), "{told}");
        let pulled = ["pull", &format!("web1:{there}"), "back", "--verify", "--json"];
        let told = object(&fleet, &pulled);
        assert_eq!((&told["b3sum"], &told["changed"]), (&sum, &changed.into()), "{told}");
    }
    fs::create_dir(fleet.path("theirs")).unwrap();
    std::os::unix::fs::chown(fleet.path("theirs"), Some(65_534), Some(65_534)).unwrap();
    let theirs = format!("nobody@web1:{}/f", fleet.path("theirs").display());
    assert_eq!(object(&fleet, &["push", "f", &theirs, "--verify", "--json"])["b3sum"], sum);
    let inplace = ["push", "f", &format!("web1:{there}"), "--verify", "--inplace", "--json"];
    assert_eq!(object(&fleet, &inplace)["b3sum"], sum);
    let plain = object(&fleet, &["push", "f", &format!("web1:{there}"), "--json"]);
    assert!(plain.get("b3sum").is_none(), "{plain}");

    let mut stdin = fleet.lariat();
    stdin.args(["push", "-", &format!("web1:{there}2"), "--verify", "--json"]);
    let stdin = stdin.stdin(fs::File::open(fleet.path("f")).unwrap()).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&stdin.stdout).unwrap()["b3sum"], sum);
}

#[test]
fn a_directory_and_many_hosts_are_verified() {
    let (fleet, _agents) = fleet_of(3);
    fs::create_dir_all(fleet.path("tree/in")).unwrap();
    random_file(&fleet.path("tree/large"), 3_000_000, 1);
    (0..40).for_each(|n| fs::write(fleet.path(format!("tree/in/{n}")), n.to_string()).unwrap());
    let there = fleet.path("there").display().to_string();
    let push = ["push", "tree/.", &format!("all:{there}/{{host}}/"), "--verify", "--json"];
    for changed in [41, 0] {
        let output = fleet.run(push);
        assert!(output.status.success(), "{output:?}");
        for told in objects(&output.stdout) {
            assert_eq!((&told["changed"], told.get("b3sum")), (&changed.into(), None), "{told}");
        }
    }
    // Same size and time, other content: found as by --checksum.
    let (old, new) = (fleet.path("tree/in/7"), fleet.path("there/h0002/in/7"));
    let time = fs::metadata(&old).unwrap().modified().unwrap();
    fs::write(&new, "8").unwrap();
    fs::File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
    let output = fleet.run(push);
    let changed =
        objects(&output.stdout).iter().map(|told| told["changed"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(changed, 1, "{output:?}");
    assert_eq!(fs::read(new).unwrap(), b"7");
    fleet.ok(["pull", &format!("h0001:{there}/h0001/."), "back/", "--verify"]);
    assert_eq!(b3sum(&fleet.path("back/large")), b3sum(&fleet.path("tree/large")));
}

#[test]
fn a_partial_that_was_changed_on_the_disk_does_not_get_the_name() {
    let (fleet, agent) = TestFleet::with_agent();
    // Slow enough that there is time to change it before its last chunk.
    let fault = Fault { rate: Some(4 << 20), ..Fault::default() };
    let faulty = Faulty::start(agent.address, fault);
    fleet.set_address("web1", faulty.address);
    random_file(&fleet.path("f"), 6 << 20, 1);
    let there = fleet.path("there");
    fs::create_dir(&there).unwrap();
    let mut push = fleet.lariat();
    push.args(["push", "f", &format!("web1:{}/f", there.display()), "--verify"]);
    let push = push.stderr(Stdio::piped()).spawn().unwrap();
    let part = lariat_testing::wait::until("its first chunk", || {
        let mut entries = fs::read_dir(&there).unwrap().map(|entry| entry.unwrap().path());
        let part = entries.find(|path| path.extension().is_some_and(|kind| kind == "part"))?;
        (fs::metadata(&part).ok()?.len() > 1 << 20).then_some(part)
    });
    let file = fs::File::options().write(true).open(part).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"another", 100_000).unwrap();
    let output = push.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("verify") && said.contains("web1"), "{said}");
    assert_eq!(fs::read_dir(&there).unwrap().count(), 0, "neither the name nor a partial");
}

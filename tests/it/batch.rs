//! Plans over many hosts: real binaries, real sockets.

use std::fs;
use std::process::{Output, Stdio};

use lariat_testing::many_agents::fleet_of;
use lariat_testing::output::text;
use lariat_testing::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn summary(output: &Output) -> &str {
    let last = text(&output.stderr).lines().last().unwrap_or_default();
    last.split(';').next().unwrap_or_default()
}

#[test]
fn each_host_does_its_steps_in_order_and_a_resumed_plan_does_the_rest() {
    let (fleet, _agents) = fleet_of(3);
    let (work, log) = (fleet.path("there"), fleet.path("log"));
    fs::write(fleet.path("app"), "the app\n").unwrap();
    let plan = format!(
        "[[step]]\npush = \"app\"\ndest = \"{work}/{{host}}/\"\n\n\
         [[step]]\nrun = \"echo $(basename $PWD) >> {log}; test -e {work}/go || test $(basename $PWD) != h0002\"\n\
         cwd = \"{work}/h0002\"\ntarget = \"h0002\"\n\n\
         [[step]]\nrun = [\"cat\", \"{work}/h0001/app\"]\ntarget = \"h000[1-2]\"\n\n\
         [[step]]\npull = \"{work}/h0003/app\"\ndest = \"back\"\ntarget = \"h0003\"\n",
        work = work.display(),
        log = log.display(),
    );
    fs::write(fleet.path("plan.toml"), &plan).unwrap();
    let dry = fleet.ok(["batch", "plan.toml", "all", "--dry-run"]);
    assert!(dry.starts_with("plan.toml:1: push app to "), "{dry}");
    assert!(dry.lines().nth(2).unwrap().ends_with("/h0001/app: h[0001-0002]"), "{dry}");
    assert!(!work.exists());

    let output = fleet.run(["batch", "plan.toml", "all", "--parallel", "1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stdout), "h0001: the app\n");
    let errors = text(&output.stderr);
    assert!(errors.contains("\n2 ok, 1 failed (h0002); "), "{errors}");
    assert!(errors.ends_with("with the hosts that failed: lariat batch plan.toml all --resume\n"));
    let failed = "h0002: step 2 of 4 (plan.toml:5: run echo ";
    assert!(errors.contains(failed) && errors.contains("): exit 1\n"), "{errors}");
    assert_eq!(fs::read(fleet.path("back/h0003/app")).unwrap(), b"the app\n");

    fs::write(work.join("go"), "").unwrap();
    fs::write(fleet.path("app"), "another\n").unwrap();
    let output = fleet.run(["batch", "plan.toml", "all", "--resume", "--json"]);
    assert_eq!((output.status.code(), summary(&output)), (Some(0), "1 ok"), "{output:?}");
    let object: Value = serde_json::from_str(text(&output.stdout)).unwrap();
    assert_eq!(
        (&object["host"], &object["done"], &object["steps"]),
        (&"h0002".into(), &4.into(), &4.into())
    );
    // The step that failed was repeated, and that was said; the one before it was not.
    let again = "): begun before, and not completed (exit 1): tried again\n";
    let (errors, step) = (text(&output.stderr), "h0002: plan.toml:5: run echo ");
    let line = errors.split_inclusive('\n').find(|line| line.starts_with(step));
    assert!(line.is_some_and(|line| line.ends_with(&again[1..])), "{errors}");
    assert_eq!(fs::read(&log).unwrap(), b"h0002\nh0002\n");
    assert_eq!(fs::read(work.join("h0002/app")).unwrap(), b"the app\n");
    assert_eq!(fleet.run(["batch", "plan.toml", "all", "--resume"]).status.code(), Some(0));
    fs::write(fleet.path("plan.toml"), plan + "\n# changed\n").unwrap();
    let error = fleet.fails(255, ["batch", "plan.toml", "all", "--resume"]);
    assert!(error.contains("was changed since"), "{error}");
}

#[test]
fn a_step_that_ctrl_c_ended_is_named_where_it_is_tried_again() {
    let (fleet, _agents) = fleet_of(1);
    let log = fleet.path("log");
    let plan = format!("[[step]]\nrun = \"echo two >> {}; exec sleep 30\"\n", log.display());
    fs::write(fleet.path("p.toml"), plan).unwrap();
    let interrupted = |args: &[&str], begun: usize| {
        let mut batch = fleet.lariat();
        batch.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let batch = batch.spawn().unwrap();
        wait::until("the step", || {
            let lines = fs::read_to_string(&log).unwrap_or_default().lines().count();
            (lines == begun).then_some(())
        });
        kill_process(Pid::from_child(&batch), Signal::INT).unwrap();
        let output = batch.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        text(&output.stderr).to_owned()
    };
    let errors = interrupted(&["batch", "p.toml", "all"], 1);
    assert!(errors.contains(": ended by SIGINT\n") && !errors.contains("tried again"), "{errors}");
    let errors = interrupted(&["batch", "p.toml", "all", "--resume"], 2);
    let again = ": begun before, and not completed (ended by SIGINT): tried again\n";
    assert!(errors.starts_with("h0001: p.toml:1: run echo ") && errors.contains(again), "{errors}");
}

#[test]
fn host_stands_for_the_hosts_name_in_all_that_a_step_says() {
    let (fleet, _agents) = fleet_of(2);
    let there = fleet.path("there").display().to_string();
    for host in ["h0001", "h0002"] {
        fs::create_dir_all(format!("{there}/{host}")).unwrap();
    }
    fs::write(fleet.path("of-h0001"), "1").unwrap();
    fs::write(fleet.path("script"), "echo '{host}' \"$@\"\n").unwrap();
    let plan = format!(
        "[[step]]\npush = \"of-{{host}}\"\ndest = \"{there}/{{host}}/own\"\n\
         [[step]]\nrun = \"echo $NAME $(cat {there}/{{host}}/own) $(basename $PWD)\"\n\
         env = \"NAME=<{{host}}>\"\ncwd = \"{there}/{{host}}\"\n\
         [[step]]\nscript = \"script\"\nrun = \"{{host}}\"\n\
         [[step]]\npull = \"{there}/{{host}}/own\"\ndest = \"back-{{host}}\"\n",
    );
    fs::write(fleet.path("p.toml"), plan).unwrap();
    let error = fleet.fails(255, ["batch", "p.toml", "all"]);
    assert!(
        error.contains("p.toml:1: push of-{host} to ") && error.contains("of-h0002"),
        "{error}"
    );
    assert!(!fleet.path("there/h0001/own").exists());

    fs::write(fleet.path("of-h0002"), "2").unwrap();
    let said = fleet.ok(["batch", "p.toml", "all"]);
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "h0001: <h0001> 1 h0001",
            "h0001: {host} h0001",
            "h0002: <h0002> 2 h0002",
            "h0002: {host} h0002",
        ]
    );
    assert_eq!(fs::read(fleet.path("back-h0002")).unwrap(), b"2");
}

#[test]
fn a_mistake_in_a_plan_is_told_before_any_host_is_touched() {
    let (fleet, _agents) = fleet_of(1);
    let refused = |plan: &str, args: &[&str]| {
        fs::write(fleet.path("p.toml"), plan).unwrap();
        fleet.fails(255, ["batch", "p.toml"].iter().chain(args))
    };
    let first = format!("[[step]]\nrun = \"touch {}\"\n", fleet.path("touched").display());
    let error = refused(&format!("{first}[[step]]\nrun = \"x\"\ntimout = 1\n"), &["all"]);
    assert_eq!(
        error,
        "lariat: p.toml:5: timout: a run step has no such key (did you mean timeout?)\n"
    );
    let error = refused(&format!("{first}[[step]]\npush = \"none\"\ndest = \"/tmp/\"\n"), &["all"]);
    assert!(
        error.contains("p.toml:3: push none to /tmp/: push none: here: open none: no such file")
    );
    let error = refused(&first, &[]);
    assert!(error.contains("p.toml:1: this step has no target"), "{error}");
    let unknown = format!("{first}[[step]]\nrun = \"true\"\ntarget = \"h0002\"\n");
    for args in [&["all"][..], &[]] {
        let unknown = unknown.replacen('\n', "\ntarget = \"h0001\"\n", 1);
        let error = refused(&unknown, args);
        let said = "p.toml:6: target: no host h0002 in this fleet (did you mean h0001?)";
        assert!(error.contains(said), "{error}");
    }
    assert!(!fleet.path("touched").exists() && !fleet.home().join("last.jsonl").exists());
}

#[test]
fn a_step_may_start_a_job_and_leave_it_and_write_into_files() {
    let (fleet, _agents) = fleet_of(1);
    let plan = "[[step]]\nrun = \"read line; echo $line\"\ndetach = true\n\
                [[step]]\nrun = \"echo kept\"\nout = \"logs\"\n";
    fs::write(fleet.path("p.toml"), plan).unwrap();
    let said = fleet.ok(["batch", "p.toml", "all"]);
    let job =
        said.trim_end().strip_prefix("h0001: started job ").unwrap_or_else(|| panic!("{said}"));
    assert!(fleet.ok(["jobs", "h0001", "--json"]).contains(job));
    assert_eq!(fs::read(fleet.path("logs/h0001")).unwrap(), b"kept\n");
}

#[test]
fn a_step_for_what_has_changed_is_done_on_those_hosts_alone() {
    let (fleet, _agents) = fleet_of(2);
    let there = fleet.path("there").display().to_string();
    fs::write(fleet.path("app"), "one").unwrap();
    let plan = format!(
        "[[step]]\npush = \"app\"\ndest = \"{there}/{{host}}/app\"\n\
         [[step]]\nrun = \"echo restarted\"\nwhen = \"changed\"\n\
         [[step]]\nrun = \"echo checked\"\n",
    );
    fs::write(fleet.path("p.toml"), plan).unwrap();
    let said = || {
        let said = fleet.ok(["batch", "p.toml", "all"]);
        let mut lines: Vec<_> = said.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let checked = ["h0001: checked", "h0002: checked"];
    assert_eq!(
        said(),
        ["h0001: checked", "h0001: restarted", "h0002: checked", "h0002: restarted"]
    );
    assert_eq!(said(), checked, "what is equal has not changed");
    fs::write(format!("{there}/h0002/app"), "two").unwrap();
    assert_eq!(said(), ["h0001: checked", "h0002: checked", "h0002: restarted"]);
    assert_eq!(said(), checked);
}

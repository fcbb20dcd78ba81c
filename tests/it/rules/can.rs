//! `can` says what the agent would do, and why.

use std::collections::BTreeMap;
use std::fs;

use lariat_base::name::JobId;
use lariat_testing::agent::lariatd;
use lariat_testing::bare_agent::{BareAgent, Setup};
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;
use lariat_testing::rng::{Rng, number};
use lariat_testing::wait::{PATIENCE, block_on_within};
use lariat_wire::link::message_frame;
use lariat_wire::protocol::can::{Asked, Can, Verdict};
use lariat_wire::protocol::clean::Clean;
use lariat_wire::protocol::exec::{Command, Run, Streams};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::hypothetical;
use lariat_wire::protocol::job::List;
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::request::{FileRequest, JobRequest, Request, RuleRequest};
use lariat_wire::protocol::transfer::Overrides;
use lariat_wire::protocol::{Kind, Message};
use rustix::process::Signal;

use super::{directory, refused};

#[test]
fn the_agents_answer_with_the_rule_and_its_line() {
    let rules = "verbs = [\"run\", \"push\", \"shell\"]\n\
                 commands = [\n  [\"/usr/bin/printf\", \"%s\", \"*\"],\n  [\"/usr/bin/id\"],\n]\npush = [\"/srv\"]\n";
    let (fleet, _agent) = TestFleet::with_rules(rules);
    let me = fleet.label();
    let can = |code: i32, more: &[&str]| {
        let output = fleet.run([&["can", &me, "web1"], more].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let yes = "web1: allowed by keyring.toml:11\n";
    assert_eq!(can(0, &["--", "printf", "%s", "x"]), yes);
    assert_eq!(can(0, &["--", "id"]), "web1: allowed by keyring.toml:12\n");
    let no = "web1: denied: commands: nearest is keyring.toml:11, word 3 differs\n";
    assert_eq!(can(1, &["--", "printf", "%s", "-x"]), no);
    assert_eq!(can(0, &["--push", "/srv/x"]), "web1: allowed by keyring.toml:14\n");
    let no = "web1: denied: push: keyring.toml:14 has no directory above /etc/x\n";
    assert_eq!(can(1, &["--push", "/etc/x"]), no);
    assert_eq!(can(1, &["--pull", "/srv/x"]), "web1: denied: verbs: keyring.toml:9 has no pull\n");
    assert!(can(1, &["--shell"]).starts_with("web1: denied: commands: "));
    let all = can(0, &[]);
    assert!(all.starts_with("web1: verbs: run, push, shell (keyring.toml:9)\n"), "{all}");
    assert!(all.contains("web1: command: [\"/usr/bin/id\"] (keyring.toml:12)\n"), "{all}");
    assert!(all.ends_with("web1: push: /srv (keyring.toml:14)\n"), "{all}");
    let object: serde_json::Value =
        serde_json::from_str(&can(1, &["--json", "--push", "/etc/x"])).unwrap();
    assert_eq!((&object["allowed"], &object["rule"]), (&false.into(), &"push".into()));

    // A dry run asks the same, and does nothing.
    let dry = fleet.ok(["run", "--dry-run", "web1", "--", "printf", "%s", "x"]);
    assert_eq!(dry, yes);
    let no = fleet.run(["run", "--dry-run", "web1", "--env", "A=b", "--", "id"]);
    assert_eq!(no.status.code(), Some(1));
    fs::write(fleet.path("lines"), "id\nid -u\n").unwrap();
    let lines = fleet.run(["run", "--dry-run", "web1", "--from", "lines"]);
    let lines = String::from_utf8(lines.stdout).unwrap();
    assert!(lines.starts_with("web1: id: allowed by keyring.toml:12\nweb1: id -u: denied: "));
    let up = directory(&fleet, "up");
    let plan = format!(
        "[[step]]\nrun = [\"id\"]\n[[step]]\npush = \"lines\"\ndest = \"{}\"\n",
        up.display()
    );
    fs::write(fleet.path("plan.toml"), plan).unwrap();
    let batch = fleet.run(["batch", "--dry-run", "plan.toml", "web1,web1"]);
    assert_eq!(batch.status.code(), Some(1), "{batch:?}");
    let told = String::from_utf8(batch.stdout).unwrap();
    assert!(told.contains("denied: push: keyring.toml:14 has no directory above"), "{told}");
    refused(&fleet, ["push", "--dry-run", "lines", "web1:/etc/x"]);

    // About others one needs the verb for it, whether they exist or not.
    for other in ["bob", &"0".repeat(32)] {
        let error = refused(&fleet, ["can", other, "web1", "--shell"]);
        assert!(error.contains("not permitted to see or change keys"), "{error}");
    }
}

#[test]
fn an_owner_may_ask_about_others_and_a_missing_host_is_no_verdict() {
    let (fleet, agent) = TestFleet::with_agent();
    let path = fleet.bundle("web1").join("keyring.toml");
    let keyring = fs::read_to_string(&path).unwrap();
    let secret = "ab".repeat(32);
    let key = |id: &str, label: &str, rules: &str| {
        let id = id.repeat(16);
        format!(
            "[[key]]\nid = \"{id}\"\nlabel = \"{label}\"\nstored = \"{secret}\"\nagent = \"{secret}\"\n\
             verbs = [\"run\"]\n{rules}"
        )
    };
    let bob = key("0b", "bob@ci", "networks = [\"192.0.2.0/24\"]\n");
    let ann = key("0a", "ann@ci", "users = [\"no-such-user\"]\n");
    fs::write(&path, format!("{keyring}{bob}{ann}")).unwrap();
    agent.signal(Signal::HUP);
    agent.wait_for("were read anew");
    let verdict = |key: &str, more: &[&str]| fleet.run([&["can", key, "web1"], more].concat());
    let no = verdict("bob@ci", &["--push", "/x"]);
    assert_eq!(no.status.code(), Some(1));
    // Where the key would come from is not known.
    let yes = verdict("bob@ci", &["--", "true"]);
    assert_eq!(yes.status.code(), Some(0), "{yes:?}");
    assert_eq!(text(&yes.stdout), "web1: allowed by keyring.toml:15\n");
    assert_eq!(text(&yes.stderr), "web1: only from 192.0.2.0/24\n");
    let all = fleet.ok(["can", &"0b".repeat(16), "web1"]);
    assert!(all.contains("networks: 192.0.2.0/24"), "{all}");
    // No rule denies it, and there is no such user.
    let error = fleet.fails(255, ["can", "ann@ci", "web1", "--", "true"]);
    assert!(error.contains("there is no user no-such-user"), "{error}");
    let error = fleet.fails(255, ["can", "carol", "web1", "--", "true"]);
    assert!(error.contains("no such key"), "{error}");
}

#[test]
fn rules_are_tried_before_they_go_live() {
    let (fleet, _agent) = TestFleet::with_rules("verbs = [\"push\"]\npush = [\"/srv\"]\n");
    let me = fleet.label();
    let case = |path: &str| {
        let (key, action) = (format!("key = {me:?}"), format!("action = [\"--push\", {path:?}]"));
        format!("[[case]]\n{key}\n{action}\nexpect = \"allowed\"\n")
    };
    fs::write(fleet.path("good.toml"), case("/srv/x")).unwrap();
    fs::write(fleet.path("bad.toml"), case("/etc/x")).unwrap();
    fs::write(fleet.path("wrong.toml"), "[[case]]\n").unwrap();
    let keyring = fleet.bundle("web1").join("keyring.toml");
    let policy = |words: &[&str]| {
        let paths = words[1..].iter().map(|name| fleet.path(name));
        let mut lariatd = lariatd(&fleet.bundle("web1").join("agent.toml"));
        let output = lariatd.args(["policy", words[0]]).arg(&keyring).args(paths).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(policy(&["check"]), (Some(0), String::new()));
    assert_eq!(policy(&["test", "good.toml"]), (Some(0), String::new()));
    let (code, error) = policy(&["test", "bad.toml"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("has no directory above /etc/x"), "{error}");
    for words in [&["test", "wrong.toml"][..], &["test", "none.toml"], &["test"], &["try"]] {
        let (code, error) = policy(words);
        assert!(code == Some(255) && error.starts_with("lariatd: "), "{error}");
    }
}

fn pick(rng: &mut Rng, from: &[&str]) -> String {
    let place = usize::try_from(rng.below(from.len() as u64)).unwrap();
    from[place].to_owned()
}

/// Rules of which some permit something and some do not.
fn rules(rng: &mut Rng) -> String {
    let mut pick = |from: &[&str]| pick(rng, from);
    let verbs = pick(&[
        "\"run\", \"push\", \"pull\", \"jobs\"",
        "\"run\"",
        "\"push\", \"pull\"",
        "\"shell\", \"jobs\"",
    ]);
    let commands = pick(&[
        "",
        "commands = [[\"/usr/bin/id\", \"-{u,g}\"]]\n",
        "commands = [[\"/usr/bin/id\", \"..\"], [\"/usr/bin/printf\", \"-..\"]]\nstdin = true\n",
        "commands = []\n",
    ]);
    let users = pick(&["", "users = [\"nobody\"]\n", "users = [\"OWN\", \"nobody\"]\n"]);
    let push = pick(&["", "push = [\"/tmp/none\"]\n", "push = [\"/nowhere\"]\n", "push = []\n"]);
    let pull = pick(&["", "pull = [\"/etc\"]\n", "pull = [\"/usr\", \"/etc/ssl\"]\n"]);
    let networks = pick(&["", "networks = [\"127.0.0.1/32\"]\n", "networks = [\"127.0.0.1\"]\n"]);
    format!("verbs = [{verbs}]\n{commands}{users}{push}{pull}{networks}")
}

/// A request that does no harm where it is permitted.
fn request(rng: &mut Rng) -> Request {
    let mut pick = |from: &[&str]| pick(rng, from);
    let user = match pick(&["", "", "nobody", "root", "no-such-user"]) {
        none if none.is_empty() => None,
        user => Some(user),
    };
    let words = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    let sorts =
        ["argv", "argv", "argv", "shell", "script", "login", "list", "push", "pull", "pull"];
    match pick(&[&sorts[..], &["clean", "can"]].concat()).as_str() {
        "argv" => {
            let line = pick(&[
                "id -u",
                "id -g",
                "/usr/bin/id",
                "printf a -b",
                "id ..",
                "no-such x",
                "/bin/../bin/id -u",
            ]);
            let command = Command::Argv(words(&line));
            match hypothetical::run(command, user) {
                Request::Job(JobRequest::Run(run)) => {
                    let cwd = (pick(&["", "", "", "/"]) == "/").then(|| b"/".to_vec());
                    let stdin = pick(&["", "", "x"]) == "x";
                    let streams = Streams::Followed { stdin };
                    let job = JobId::generate().unwrap();
                    Request::Job(JobRequest::Run(Run { cwd, streams, job, ..run }))
                }
                other => other,
            }
        }
        "shell" => hypothetical::run(Command::Shell(pick(&["id", "id -u"]).into_bytes()), user),
        "script" => {
            hypothetical::run(Command::Script { body: b"true".to_vec(), args: Vec::new() }, user)
        }
        "login" => hypothetical::run(Command::Login, user),
        "clean" => Request::File(FileRequest::Clean(Clean {
            path: pick(&["/tmp/none", "/etc", "none"]).into_bytes(),
            dry_run: true,
            user,
        })),
        "list" => Request::Job(JobRequest::List(List {
            prefix: String::new(),
            all_keys: pick(&["", "x"]) == "x",
        })),
        "push" => {
            let path = pick(&["/tmp/none/x", "/tmp/none/../x", "/nowhere/x", "x"]);
            let preserve = Preserve { owner: pick(&["", "", "x"]) == "x", ..Preserve::default() };
            hypothetical::push(path.into_bytes(), user, preserve, Overrides::default())
        }
        "pull" => {
            let path = pick(&["/etc/hostname", "/usr/bin/id", "/etc/../etc/passwd", "/no/such"]);
            hypothetical::pull(path.into_bytes(), user, None)
        }
        _ => {
            let key = Some(pick(&["alice@box", "bob"]));
            Request::Rule(RuleRequest::Can(Can { key, request: None }))
        }
    }
}

/// The frame of a request, as the first of a connection.
fn frame(request: &Request) -> Vec<u8> {
    match request {
        Request::Job(JobRequest::Run(one)) => message_frame(1, one),
        Request::Job(JobRequest::List(one)) => message_frame(1, one),
        Request::File(FileRequest::Push(one)) => message_frame(1, one),
        Request::File(FileRequest::Pull(one)) => message_frame(1, one),
        Request::File(FileRequest::Clean(one)) => message_frame(1, one),
        Request::Rule(RuleRequest::Can(one)) => message_frame(1, one),
        other => panic!("{other:?}"),
    }
    .unwrap()
}

/// `LARIAT_KEYRINGS` says how many keyrings are tried, with 25 requests each.
#[test]
fn what_can_says_is_what_the_agent_does() {
    const EACH: usize = 25;
    let agent = BareAgent::with(Setup { verbs: "\"run\"", ..Setup::default() });
    let path = agent.directory.path().join("keyring.toml");
    let text = fs::read_to_string(&path).unwrap();
    // The second key is not needed.
    let own = text.split_inclusive("[[key]]").take(2).collect::<String>();
    let own = own.trim_end_matches("[[key]]");
    let before = &own[..=own.find("\nverbs = ").unwrap()];
    let mut rng = Rng::from_seed(15);
    let name =
        String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout);
    let name = name.unwrap().trim().to_owned();
    let mut seen = BTreeMap::new();
    for _ in 0..number("LARIAT_KEYRINGS").unwrap_or(6) {
        let rules = rules(&mut rng).replace("OWN", &name);
        fs::write(&path, format!("{before}{rules}")).unwrap();
        agent.signal(Signal::HUP);
        agent.wait_for("were read anew");
        for _ in 0..EACH {
            let request = request(&mut rng);
            let frame = frame(&request);
            let (said, did) = block_on_within(PATIENCE, async {
                let (kind, payload) = request.encode().unwrap();
                let asked = Can { key: None, request: Some(Asked { kind: kind as u16, payload }) };
                let (mut link, _) =
                    agent.log_in_with(&message_frame(1, &asked).unwrap()).await.unwrap();
                let said = match link.next().await.unwrap().unwrap().kind {
                    Verdict::KIND => {
                        let Verdict { allowed, rule, why } = link.reader.message().unwrap();
                        if allowed { Ok(()) } else { Err(format!("{rule}: {why}")) }
                    }
                    // There is no such user.
                    Kind::Failed => Ok(()),
                    other => panic!("{other:?}"),
                };
                let (mut link, _) = agent.log_in_with(&frame).await.unwrap();
                let did = match link.next().await.unwrap().unwrap().kind {
                    Kind::Failed => match link.reader.message::<Failure>().unwrap().cause {
                        Cause::NotPermitted { rule, .. } => Err(rule),
                        _ => Ok(()),
                    },
                    _ => Ok(()),
                };
                (said, did)
            });
            assert_eq!(said, did, "{rules}{request:?}");
            let rule = said.err().map(|said| said.split(':').next().unwrap().to_owned());
            *seen.entry(rule).or_insert(0) += 1;
        }
    }
    assert!(seen.len() > 4, "some are permitted, and each rule denies some: {seen:?}");
}

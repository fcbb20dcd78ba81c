//! `--encoding`: text of hosts in other encodings, with the real programs, cut wherever that can be.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::fleet_of;
use lariat_testing::output::{objects, sorted, text};
use lariat_testing::screen::Screen;

/// Encodings, a line of text, and its bytes.
fn samples() -> [(&'static str, &'static str, Vec<u8>); 5] {
    let wide = "tab\tgrün 中文 😀\n";
    let utf16 = |bytes: fn(u16) -> [u8; 2]| wide.encode_utf16().flat_map(bytes).collect();
    [
        ("gbk", "a中文字符串\n", b"a\xd6\xd0\xce\xc4\xd7\xd6\xb7\xfb\xb4\xae\n".to_vec()),
        ("shift_jis", "日本語テx\n", b"\x93\xfa\x96\x7b\x8c\xea\x83\x65x\n".to_vec()),
        ("latin1", "größe\n", b"gr\xf6\xdfe\n".to_vec()),
        ("utf-16le", wide, utf16(u16::to_le_bytes)),
        ("utf-16be", wide, utf16(u16::to_be_bytes)),
    ]
}

/// A command that writes bytes, each by itself.
fn one_by_one(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |line, byte| line + &format!("printf '\\{byte:03o}'; "))
}

/// Runs `lariat` with this file as its stdin.
fn run_with(fleet: &TestFleet, stdin: &Path, args: &[&str]) -> Output {
    let stdin = Stdio::from(fs::File::open(stdin).unwrap());
    fleet.lariat().args(args).stdin(stdin).output().unwrap()
}

#[test]
fn text_that_comes_byte_by_byte_is_right() {
    let (fleet, _agent) = TestFleet::with_agent();
    for (name, line, bytes) in samples() {
        let line = line.repeat(3);
        let command = format!("{{ {} }} >&2; exit 5", one_by_one(&bytes.repeat(3)));
        let output = fleet.run(["run", "web1", "--encoding", name, "--", &command]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(5), &*line), "{name}");
        let command = one_by_one(&bytes.repeat(3));
        assert_eq!(fleet.ok(["run", "web1", "--encoding", name, "--", &command]), line, "{name}");
        // Without it, bytes are bytes.
        assert_eq!(fleet.run(["run", "web1", "--", &command]).stdout, bytes.repeat(3), "{name}");
    }
}

#[test]
fn text_survives_cuts_both_ways() {
    let (fleet, agent) = TestFleet::with_agent();
    let faulty = Faulty::start(agent.address, Fault::default());
    fleet.set_address("web1", faulty.address);
    let [there, here] = ["there", "here"].map(|name| fleet.path(name));
    for (name, line, bytes) in samples() {
        let lines = 800_000 / bytes.len();
        let (whole, encoded) = (line.repeat(lines), bytes.repeat(lines));
        fs::write(&there, &encoded).unwrap();
        fs::write(&here, &whole).unwrap();
        let before = faulty.accepted();
        faulty.set(Fault { cut_down: Some(150_001), ..Fault::default() });
        let cat = format!("cat {}", there.display());
        let told = fleet.ok(["run", "web1", "--encoding", name, "--", &cat]);
        assert!(told == whole, "{name}");
        assert!(faulty.accepted() > before + 2, "{name}: {}", faulty.accepted());
        faulty.set(Fault { cut_up: Some(300_001), ..Fault::default() });
        let command = format!("cat > {}", there.display());
        let output =
            run_with(&fleet, &here, &["run", "web1", "-i", "--encoding", name, "--", &command]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{name}");
        assert!(fs::read(&there).unwrap() == encoded, "{name}");
        // The output of a job that has no reader yet.
        faulty.set(Fault::default());
        fleet.ok(["run", "web1", "--detach", "--", &format!("{cat}; sleep 0.1; {cat}")]);
        faulty.set(Fault { cut_down: Some(150_001), ..Fault::default() });
        let told = fleet.ok(["logs", "web1", "-f", "--encoding", name]);
        assert!(told == whole.repeat(2), "{name}");
        faulty.set(Fault::default());
    }
}

#[test]
fn what_is_not_in_the_encoding_is_told() {
    let (fleet, _agent) = TestFleet::with_agent();
    let gbk = |more: &[&str], command: &str| {
        fleet.run([&["run", "web1", "--encoding", "gbk"], more, &["--", command]].concat())
    };
    let output = gbk(&[], r"printf 'a\377\377b\326'; printf '\377' >&2; exit 3");
    assert_eq!(text(&output.stdout), "a\u{fffd}\u{fffd}b\u{fffd}");
    assert_eq!(output.status.code(), Some(3));
    let told =
        "lariat: run on web1: 3 places of stdout and 1 of stderr not in GBK: U+FFFD stands there; ";
    assert!(text(&output.stderr).starts_with(&format!("\u{fffd}{told}")), "{output:?}");
    let output = gbk(&["--json"], r"printf 'a\377\377'; printf '\326\320\377' >&2");
    let object = &objects(&output.stdout)[0];
    assert_eq!(
        (&object["stdout"], &object["stderr"]),
        (&"a\u{fffd}\u{fffd}".into(), &"中\u{fffd}".into())
    );
    assert_eq!((&object["replaced"], text(&output.stderr)), (&3.into(), ""));
    let output = gbk(&["--json"], r"printf '\326\320'");
    let object = &objects(&output.stdout)[0];
    assert_eq!((&object["stdout"], object.get("replaced")), (&"中".into(), None));

    fleet.ok(["run", "web1", "--detach", "--", r"printf '\377\326\320\n'"]);
    let output = fleet.run(["attach", "web1", "--encoding", "gbk"]);
    assert_eq!(text(&output.stdout), "\u{fffd}中\n");
    assert!(
        text(&output.stderr).starts_with("lariat: attach on web1: 1 place of stdout not in GBK")
    );
    let object = &objects(&fleet.ok(["logs", "web1", "--encoding", "gbk", "--json"]))[0];
    assert_eq!((&object["stdout"], &object["replaced"]), (&"\u{fffd}中\n".into(), &1.into()));

    let stdin = fleet.path("stdin");
    fs::write(&stdin, "a中é😀\u{ff}").unwrap();
    let line = "LC_ALL=C od -An -tx1";
    let output =
        run_with(&fleet, &stdin, &["run", "web1", "-i", "--encoding", "shift_jis", "--", line]);
    assert_eq!(text(&output.stdout).trim(), "61 92 86 3f 3f 3f");
    let told = "lariat: run on web1: 3 characters of stdin not in Shift_JIS: ? was sent for each\n";
    assert_eq!(text(&output.stderr), told);
}

#[test]
fn many_hosts_are_decoded_each_by_itself() {
    let (fleet, _agents) = fleet_of(3);
    let line = r"printf '\326\320'; sleep 0.0${LARIAT_HOST#h000}; printf '\316'; printf '\304\n'";
    let gbk = |more: &[&str], line: &str| {
        let args = [&["run", "all", "--encoding", "gbk"], more, &["--", line]].concat();
        fleet.run(args)
    };
    let output = gbk(&[], line);
    assert_eq!(sorted(&output.stdout), ["h0001: 中文", "h0002: 中文", "h0003: 中文"]);
    let output = gbk(&["--gather"], line);
    let rule = "---------------\n";
    assert_eq!(text(&output.stdout), format!("{rule}h[0001-0003] (3)\n{rule}中文\n"));
    let output =
        gbk(&["--diff"], r"printf '\326\320\n'; [ $LARIAT_HOST = h0003 ] || printf '\316\304\n'");
    assert!(text(&output.stdout).contains(" 中\n-文\n"), "{output:?}");
    let output = gbk(&["--out", "out"], line);
    assert!(output.status.success(), "{output:?}");
    for host in ["h0001", "h0002", "h0003"] {
        let written = fleet.path("out").join(host);
        assert_eq!(fs::read_to_string(written).unwrap(), "中文\n");
    }
    // The end of a command's output is the end of its text.
    fs::write(fleet.path("lines"), "printf '\\326'\nprintf '\\320\\n'\nprintf '\\326\\320\\n'\n")
        .unwrap();
    let args = ["run", "h0001", "--encoding", "gbk", "--from", "lines"];
    let output = fleet.run(args);
    assert_eq!(text(&output.stdout), "\u{fffd}\u{fffd}\n中\n", "{output:?}");
    let each = objects(&fleet.ok([&args[..], &["--json"]].concat()));
    let replaced: Vec<_> = each.iter().map(|object| object["replaced"].as_u64()).collect();
    assert_eq!(replaced, [Some(1), Some(1), None], "{each:?}");

    // Stdin is encoded once for all, and told so.
    let stdin = fleet.path("stdin");
    fs::write(&stdin, "中é😀").unwrap();
    for limit in ["64", "1"] {
        let args =
            ["run", "all", "-i", "--parallel", limit, "--encoding", "big5", "--", "od -An -tx1"];
        let output = run_with(&fleet, &stdin, &args);
        assert_eq!(
            sorted(&output.stdout),
            ["h0001:  a4 a4 3f 3f", "h0002:  a4 a4 3f 3f", "h0003:  a4 a4 3f 3f"]
        );
        let told = "lariat: run: 2 characters of stdin not in Big5: ? was sent for each\n";
        assert_eq!(text(&output.stderr).matches(told).count(), 1, "{output:?}");
    }

    fleet.ok(["run", "all", "--detach", "--", line]);
    let output = fleet.run(["logs", "all", "-f", "--encoding", "gbk"]);
    assert_eq!(sorted(&output.stdout), ["h0001: 中文", "h0002: 中文", "h0003: 中文"]);
}

#[test]
fn keys_and_the_screen_of_a_shell_are_converted() {
    let (fleet, _agent) = TestFleet::with_agent();
    let mut command = fleet.lariat();
    command.args(["shell", "web1", "--encoding", "latin1"]).env("TERM", "dumb");
    let mut shell = Screen::start(&mut command);
    shell.types("exec sh\r");
    shell.types("PS1=; stty -echo; echo rea''dy\r");
    shell.sees("ready\r\n");
    shell.types("printf 'gr\\366\\337e\\n'\r");
    shell.sees("größe\r\n");
    shell.types("read x; printf %s \"$x\" | LC_ALL=C od -An -tx1\r");
    shell.types("né€中\r");
    // The web's latin1 has a euro sign.
    shell.sees(" 6e e9 80 3f\r\n");
    shell.types("exit 4\r");
    shell.sees(
        "lariat: shell on web1: 1 character of stdin not in windows-1252: ? was sent for each",
    );
}

#[test]
fn mistakes_are_told_before_anything_is_done() {
    let fleet = TestFleet::new();
    let fails = |args: &[&str]| fleet.fails(255, args);
    let error = fails(&["run", "web1", "--encoding", "cp936", "--", "ls"]);
    let told = "lariat: --encoding: there is no encoding \"cp936\"; names are such as gbk, big5, ";
    assert!(error.starts_with(told), "{error}");
    let error = fails(&["run", "web1", "--detach", "--encoding", "gbk", "--", "ls"]);
    assert!(error.contains("--detach") && error.contains("can't be used with"), "{error}");
    for verb in ["logs", "attach"] {
        let error = fails(&[verb, "web1", "--encoding", "utf-16", "--tail", "3"]);
        assert!(error.contains(&format!("{verb}: --tail can't count lines of UTF-16")), "{error}");
    }
}

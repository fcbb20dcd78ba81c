//! The status page: metrics, an object and a page, for this host alone.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use lariat_testing::agent::Agent;
use lariat_testing::binaries::binaries;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::{random_file, remote, text as path_text};
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;
use serde_json::Value;

/// A fleet whose agent serves its status there.
fn serving(listen: &str) -> (TestFleet, Agent) {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let config = fleet.bundle("web1").join("agent.toml");
    let rest = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{rest}\n[status]\nlisten = \"{listen}\"\n")).unwrap();
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    (fleet, agent)
}

fn address(agent: &Agent) -> SocketAddr {
    let log = agent.log();
    let line = log.iter().find_map(|line| line.split("status on http://").nth(1)).unwrap();
    line.trim_end_matches('/').parse().unwrap()
}

/// Sends these bytes and reads to the end. Returns the head and the body.
fn ask(mut stream: impl Read + Write, request: &str) -> (String, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

fn get(at: SocketAddr, path: &str) -> (String, String) {
    let stream = TcpStream::connect(at).unwrap();
    ask(stream, &format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n"))
}

/// The value of a metric.
fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn what_happens_is_counted() {
    let (fleet, agent) = serving("127.0.0.1:0");
    let at = address(&agent);
    let source = fleet.path("source");
    random_file(&source, 100_000, 1);
    let there = remote(&fleet.path("there"));
    fleet.ok(["push", &path_text(&source), &there]);
    fleet.ok(["pull", &there, "back"]);
    fleet.ok(["run", "web1", "--", "echo 12345"]);
    fleet.fails(255, ["run", "--user", "no-such", "web1", "--", "true"]);
    fleet.ok(["run", "--detach", "web1", "--", "sleep 60"]);
    let (head, body) = get(at, "/metrics");
    assert!(head.contains("application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    assert!(body.ends_with("# EOF\n") && body.contains("lariat_build_info{version="), "{body}");
    for (name, least, most) in [
        ("lariat_transfer_bytes_total{direction=\"in\"}", 100_000.0, 100_000.0),
        ("lariat_transfer_bytes_total{direction=\"out\"}", 100_000.0, 100_000.0),
        ("lariat_requests_total{verb=\"push\",result=\"done\"}", 1.0, 1.0),
        ("lariat_requests_total{verb=\"run\",result=\"done\"}", 2.0, 2.0),
        ("lariat_command_output_bytes_total", 6.0, 6.0),
        ("lariat_request_duration_seconds_count{verb=\"pull\"}", 1.0, 1.0),
        ("lariat_denials_total{cause=\"request\"}", 1.0, 1.0),
        ("lariat_login_failures_total{cause=\"key\"}", 0.0, 0.0),
        ("lariat_logins_total", 5.0, 9.0),
        ("lariat_jobs", 1.0, 1.0),
        ("lariat_limit_used{limit=\"jobs\"}", 1.0, 2.0),
        ("lariat_audit_lines", 5.0, 50.0),
        ("lariat_certificate_expiry_timestamp_seconds", 1.8e9, 4e9),
        ("lariat_uptime_seconds", 0.0, 600.0),
    ] {
        let value = metric(&body, name).unwrap_or_else(|| panic!("{name}: {body}"));
        assert!((least..=most).contains(&value), "{name}: {value}");
    }
}

#[test]
fn chunks_that_are_sent_once_more_are_counted_by_cause() {
    let (fleet, agent) = serving("127.0.0.1:0");
    let at = address(&agent);
    let counted = |body: &str, cause: &str| {
        let name = format!("lariat_transfer_chunk_retries_total{{cause=\"{cause}\"}}");
        metric(body, &name).unwrap().to_string()
    };
    let all = || {
        let (_, body) = get(at, "/metrics");
        ["cut", "differs", "lane", "sum"].map(|cause| counted(&body, cause))
    };
    assert_eq!(all(), ["0", "0", "0", "0"]);
    let (source, directory) = (fleet.path("source"), fleet.path("directory"));
    random_file(&source, 8 << 20, 1);
    fs::create_dir(&directory).unwrap();
    let push = [
        "push".to_owned(),
        path_text(&source),
        remote(&directory.join("there")),
        "--streams=1".to_owned(),
    ];
    let faulty =
        Faulty::start(agent.address, Fault { cut_up: Some(5_000_000), ..Fault::default() });
    fleet.set_address("web1", faulty.address);
    fleet.fails(255, push.iter().map(String::as_str).chain(["--reconnect", "0"]));
    fleet.set_address("web1", agent.address);
    // The first chunk that is left is not what was sent.
    let left = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let partial = left.into_iter().find(|path| path.extension().unwrap() == "part").unwrap();
    fs::File::options().write(true).open(partial).unwrap().write_all(b"differs").unwrap();
    fleet.ok(&push);
    assert!(fs::read(&source).unwrap() == fs::read(directory.join("there")).unwrap());
    assert_eq!(all(), ["1", "1", "0", "0"]);
}

#[test]
fn whoever_can_connect_sees_counts_and_nothing_else() {
    let (fleet, agent) = serving("127.0.0.1:0");
    let at = address(&agent);
    fleet.ok(["run", "--detach", "web1", "--", "sleep 60 # a-secret-word"]);
    let keys = fleet.ok(["key", "list", "web1", "--json"]);
    let key: Value = serde_json::from_str(keys.lines().next().unwrap()).unwrap();
    let [label, id] = ["label", "id"].map(|name| key[name].as_str().unwrap());
    for path in ["/", "/status.json", "/metrics", "/healthz"] {
        let (head, body) = get(at, path);
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        for secret in [label, id, "a-secret-word", "sleep", "local:", "/tmp", "/etc"] {
            assert!(!body.contains(secret), "{path} has {secret}: {body}");
        }
        for needed in [
            "content-security-policy: default-src 'none'; style-src 'sha256-",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ] {
            assert!(head.to_ascii_lowercase().contains(needed), "{path}: {needed}: {head}");
        }
        assert!(!head.to_ascii_lowercase().contains("access-control"), "{head}");
    }
    let object: Value = serde_json::from_str(&get(at, "/status.json").1).unwrap();
    assert_eq!((&object["host"], &object["jobs"]), (&"web1".into(), &1.into()));
    let (_, page) = get(at, "/");
    assert!(page.contains("<h1>web1</h1>") && page.contains("prefers-color-scheme:dark"), "{page}");
    for foreign in ["http:", "https:", "<script", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}: {page}");
    }
}

#[test]
fn a_foreign_host_and_other_methods_are_refused() {
    let (_fleet, agent) = serving("127.0.0.1:0");
    let at = address(&agent);
    let port = at.port();
    let status = |request: String| {
        let (head, body) = ask(TcpStream::connect(at).unwrap(), &request);
        let status = head.split(' ').nth(1).map(str::to_owned).unwrap_or_default();
        (status, head, body)
    };
    for host in [format!("localhost:{port}"), format!("[::1]:{port}"), format!("127.0.0.1:{port}")]
    {
        assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).0, "200", "{host}");
    }
    for head in [
        format!("Host: evil.example:{port}\r\n"),
        "Host: localhost\r\n".to_owned(),
        "Host: localhost:1\r\n".to_owned(),
        format!("Host: localhost:{port}\r\nHost: evil.example\r\n"),
        String::new(),
    ] {
        let (status, _, body) = status(format!("GET /status.json HTTP/1.1\r\n{head}\r\n"));
        assert_eq!(status, "421", "{head}");
        assert!(!body.contains("web1"), "{body}");
    }
    let own = format!("Host: localhost:{port}\r\n");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "LARIAT"] {
        let (status, head, _) =
            status(format!("{method} / HTTP/1.1\r\n{own}Content-Length: 0\r\n\r\n"));
        assert_eq!(status, "405", "{method}");
        assert!(head.to_ascii_lowercase().contains("allow: get, head"), "{head}");
    }
    let (head_status, head, body) = status(format!("HEAD /healthz HTTP/1.1\r\n{own}\r\n"));
    assert!(
        head_status == "200" && head.contains("content-length: 3") && body.is_empty(),
        "{head}"
    );
    assert_eq!(status(format!("GET /../../etc/passwd HTTP/1.1\r\n{own}\r\n")).0, "404");
    assert_eq!(status("NONSENSE\r\n\r\n".to_owned()).0, "400");
    let long = format!("GET / HTTP/1.1\r\n{own}X: {}\r\n\r\n", "a".repeat(100_000));
    let mut stream = TcpStream::connect(at).unwrap();
    // It may be cut off while it is sent.
    let _ = stream.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "), "{}", text(&answer));
    assert_eq!(get(at, "/healthz").1, "ok\n");
}

#[test]
fn who_sends_no_head_is_cut_off_and_holds_up_nobody_for_long() {
    let (fleet, agent) = serving("127.0.0.1:0");
    let at = address(&agent);
    let began = Instant::now();
    let idle: Vec<TcpStream> = (0..12).map(|_| TcpStream::connect(at).unwrap()).collect();
    // Sessions have nothing to do with it.
    fleet.ok(["ping", "web1"]);
    let waited = get(at, "/healthz");
    assert_eq!(waited.1, "ok\n");
    let took = began.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(30), "{took:?}");
    for mut stream in idle {
        let mut rest = Vec::new();
        // It may be reset.
        let _ = stream.read_to_end(&mut rest);
        assert!(!text(&rest).contains("web1"), "{}", text(&rest));
    }
}

#[test]
fn on_a_socket_its_owner_sees_everything() {
    let (fleet, agent) = serving("status.sock");
    let socket = fleet.bundle("web1").join("status.sock");
    fleet.ok(["run", "--detach", "web1", "--", "sleep 60 # a-word"]);
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o7777, 0o600);
    let request = |path: &str| {
        let stream = UnixStream::connect(&socket).unwrap();
        ask(stream, &format!("GET {path} HTTP/1.1\r\nHost: anything\r\n\r\n"))
    };
    let object: Value = serde_json::from_str(&request("/status.json").1).unwrap();
    assert_eq!(object["jobs"][0]["command"], "sleep 60 # a-word");
    let (_, page) = request("/");
    assert!(page.contains("sleep 60 # a-word") && page.contains("<pre>"), "{page}");
    drop(agent);
    // What a killed agent left behind is replaced, and what is no socket is not.
    let agent = fleet.start("web1");
    assert!(request("/healthz").0.starts_with("HTTP/1.1 200 "));
    drop(agent);
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "mine").unwrap();
    let agent = fleet.start("web1");
    assert!(agent.log().iter().any(|line| line.contains("the status page can't be served on")));
    assert_eq!(fs::read_to_string(&socket).unwrap(), "mine");
}

#[test]
fn an_address_that_others_reach_is_refused() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let config = fleet.bundle("web1").join("agent.toml");
    let rest = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{rest}\n[status]\nlisten = \"0.0.0.0:9433\"\n")).unwrap();
    let check =
        Command::new(&binaries().lariatd).arg("check").arg("--config").arg(&config).output();
    let check = check.unwrap();
    let told = text(&check.stderr).to_owned() + text(&check.stdout);
    assert!(!check.status.success() && told.contains("can be reached from elsewhere"), "{told}");
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let Ok(version) = Command::new("promtool").arg("--version").output() else {
        eprintln!("not checked: promtool is not here");
        return;
    };
    assert!(version.status.success());
    let (fleet, agent) = serving("127.0.0.1:0");
    fleet.ok(["run", "web1", "--", "true"]);
    let at = address(&agent);
    let accept = "Accept: text/plain;version=0.0.4";
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {at}\r\n{accept}\r\n\r\n");
    let (_, body) = ask(TcpStream::connect(at).unwrap(), &request);
    let file = fleet.path("metrics");
    fs::write(&file, body).unwrap();
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(fs::File::open(&file).unwrap());
    let checked = promtool.output().unwrap();
    assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));
}

use super::*;

/// An entry with these lines behind its first five.
fn parse(rules: &str) -> Result<Arc<Entry>, String> {
    let (id, secret) = ("01".repeat(16), "ab".repeat(32));
    let text = format!(
        "[[key]]\nid = \"{id}\"\nlabel = \"x\"\nstored = \"{secret}\"\nagent = \"{secret}\"\n{rules}"
    );
    let keyring = Keyring::parse(Path::new("keyring.toml"), &text);
    let keyring = keyring.map_err(|error| error.to_string())?;
    keyring.entries().next().cloned().ok_or("no entry".to_owned())
}

#[test]
fn each_rule_knows_its_line() {
    let rules = "verbs = [\n  \"run\",\n]\nusers = [\"www\"]\nnetworks = [\"10.0.0.0/8\", \"::1\"]\n\
                 push = [\n  \"/srv/\",\n  \"/tmp\",\n]\ncommands = [[\"/bin/a\"],\n[\"/bin/b\", \"..\"]]\nstdin = true\n\
                 owner = \"02020202020202020202020202020202\"\nwas = [\"03030303030303030303030303030303\"]\n";
    let key = parse(rules).unwrap();
    assert_eq!((key.verbs.line, key.users.as_ref().unwrap().line), (6, 9));
    let networks = key.networks.as_ref().unwrap();
    assert_eq!((networks.line, networks[1]), (10, "::1/128".parse().unwrap()));
    let push = key.push.as_ref().unwrap();
    assert_eq!((push.line, push[0].line, push[1].line), (11, 12, 13));
    assert_eq!(push[0].value, "/srv".parse().unwrap());
    let commands = key.commands.as_ref().unwrap();
    assert_eq!((commands.line, commands[0].line, commands[1].line), (15, 15, 16));
    assert!(key.stdin && key.pull.is_none());
    for id in [1, 2, 3] {
        assert!(key.is_known_as(KeyId([id; 16])));
    }
    assert!(!key.is_known_as(KeyId([4; 16])));
    let park = Lined { line: 6, value: "web3".parse().unwrap() };
    assert_eq!(parse("park = \"web3\"\n").unwrap().park, Some(park));
}

#[test]
fn a_day_counts_from_its_beginning_and_to_its_end() {
    let (day, next) =
        (UNIX_EPOCH + Duration::from_secs(1_801_353_600), Duration::from_secs(86_400));
    for written in ["2027-01-31", "\"2027-01-31\""] {
        let rules = format!("verbs = []\nnot_before = {written}\nnot_after = {written}\n");
        let key = parse(&rules).unwrap();
        assert_eq!(key.not_before, Some(day));
        assert_eq!(key.not_after, Some(day + next - Duration::from_secs(1)));
    }
    let noon = parse("verbs = []\nnot_before = 2027-01-31T13:00:00+01:00\n").unwrap();
    assert_eq!(noon.not_before, Some(day + next / 2));
    for bad in ["2027-01-31T12:00:00", "12:00:00", "\"soon\"", "5"] {
        let told = parse(&format!("verbs = []\nnot_after = {bad}\n")).err().unwrap();
        assert!(told.contains("7: not a day such as 2027-01-31, nor a date"), "{bad}: {told}");
    }
}

#[test]
fn a_label_that_nobody_could_type_is_refused() {
    let entry = |label: &str| {
        let (id, secret) = ("01".repeat(16), "ab".repeat(32));
        let text = format!(
            "[[key]]\nid = \"{id}\"\nlabel = {label:?}\nstored = \"{secret}\"\nagent = \"{secret}\"\nverbs = []\n"
        );
        Keyring::parse(Path::new("keyring.toml"), &text).map_err(|error| error.to_string())
    };
    assert!(entry("a.B_1@x+y-").is_ok());
    for bad in ["", "x y", "../..", &"x".repeat(65)] {
        let told = entry(bad).err().unwrap();
        assert!(told.starts_with("keyring.toml:3: "), "{bad}: {told}");
    }
}

#[test]
fn a_rule_with_a_mistake_is_told_with_its_line() {
    let many = format!("commands = [{}]\n", "[\"/bin/a\"],".repeat(MAX_PATTERNS + 1));
    let wide = format!("commands = [[\"/bin/a\", \"{{{}}}\"]]\n", ["x"; 65].join(","));
    for (rules, expected) in [
        ("", "2: the key verbs is missing"),
        ("verbs = [\"run\",\n\"sudo\"]\n", "7: \"sudo\" is no verb"),
        ("verbs = [\"keys\"]\nusers = [\"www\"]\n", "7: `keys` is full power over the host"),
        ("verbs = [\"upgrade\"]\npush = []\n", "7: `upgrade` is full power over the host"),
        ("verbs = [\"keys\"]\nconnect = []\n", "7: `keys` is full power over the host"),
        ("verbs = [\"run\"]\nstdin = true\n", "7: `stdin` is for an entry with `commands`"),
        (
            "verbs = [\"run\"]\ncommands = [\n[\"/bin/a\"],\n[]]\n",
            "9: a pattern has at least one word",
        ),
        (
            "verbs = [\"run\"]\ncommands = [[\"ls\"]]\n",
            "7: a pattern begins with the program's absolute",
        ),
        (&format!("verbs = [\"run\"]\n{many}"), "7: over 256 commands"),
        (&format!("verbs = [\"run\"]\n{wide}"), "7: over 64 alternatives"),
        (
            "verbs = [\"push\"]\npush = [\"/a\",\n\"/b/..\"]\n",
            "8: a root is a directory's absolute path",
        ),
        ("verbs = [\"push\"]\nnetworks = [\"10.0.0.0/33\"]\n", "7: \"10.0.0.0/33\" is no network"),
        ("verbs = [\"push\"]\nusers = [\"\"]\n", "7: no user has this name"),
        ("park = \"web3\"\nverbs = [\"run\"]\n", "7: `park` stands alone, without `verbs`"),
        ("park = \"web3\"\nnetworks = []\n", "7: `park` stands alone, without `networks`"),
        ("verbs = [\"run\"]\ncomands = []\n", "7: unknown key comands"),
    ] {
        let error = parse(rules).err().unwrap();
        let error = error.strip_prefix("keyring.toml:").unwrap();
        assert!(error.starts_with(expected), "{expected}: {error}");
    }
}

#[test]
fn the_man_page_has_every_key() {
    let page = include_str!("../../../../docs/man/lariat-keyring.toml.5");
    let error = parse("verbs = [\"run\"]\nzzzz = []\n").err().unwrap();
    let (_, keys) = error.split_once("the keys here are: ").unwrap();
    for key in keys.split(", ") {
        assert!(page.contains(key), "{key}");
    }
}

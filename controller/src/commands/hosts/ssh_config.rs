//! The hosts that an ssh client's configuration names (ssh_config(5)): of it only Host and HostName matter.

/// Patterns have these; what has none is a name.
const WILD: [char; 3] = ['*', '?', '!'];

/// A host and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SshHost {
    pub(super) name: String,
    pub(super) address: String,
}

/// The hosts that it names one by one, and the other files that it includes, which are not looked into.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SshConfig {
    pub(super) hosts: Vec<SshHost>,
    pub(super) included: Vec<String>,
}

/// Reads a configuration. As in ssh, what is said of a host first counts.
pub(super) fn parse(text: &str) -> SshConfig {
    let mut config = SshConfig::default();
    // The names of the block that a line is in, each with its address if that was said.
    let mut names: Vec<(String, Option<String>)> = Vec::new();
    let mut block: Vec<usize> = Vec::new();
    for line in text.lines() {
        let Some((key, words)) = split(line) else { continue };
        match key.to_ascii_lowercase().as_str() {
            "host" => {
                block.clear();
                for word in words.into_iter().filter(|word| !word.contains(WILD)) {
                    let known = names.iter().position(|(name, _)| *name == word);
                    block.push(known.unwrap_or(names.len()));
                    if known.is_none() {
                        names.push((word, None));
                    }
                }
            }
            "match" => block.clear(),
            "include" => config.included.extend(words),
            "hostname" => {
                let Some(address) = words.first() else { continue };
                for &number in &block {
                    let (name, said) = &mut names[number];
                    said.get_or_insert_with(|| address.replace("%h", name).replace("%%", "%"));
                }
            }
            _ => {}
        }
    }
    let host = |(name, address): (String, Option<String>)| {
        let address = address.unwrap_or_else(|| name.clone());
        SshHost { name, address }
    };
    config.hosts = names.into_iter().map(host).collect();
    config
}

/// A line's keyword and its words, which may be in quotes: `Host a "b c"`, `HostName=a`.
fn split(line: &str) -> Option<(&str, Vec<String>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let mut rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let mut words = Vec::new();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Some((key, words))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_hosts_and_patterns_are_not() {
        let config = parse(
            "# mine\nInclude conf.d/*\nHost web1 web2 *.example !web3\n  HostName %h.example.com\n  Port 2222\n\
             host=db\n\tHOSTNAME \"10.0.0.7\" # the old one\nHost *\n  HostName x\nHost db\n  HostName y\n\
             Match host web1\n  HostName z\nHost plain\n  User root\n",
        );
        let host =
            |name: &str, address: &str| SshHost { name: name.into(), address: address.into() };
        assert_eq!(
            config.hosts,
            [
                host("web1", "web1.example.com"),
                host("web2", "web2.example.com"),
                host("db", "10.0.0.7"),
                host("plain", "plain"),
            ]
        );
        assert_eq!(config.included, ["conf.d/*"]);
    }

    proptest! {
        #[test]
        fn whatever_it_says_it_is_read(text in "(Host|HostName|[ \t\n\"=#*a%])*") {
            let config = parse(&text);
            prop_assert!(config.hosts.iter().all(|host| !host.name.contains(WILD)));
        }
    }
}

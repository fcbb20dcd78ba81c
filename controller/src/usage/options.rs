//! Options of ssh, rsync, clush and Ansible, typed out of habit: what does that here.

/// The verbs, the options, and what to do here. Without verbs it is for all of them.
type Foreign = (&'static [&'static str], &'static [&'static str], &'static str);

const COPIES: &[&str] = &["push", "pull"];
const COMMANDS: &[&str] = &["run", "shell"];
const HOLDS: &[&str] = &["forward"];

/// What no option of push and pull does.
const RSYNC: &str = "lariat has nothing like it; rsync itself goes over lariat: rsync -e 'lariat rsh' SOURCE HOST:DEST";

const FOREIGN: &[Foreign] = &[
    // rsync and scp
    (
        COPIES,
        &["-a", "--archive", "--times", "-l", "--links", "--perms", "-E", "--executability"],
        "modes, times and links are copied anyway; --owner, -H, -X and -A add the rest",
    ),
    (COPIES, &["-t"], "times are copied anyway; a terminal is for run and shell"),
    (COPIES, &["-r", "--recursive", "-d", "--dirs"], "directories are copied whole anyway"),
    (COPIES, &["-z", "-C"], "it is --compress"),
    (
        COPIES,
        &["-P", "--partial", "--partial-dir", "--append", "--append-verify"],
        "what was cut resumes by itself, and a terminal shows the progress",
    ),
    (COPIES, &["-c"], "it is --checksum"),
    (COPIES, &["-b"], "it is --backup"),
    (COPIES, &["-g", "--group"], "it is --owner, which copies groups too"),
    (
        COPIES,
        &["-i", "--itemize-changes", "--stats", "--info", "--out-format"],
        "--dry-run lists the changes, and the last line sums up; a key is chosen by --key LABEL",
    ),
    (COPIES, &["--human-readable"], "sizes are shown so anyway"),
    (
        COPIES,
        &["-e", "--rsh", "--rsync-path"],
        "lariat reaches hosts by itself; rsync goes over it: rsync -e 'lariat rsh'",
    ),
    (COPIES, &["-S", "--sparse"], "holes stay holes anyway"),
    (COPIES, &["-W", "--whole-file"], "only what differs is sent, and that is not slower"),
    (
        COPIES,
        &["--delete-after", "--delete-before", "--delete-during", "--delete-delay", "--del"],
        "it is --delete, which deletes once everything has arrived",
    ),
    (COPIES, &["--delete-excluded"], "excluded names are safe from --delete"),
    (
        COPIES,
        &["-L", "--copy-links", "-k"],
        "a SOURCE that is a link is followed; links inside it stay links",
    ),
    (
        COPIES,
        &["--exclude-from", "--include-from", "-f", "--filter"],
        "each pattern is an --exclude or --include; --files-from FILE lists paths",
    ),
    (
        COPIES,
        &[
            "-x",
            "--one-file-system",
            "--update",
            "--ignore-existing",
            "--existing",
            "--size-only",
            "--remove-source-files",
            "--link-dest",
            "--compare-dest",
            "--copy-dest",
            "--max-size",
            "--min-size",
            "--numeric-ids",
            "-R",
            "--relative",
            "-D",
            "-m",
            "--prune-empty-dirs",
        ],
        RSYNC,
    ),
    // clush, pdsh and Ansible
    (&["run", "ping"], &["-w"], "the hosts are TARGET, the first word: web1,web2"),
    (&["run", "ping"], &["-a"], "every host is the TARGET all"),
    (&["run", "ping"], &["-g", "--group"], "the hosts of a tag are the TARGET @TAG"),
    (&["run", "ping"], &["-x", "--exclude"], "'!' takes hosts out of TARGET: 'all,!web1'"),
    (&["run", "ping"], &["--limit"], "'&' narrows TARGET: '@web&@berlin'"),
    (
        &["run", "ping", "push", "pull", "batch"],
        &["-f", "--forks", "--fanout"],
        "--parallel N says how many hosts at once",
    ),
    (&["run"], &["-b", "-B", "--dshbak"], "--gather shows equal output once"),
    (&["run"], &["-c", "--command"], "the command comes after --"),
    (
        &["run"],
        &["-m", "--module-name", "--args"],
        "there are no modules; a command comes after --",
    ),
    (&["run"], &["-e", "--extra-vars"], "--env NAME=VALUE sets a variable of the command"),
    (
        &["run"],
        &["-d", "--background", "--daemon"],
        "--detach starts a command and leaves it running",
    ),
    (&["run"], &["-s"], "--script FILE sends a local script and runs it"),
    (
        COMMANDS,
        &["--become", "--sudo", "--become-user", "-K"],
        "-u NAME acts as another user of the host",
    ),
    (&["run", "push", "pull"], &["--check"], "it is --dry-run"),
    // ssh
    (COMMANDS, &["-l", "--login"], "-u NAME, or NAME@HOST, says as which user"),
    (
        COMMANDS,
        &["-L", "-R", "-D", "-W"],
        "ports are forwarded by lariat forward HOST -L, -R or -D",
    ),
    (COMMANDS, &["-A"], "no agent is forwarded: a key stays on its machine"),
    (COMMANDS, &["-X", "-Y"], "no X11 is forwarded"),
    (COMMANDS, &["-C"], "output is sent as it is; push and pull have --compress"),
    (COMMANDS, &["-f"], "--detach, an option of run, starts a command and leaves it running"),
    (&["shell"], &["-t", "-tt", "--tty"], "a shell has a terminal anyway"),
    (HOLDS, &["-N", "-T", "-n"], "forward runs no command anyway"),
    (HOLDS, &["-f"], "it stays in the foreground; a shell's & puts it behind"),
    (HOLDS, &["-g"], "BIND says where it listens: -L '*:PORT:ADDR:PORT' is every address"),
    (&["ping"], &["-c"], "each host is asked once; lariat watch TARGET goes on"),
    (&["ping"], &["-W"], "--connect-timeout DUR says how long to wait"),
    (&["logs", "attach"], &["-n"], "--tail N shows the last lines"),
    (
        &["jobs"],
        &["-a", "--all"],
        "all jobs of your key are listed; --all-keys adds those of others",
    ),
    (
        &[],
        &["-i", "--identity", "--private-key"],
        "a key is chosen by --key LABEL; lariat key list has them",
    ),
    (&[], &["-F"], "hosts of an ssh configuration are taken over by lariat hosts import FILE"),
    (&[], &["-4", "-6"], "the address in the inventory decides; see lariat hosts"),
    (
        &[],
        &["-p", "--port", "-P"],
        "the inventory has each host's port (lariat hosts), and --parallel N says how many hosts at once",
    ),
    (
        &[],
        &["-o"],
        "lariat needs no options of ssh; lariat rsh takes them where a program starts it for ssh",
    ),
    (&[], &["-t"], "a terminal is for run and shell"),
    (&[], &["-n"], "a dry run is for push, pull and batch"),
    (&[], &["-u"], "this verb does nothing as a user of the host"),
    (
        &[],
        &["-w", "-a", "-g", "-x"],
        "which hosts says TARGET, such as web1,web2, all, @TAG or 'all,!web1'",
    ),
    (&[], &["-l"], "a user stands before the host: NAME@HOST"),
];

/// What does here what `option`, followed by `next`, does in another program; `verb` does not have it.
pub(super) fn elsewhere(verb: &str, option: &str, next: Option<&str>) -> Option<&'static str> {
    // scp -P PORT and scp -l LIMIT, among options of rsync.
    let is_number = next.is_some_and(|next| next.bytes().all(|byte| byte.is_ascii_digit()));
    match option {
        "-P" | "-p" if is_number => return find("", option),
        "-l" if is_number && COPIES.contains(&verb) => return Some("it is --bwlimit RATE"),
        "-p" if COPIES.contains(&verb) => return find(verb, "-a"),
        _ => {}
    }
    find(verb, option)
}

fn find(verb: &str, option: &str) -> Option<&'static str> {
    let is_it = |(verbs, options, _): &&Foreign| {
        (verbs.is_empty() || verbs.contains(&verb)) && options.contains(&option)
    };
    FOREIGN.iter().find(is_it).map(|(_, _, here)| *here)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn advice_names_options_that_the_verb_has_and_none_is_hidden_by_one() {
        let mut syntax = Cli::command();
        syntax.build();
        for (verbs, options, here) in FOREIGN {
            for verb in *verbs {
                let own = syntax.find_subcommand(verb).unwrap();
                let longs: Vec<_> = own.get_arguments().filter_map(clap::Arg::get_long).collect();
                let shorts: Vec<_> = own.get_arguments().filter_map(clap::Arg::get_short).collect();
                for option in *options {
                    let is_own = match option.strip_prefix("--") {
                        Some(long) => longs.contains(&long),
                        None => shorts.contains(&option.chars().nth(1).unwrap()),
                    };
                    assert!(!is_own, "{verb} {option}");
                }
                let is_elsewhere = here.contains("have --") || here.contains("an option of");
                let words = here.split(|c: char| !c.is_ascii_lowercase() && c != '-');
                for long in words.filter_map(|word| word.strip_prefix("--")) {
                    let is_there = long.is_empty() || longs.contains(&long);
                    assert!(is_there || is_elsewhere, "{verb}: {here}");
                }
            }
        }
    }

    #[test]
    fn a_port_or_a_limit_is_told_by_its_number() {
        assert!(elsewhere("push", "-P", Some("22")).unwrap().contains("port"));
        assert!(elsewhere("push", "-P", Some("f")).unwrap().contains("resumes"));
        assert!(elsewhere("push", "-p", Some("22")).unwrap().contains("port"));
        assert!(elsewhere("push", "-p", Some("f")).unwrap().contains("modes"));
        assert!(elsewhere("pull", "-l", Some("100")).unwrap().contains("--bwlimit"));
        assert!(elsewhere("push", "-l", Some("f")).unwrap().contains("links"));
        assert_eq!(elsewhere("push", "--nosuch", None), None);
    }
}

//! Mistakes that people make: what is said, and the exit status. Each message names what failed, on which end, why, and
//! what to type next. The lines are a shell's, as they are typed.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use lariat_testing::agent::Agent;
use lariat_testing::binaries::binaries;
use lariat_testing::fleet::TestFleet;

/// What is done before, the line, its exit status, and its stderr without `lariat: `.
type Mistake = (&'static str, &'static str, i32, &'static str);

#[rustfmt::skip]
const USAGE: &[Mistake] = &[
    ("", "lariat run web1 uptime", 255, "the command of run comes after --; try: lariat run web1 -- uptime"),
    ("", "lariat run web1", 255, "run: COMMAND is missing; try: lariat run web1 -- COMMAND, or for a terminal: lariat shell web1"),
    ("", "lariat run wbe1 -- true", 255, "no host wbe1 in this fleet (did you mean web1?); try: lariat hosts"),
    ("", "lariat run @wbe -- true", 255, "no host matches @wbe (did you mean @web?); try: lariat hosts"),
    ("", "lariat run @web,@nope -- true", 255, "no host matches @nope; try: lariat hosts"),
    ("", "lariat run 'web[1-2],web[50-52]' -- true", 255, "no host matches web[50-52]; try: lariat hosts"),
    ("", "lariat run 'web[1-' -- true", 255, "TARGET: \"web[1-\", position 4: its ']' is missing; try: lariat run --help"),
    ("", "lariat run 'web1 web2' -- true", 255, "TARGET: \"web1 web2\", position 1: hosts are separated by commas: web1,web2; try: lariat run --help"),
    ("", "lariat run web* -- true", 255, "run takes one TARGET, and web2.txt is another word; hosts are separated by commas: web1.txt,web2.txt; a pattern is quoted, or the shell replaces it by the names of files: 'web*'"),
    ("", "lariat ping web1 web2", 255, "ping takes one TARGET, and web2 is another word; hosts are separated by commas: web1,web2; a pattern is quoted, or the shell replaces it by the names of files: 'web*'"),
    ("", "lariat run web1 --timeout 5x -- true", 255, "--timeout: \"5x\" is not a duration such as 500ms, 1s, 5m, 2h or 30d, or 30 for seconds; try: lariat run --help"),
    ("", "lariat push f web1:/tmp/x --bwlimit 10MB", 255, "--bwlimit: \"10MB\" is not a rate in bytes a second such as 500K, 10M or 1G; try: lariat push --help"),
    ("", "lariat push f web1:/tmp/x --chmod u+z", 255, "--chmod: \"u+z\" is neither a mode in octal, such as 644, nor a change, such as u=rw,go=r or D755,F644; try: lariat push --help"),
    ("", "lariat run web1 --env FOO -- true", 255, "--env FOO: there is no '=' in it; try: --env NAME=VALUE"),
    ("", "lariat kill web1 zzzz", 255, "JOB: \"zzzz\" is not a job's id, nor its beginning (up to 32 hexadecimal digits); try: lariat jobs web1"),
    ("", "lariat logs web1 zzzz", 255, "JOB: \"zzzz\" is not a job's id, nor its beginning (up to 32 hexadecimal digits); try: lariat jobs web1"),
    ("", "lariat enroll web30 10.0.0.1", 255, "enroll takes a host's name, and 10.0.0.1 is another word; try: lariat enroll web30 --address 10.0.0.1"),
    ("", "lariat cp f web1:", 255, "there is no verb cp; try: lariat push FILE HOST:DEST, or lariat pull HOST:FILE DEST"),
    ("", "lariat sync f web1:", 255, "there is no verb sync; try: lariat push FILE HOST:DEST, or lariat pull HOST:FILE DEST"),
    ("", "lariat exec web1 ls", 255, "there is no verb exec; try: lariat run TARGET -- COMMAND"),
    ("", "lariat ssh web1", 255, "there is no verb ssh; try: lariat shell HOST for a terminal, or lariat run HOST -- COMMAND"),
    ("", "lariat ls", 255, "there is no verb ls; try: lariat hosts"),
    ("", "lariat enrol web1", 255, "there is no verb enrol (did you mean enroll?); try: lariat --help"),
    ("", "lariat push -t f web1:", 255, "there is no option -t: times are copied anyway; a terminal is for run and shell; try: lariat push --help"),
    ("", "lariat ping -n web1", 255, "there is no option -n: a dry run is for push, pull and batch; try: lariat ping --help"),
    ("", "lariat jobs -u bob web1", 255, "there is no option -u: this verb does nothing as a user of the host; try: lariat jobs --help"),
    ("", "lariat run -p 22 web1 -- true", 255, "there is no option -p: the inventory has each host's port (lariat hosts), and --parallel N says how many hosts at once; try: lariat run --help"),
    ("", "lariat push -o Port=22 f web1:", 255, "there is no option -o: lariat needs no options of ssh; lariat rsh takes them where a program starts it for ssh; try: lariat push --help"),
    ("", "lariat rsh -p 22 db1 true", 255, "rsh: port 22 is not db1's, which is 1; the inventory knows each host's port: lariat hosts"),
    ("", "lariat key new -- -x", 255, "key new: a label that begins with '-', as -x, would pass for an option; choose another one"),
    ("", "lariat can bob db1 --user nobody", 255, "can: a user is of an action, such as -- COMMAND, and none is named; try: lariat can bob db1, for everything"),
    ("", "lariat can bob nobody@db1", 255, "can: a user is of an action, such as -- COMMAND, and none is named; try: lariat can bob db1, for everything"),
    ("", "lariat run web1 --timeot 1s -- true", 255, "there is no option --timeot (did you mean --timeout?); try: lariat run --help"),
    ("", "lariat run", 255, "run: TARGET and COMMAND are missing; try: lariat run TARGET -- COMMAND"),
    ("", "lariat run wbe1", 255, "no host wbe1 in this fleet (did you mean web1?); try: lariat hosts"),
    ("", "lariat run wbe1 uptime", 255, "no host wbe1 in this fleet (did you mean web1?); try: lariat hosts"),
    ("", "lariat run web1 --timeout -1 -- true", 255, "--timeout can't be negative, as -1; try: lariat run --help"),
    ("", "lariat ping", 255, "ping: TARGET is missing; try: lariat ping TARGET"),
    ("", "lariat push", 255, "push: SOURCE and TARGET:DEST are missing; try: lariat push SOURCE TARGET:DEST"),
    ("", "lariat push f", 255, "push: TARGET:DEST is missing; try: lariat push f TARGET:DEST"),
    ("", "lariat push web1:", 255, "push: SOURCE is missing; try: lariat push SOURCE web1:"),
    ("", "lariat pull web1:/tmp/x", 255, "pull: DEST is missing; try: lariat pull web1:/tmp/x ."),
    ("", "lariat pull x", 255, "pull: TARGET:SOURCE is missing; try: lariat pull TARGET:SOURCE x"),
    ("", "lariat push -u f web1:", 255, "push: SOURCE is missing; try: lariat push SOURCE web1: (-u has taken f for a user)"),
    ("", "lariat hosts web1 web2", 255, "hosts takes one TARGET, and web2 is another word; hosts are separated by commas: web1,web2; a pattern is quoted, or the shell replaces it by the names of files: 'web*'"),
    ("", "lariat jobs web1 web2", 255, "JOB: \"web2\" is not a job's id, nor its beginning (up to 32 hexadecimal digits); hosts are separated by commas: web1,web2"),
    ("", "lariat key revoke bob web1 web2", 255, "key revoke takes LABEL|ID and TARGET, and web2 is another word; hosts are separated by commas: web1,web2; a pattern is quoted, or the shell replaces it by the names of files: 'web*'"),
    ("", "lariat unenroll web1", 255, "there is no verb unenroll; try: lariat forget HOST"),
    ("", "lariat update web1", 255, "there is no verb update; try: lariat upgrade TARGET for a new agent, or lariat push for files"),
    ("", "lariat statsu all", 255, "there is no verb statsu (did you mean status?); try: lariat --help"),
    ("", "lariat shel web1", 255, "there is no verb shel (did you mean shell?); try: lariat --help"),
    ("", "lariat rnu web1 -- true", 255, "there is no verb rnu (did you mean run?); try: lariat --help"),
    ("", "lariat key create bob", 255, "there is no verb key create; try: lariat key new LABEL"),
    ("", "lariat enroll web9 --address", 255, "--address needs a value: ADDR[:PORT]; try: lariat enroll --help"),
    ("", "lariat shell @web", 255, "shell: @web names several hosts, and a terminal is for one; try: lariat hosts @web"),
    ("", "lariat shell web1 -- id", 255, "shell takes one HOST, and id is another word; for a command, try: lariat run web1 -- id"),
    ("", "lariat shell wbe1", 255, "no host wbe1 in this fleet (did you mean web1?); try: lariat hosts"),
    ("", "lariat forward web1", 255, "forward: -L, -R or -D is missing, which say what is forwarded; try: lariat forward web1 -L 8080:127.0.0.1:80"),
    ("", "lariat forward @web -L 8080:127.0.0.1:80", 255, "forward: @web names several hosts, and ports lead through one; try: lariat hosts @web"),
    ("", "lariat run @web -t -- true", 255, "run: @web names several hosts, and a terminal is for one; try: lariat hosts @web"),
    ("", "lariat rsh", 255, "rsh: HOST is missing; try: lariat rsh HOST COMMAND"),
    ("", "lariat push -avz d web1:", 255, "there is no option -a: modes, times and links are copied anyway; --owner, -H, -X and -A add the rest; try: lariat push --help"),
    ("", "lariat push -r d web1:", 255, "there is no option -r: directories are copied whole anyway; try: lariat push --help"),
    ("", "lariat push -z f web1:", 255, "there is no option -z: it is --compress; try: lariat push --help"),
    ("", "lariat push -P f web1:", 255, "there is no option -P: what was cut resumes by itself, and a terminal shows the progress; try: lariat push --help"),
    ("", "lariat push -P 22 f web1:", 255, "there is no option -P: the inventory has each host's port (lariat hosts), and --parallel N says how many hosts at once; try: lariat push --help"),
    ("", "lariat push --progress f web1:", 255, "--progress: f is none of auto, always, never; a terminal shows progress anyway"),
    ("", "lariat push --archive d web1:", 255, "there is no option --archive: modes, times and links are copied anyway; --owner, -H, -X and -A add the rest; try: lariat push --help"),
    ("", "lariat push --partial f web1:", 255, "there is no option --partial: what was cut resumes by itself, and a terminal shows the progress; try: lariat push --help"),
    ("", "lariat push -e ssh f web1:", 255, "there is no option -e: lariat reaches hosts by itself; rsync goes over it: rsync -e 'lariat rsh'; try: lariat push --help"),
    ("", "lariat push -i KEY f web1:", 255, "there is no option -i: --dry-run lists the changes, and the last line sums up; a key is chosen by --key LABEL; try: lariat push --help"),
    ("", "lariat push --ignore-existing f web1:", 255, "there is no option --ignore-existing: lariat has nothing like it; rsync itself goes over lariat: rsync -e 'lariat rsh' SOURCE HOST:DEST; try: lariat push --help"),
    ("", "lariat run -w web1 uptime", 255, "there is no option -w: the hosts are TARGET, the first word: web1,web2; try: lariat run --help"),
    ("", "lariat run -f 10 @web -- true", 255, "there is no option -f: --parallel N says how many hosts at once; try: lariat run --help"),
    ("", "lariat run -l bob web1 -- true", 255, "there is no option -l: -u NAME, or NAME@HOST, says as which user; try: lariat run --help"),
    ("", "lariat run -i KEY web1 -- true", 255, "run takes one TARGET, and web1 is another word; -i sends stdin to the command; a key is chosen by --key LABEL"),
    ("", "lariat run --become web1 -- id", 255, "there is no option --become: -u NAME acts as another user of the host; try: lariat run --help"),
    ("", "lariat shell -p 22 web1", 255, "there is no option -p: the inventory has each host's port (lariat hosts), and --parallel N says how many hosts at once; try: lariat shell --help"),
    ("", "lariat shell -L 80:x:80 web1", 255, "there is no option -L: ports are forwarded by lariat forward HOST -L, -R or -D; try: lariat shell --help"),
    ("", "lariat logs -n 5 web1", 255, "there is no option -n: --tail N shows the last lines; try: lariat logs --help"),
    ("", "lariat key allow bob web1 --verbs run --users ''", 255, "--users: a name in it is empty; try: lariat key allow --help"),
    ("", "lariat key allow bob web1 --command 'ls *'", 255, "--command: \"ls *\" does not begin with the program's absolute path, such as /usr/bin/ls; try: lariat key allow --help"),
    ("", "lariat key allow bob web1 --push-root srv", 255, "--push-root: \"srv\" is not a directory's absolute path without '.', '..' and '//'; try: lariat key allow --help"),
];

#[rustfmt::skip]
const FILES: &[Mistake] = &[
    ("", "lariat push missing.txt web1:", 255, "push missing.txt to web1: here: open missing.txt: no such file or directory"),
    ("", "lariat push missing.txt web[1-2]:", 255, "push missing.txt: here: open missing.txt: no such file or directory"),
    ("", "lariat push f web1", 255, "\"web1\" is not TARGET:PATH; did you mean web1: (the home directory) or web1:/PATH?"),
    ("", "lariat push web1:/tmp/ f", 255, "push sends to hosts, which come last; try: lariat pull web1:/tmp/ f"),
    ("", "lariat pull f web1:/tmp/", 255, "pull fetches from hosts, which come first; try: lariat push f web1:/tmp/"),
    ("", "lariat pull web1:/proc/nope/x .", 255, "pull /proc/nope/x from web1: on web1: open /proc/nope/x: no such file or directory"),
    ("", "lariat pull 'web1:/etc/*.conf' d", 255, "pull /etc/*.conf from web1: on web1: open /etc/*.conf: no such file or directory; globs are literal on a host: name the directory, and choose by --include and --exclude '*'"),
    ("", "lariat pull web1:/etc/hostname /proc/nope/x/", 255, "pull /etc/hostname from web1: here: make directory /proc/nope/x/: no such file or directory"),
    ("", "lariat push f 'web1:{hsot}'", 255, "{hsot}: unknown placeholder {hsot}; {host} is the host's name, {{hsot}} means the text {hsot}"),
    ("", "lariat push f 'web1:~bob/x'", 255, "~bob/x: the home of bob is not looked up; try: the whole path, or ./~bob/x for a directory of that name"),
    ("", "lariat push -q d/ web1:$WORK/there/ --delete --max-delete 0", 255, "push d/ to web1: on web1: WORK/there: 1 names would be deleted, which is more than --max-delete 0: none was"),
    ("", "lariat push f web1:/etc/hostname/", 255, "push f to web1: on web1: open /etc/hostname/: not a directory; a name in this path is a file"),
    ("", "lariat push f web1:$WORK/there/x --chown nosuch", 255, "push f to web1: on web1: there is no user \"nosuch\""),
    ("", "lariat pull web1:/etc/hostname x --chown nosuch", 255, "here: there is no user \"nosuch\""),
    ("", "lariat push f nosuch@web1:/tmp/x", 255, "push f to web1: on web1 as nosuch: there is no user nosuch on this host"),
    ("", "lariat push '' web1:", 255, "push: a source is empty; try: ./, for what is in the working directory"),
    ("", "lariat push f 'web1:{host'", 255, "{host: a { without }; {host} is the host's name, {{ means the text {"),
    ("", "lariat push f 'web1:host}'", 255, "host}: a } without {; {host} is the host's name, }} means the text }"),
    ("", "lariat push web1:/a/ web2:/b", 255, "push sends files of this machine, and both web1:/a/ and web2:/b are on hosts; try: lariat pull web1:/a/ a && lariat push a/ web2:/b"),
    ("", "lariat push web1:/a ./b", 255, "push sends to hosts, which come last; try: lariat pull web1:/a ./b"),
    ("", "lariat push f web1:/a web2:/b", 255, "push sends files of this machine, and both web1:/a and web2:/b are on hosts; try: lariat pull web1:/a . && lariat push a web2:/b"),
    ("", "lariat pull web1:/a web2:/b", 255, "pull fetches to this machine, and both web1:/a and web2:/b are on hosts; try: lariat pull web1:/a . && lariat push a web2:/b"),
    ("", "lariat push -q f ./f web1:$WORK/there/", 255, "two sources are named f: f and ./f; give each a DEST of its own"),
    ("", "lariat push -q big web1:$WORK/there/big --timeout 1ms", 124, "push big to web1: timed out after 0.001 s; run it again"),
    ("", "lariat push -q big web1:$WORK/there/big --timeout 1ms --inplace", 124, "push big to web1: timed out after 0.001 s; run it again"),
    ("", "lariat pull web1:$WORK/big - --timeout 1ms", 124, "pull WORK/big from web1: timed out after 0.001 s; run it again"),
    ("", "lariat pull web1:/etc/hostname - >/dev/full", 255, "pull /etc/hostname from web1: here: write -: no space left on device; make room, and run it again"),
];

#[rustfmt::skip]
const ROOT: &[Mistake] = &[
    ("", "lariat push f nobody@web1:/root/", 255, "push f to web1: on web1 as nobody: open /root/f: permission denied"),
    ("", "lariat push d nobody@web1:/root/", 255, "push d to web1: on web1 as nobody: make directory /root/d: permission denied"),
    ("", "lariat run -u nobody web1 --cwd /root -- true", 255, "run on web1 (WEB1) as nobody: enter directory /root: permission denied"),
    ("", "lariat run nobody@web1 -- /root/x y", 126, "run on web1 as nobody: start /root/x: permission denied"),
    ("", "lariat clean nobody@web1:/root/", 255, "clean: on web1 as nobody: read /root/: permission denied\nweb1: removed 0 abandoned partials, 0 B"),
    ("", "lariat push f nobody@web1:/etc/hostname", 255, "push f to web1: on web1 as nobody: create /etc/hostname: permission denied; if the file exists, --inplace writes into it instead of replacing it"),
    ("", "lariat push f nobody@web1:/etc/ --inplace", 255, "push f to web1: on web1 as nobody: create /etc/f: permission denied"),
    ("chown nobody $LARIAT_HOME/keys/*.key", "lariat ping web1", 255, "ping: HOME/keys/LABEL.key belongs to user 65534, not to the user 0 that reads it; if you trust it, try: chown 0 HOME/keys/LABEL.key"),
    ("", "setpriv --reuid nobody --clear-groups lariat ping web1", 255, "ping: open HOME/hosts.toml: permission denied; run it as the fleet's owner, or name another fleet by --home or LARIAT_HOME"),
    ("", "lariat push big full:$WORK/full/", 255, "push big to full: on full: write WORK/full/big: no space left on device; make room, and run it again"),
    ("", "unshare -m sh -c 'mount -t tmpfs -o size=64k none $WORK/full && lariat pull web1:$WORK/big $WORK/full/'", 255, "pull WORK/big from web1: here: write WORK/full/big: no space left on device; make room, and run it again"),
];

#[rustfmt::skip]
const COMMANDS: &[Mistake] = &[
    ("", "lariat run web1 -u nosuch -- true", 255, "run on web1 (WEB1) as nosuch: there is no user nosuch on this host"),
    ("", "lariat run web1 -- nosuchprog x", 127, "run on web1: nosuchprog: command not found; where it is looked for: lariat run web1 -- 'echo $PATH'"),
    ("", "lariat run web1 -- cd /tmp", 127, "run on web1: cd is a builtin of the shell, and no program; try: one quoted word: lariat run web1 -- 'cd /tmp'"),
    ("", "lariat run web1 -- 'ls -la' f", 127, "run on web1: start ls -la: no such file or directory; try: one quoted word for a shell: lariat run web1 -- 'ls -la f'"),
    ("", "lariat run web1 -- /proc/nope/x y", 127, "run on web1: start /proc/nope/x: no such file or directory"),
    ("", "lariat run web1 -- A=1 env", 127, "run on web1: A=... sets a variable in a shell, and here it is no program; try: --env A=1, or one quoted word: lariat run web1 -- 'A=1 env'"),
    ("", "lariat run web1 --cwd /proc/nope -- true", 255, "run on web1 (WEB1): enter directory /proc/nope: no such file or directory"),
    ("", "lariat run web1 --timeout 200ms -- sleep 9", 124, "web1: timed out after 0.2 s"),
    ("", "lariat run web[1] --timeout 200ms -- sleep 9", 1, "web1: timed out after 0.2 s\n1 timed out (web1)"),
    ("", "lariat jobs web[1] --timeout 1ms", 1, "jobs: web1 (WEB1): timed out after 0.001 s\n1 timed out (web1); 0 jobs"),
    ("", "lariat key revoke nosuch web1", 255, "key revoke: web1 (WEB1): its keyring has no such key as nosuch; it has LABEL; try: lariat key list web1"),
    ("", "lariat key allow nosuch web1 --verbs run", 255, "nosuch may do: run\nlariat: key allow: web1 (WEB1): its keyring has no such key as nosuch; it has LABEL; try: lariat key list web1"),
    ("", "lariat can nosuch web1", 255, "can: web1 (WEB1): its keyring has no such key as nosuch; it has LABEL; try: lariat key list web1"),
    ("", "lariat can ${LABEL}x web1", 255, "can: web1 (WEB1): its keyring has no such key as LABELx (did you mean LABEL?); it has LABEL; try: lariat key list web1"),
    ("", "lariat can web1 bob@laptop", 255, "can: web1 is a host, and bob@laptop is none: the key comes first; try: lariat can bob@laptop web1"),
    ("", "lariat key revoke web1 bob@laptop", 255, "key revoke: web1 is a host, and bob@laptop is none: the key comes first; try: lariat key revoke bob@laptop web1"),
    ("", "lariat batch single.toml web1", 255, "single.toml:1: there may be several of these tables, so each is written [[step]]"),
    ("", "lariat batch nodest.toml web1", 255, "nodest.toml:2: push: dest is missing, where it goes on the hosts; try: dest = \"/srv/\""),
    ("", "lariat batch @web fails.toml", 255, "read @web: no such file or directory; try: lariat batch fails.toml @web"),
    ("", "lariat batch fails.toml web1 web2", 255, "batch takes PLAN.toml and TARGET, and web2 is another word; hosts are separated by commas: web1,web2; a pattern is quoted, or the shell replaces it by the names of files: 'web*'"),
    ("", "lariat batch raw.toml web1", 255, "raw.toml:3: timeout: \"soon\" is not a duration such as 500ms, 1s, 5m, 2h or 30d, or 30 for seconds"),
    ("", "lariat kill @web", 255, "kill: @web names several hosts; the job must be named; try: lariat jobs @web"),
    ("", "lariat attach web1", 255, "attach on web1: this key has no detached job on this host; try: lariat run --detach web1 -- COMMAND"),
    ("", "lariat batch typo.toml web1", 255, "typo.toml:3: dst: a push step has no such key (did you mean dest?)"),
    ("", "lariat batch fails.toml web1", 1, "web1: step 1 of 2 (fails.toml:1: run exit 4): exit 4\n1 failed (web1)\nto go on with the hosts that failed: lariat batch fails.toml web1 --resume"),
];

#[rustfmt::skip]
const FLEET: &[Mistake] = &[
    ("", "lariat enroll web2 --address 10.0.0.2", 255, "enroll web2: it is enrolled already, at WEB2; nothing was changed; lariat renew web2 gives it a new certificate, lariat enroll web2 --ssh ADDR repairs it, and lariat forget web2 removes it from the fleet"),
    ("lariat forget web2; mkdir web2.lariat; touch web2.lariat/x", "lariat enroll web2 --address 10.0.0.2", 255, "enroll web2: web2.lariat exists and is not empty; nothing was changed; try: mv web2.lariat web2.lariat.old, or --out with a new directory"),
    ("", "lariat --home /nowhere hosts", 255, "no fleet in /nowhere; try: lariat init"),
    ("", "env -u LARIAT_HOME -u HOME lariat hosts", 255, "no directory for the fleet: neither LARIAT_HOME nor HOME is set; try: lariat --home DIR ..."),
    ("chmod 644 $LARIAT_HOME/keys/*.key", "lariat ping web1", 255, "ping: HOME/keys/LABEL.key is open to others (mode 0644), and must be its owner's alone; try: chmod 600 HOME/keys/LABEL.key"),
    ("chmod 644 $LARIAT_HOME/hosts.toml $LARIAT_HOME/ca.pem", "lariat ping -q web1 >/dev/null", 0, ""),
    ("chmod 664 $LARIAT_HOME/hosts.toml", "lariat ping web1", 255, "ping: HOME/hosts.toml is open to others (mode 0664), and must be its owner's alone; try: chmod 600 HOME/hosts.toml"),
    ("sed -i '0,/^address/s/^address = .*/address = 10.0.0.1/' $LARIAT_HOME/hosts.toml", "lariat hosts", 255, "HOME/hosts.toml:10: a text stands in quotes (\"): address = \"...\""),
    ("sed -i '0,/^address/s/^address.*/&\\n&/' $LARIAT_HOME/hosts.toml", "lariat hosts", 255, "HOME/hosts.toml:11: address is there twice; remove one of them"),
    ("sed -i '0,/^.hosts.web1/s/^.hosts.web1/[web1/' $LARIAT_HOME/hosts.toml", "lariat hosts", 255, "HOME/hosts.toml:9: unknown key web1; the keys here are: hosts, defaults; a host is [hosts.web1]"),
    ("sed -i 's/^tags = .*/tags = \"web\"/' $LARIAT_HOME/hosts.toml", "lariat hosts", 255, "HOME/hosts.toml:23: it must be a list, such as [\"web\"], and not \"web\""),
    ("sed -i 's/^address/adress/' $LARIAT_HOME/hosts.toml", "lariat hosts", 255, "HOME/hosts.toml:22: unknown key adress (did you mean address?); the keys here are: address, tags, via, proxy, enrolment, spki, spki_next"),
    ("lariat key new ann; lariat key new bob; rm $LARIAT_HOME/keys/*@*", "lariat ping web1", 255, "ping: several keys in HOME/keys, none of them LABEL; try: --key ann, or LARIAT_KEY=ann"),
    ("", "lariat ping web1 --key bob", 255, "ping: no key bob in HOME/keys (LABEL); try: lariat key new bob"),
    ("lariat key new bob", "lariat ping web1 --key bob", 255, "ping: web1 (WEB1): the agent denied the login: this key is not in its keyring, may not log in now or from here, or the host was enrolled anew; the agent's log says which"),
    ("", "lariat ping db1", 255, "ping: db1 (127.0.0.1:1): connect: connection refused; is lariatd running there?"),
    ("at $HANGS", "lariat ping web1 --connect-timeout 300ms", 255, "ping: web1 (HANGS): no answer within 0.3 s in the TLS handshake; TCP connects, so either what listens there hangs, or large packets are lost on the way (MTU; try: ping -M do -s 1472 ADDRESS)"),
    ("at no.such.host.invalid:7433", "lariat ping web1", 255, "ping: web1 (no.such.host.invalid:7433): look up the address: name or service not known; see hosts.toml"),
    ("at $WEB2", "lariat ping web1", 255, "ping: web1 (WEB2): another host answers there: its certificate is for web2; is the address right?"),
    ("at $SSH", "lariat ping web1", 255, "ping: web1 (SSH): what listens there does not speak TLS; is it lariatd's port?"),
    ("at $OTHER", "lariat ping web1", 255, "ping: web1 (OTHER): its certificate is not of this fleet; is the address right, and is it this fleet's host (--home, LARIAT_HOME)?"),
    ("", "LARIAT_HOME=$EXPIRED lariat ping web1", 255, "ping: web1 (EXPIRED_AT): its certificate expired on 2025-01-01T00:00:00Z, and this machine's clock says NOW; if that is right, try: lariat enroll web1 --ssh [USER@]ADDR"),
    ("", "lariat run limited -- true", 255, "run on limited (LIMITED): this key is not permitted to run this on this host: verbs: keyring.toml:9 has no run"),
    ("", "lariat jobs limited", 255, "jobs: limited (LIMITED): this key is not permitted to see or change jobs on this host: verbs: keyring.toml:9 has no jobs"),
];

#[rustfmt::skip]
const AGENT: &[Mistake] = &[
    ("sed -i 's/^listen.*/listen = \"x\"/' agent.toml", "lariatd --config agent.toml", 78, "agent.toml:6: \"x\" is not an IP address and a port, such as 0.0.0.0:7433 or [::]:7433"),
    ("sed -i \"s/^listen.*/listen = \\\"$WEB1\\\"/\" agent.toml", "lariatd --config agent.toml", 1, "listen on WEB1: address already in use; another lariatd may run already: ss -ltnp shows who listens there"),
    ("", "lariatd --config .", 78, "--config: . is a directory; try: --config ./agent.toml"),
    ("", "lariatd --config nope.toml", 78, "read nope.toml: no such file or directory"),
    ("sed -i 's/^state/stat/' agent.toml", "lariatd check --config agent.toml", 78, "agent.toml:13: unknown key stat (did you mean state?); the keys here are: name, enrolment, listen, certificate, key, ca, keyring, state, local, admission, exec, jobs, limits, audit, upgrade, status, dial, discover"),
    ("", "lariatd --listen here", 78, "--listen: \"here\" is not an IP address and a port, such as 0.0.0.0:7433 or [::]:7433; try: lariatd --help"),
    ("", "lariatd start", 78, "there is no verb start; try: systemctl start lariatd; without a verb lariatd is the agent itself"),
    ("", "lariatd chekc", 78, "there is no verb chekc (did you mean check?); try: lariatd --help"),
    ("", "lariatd agent.toml", 78, "there is no verb agent.toml; try: lariatd --config agent.toml"),
    ("", "lariatd -c agent.toml", 78, "there is no option -c (did you mean --config?); try: lariatd --help"),
    ("", "lariatd key add", 78, "key add: REQ is missing; try: lariatd key add REQ"),
];

/// What the lines find: three enrolled hosts, of which web1 and limited have agents, and files in WORK.
struct Stage {
    fleet: TestFleet,
    _agents: Vec<Agent>,
    /// Names of what differs from run to run.
    names: Vec<(&'static str, String)>,
    _others: Vec<(TestFleet, Agent)>,
    _listeners: Vec<TcpListener>,
}

impl Stage {
    fn new() -> Self {
        let fleet = TestFleet::new();
        let agents = ["web1", "web2"].map(|host| {
            fleet.ok(["--home", fleet.home().to_str().unwrap(), "hosts"]);
            fleet.agent(host)
        });
        let text = fs::read_to_string(fleet.home().join("hosts.toml")).unwrap();
        fs::write(fleet.home().join("hosts.toml"), text.replace("tags = []", "tags = [\"web\"]"))
            .unwrap();
        fleet.enroll("db1", "127.0.0.1:1");
        fleet.enroll("limited", "127.0.0.1:1");
        fleet.set_rules("limited", "verbs = [\"push\"]\n");
        let limited = fleet.start("limited");
        fleet.set_address("limited", limited.address);
        let other = TestFleet::with_agent();
        let expired = expired();
        let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
        let ssh = TcpListener::bind("127.0.0.1:0").unwrap();
        let greeter = ssh.try_clone().unwrap();
        std::thread::spawn(move || {
            for stream in greeter.incoming().flatten() {
                let _ = (&stream).write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
            }
        });
        for (name, content) in [
            ("f", "one\n"),
            ("web1.txt", ""),
            ("web2.txt", ""),
            ("typo.toml", "[[step]]\npush = \"f\"\ndst = \"/tmp/\"\n"),
            ("fails.toml", "[[step]]\nrun = \"exit 4\"\n[[step]]\nrun = \"true\"\n"),
            ("single.toml", "[step]\nrun = \"true\"\n"),
            ("nodest.toml", "[[step]]\npush = \"f\"\n"),
            ("raw.toml", "[[step]]\nrun = \"true\"\ntimeout = \"soon\"\n"),
        ] {
            fs::write(fleet.path(name), content).unwrap();
        }
        fs::write(fleet.path("big"), vec![7; 1 << 20]).unwrap();
        for directory in ["d", "there", "full"] {
            fs::create_dir(fleet.path(directory)).unwrap();
        }
        fs::write(fleet.path("d/new"), "").unwrap();
        fs::write(fleet.path("there/old"), "").unwrap();
        let key = fs::read_dir(fleet.home().join("keys")).unwrap().next().unwrap().unwrap().path();
        let names = vec![
            ("LABEL", key.file_stem().unwrap().to_str().unwrap().to_owned()),
            ("WORK", fleet.path("").to_str().unwrap().trim_end_matches('/').to_owned()),
            ("WEB1", agents[0].address.to_string()),
            ("WEB2", agents[1].address.to_string()),
            ("LIMITED", limited.address.to_string()),
            ("HANGS", hangs.local_addr().unwrap().to_string()),
            ("SSH", ssh.local_addr().unwrap().to_string()),
            ("OTHER", other.1.address.to_string()),
            ("EXPIRED", expired.0.home().display().to_string()),
            ("EXPIRED_AT", expired.1.address.to_string()),
        ];
        let mut agents: Vec<Agent> = agents.into_iter().chain([limited]).collect();
        if rustix::process::geteuid().is_root() {
            agents.push(agent_without_room(&fleet));
        }
        Self {
            fleet,
            _agents: agents,
            names,
            _others: vec![other, expired],
            _listeners: vec![hangs, ssh],
        }
    }

    /// Runs a line with a home of its own, and returns the status and stderr.
    fn run(&self, before: &str, line: &str) -> (i32, String) {
        let own = tempfile::Builder::new().prefix("lariat-mistake-").tempdir().unwrap();
        let (home, bundle) = (own.path().join("home"), own.path().join("bundle"));
        let copy = |from: &Path, to: &Path| {
            let status = Command::new("cp").arg("-a").args([from, to]).status();
            assert!(status.unwrap().success());
        };
        copy(&self.fleet.home(), &home);
        let of_agent = line.starts_with("lariatd");
        if of_agent {
            copy(&self.fleet.bundle("db1"), &bundle);
        }
        let at = "at() { sed -i \"/^.hosts.web1.\\$/,/^address/ s/^address.*/address = \\\"$1\\\"/\" $LARIAT_HOME/hosts.toml; }";
        let script = format!(
            "{at}\n{{ {}:; }} >/dev/null\n{line}",
            if before.is_empty() { String::new() } else { format!("{before}; ") }
        );
        let programs = binaries().lariat.parent().unwrap().display().to_string();
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env_clear().stdin(Stdio::null());
        command.env("LARIAT_HOME", &home).env("HOME", own.path());
        command.env(
            "PATH",
            format!("{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        );
        command.envs(self.names.iter().map(|(name, value)| (name, value)));
        command.current_dir(if of_agent { bundle } else { self.fleet.path("") });
        let Output { status, stderr, .. } = command.output().unwrap();
        let mut said = String::from_utf8(stderr).unwrap();
        for (name, value) in self.names.iter().rev() {
            said = said.replace(value, name);
        }
        said = said.replace(home.to_str().unwrap(), "HOME");
        if let Some((before, clock)) = said.split_once("clock says ") {
            said = format!("{before}clock says NOW{}", clock.trim_start_matches(|c| c != ';'));
        }
        let lines: Vec<&str> = said.lines().map(without_time).collect();
        (status.code().unwrap(), lines.join("\n"))
    }

    /// Runs all of them, and fails with those that are answered otherwise.
    fn check(&self, mistakes: &[Mistake]) {
        let mut wrong = String::new();
        for &(before, line, status, expected) in mistakes {
            let (code, said) = self.run(before, line);
            let said = said.trim_end();
            let shown = said
                .strip_prefix("lariat: ")
                .or_else(|| said.strip_prefix("lariatd: "))
                .unwrap_or(said);
            if (code, shown) != (status, expected) {
                writeln!(wrong, "    ({before:?}, {line:?}, {code}, {shown:?}),").unwrap();
            }
        }
        assert!(wrong.is_empty(), "answered otherwise:\n{wrong}");
    }
}

/// The agent of `full`, on whose disk there is no room in WORK/full.
fn agent_without_room(fleet: &TestFleet) -> Agent {
    fleet.enroll("full", "127.0.0.1:1");
    let config = fleet.bundle("full").join("agent.toml");
    let mut command = Command::new("unshare");
    let mount =
        r#"mount -t tmpfs -o size=64k none "$1" && exec "$2" --config "$3" --listen 127.0.0.1:0"#;
    command.args(["-m", "sh", "-c", mount, "sh"]).arg(fleet.path("full"));
    command.arg(&binaries().lariatd).arg(&config);
    let agent = Agent::spawn(command, config);
    fleet.set_address("full", agent.address);
    agent
}

/// A summary without how long it took.
fn without_time(line: &str) -> &str {
    match line.rsplit_once("; ") {
        Some((summary, time))
            if time.ends_with(" s") && time.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            summary
        }
        _ => line,
    }
}

/// A fleet whose only host has a certificate that has expired.
fn expired() -> (TestFleet, Agent) {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let read = |path: std::path::PathBuf| fs::read_to_string(path).unwrap();
    let ca = rcgen::KeyPair::from_pem(&read(fleet.home().join("ca.key"))).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&read(fleet.home().join("ca.pem")), ca).unwrap();
    let key = rcgen::KeyPair::from_pem(&read(fleet.bundle("web1").join("host.key"))).unwrap();
    let mut leaf = rcgen::CertificateParams::new(vec!["web1".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    leaf.not_before = rcgen::date_time_ymd(2024, 1, 1);
    leaf.not_after = rcgen::date_time_ymd(2025, 1, 1);
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    fs::write(fleet.bundle("web1").join("host.pem"), leaf.pem()).unwrap();
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    (fleet, agent)
}

#[test]
fn mistakes_are_answered_with_what_to_type() {
    let stage = Stage::new();
    let mut all = [USAGE, FILES, COMMANDS, FLEET, AGENT].concat();
    if rustix::process::geteuid().is_root() {
        all.extend(ROOT);
    }
    stage.check(&all);
}

#[test]
fn a_key_that_has_all_its_sessions_is_told_so_by_every_verb() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let keyring = fleet.bundle("web1").join("keyring.toml");
    let text = fs::read_to_string(&keyring).unwrap();
    fs::write(&keyring, format!("{text}max_sessions = 1\n")).unwrap();
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    let mut other = fleet.lariat();
    other.args(["run", "web1", "-i", "--", "echo up; exec cat"]);
    let mut other = other.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut up = [0; 3];
    std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut up).unwrap();

    let why = "this key is not permitted more sessions on this host at a time (max_sessions";
    for verb in [&["ping", "web1"][..], &["can", "alice", "web1"], &["run", "web1", "--", "true"]] {
        let error = fleet.fails(255, [verb, &["--reconnect", "0"]].concat());
        assert!(error.contains(why) && !error.contains("misbehaved"), "{verb:?}: {error}");
    }
    let doctor = fleet.run(["doctor", "web1", "--reconnect", "0"]);
    assert!(String::from_utf8_lossy(&doctor.stdout).contains(why), "{doctor:?}");
    let ping = fleet.run(["ping", "web[1]", "--json", "--reconnect", "0"]);
    let object: serde_json::Value = serde_json::from_slice(&ping.stdout).unwrap();
    assert_eq!((ping.status.code(), &object["kind"]), (Some(255), &"refused".into()));
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
}

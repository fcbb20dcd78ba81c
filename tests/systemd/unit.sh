#!/usr/bin/env bash
# What the unit promises, on a machine with a systemd of its own: a throwaway virtual machine or container, for it
# installs the agent there, kills it, fills its scope, and, with `reboot`, restarts the machine. `run` makes a container
# for it, `.ci/run systemd` calls that.
#
#   unit.sh DIR            as root, on that machine; DIR has the programs lariat and lariatd
#   unit.sh DIR CHECK      one of the checks below, by its name, once all was done
#   unit.sh DIR reboot     the same up to a reboot; then `unit.sh DIR rebooted`
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) programs=$(cd "$1" && pwd) part=${2:-all}
units=$here/../../systemd
[[ -d $units ]] || units=$here
export LARIAT_HOME=/root/fleet PATH=$programs:$PATH
port=7433

. "$here/lib.sh"
scope() { systemctl list-units --plain --no-legend 'lariatd-jobs-*.scope' | awk 'NR == 1 { print $1 }'; }

# The group of the jobs' groups, by any process that prepares or watches over jobs; it may end while it is looked at.
jobs_group() {
    local pid group
    for pid in $(pgrep -x lariat-jobs); do
        group=$(sed -n 's/^0:://p' "/proc/$pid/cgroup" 2>/dev/null) || continue
        [[ -z $group ]] || { echo "/sys/fs/cgroup${group%/*}"; return; }
    done
    die "no process of jobs is there"
}

install_agent() {
    install -D -m 0755 "$programs/lariatd" /usr/bin/lariatd
    install -D -m 0644 "$units/lariatd.service" /etc/systemd/system/lariatd.service
    install -D -m 0644 "$units/lariat.sysusers.conf" /etc/sysusers.d/lariat.conf
    install -D -m 0644 "$units/lariat.tmpfiles.conf" /etc/tmpfiles.d/lariat.conf
    systemctl stop lariatd 2>/dev/null || true
    rm -rf /etc/lariat /var/lib/lariat "$LARIAT_HOME" /root/h1.lariat /root/did
    lariat init >/dev/null
    (cd /root && lariat enroll h1 --address 127.0.0.1:$port >/dev/null)
    install -d -m 0700 /etc/lariat && install -m 0600 /root/h1.lariat/*.* /etc/lariat/
    sed -i 's|^state = .*|state = "/var/lib/lariat"|' /etc/lariat/agent.toml
    systemd-sysusers && systemd-tmpfiles --create lariat.conf
    lariatd check >/dev/null
    systemctl daemon-reload && systemctl enable --now lariatd
    until_true 20 "the agent answers" reachable
    ok "installed as systemd/README.md says"
}

listens_on_both() {
    grep -q 'listen = "\[::\]:' /etc/lariat/agent.toml || die "an enrolled agent listens on [::]"
    [[ $(systemctl show -P StatusText lariatd) == "listening on "* ]] || die "no status"
    ok "status: $(systemctl show -P StatusText lariatd)"
}

survives_deaths() {
    lariat run h1 --detach -- 'for i in 1 2 3 4 5 6 7 8; do pkill -9 -x lariatd; sleep 1.2; done; echo done' >/dev/null
    sleep 11
    until_true 10 "reachable after eight deaths" reachable
    ok "eight deaths in ten seconds, and it is there"
}

listens_on_what_comes_later() {
    sed -i 's|^listen = .*|listen = "192.0.2.77:7433"|' /etc/lariat/agent.toml
    systemctl restart lariatd || { journalctl -u lariatd -n 20 --no-pager; die "it does not start without its address"; }
    ip address add 192.0.2.77/32 dev lo
    sed -i 's|^address = .*|address = "192.0.2.77:7433"|' "$LARIAT_HOME/hosts.toml"
    until_true 10 "reachable once the address is there" reachable
    sed -i 's|^listen = .*|listen = "[::]:7433"|' /etc/lariat/agent.toml
    sed -i 's|^address = .*|address = "127.0.0.1:7433"|' "$LARIAT_HOME/hosts.toml"
    ip address del 192.0.2.77/32 dev lo
    systemctl restart lariatd
    until_true 10 "reachable again" reachable
    ok "listens on an address that came later"
}

logs_with_priorities() {
    mv "$LARIAT_HOME/keys" "$LARIAT_HOME/keys.kept"
    LARIAT_HOME=/root/other lariat init >/dev/null
    cp -r /root/other/keys "$LARIAT_HOME/keys"
    lariat ping h1 2>/dev/null && die "another key got in"
    rm -rf "$LARIAT_HOME/keys" /root/other && mv "$LARIAT_HOME/keys.kept" "$LARIAT_HOME/keys"
    until_true 5 "a warning of the denied login" sh -c 'journalctl -p warning -u lariatd --no-pager | grep -q denied'
    journalctl -p info -o cat -u lariatd -n 3 --no-pager | grep -qE '^(<|[0-9]{4}-)' && die "a time or a prefix is in the line"
    lariat run h1 -- true
    until_true 5 "a line with its session's key" sh -c \
        'journalctl -u lariatd -o json --no-pager | grep -q LARIAT_KEY'
    ok "denials are warnings, lines have no time of their own, and sessions' lines have fields"
}

restarts_in_silence() {
    lariat run h1 --detach -- 'for i in $(seq 300); do sleep 60 & done; wait' >/dev/null
    until_true 20 "300 processes" sh -c '[ $(pgrep -c -x sleep) -ge 300 ]'
    local since; since=$(date +%s)
    systemctl restart lariatd
    until_true 10 "reachable after the restart" reachable
    local lines; lines=$(journalctl -u lariatd --since "@$since" --no-pager | grep -c 'left-over' || true)
    ((lines == 0)) || die "$lines lines of left-over processes"
    [[ $(pgrep -c -x sleep) -ge 300 ]] || die "the job did not survive"
    lariat kill h1 >/dev/null
    until_true 10 "the job's end" sh -c '! pgrep -x sleep'
    ok "a restart with 300 processes says nothing of them"
}

limits_each_job() {
    local file; file=$(jobs_group)
    if ! grep -qs pids "$file/cgroup.subtree_control"; then
        echo "skipped: no pids controller of cgroup v2 here"
        return
    fi
    printf '[exec]\ntasks_max = 60\n' >>/etc/lariat/agent.toml
    systemctl restart lariatd
    until_true 10 "reachable" reachable
    lariat run h1 --detach -- 'for i in $(seq 200); do sleep 30 & done; wait' >/dev/null
    sleep 1
    ((($(pgrep -c -x sleep)) <= 60)) || die "more than its share"
    lariat run h1 -- true || die "another job lacks what one has used up"
    lariat kill h1 >/dev/null 2>&1 || true
    pkill -x sleep || true
    sed -i '/^\[exec\]/,$d' /etc/lariat/agent.toml
    systemctl restart lariatd
    until_true 10 "reachable" reachable
    ok "a job that fills its share holds up nobody"
}

kills_a_job_that_eats_all_memory() {
    local file; file=$(jobs_group)
    if ! grep -qs memory "$file/cgroup.subtree_control"; then
        echo "skipped: no memory controller of cgroup v2 here"
        return
    fi
    local before code=0; before=$(main)
    printf '[exec]\nmemory_max = "64M"\n' >>/etc/lariat/agent.toml
    systemctl reload lariatd
    lariat run h1 --detach -- 'sleep 88; true' >/dev/null
    lariat run h1 -- python3 -c 'x = b"x" * (256 << 20)' || code=$?
    ((code == 137)) || die "a job that eats all memory ended with $code"
    [[ $(main) == "$before" ]] && pgrep -f '^sleep 88$' >/dev/null || die "others died with it"
    lariat kill h1 >/dev/null
    sed -i '/^\[exec\]/,$d' /etc/lariat/agent.toml
    systemctl reload lariatd
    ok "a job that eats all memory is killed alone"
}

reloads_under_load() {
    local file=/etc/lariat/agent.toml before; before=$(main)
    head -c 100M /dev/urandom >/root/big
    lariat run h1 -- 'for i in $(seq 100); do echo $i; sleep 0.1; done' >/root/lines & local run=$!
    lariat push -q --bwlimit 10M /root/big h1:/root/copy & local push=$!
    for i in $(seq 10); do
        systemctl reload lariatd || die "reload $i failed"
        echo 'colour = 1' >>$file
        systemctl reload lariatd 2>/dev/null && die "a reload of a file with a mistake did not fail"
        kill -HUP "$(main)"
        sed -i '$d' $file
    done
    until_true 5 "the mistake in the log" sh -c \
        "journalctl -u lariatd --no-pager | grep -q 'nothing was read anew: $file:[0-9]*: unknown key'"
    systemctl is-active --quiet lariatd && [[ $(main) == "$before" ]] || die "the reload ended the agent"
    wait $run || die "the command was cut"
    wait $push || die "the push was cut"
    [[ $(wc -l </root/lines) == 100 ]] && cmp -s /root/big /root/copy || die "something was lost"
    systemctl reload lariatd
    ok "20 reloads, half of them of a file with a mistake, under a push and a command"
}

restarts_under_load() {
    local i count=${RESTARTS:-200}
    mkfifo /root/stop
    python3 "$here/knock.py" 127.0.0.1 $port 100 </root/stop >/root/knocked & local knock=$!
    exec 9>/root/stop
    for i in $(seq "$count"); do systemctl restart lariatd; done
    exec 9>&-
    wait $knock || die "$(cat /root/knocked)"
    rm /root/stop
    ok "$count restarts: $(cat /root/knocked)"
}

commands_over_restarts() {
    local i
    (for i in $(seq 40); do lariat run h1 -- "echo $i; sleep 0.1" || exit; done >/root/lines) & local runs=$!
    while kill -0 $runs 2>/dev/null; do
        systemctl restart lariatd
        sleep 1
    done
    wait $runs || die "a command failed over a restart"
    [[ $(cat /root/lines) == "$(seq 40)" ]] || die "a command ran twice, or what it wrote is lost"
    ok "40 commands, one after another, with a restart each second"
}

survives_a_restart() {
    mkfifo /root/typed
    script -qfec 'lariat shell h1' /root/shown </root/typed >/dev/null & local shell=$!
    exec 9>/root/typed
    lariat run h1 --detach -- 'sleep 99' >/dev/null
    echo 'echo one$((1 + 1))' >&9
    until_true 10 "the shell" printed one2 /root/shown
    cp "$programs/lariatd" /root/lariatd.new
    lariat run h1 -- 'mv /root/lariatd.new /usr/bin/lariatd && systemctl restart lariatd && echo upgraded' >/root/upgraded \
        || die "the command that upgrades its own agent"
    grep -qx upgraded /root/upgraded || die "what it wrote is lost"
    until_true 10 "reachable" reachable
    echo 'echo two$((1 + 1))' >&9
    until_true 20 "the shell after the restart" printed two2 /root/shown
    echo 'exit 3' >&9
    wait $shell && die "the shell's exit is lost" || (($? == 3)) || die "the shell ended otherwise"
    exec 9>&-
    rm /root/typed
    systemctl stop lariatd
    pgrep -f '^sleep 99$' >/dev/null || die "stopping the agent ended a job"
    systemctl start lariatd
    lariat jobs h1 | grep -q running || die "the job is not known any more: $(lariat jobs h1)"
    lariat kill h1 >/dev/null
    ok "a job, a shell and the upgrade of the agent itself survive its restart"
}

# A program that is a newer agent to who asks it, and does this when it is started as one.
newer() {
    printf '#!/bin/sh\ncase $1 in --version) echo lariatd 9.9.9; exit ;; check) exit 0 ;; esac\n%s\n' "$1" >/root/newer
    chmod 755 /root/newer
}
# stays WHAT WHY [FILE]: an upgrade is undone, for this reason, and the old agent answers.
stays() {
    local code=0 began=$SECONDS told
    told=$(lariat upgrade h1 --file "${3:-/root/newer}" 2>&1) || code=$?
    ((code == 1)) && [[ $told == *"$2"* ]] || { journalctl -u lariatd -n 20 --no-pager; die "upgrade to $1: exit $code, $told"; }
    reachable || die "upgrade to $1: the old agent does not answer"
    cmp -s /usr/bin/lariatd "$programs/lariatd" && [[ ! -e /usr/bin/lariatd.lariat-upgrade ]] || die "upgrade to $1: the file differs"
    ok "upgrade to $1: undone after $((SECONDS - began)) s: ${told##*: }"
}
upgrades_itself() {
    local version before; version=$(lariatd --version | cut -d' ' -f2)
    printf '[upgrade]\nconfirm = "2s"\n' >>/etc/lariat/agent.toml
    systemctl reload lariatd
    lariat run h1 --detach -- 'sleep 3000' >/dev/null
    echo /usr/bin/lariatd >>/var/lib/dpkg/info/base-files.list
    newer 'exit 1'
    stays "an agent that a package owns" "belongs to the package base-files"
    sed -i '$d' /var/lib/dpkg/info/base-files.list
    { head -c 18 /usr/bin/lariatd; printf '\x08\x00'; tail -c +21 /usr/bin/lariatd; } >/root/other
    stays "another architecture" "for another architecture" /root/other
    stays "one that ends at once" "9.9.9, ended within"
    newer 'exit 78'
    stays "one after which systemd starts nothing" "9.9.9, ended within"
    newer 'exec sleep 600'
    stays "one that hangs" "nobody could log in"
    newer "exec python3 -c 'import os, socket, time
listener = socket.socket(fileno=3)
listener.setblocking(True)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as tell:
    tell.sendto(b\"READY=1\", os.environ[\"NOTIFY_SOCKET\"])
while True: listener.accept(); time.sleep(0.1)'"
    stays "one that listens and can't be logged in to" "nobody could log in"
    before=$(main)
    LC_ALL=C sed "s/${version//./\\.}/9.9.9/g" "$programs/lariatd" >/root/patched
    [[ $(lariat upgrade h1 --file /root/patched) == "h1: upgraded, $version -> 9.9.9" ]] || die "not upgraded"
    [[ $(/usr/bin/lariatd --version) == "lariatd 9.9.9" ]] || die "another file"
    [[ $(main) != "$before" ]] && cmp -s /usr/bin/lariatd.old "$programs/lariatd" || die "not restarted, or no old one"
    pgrep -f '^sleep 3000$' >/dev/null && lariat kill h1 >/dev/null || die "the job did not survive"
    [[ $(lariat upgrade h1 --file "$programs/lariatd" --downgrade) == "h1: upgraded, 9.9.9 -> $version" ]] || die "no way back"
    until_true 20 "no guard is left" sh -c '! systemctl list-units --plain --no-legend | grep lariatd-upgrade'
    sed -i '/^\[upgrade\]/,$d' /etc/lariat/agent.toml
    systemctl restart lariatd
    until_true 10 "reachable" reachable
    ok "upgraded, with a job that goes on, and back again"
}

ends_a_hung_agent() {
    local hung
    mkdir -p /run/systemd/system/lariatd.service.d
    printf '[Service]\nWatchdogSec=1\n' >/run/systemd/system/lariatd.service.d/watchdog.conf
    systemctl daemon-reload && systemctl restart lariatd
    until_true 10 "reachable" reachable
    hung=$(main)
    kill -STOP "$hung"
    until_true 20 "the end of the agent that hangs" sh -c "! kill -0 $hung"
    until_true 10 "reachable after the hang" reachable
    rm -r /run/systemd/system/lariatd.service.d
    systemctl daemon-reload && systemctl restart lariatd
    ok "an agent that hangs is killed and started again"
}

takes_the_socket_of_a_socket_unit() {
    printf '[Socket]\nListenStream=127.0.0.1:%s\n' $port >/run/systemd/system/lariatd.socket
    systemctl daemon-reload
    systemctl stop lariatd && systemctl start lariatd.socket
    reachable || die "not started by its socket"
    [[ $(systemctl show -P StatusText lariatd) == "listening on 127.0.0.1:$port" ]] || die "another socket"
    systemctl restart lariatd
    reachable || die "not reachable after a restart"
    systemctl stop lariatd.socket lariatd
    rm /run/systemd/system/lariatd.socket
    systemctl daemon-reload
    systemctl start lariatd
    ok "started by a socket unit"
}

receives_only() {
    install -D -m 0644 "$units/receive-only.conf" /etc/systemd/system/lariatd.service.d/receive-only.conf
    systemctl daemon-reload && systemctl restart lariatd
    until_true 10 "reachable" reachable
    mkdir -p /srv/in && chown daemon: /srv/in
    lariat push -q /etc/os-release h1:/srv/in/root || die "push as root"
    lariat push -q --user daemon /etc/os-release h1:/srv/in/daemon || die "push as another user"
    [[ $(stat -c %U /srv/in/daemon) == daemon ]] || die "not daemon's"
    lariat push -q /etc/os-release h1:/usr/not 2>/dev/null && die "wrote below /usr"
    lariat run h1 -- 'systemd-run --wait touch /usr/not; touch /usr/not' >/dev/null 2>&1 || true
    [[ ! -e /usr/not ]] || die "out of the sandbox by systemd-run"
    systemd-analyze security --no-pager lariatd | tail -n 1
    rm -r /etc/systemd/system/lariatd.service.d
    systemctl daemon-reload && systemctl restart lariatd
    until_true 10 "reachable" reachable
    systemd-analyze security --no-pager lariatd | tail -n 1
    ok "the drop-in for hosts that only receive files"
}

killed_supervisor() {
    lariat run h1 --detach -- 'echo $PPID > /root/supervisor; setsid sleep 77 & sleep 78' >/dev/null
    until_true 5 "both" sh -c '[ $(pgrep -fc "^sleep 7[78]$") = 2 ]'
    kill -9 "$(cat /root/supervisor)"
    until_true 5 "both to be gone" sh -c '! pgrep -f "^sleep 7[78]$"'
    ok "a killed supervisor takes its job along"
}

# The supervisor that is ready has one.
has_no_groups() { (($(find /sys/fs/cgroup -path "*$(scope)*" -name 'lariat-*' | wc -l) <= 1)); }
leaves_no_groups() {
    [[ -n $(scope) ]] || die "no scope of jobs"
    until_true 10 "no jobs' groups are left in $(scope)" has_no_groups
    ok "no groups are left"
}

# From a host that has nothing but sshd, and back to one that has nothing of it.
enrolls_over_ssh() {
    [[ -x /usr/sbin/sshd ]] || { echo "skipped: no sshd here"; return; }
    local began file; export LARIAT_HOME=/root/fleet-ssh
    systemctl disable --now lariatd 2>/dev/null
    rm -rf /usr/bin/lariatd /etc/systemd/system/lariatd.service /etc/lariat /var/lib/lariat /root/.ssh "$LARIAT_HOME"
    systemctl daemon-reload
    useradd -m bob 2>/dev/null || true
    install -d -m 0700 /root/.ssh && install -d -m 0700 -o bob -g bob ~bob/.ssh
    ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
    cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
    install -o bob -g bob -m 0600 /root/.ssh/id_ed25519.pub ~bob/.ssh/authorized_keys
    systemctl start ssh
    until_true 10 "sshd" sh -c 'ssh-keyscan -t ed25519 127.0.0.1 >/root/.ssh/known_hosts 2>/dev/null && test -s /root/.ssh/known_hosts'
    lariat init >/dev/null
    began=$(date +%s%N)
    lariat enroll h1 --ssh root@127.0.0.1 || die "enroll --ssh"
    lariat run h1 -- true || die "the first command"
    ok "from sshd to the first command in $((($(date +%s%N) - began) / 1000000)) ms"
    lariat enroll h1 --ssh root@127.0.0.1 | grep -q '^h1: unchanged, ' || die "a second enrollment changed something"
    systemctl reload lariatd || die "it can't be reloaded"

    lariat forget h1 >/dev/null
    systemctl disable --now lariatd 2>/dev/null && rm -rf /etc/lariat /usr/local/bin/lariatd
    lariat enroll h1 --ssh bob@127.0.0.1 >/root/told 2>&1 && die "enrolled by a user who can't become root"
    grep -q 'bob is not root there, and sudo -n does not work: sudo: ' /root/told || die "$(cat /root/told)"
    echo 'bob ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/bob
    # Ended in the middle of the program, and once more in the middle of everything else.
    for file in /usr/local/bin/lariatd.lariat-new /etc/lariat/agent.toml; do
        lariat enroll h1 --ssh bob@127.0.0.1 >/dev/null 2>&1 &
        until_true 20 "$file" test -e $file
        kill -9 $!
        wait $! 2>/dev/null || true
    done
    lariat enroll h1 --ssh bob@127.0.0.1 || die "enroll over sudo, after two cuts"
    lariat run h1 -- true || die "a command after that"
    [[ $(ls /etc/lariat) == $'agent.toml\nca.pem\nhost.key\nhost.pem\nkeyring.toml' && $(ls /usr/local/bin) == lariatd ]] \
        || die "left behind: $(ls /etc/lariat /usr/local/bin)"
    ok "by a user with sudo, after two cuts"

    # A package, as far as dpkg knows.
    lariat forget h1 >/dev/null
    systemctl disable --now lariatd 2>/dev/null
    rm -rf /etc/lariat /var/lib/lariat /usr/local/bin/lariatd /etc/systemd/system/lariatd.service
    mkdir -p /root/deb/DEBIAN
    install -D -m 0755 "$programs/lariatd" /root/deb/usr/bin/lariatd
    install -D -m 0644 "$units/lariatd.service" /root/deb/lib/systemd/system/lariatd.service
    printf 'Package: lariat-agent\nVersion: 1\nArchitecture: all\nMaintainer: x <x@y>\nDescription: x\n' >/root/deb/DEBIAN/control
    dpkg-deb -Znone -b /root/deb /root/agent.deb >/dev/null && dpkg -i /root/agent.deb >/dev/null && systemctl daemon-reload
    lariat enroll h1 --ssh root@127.0.0.1 || die "a host with the package"
    lariat run h1 -- true
    [[ ! -e /usr/local/bin/lariatd && ! -e /etc/systemd/system/lariatd.service ]] || die "the package was not used"
    systemctl disable --now lariatd 2>/dev/null
    dpkg -r lariat-agent >/dev/null && rm -rf /root/deb /root/agent.deb /etc/lariat /var/lib/lariat
    export LARIAT_HOME=/root/fleet
    ok "a host with the package is enrolled as it is"
}

before_reboot() {
    # One that runs, and one that is over and whose controller is away.
    lariat run h1 --detach -- 'trap "echo term >> /root/did; exit 0" TERM; while :; do sleep 0.1; done' >/dev/null
    lariat run h1 --reconnect 10m -- 'echo $$ > /root/over; exec sleep 1000' &
    until_true 5 "it runs" test -s /root/over
    disown && kill -9 $!
    # And an open shell, which ignores SIGTERM.
    mkfifo /root/typing
    script -qfec 'lariat shell h1' /dev/null </root/typing >/dev/null &
    { echo 'echo open > /root/opened'; sleep 1000; } >/root/typing &
    until_true 10 "the shell" test -s /root/opened
    date +%s >/root/rebooted-at
    systemctl reboot
}

after_reboot() {
    until_true 30 "reachable after the reboot" reachable
    [[ $(cat /root/did) == term ]] || die "a job got SIGTERM $(wc -l </root/did) times"
    lariat jobs h1 --json | grep -q '"state":"died"' && die "a job has no end: $(lariat jobs h1 --json)"
    local took=$(($(date +%s) - $(cat /root/rebooted-at)))
    ((took <= 30)) || die "the jobs held up the reboot: $took s"
    ok "reachable $took s after the word to reboot, and all jobs have an end"
}

case $part in
all)
    install_agent
    for check in listens_on_both survives_deaths listens_on_what_comes_later logs_with_priorities \
        restarts_in_silence limits_each_job kills_a_job_that_eats_all_memory killed_supervisor \
        reloads_under_load restarts_under_load commands_over_restarts survives_a_restart upgrades_itself ends_a_hung_agent \
        takes_the_socket_of_a_socket_unit receives_only leaves_no_groups enrolls_over_ssh; do $check; done ;;
reboot) install_agent && before_reboot ;;
rebooted) after_reboot ;;
*) declare -F "$part" >/dev/null || { sed -n '2,8p' "$0"; exit 2; }
    $part ;;
esac

#!/usr/bin/env bash
# What the unit promises, on a machine with a systemd of its own: a throwaway virtual machine or container, for it
# installs the agent there, kills it, fills its scope, and, with `reboot`, restarts the machine.
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

die() { echo "FAILED: $*" >&2; exit 1; }
ok() { echo "ok: $*"; }
# until SECONDS WHAT CMD...: waits for a state.
until_true() {
    local seconds=$1 what=$2 end; shift 2; end=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || die "$what within $seconds s"
        sleep 0.1
    done
}
main() { systemctl show -P MainPID lariatd; }
reachable() { lariat ping h1 >/dev/null 2>&1; }
scope() { systemctl list-units --plain --no-legend 'lariatd-jobs-*.scope' | awk 'NR == 1 { print $1 }'; }

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
    ok "denials are warnings, and lines have no time of their own"
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
    local file; file=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(pgrep -x lariat-jobs | head -n 1)/cgroup" | sed 's|/[^/]*$||')
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

before_reboot() {
    # One that runs, and one that is over and whose controller is away.
    lariat run h1 --detach -- 'trap "echo term >> /root/did; exit 0" TERM; while :; do sleep 0.1; done' >/dev/null
    lariat run h1 --reconnect 10m -- 'echo $$ > /root/over; exec sleep 1000' &
    until_true 5 "it runs" test -s /root/over
    disown && kill -9 $!
    date +%s >/root/rebooted-at
    systemctl reboot
}

after_reboot() {
    until_true 30 "reachable after the reboot" reachable
    [[ $(cat /root/did) == term ]] || die "a job got SIGTERM $(wc -l </root/did) times"
    lariat jobs h1 --json | grep -q '"state":"died"' && die "a job has no end: $(lariat jobs h1 --json)"
    ok "all jobs have an end, $(($(stat -c %Y /proc/1) - $(cat /root/rebooted-at))) s after the word"
}

case $part in
all)
    install_agent
    for check in listens_on_both survives_deaths listens_on_what_comes_later logs_with_priorities \
        restarts_in_silence limits_each_job killed_supervisor leaves_no_groups; do $check; done ;;
reboot) install_agent && before_reboot ;;
rebooted) after_reboot ;;
*) declare -F "$part" >/dev/null || { sed -n '2,8p' "$0"; exit 2; }
    $part ;;
esac

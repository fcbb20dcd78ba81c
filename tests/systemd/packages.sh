#!/usr/bin/env bash
# What the Debian packages promise, on a machine with a systemd of its own: installation, upgrade (by `lariat run` on
# the very host), removal, purge. `run DIR packages` makes a container for it; DIR has the two packages as well.
#
#   packages.sh DIR        as root, on that machine
set -euo pipefail
packages=$(cd "$1" && pwd)
agent=$(echo "$packages"/lariat-agent_*.deb) operator=$(echo "$packages"/lariat_*.deb)
export LARIAT_HOME=/root/fleet DEBIAN_FRONTEND=noninteractive

. "$(dirname "$0")/lib.sh"
die() { echo "FAILED: $*" >&2; journalctl -u lariatd -n 20 --no-pager >&2 || true; exit 1; }

# The agent's package once more, as a newer version.
newer() {
    rm -rf /root/newer && dpkg-deb -R "$agent" /root/newer
    sed -i "s/^Version: .*/Version: $1/" /root/newer/DEBIAN/control
    dpkg-deb --root-owner-group -b /root/newer "/root/lariat-agent_$1.deb" >/dev/null
}

installs() {
    # What `lariat enroll --ssh` leaves: the package's files take its place.
    install -m 0755 /bin/true /usr/local/bin/lariatd
    printf '[Service]\nExecStart=/usr/local/bin/lariatd\n' >/etc/systemd/system/lariatd.service
    apt-get install -y "$agent" "$operator" >/root/installed 2>&1 || die "$(cat /root/installed)"
    [[ ! -e /usr/local/bin/lariatd && ! -e /etc/systemd/system/lariatd.service ]] || die "the old files are there"
    printed 'in no fleet yet' /root/installed || die "nothing says what to do next"
    [[ $(systemctl is-enabled lariatd) == enabled ]] || die "it is not enabled"
    [[ $(stat -c %a:%U /etc/lariat /var/lib/lariat /run/lariat | sort -u) == 700:root ]] || die "others can look in"
    id lariat >/dev/null || die "no user lariat"
    [[ $(readlink /usr/bin/lariat-ssh) == lariat ]] || die "no link lariat-ssh"
    [[ -s /usr/share/bash-completion/completions/lariat && -s /usr/share/man/man1/lariat-run.1.gz ]] \
        || die "no completions, or no manual"
    ok "installed: enabled, and it waits for its fleet"
}

runs() {
    lariat init >/dev/null
    (cd /root && lariat enroll h1 --address 127.0.0.1:7433 >/dev/null)
    install -m 0600 /root/h1.lariat/*.* /etc/lariat/
    sed -i 's|^state = .*|state = "/var/lib/lariat"|' /etc/lariat/agent.toml
    systemctl start lariatd
    until_true 20 "the agent answers" reachable
    ok "it runs"
}

# Installs a newer one by the agent that it replaces, while a job and a shell go on.
upgrades() {
    local before job
    before=$(main)
    newer 9.0-1
    job=$(lariat run h1 --detach -- 'until [ -e /root/go ]; do sleep 0.1; done; echo lived')
    mkfifo /root/keys
    script -qefc 'lariat shell h1' /root/screen </root/keys >/dev/null 2>&1 &
    exec 8>/root/keys
    echo 'echo here-$((40 + 2))' >&8
    until_true 20 "a shell" printed here-42 /root/screen
    lariat run h1 -- apt-get install -y /root/lariat-agent_9.0-1.deb >/root/upgraded 2>&1 || die "$(cat /root/upgraded)"
    [[ $(dpkg-query -W -f '${Version}' lariat-agent) == 9.0-1 ]] || die "it is not the newer one"
    until_true 20 "the agent answers" reachable
    [[ $(main) != "$before" ]] || die "the old one still runs"
    echo 'echo still-$((40 + 2))' >&8
    until_true 20 "the shell goes on" printed still-42 /root/screen
    echo exit >&8
    exec 8>&-
    touch /root/go
    [[ $(lariat attach h1 "${job##*[: ]}") == lived ]] || die "the job is lost"
    ok "a newer one by \`lariat run\` on the host itself, while a job and a shell went on"
}

removes() {
    apt-get remove -y lariat-agent >/root/removed 2>&1 || die "$(cat /root/removed)"
    ! systemctl is-active --quiet lariatd || die "it still runs"
    [[ ! -e /usr/bin/lariatd && -e /etc/lariat/host.key ]] || die "removed too little, or too much"
    apt-get install -y "$agent" >/dev/null 2>&1
    until_true 20 "the agent answers again" reachable
    ok "removed, and with its fleet as before when installed again"
}

purges() {
    apt-get purge -y lariat-agent >/root/purged 2>&1 || die "$(cat /root/purged)"
    for left in /etc/lariat /var/lib/lariat /run/lariat /usr/bin/lariatd /etc/systemd/system/*/lariatd.service; do
        [[ ! -e $left && ! -L $left ]] || die "purged, and $left is there"
    done
    ok "purged: nothing is left"
}

installs && runs && upgrades && removes && purges

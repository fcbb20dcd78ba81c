# Runs on the host, with the agent's port in $port. It says how the host is, and then does what its stdin asks for, one
# line each. It changes nothing before the first of them. Its own lines begin with ":lariat: ", texts in them are in base64.
# Its means are those of sh and coreutils; systemctl, sudo, getconf, dpkg-query and rpm where they are there.
set -u
umask 077
LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
etc=/etc/lariat unit=/etc/systemd/system/lariatd.service unfinished=/etc/lariat/enroll.unfinished
agent=/usr/local/bin/lariatd new= why=

say() { printf ':lariat: %s\n' "$*"; }
fact() { [ -z "$2" ] || say "fact $1 $2"; }
text() { printf %s "$1" | head -c 4000 | base64 -w 0; }
encoded() { [ ! -f "$2" ] || say "file $1 $(head -c 65536 "$2" | base64 -w 0)"; }
sum() { [ ! -f "$2" ] || fact "$1" "$(sha256sum <"$2")"; }
has() { command -v "$1" >/dev/null 2>&1; }

# Root, if this user may be it.
if [ "$(id -u)" != 0 ]; then
    if [ "$0" = elevated ]; then
        why='sudo gave another user than root'
    elif ! has sudo; then
        why='there is no sudo'
    elif why=$(sudo -n sh -c : 2>&1 </dev/null); then
        exec sudo -n sh -c "$script" elevated
    fi
fi

say begin
fact user "$(id -un)"
[ "$(id -u)" = 0 ] || say "file no-root $(text "${why:-no}")"
fact kernel "$(uname -sr)"
fact machine "$(uname -m)"
fact libc "$(getconf GNU_LIBC_VERSION 2>/dev/null || ldd --version 2>&1 | head -n 1)"
fact time "$(date +%s)"
for tool in base64 chmod df head mkdir mv rm sha256sum sort stat sync tail; do has $tool || fact missing $tool; done
for directory in /usr/local/bin /usr/local /var/lib /etc /etc/systemd/system; do
    [ -d $directory ] || continue
    fact directory "$directory $(stat -L -c '%u %a' $directory)"
    df -Pk $directory 2>/dev/null | { read -r x; read -r x x x kib x; fact disk "$directory ${kib-}"; }
done
[ ! -d $etc ] || fact directory "$etc $(stat -L -c '%u %a' $etc)"

main=
if [ -d /run/systemd/system ] && has systemctl; then
    fact systemd yes
    fact active "$(systemctl is-active lariatd 2>/dev/null </dev/null)"
    fact enabled "$(systemctl is-enabled lariatd 2>/dev/null </dev/null)"
    main=$(systemctl show --value -p MainPID lariatd 2>/dev/null </dev/null)
    fact main "$main"
fi

# Whoever listens on the port: its sockets, then the processes that hold them. A host may have many connections and
# processes: lines are taken from variables, because a shell's `read` takes one byte at a time.
hex=$(printf %04X "$port") sockets=' ' newline='
'
each() {
    IFS=$newline
    for line in $2; do
        IFS=' '
        $1
    done
    IFS=" $newline"
}
listening() {
    case $line in *":$hex "*' 0A '*) ;; *) return ;; esac
    # Its own address is the second word, the state the fourth, the inode the tenth.
    set -- $line
    [ "${2##*:} $4" != "$hex 0A" ] || sockets="${sockets}socket:[${10}] "
}
held() {
    case $line in
    /proc/*) pid=${line#/proc/}; pid=${pid%%/*} ;;
    *socket:*) case $sockets in *" ${line##* } "*) echo "$pid" ;; esac ;;
    esac
}
holders() {
    pid=0
    each held "$(ls -l "$@" 2>/dev/null </dev/null)"
}
for table in /proc/net/tcp /proc/net/tcp6; do
    each listening "$(cat $table 2>/dev/null </dev/null)"
done
if [ "$sockets" != ' ' ]; then
    pids=
    [ "${main:-0}" = 0 ] || pids=$(holders /proc/"$main"/fd /dev/null)
    [ -n "$pids" ] || pids=$(holders /proc/[0-9]*/fd)
    last=
    for pid in ${pids:-0}; do
        [ "$pid" = "$last" ] || fact holder "$pid $(cat /proc/"$pid"/comm 2>/dev/null || echo '?')"
        last=$pid
    done
fi

# What is installed.
if [ -f /usr/bin/lariatd ] && { dpkg-query -S /usr/bin/lariatd || rpm -qf /usr/bin/lariatd; } >/dev/null 2>&1 </dev/null; then
    agent=/usr/bin/lariatd
    fact package yes
fi
sum program $agent
sum unit $unit
encoded config $etc/agent.toml
encoded certificate $etc/host.pem
[ ! -f $etc/host.key ] || fact key yes
[ ! -f $etc/keyring.toml ] || fact keyring yes
[ ! -f $unfinished ] || fact unfinished yes
say end

fail() {
    [ -z "$new" ] || rm -f "$new"
    say "failed $(text "$1")"
    exit 1
}
run() { why=$("$@" 2>&1 </dev/null) || fail "$why"; }

# fits PATH: whether $new can take the place of the agent there, which goes on if it can't.
fits() {
    version=$("$new" --version 2>&1 </dev/null) || fail "$version"
    case $version in 'lariatd '[0-9]*) ;; *) fail "it is not lariatd: its --version says ${version:-nothing}" ;; esac
    [ -x "$1" ] || return 0
    had=$("$1" --version 2>/dev/null </dev/null)
    case $had in
    'lariatd '*)
        newest=$(printf '%s\n' "$had" "$version" | sort -V | tail -n 1)
        [ "$newest" = "$version" ] ||
            fail "$version is older than $had, which is there; to go back: lariat upgrade --file FILE --downgrade"
        ;;
    esac
    # A configuration that the old one refuses may be what is mended next.
    if [ -f $etc/agent.toml ] && "$1" check >/dev/null 2>&1 </dev/null; then run "$new" check; fi
}

# put PATH MODE SIZE SUM: a file from stdin takes the place of another at once, and only if it is whole.
put() {
    new=$1.lariat-new
    rm -f "$new"
    why=$({ head -c "$3" >"$new"; } 2>&1) || fail "$why"
    [ "$(sha256sum <"$new")" = "$4  -" ] || fail 'it did not arrive whole'
    run chmod "$2" "$new"
    case $1 in */bin/lariatd) fits "$1" ;; esac
    sync "$new" 2>/dev/null || sync
    run mv -f "$new" "$1"
    new=
}

start() {
    run systemctl daemon-reload
    run systemctl enable lariatd
    why=$(systemctl restart lariatd 2>&1 </dev/null) && return
    journal=$(journalctl -u lariatd -p err -n 3 -o cat --no-pager 2>/dev/null </dev/null)
    fail "${journal:-$why}"
}

while read -r verb path mode size sum; do
    case $verb in
    begin)
        [ -d /usr/local/bin ] || (umask 022 && mkdir -p /usr/local/bin)
        [ -d $etc ] || run mkdir $etc
        why=$({ : >$unfinished; } 2>&1) || fail "$why"
        ;;
    put) put "$path" "$mode" "$size" "$sum" ;;
    request)
        why=$($agent enroll-request 2>&1 </dev/null) || fail "$why"
        say "file request $(text "$why")"
        ;;
    check) run $agent check ;;
    start) start ;;
    finish)
        run rm -f $unfinished
        sync
        ;;
    *) fail "it was asked for $verb" ;;
    esac
    say done
done

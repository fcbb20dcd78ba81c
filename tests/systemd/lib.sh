# What the checks of unit.sh and packages.sh share. They source it.

die() { echo "FAILED: $*" >&2; exit 1; }
ok() { echo "ok: $*"; }
# until_true SECONDS WHAT CMD...: waits for a state.
until_true() {
    local seconds=$1 what=$2 end; shift 2; end=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || die "$what within $seconds s"
        sleep 0.1
    done
}
main() { systemctl show -P MainPID lariatd; }
reachable() { lariat ping h1 >/dev/null 2>&1; }
printed() { grep -q "$1" "$2"; }

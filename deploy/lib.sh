# Words that the scripts of this folder share; sourced, not run.

say() { printf '%s\n' "==> $*"; }

fail() {
    printf '%s\n' "error: $*" >&2
    exit 1
}

# need PROGRAM CURE
need() { command -v "$1" >/dev/null 2>&1 || fail "$1 is not installed: $2"; }

# quietly WHAT COMMAND...: only a command that fails shows what it printed, and of that the end.
quietly() {
    local what=$1 log
    shift
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        fail "$what failed; the end of its output is above, all of it in $log"
    fi
    rm -f "$log"
}

# until_true SECONDS COMMAND...: tries every half second.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.5
    done
}

# Passwords, process ids and logs of what `up` started; not in git.
# shellcheck disable=SC2034
state=${ENTENTE_STATE:-$(dirname "${BASH_SOURCE[0]}")/.state}

# The lab as processes on loopback; sourced by up and down. Node N listens on 127.0.0.(10+N), the
# partner on 127.0.0.20, all with the ports that they would have anywhere, DNS on 5300.

lab=$state/local
logs="$lab/*.log"
partner=127.0.0.20

# A node refuses variables with its prefix that it does not know, and these scripts have some of their
# own: a node gets none but those that it is given here.
plain=()
for name in $(compgen -e ENTENTE_); do plain+=(-u "$name"); done

start() {
    local number
    need_packages
    find_binary
    mkdir -p "$lab"
    "$here/certs" "$lab/certs" example.internal partner.internal
    # The same file as in containers; names in it count from its folder.
    cp "$here/lab/entente.toml" "$lab/entente.toml"
    # Anew each time: it must know all the nodes that there will be.
    ! running resolver || kill "$(cat "$lab/resolver.pid")"
    rm -f "$lab/resolver.pid"
    start_once resolver env RESOLVER_LISTEN="$partner@5300" RESOLVER_PARTNER="$partner" RESOLVER_FOLDER="$lab" \
        RESOLVER_NODES="$(for number in $(seq "$nodes"); do echo "127.0.0.1$number@5300"; done | tr '\n' ' ')" \
        RESOLVER_UPSTREAM="$(sed -n 's/^nameserver //p' /etc/resolv.conf | sed -n 1p)" \
        "$here/lab/resolver"
    # Prosody has a user of its own, who need not be able to enter this folder.
    [ -s "$lab/partner.folder" ] || (mktemp -d "${TMPDIR:-/tmp}/entente-partner.XXXXXX" >"$lab/partner.folder")
    start_once partner env PARTNER_CERTS="$lab/certs" PARTNER_DATA="$(cat "$lab/partner.folder")" \
        PARTNER_ADDRESS="$partner" PARTNER_RESOLVER="$partner@5300" "$here/lab/partner"
    say "starting $nodes nodes and the partner"
    for number in $(seq "$nodes"); do start_node "$number"; done
}

start_node() {
    local ip=127.0.0.1$1 founds=false
    [ "$1" = 1 ] && founds=true
    if ! running "n$1" && (exec 3<>"/dev/tcp/$ip/5222") 2>/dev/null; then
        fail "port 5222 of $ip is in use: stop what listens there"
    fi
    start_once "n$1" env "${plain[@]}" \
        ENTENTE_CONFIG="$lab/entente.toml" \
        ENTENTE_NODE_ID="n$1" ENTENTE_NODE_HOST="n$1.example.internal" ENTENTE_NODE_DATA_DIR="$lab/n$1" \
        ENTENTE_CLUSTER_BOOTSTRAP="$founds" ENTENTE_CLUSTER_SEEDS=127.0.0.11:7946,127.0.0.12:7946,127.0.0.13:7946 \
        ENTENTE_CLUSTER_LISTEN="$ip" ENTENTE_CLUSTER_ADVERTISE="$ip" \
        ENTENTE_CLIENT_LISTEN="$ip:5222" ENTENTE_CLIENT_DIRECT_TLS_LISTEN="$ip:5223" \
        ENTENTE_XMPP_LISTEN="$ip:5269" ENTENTE_XMPP_DIRECT_TLS_LISTEN="$ip:5270" \
        ENTENTE_XMPP_RESOLVER="$partner:5300" \
        ENTENTE_DNS_LISTEN="$ip:5300" ENTENTE_ADMIN_LISTEN="$ip:9290" \
        "$ENTENTE_BINARY" run
}

need_packages() {
    local missing
    missing=$(for pair in prosody:prosody unbound:unbound dig:dnsutils; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || printf '%s ' "${pair##*:}"
    done)
    /usr/bin/python3 -c 'import slixmpp' 2>/dev/null || missing="${missing}python3-slixmpp "
    [ -n "$(find /usr/lib -name 'lunbound*.so' -print -quit)" ] || missing="${missing}lua-unbound "
    [ -z "$missing" ] || fail "not installed: $missing(apt-get install --no-install-recommends $missing)"
}

find_binary() {
    if [ -z "${ENTENTE_BINARY-}" ]; then
        need cargo "install Rust (https://rustup.rs), or set ENTENTE_BINARY"
        say "building the node (some minutes the first time)"
        quietly "building" cargo build --release --locked --package entente --manifest-path "$here/../Cargo.toml"
        ENTENTE_BINARY=${CARGO_TARGET_DIR:-$here/../target}/release/entente
    fi
    [ -x "$ENTENTE_BINARY" ] || fail "ENTENTE_BINARY: $ENTENTE_BINARY is no program"
    # `down` and later commands use the same one.
    ENTENTE_BINARY=$(realpath "$ENTENTE_BINARY")
    export ENTENTE_BINARY
}

running() { [ -s "$lab/$1.pid" ] && kill -0 "$(cat "$lab/$1.pid")" 2>/dev/null; }

# start_once NAME COMMAND...: in the background, for as long as it likes.
start_once() {
    local name=$1
    shift
    running "$name" && return
    setsid "$@" </dev/null >>"$lab/$name.log" 2>&1 &
    echo $! >"$lab/$name.pid"
}

node_names() {
    local number
    for number in 1 2 3 4 5 6 7 8 9; do
        if running "n$number"; then echo "n$number"; fi
    done
}

address() { echo "127.0.0.1${1#n}"; }

node_do() {
    local node=$1
    shift
    env "${plain[@]}" ENTENTE_ADMIN="$(address "$node"):9290" "$ENTENTE_BINARY" "$@"
}

node_dns() { echo "@$(address "$1") -p 5300"; }
client_address() { echo "$(address "$1"):5222"; }
partner_address() { echo "$partner:5222"; }
ask() { dig +time=2 +tries=1 "$@"; }
client() { "$here/lab/talk" "$lab/certs/dev-ca.pem" "$@"; }

hints() {
    cat <<TEXT

Log in with any XMPP client:
    account   alice@example.internal
    password  $alice
    server    127.0.0.11 (or .12, .13), port 5222 (STARTTLS) or 5223 (TLS)
    trust     $lab/certs/dev-ca.pem
  bob@partner.internal lives at the other organisation and answers when he is online.
Look around:
    $ENTENTE_BINARY --admin 127.0.0.11:9290 status
    $ENTENTE_BINARY --admin 127.0.0.11:9290 user add carol@example.internal
    dig @127.0.0.11 -p 5300 SRV _xmpp-server._tcp.example.internal
    deploy/up --local --nodes $((nodes + 1))          one more node
TEXT
}

stop() {
    local name pid
    for name in n1 n2 n3 n4 n5 n6 n7 n8 n9 partner resolver; do
        running "$name" || continue
        pid=$(cat "$lab/$name.pid")
        kill "$pid"
        until_true 20 ended "$pid" || kill -9 "$pid"
        say "$name ended"
    done
    if [ -s "$lab/partner.folder" ]; then rm -rf "$(cat "$lab/partner.folder")"; fi
}

# What of the lab was started and runs no more.
fallen() {
    local file name
    for file in "$lab"/*.pid; do
        name=$(basename "$file" .pid)
        running "$name" || echo "$name"
    done
}

show_log() { tail -n 20 "$lab/$1.log"; }

ended() { ! kill -0 "$1" 2>/dev/null; }

# The lab in containers; sourced by up and down.

project=${ENTENTE_PROJECT:-entente}
: "${ENTENTE_CLIENT_PORT:=5222}" "${ENTENTE_CLIENT_TLS_PORT:=5223}" "${ENTENTE_DNS_PORT:=5300}"
: "${ENTENTE_NETWORK:=172.31.253}"
export ENTENTE_CLIENT_PORT ENTENTE_CLIENT_TLS_PORT ENTENTE_DNS_PORT ENTENTE_NETWORK
: "${PARTNER_PASSWORD:=}"
export PARTNER_PASSWORD

# Compose is a plugin of docker or, on older systems, a program.
compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose -p "$project" -f "$here/docker-compose.yml" "$@"
    else
        need docker-compose "install Docker Compose"
        docker-compose -p "$project" -f "$here/docker-compose.yml" ${LAB_OVERRIDE:+-f "$LAB_OVERRIDE"} "$@"
    fi
}
logs="docker logs CONTAINER ('docker ps' names them)"

docker_answers() {
    need docker "install Docker, or use 'deploy/up --local'"
    docker info >/dev/null 2>&1 ||
        fail "Docker is installed but its engine does not answer: start it ('systemctl start docker'), check that you may use it ('docker info'), or use 'deploy/up --local'"
}

# Only when nothing of ours runs: then a taken port is someone else's.
ports_free() {
    [ -z "$(containers first)" ] || return 0
    local pair
    for pair in "$ENTENTE_CLIENT_PORT ENTENTE_CLIENT_PORT" "$ENTENTE_CLIENT_TLS_PORT ENTENTE_CLIENT_TLS_PORT"; do
        # shellcheck disable=SC2086
        set -- $pair
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
            fail "port $1 of 127.0.0.1 is in use: stop what listens there, or set $2 to a free port"
        fi
    done
}

start() {
    docker_answers
    ports_free
    "$here/images"
    say "starting $nodes nodes and the partner"
    # No recreation: nodes that run already are not touched by one more.
    quietly "starting the containers" compose up --detach --no-recreate --scale "node=$((nodes - 1))"
}

# containers SERVICE...: their ids, whatever their state. (Not `compose ps`, which takes its time.)
containers() {
    local service
    for service in "$@"; do
        docker ps --all --quiet --filter "label=com.docker.compose.project=$project" \
            --filter "label=com.docker.compose.service=$service"
    done
}

node_names() {
    local id
    for id in $(containers first node); do
        docker inspect --format '{{if .State.Running}}{{slice .Name 1}}{{end}}' "$id"
    done | sed '/^$/d'
}

# Of the lab's containers, those that have ended or start again and again.
fallen() {
    local id
    for id in $(containers first node partner resolver); do
        docker inspect --format '{{if or .State.Restarting (not .State.Running)}}{{slice .Name 1}}{{end}}' "$id"
    done | sed '/^$/d'
}

show_log() { docker logs --tail 20 "$1" 2>&1; }

node_do() {
    local node=$1
    shift
    docker exec "$node" /usr/local/bin/entente "$@"
}

address() { docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"; }

node_dns() { echo "@$(address "$1")"; }
client_address() { echo "$(address "$1"):5222"; }
partner_address() { echo "$ENTENTE_NETWORK.20:5222"; }
ask() { docker exec "$(containers resolver)" dig +time=2 +tries=1 "$@"; }
client() { docker exec "$(containers partner)" /opt/lab/talk /certs/dev-ca.pem "$@"; }

hints() {
    docker cp "$(containers certs | sed -n 1p):/certs/dev-ca.pem" "$state/dev-ca.pem" >/dev/null 2>&1 || true
    cat <<TEXT

Log in with any XMPP client:
    account   alice@example.internal
    password  $alice
    server    127.0.0.1, port $ENTENTE_CLIENT_PORT (STARTTLS) or $ENTENTE_CLIENT_TLS_PORT (TLS)
    trust     $state/dev-ca.pem
  bob@partner.internal lives at the other organisation and answers when he is online.
Look around:
    docker exec $first entente status
    docker exec -i $first entente user add carol@example.internal
    dig @127.0.0.1 -p $ENTENTE_DNS_PORT SRV _xmpp-server._tcp.example.internal
    deploy/up --nodes $((nodes + 1))          one more node
TEXT
}

stop() {
    docker_answers
    compose down --volumes --remove-orphans --timeout 30
}

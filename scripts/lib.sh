# What the scripts share: packages, Rust, the RocksDB archive, a private RabbitMQ, and clusters of real nodes.
# Sourced, never run.
#
# Everything that is built or downloaded lies outside the clone, in $cache, so that the next clone finds it. Nothing
# here asks a question. Whatever start_* has started, stop_* ends by its process id and by nothing else.
# Some names are set for the scripts that source this.
# shellcheck shell=bash disable=SC2034

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/quartet
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
mkdir -p "$cache"

# ---- Words -----------------------------------------------------------------------------------------------------------

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# headline WORDS: what happens next, with the seconds since the script began.
headline() { printf '\n== %s  (at %d s)\n' "$*" "$SECONDS"; }

# now_ms: milliseconds since 1970, without starting a process.
now_ms() { printf '%s' "$((${EPOCHREALTIME//[.,]/} / 1000))"; }

# seconds_of MILLISECONDS: as "12.3".
seconds_of() { printf '%d.%d' "$(($1 / 1000))" "$(($1 % 1000 / 100))"; }

# The bound, in seconds, of a wait for a process, an election or an answer. It is far above what a busy machine needs:
# a wait ends as soon as its condition holds, so the bound costs time only where something is broken.
patience=180
# The same for the separation of a song.
song_patience=600

# wait_for SECONDS WHAT COMMAND...: runs the command until it succeeds; fails with words when the time is over.
wait_for() {
    local limit=$1 what=$2 deadline=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= deadline)); then
            warn "error: waited $limit s in vain for $what"
            return 1
        fi
        sleep 0.1
    done
}

# ---- What the machine needs ------------------------------------------------------------------------------------------

build_packages=(build-essential cmake pkg-config libclang1-14 libclang-common-14-dev curl ca-certificates)
demo_packages=(rabbitmq-server jq)
test_packages=(ffmpeg shellcheck prometheus)
format_packages=(ffmpeg lame flac sox vorbis-tools opus-tools)

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -n "$@" || die "this needs root: run it as root, or as a user whose sudo asks no password"
    else
        die "this needs root, and there is no sudo: $*"
    fi
}

# install_packages NAME...: those that are missing, from Debian.
install_packages() {
    local missing=() name
    for name in "$@"; do
        # A package that was removed but not purged is known to dpkg and still missing.
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || missing+=("$name")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || die "install these by hand, there is no apt-get here: ${missing[*]}"
    say "Installing from Debian: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# ensure_rust: the toolchain of rust-toolchain.toml.
ensure_rust() {
    [[ -d $HOME/.cargo/bin ]] && PATH=$HOME/.cargo/bin:$PATH
    if ! command -v rustup >/dev/null; then
        # A cargo without rustup serves if it is new enough; Debian 12's own is not.
        local wanted have
        wanted=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$root/rust-toolchain.toml")
        have=$(cargo --version 2>/dev/null | cut -d' ' -f2 || true)
        if [[ -n $have && $(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1) == "$wanted" ]]; then
            return 0
        fi
        say "Installing Rust $wanted with rustup into $HOME/.cargo"
        local installer
        installer=$(mktemp)
        curl --proto '=https' --tlsv1.2 -sSf --retry 3 -o "$installer" https://sh.rustup.rs ||
            die "cannot reach https://sh.rustup.rs: install Rust $wanted by hand, then run this again"
        sh "$installer" -y -q --profile minimal --default-toolchain none --no-modify-path ||
            die "rustup could not be installed; see above"
        rm -f "$installer"
        PATH=$HOME/.cargo/bin:$PATH
    fi
    # The first cargo in this folder makes rustup fetch the pinned toolchain.
    (cd "$root" && { cargo --version >/dev/null 2>&1 || rustup toolchain install; } && cargo --version) ||
        die "the Rust toolchain of rust-toolchain.toml cannot be had; see above"
}

# ensure_rocksdb: RocksDB as a static archive, compiled once and kept for every later build and clone.
ensure_rocksdb() {
    if [[ -n ${ROCKSDB_LIB_DIR:-} && -s $ROCKSDB_LIB_DIR/librocksdb.a ]]; then
        export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1
        return 0
    fi
    local version kept
    version=$(grep -A1 '^name = "librocksdb-sys"$' "$root/Cargo.lock" | sed -n 's/^version = "\(.*\)"/\1/p')
    [[ -n $version ]] || die "Cargo.lock does not name librocksdb-sys"
    kept=$cache/rocksdb-$version-lz4-zstd
    if [[ ! -s $kept/librocksdb.a ]]; then
        exec {rocksdb_lock}>"$cache/rocksdb.lock"
        flock -n "$rocksdb_lock" || {
            say "Waiting: another script compiles RocksDB."
            flock "$rocksdb_lock"
        }
        # Whoever had the lock before may have made it.
        [[ -s $kept/librocksdb.a ]] || compile_rocksdb "$version" "$kept"
        exec {rocksdb_lock}>&-
    fi
    export ROCKSDB_LIB_DIR=$kept ROCKSDB_STATIC=1
}

# compile_rocksdb VERSION FOLDER: 10 to 20 minutes on two cores, so it shows how far it is.
compile_rocksdb() {
    local version=$1 kept=$2 folder=$cache/rocksdb-build log=$cache/rocksdb-build.log
    local began=$SECONDS progress_pid archive
    say "Compiling RocksDB (librocksdb-sys $version). This happens once on this machine and takes 10 to 20 minutes"
    say "on two cores; the result is kept in $kept."
    # The compiler is in the foreground, so that Ctrl-C ends it; the display ends with the script.
    show_rocksdb_progress "$folder" $$ &
    progress_pid=$!
    if ! (
        cd "$root" || exit 1
        unset ROCKSDB_LIB_DIR ROCKSDB_STATIC
        CARGO_TARGET_DIR=$folder exec cargo build --release --locked -p librocksdb-sys
    ) >"$log" 2>&1; then
        kill "$progress_pid" 2>/dev/null || true
        warn ""
        tail -n 40 "$log" >&2
        die "RocksDB did not compile; the whole log is $log"
    fi
    kill "$progress_pid" 2>/dev/null || true
    wait "$progress_pid" 2>/dev/null || true
    [[ ! -t 1 ]] || printf '\n'
    archive=$(find "$folder/release/build" -path '*/librocksdb-sys-*/out/librocksdb.a' -printf '%T@ %p\n' |
        sort -n | tail -n 1 | cut -d' ' -f2-)
    [[ -n $archive ]] || die "RocksDB was compiled, but left no archive in $folder"
    mkdir -p "$kept"
    cp "$archive" "$kept/librocksdb.a.new"
    mv "$kept/librocksdb.a.new" "$kept/librocksdb.a"
    rm -rf "$folder"
    say "  RocksDB took $((SECONDS - began)) s."
}

# show_rocksdb_progress FOLDER SCRIPT_PID: one line that changes in a terminal, one line a minute in a log.
show_rocksdb_progress() {
    local folder=$1 script=$2 objects=343 began=$SECONDS last=-60 count percent took
    while kill -0 "$script" 2>/dev/null; do
        count=$(find "$folder" -path '*/librocksdb-sys-*/out/*' -name '*.o' 2>/dev/null | wc -l)
        took=$((SECONDS - began))
        percent=$((count * 100 / objects))
        ((percent <= 99)) || percent=99
        if [[ -t 1 ]]; then
            printf '\r  RocksDB: %3d %%, %d:%02d minutes ' "$percent" $((took / 60)) $((took % 60))
        elif ((took - last >= 60)); then
            last=$took
            say "  RocksDB: $percent %, $((took / 60)) minutes"
        fi
        sleep 2
    done
}

# build_node: the node's binary, in the profile that the tests use too, so that nothing is built twice, or, where
# RELEASE is set, in the one that people run. Sets $node.
build_node() {
    install_packages "${build_packages[@]}"
    ensure_rust
    ensure_rocksdb
    say "Building the node (the first time takes some minutes) in $CARGO_TARGET_DIR"
    (cd "$root" && cargo build --locked --package node --bin node ${RELEASE:+--release})
    node=$CARGO_TARGET_DIR/debug/node
    [[ -z ${RELEASE:-} ]] || node=$CARGO_TARGET_DIR/release/node
}

# ensure_schemathesis: a Python with requests, for scripts/example_client.py, and schemathesis, in an environment of
# their own; sets $python and $schemathesis.
ensure_schemathesis() {
    local environment=$cache/schemathesis-4.32.5
    python=$environment/bin/python schemathesis=$environment/bin/schemathesis
    if ! "$python" -c 'import requests, schemathesis' 2>/dev/null; then
        say "Installing schemathesis and requests into $environment"
        install_packages python3-venv
        python3 -m venv "$environment"
        "$environment/bin/pip" install --quiet schemathesis==4.32.5 requests==2.34.2 ||
            die "schemathesis cannot be installed; see above"
    fi
}

# ensure_players: a Python with two libraries for players that speak OpenSubsonic, in an environment of their own; sets
# $python.
ensure_players() {
    local environment=$cache/players-10.4.1-1.2.0
    python=$environment/bin/python
    if ! "$python" -c 'import libopensonic, libsonic' 2>/dev/null; then
        say "Installing py-opensonic and py-sonic into $environment"
        install_packages python3-venv
        python3 -m venv "$environment"
        "$environment/bin/pip" install --quiet py-opensonic==10.4.1 py-sonic==1.2.0 ||
            die "py-opensonic and py-sonic cannot be installed; see above"
    fi
}

# ensure_numpy: a Python with numpy, in an environment of its own; sets $python.
ensure_numpy() {
    local environment=$cache/numpy-2.2.6
    python=$environment/bin/python
    if ! "$python" -c 'import numpy' 2>/dev/null; then
        say "Installing numpy into $environment"
        install_packages python3-venv
        python3 -m venv "$environment"
        "$environment/bin/pip" install --quiet numpy==2.2.6 || die "numpy cannot be installed; see above"
    fi
}

# ensure_reference: a Python with the reference implementation, in an environment of its own; sets $python.
ensure_reference() {
    local environment=$cache/reference
    python=$environment/bin/python
    if ! "$python" -c 'import demucs, torch, safetensors' 2>/dev/null; then
        say "Installing demucs and torch into $environment (some minutes, some gigabytes)"
        install_packages python3-venv
        python3 -m venv "$environment"
        "$environment/bin/pip" install --quiet torch==2.15.0 demucs==4.1.0 safetensors 'numpy<2.3' ||
            die "the reference cannot be installed; name a Python that has it with --python"
    fi
}

# ---- Ports -----------------------------------------------------------------------------------------------------------

# port_taken PORT: whether a socket listens there (TCP) or is bound there (UDP).
port_taken() {
    local hex tables=(/proc/net/tcp /proc/net/udp)
    [[ -e /proc/net/tcp6 ]] && tables+=(/proc/net/tcp6)
    [[ -e /proc/net/udp6 ]] && tables+=(/proc/net/udp6)
    printf -v hex '%04X' "$1"
    awk -v port=":$hex" '
        FNR == 1 { tcp = FILENAME ~ /tcp/; next }
        index($2, port) == length($2) - 4 && (!tcp || $4 == "0A") { found = 1 }
        END { exit !found }
    ' "${tables[@]}"
}

# reserve_port PORT: reserves a port that nobody uses for this script and the processes that it starts. Scripts and tests
# that run at the same time each lock a file for every port they use, so a port stays theirs before its process listens
# and while the process is down.
reserve_port() {
    local lock
    mkdir -p "$cache/ports"
    exec {lock}>"$cache/ports/$1"
    if flock -n "$lock" && ! port_taken "$1"; then return 0; fi
    exec {lock}>&-
    return 1
}

# find_port: reserves a port below the range that the kernel hands out by itself. Sets $found_port.
find_port() {
    local tries
    for ((tries = 0; tries < 1000; tries++)); do
        found_port=$((20000 + RANDOM % 10000))
        if reserve_port "$found_port"; then return 0; fi
    done
    die "no free port between 20000 and 30000"
}

# usual_port PORT: this port, or another one if it is taken. Sets $found_port.
usual_port() {
    found_port=$1
    reserve_port "$found_port" || find_port
}

# ---- Processes -------------------------------------------------------------------------------------------------------

# detached LOG COMMAND...: starts a process in a session of its own, so that Ctrl-C reaches the script alone and the
# script can stop things in order; it is told to stop when the script is gone. Sets $started_pid.
detached() {
    local log=$1
    shift
    setsid setpriv --pdeathsig TERM -- "$@" >>"$log" 2>&1 </dev/null &
    started_pid=$!
}

# stop_process PID SECONDS: SIGTERM, and SIGKILL when that did not do in time.
stop_process() {
    local pid=$1 deadline=$((SECONDS + $2))
    kill -TERM "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do
        if ((SECONDS >= deadline)); then
            warn "process $pid did not stop within $2 s and is killed"
            kill -KILL "$pid" 2>/dev/null || true
            break
        fi
        sleep 0.1
    done
    wait "$pid" 2>/dev/null || true
}

# ---- RabbitMQ --------------------------------------------------------------------------------------------------------

# broker_answers PORT: whether an AMQP broker greets at 127.0.0.1:PORT.
broker_answers() {
    # The single quotes are meant: the inner shell reads its own $1.
    # shellcheck disable=SC2016
    timeout 3 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
        printf "AMQP\x00\x00\x09\x01" >&3
        IFS= read -r -n 1 -d "" byte <&3
        [[ $byte == $'"'\x01'"' ]]
    ' bash "$1" 2>/dev/null
}

# start_broker FOLDER PORT: a RabbitMQ of our own, reachable from this machine alone, with its own name daemon, so
# that several live side by side and none touches the system's. Sets $broker_pid and $epmd_pid.
start_broker() {
    local folder=$1 port=$2 dist epmd
    [[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] || die "RabbitMQ is not installed (package rabbitmq-server)"
    find_port
    dist=$found_port
    find_port
    epmd=$found_port
    mkdir -p "$folder/home" "$folder/mnesia" "$folder/log"
    if [[ ! -s $folder/home/.erlang.cookie ]]; then
        random_hex 20 >"$folder/home/.erlang.cookie"
        chmod 400 "$folder/home/.erlang.cookie"
    fi
    printf '[].\n' >"$folder/enabled_plugins"
    # The disk limit is for production; a nearly full laptop should still run a demonstration.
    printf 'listeners.tcp.1 = 127.0.0.1:%s\ndisk_free_limit.absolute = 50MB\n' "$port" >"$folder/rabbitmq.conf"
    local settings=(
        HOME="$folder/home" PATH="$PATH" LANG=C.UTF-8
        ERL_EPMD_PORT="$epmd" ERL_EPMD_ADDRESS=127.0.0.1
        RABBITMQ_NODENAME="quartet-$port@localhost" RABBITMQ_DIST_PORT="$dist"
        RABBITMQ_MNESIA_BASE="$folder/mnesia" RABBITMQ_LOG_BASE="$folder/log"
        RABBITMQ_ENABLED_PLUGINS_FILE="$folder/enabled_plugins" RABBITMQ_CONFIG_FILE="$folder/rabbitmq.conf"
        RABBITMQ_CONF_ENV_FILE=/dev/null
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
    )
    # Erlang would start a name daemon that outlives it; started here, its process id is known.
    detached "$folder/epmd.log" env -i "${settings[@]}" epmd
    epmd_pid=$started_pid
    detached "$folder/broker.log" env -i "${settings[@]}" /usr/lib/rabbitmq/bin/rabbitmq-server
    broker_pid=$started_pid
    wait_for "$patience" "RabbitMQ at 127.0.0.1:$port (its log: $folder/broker.log)" broker_answers "$port"
}

# stop_broker: what start_broker has started.
stop_broker() {
    [[ -n ${broker_pid:-} ]] && stop_process "$broker_pid" 30
    [[ -n ${epmd_pid:-} ]] && stop_process "$epmd_pid" 5
    broker_pid='' epmd_pid=''
}

# random_hex BYTES
random_hex() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# ---- A cluster of three ----------------------------------------------------------------------------------------------

http_ports=() quic_ports=() node_pids=('' '' '')

# write_cluster FOLDER [BROKER_URL PREFIX]: cluster.toml and the secret for three nodes on this machine, at ports that
# nobody uses; where USUAL_PORTS is set, at the usual ones if they are free. The environment's SEGMENTS_PER_TASK changes
# the size of a task, SLOTS how many a node does at a time.
write_cluster() {
    local folder=$1 url=${2:-} prefix=${3:-quartet} id
    http_ports=() quic_ports=()
    for id in 0 1 2; do
        if [[ -n ${USUAL_PORTS:-} ]]; then usual_port $((8080 + id)); else find_port; fi
        http_ports+=("$found_port")
        if [[ -n ${USUAL_PORTS:-} ]]; then usual_port $((7400 + id)); else find_port; fi
        quic_ports+=("$found_port")
    done
    (umask 077 && random_hex 32 >"$folder/cluster.secret")
    {
        printf 'secret_file = "cluster.secret"\n'
        for id in 0 1 2; do
            printf '\n[[node]]\nid = %d\nhttp = "127.0.0.1:%d"\nquic = "127.0.0.1:%d"\ndata = "node-%d"\n' \
                "$id" "${http_ports[id]}" "${quic_ports[id]}" "$id"
        done
        [[ -z $url ]] || printf '\n[broker]\nurl = "%s"\nprefix = "%s"\n' "$url" "$prefix"
        printf '\n[workers]\nslots = %d\nsegments_per_task = %d\n' "${SLOTS:-1}" "${SEGMENTS_PER_TASK:-4}"
    } >"$folder/cluster.toml"
    cluster_folder=$folder
}

# keep_leader: for tests that take a 503 for a fault: a node that hears nothing of the leader, as on a busy machine, stands for
# election only after some seconds. Adds to cluster.toml.
keep_leader() {
    printf '\n[consensus]\nheartbeat_ms = 100\nelection_min_ms = 3000\nelection_max_ms = 5000\n' \
        >>"$cluster_folder/cluster.toml"
}

# address ID: where a node's page is.
address() { printf 'http://127.0.0.1:%d' "${http_ports[$1]}"; }

# start_node ID
start_node() {
    detached "$cluster_folder/node-$1.log" "$node" --id "$1" --cluster "$cluster_folder/cluster.toml"
    node_pids[$1]=$started_pid
}

# kill_node ID: as the power would go, with no chance to say goodbye.
kill_node() {
    local pid=${node_pids[$1]}
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
    node_pids[$1]=''
}

# wait_ready ID...: until these nodes say that they serve.
wait_ready() {
    local id
    for id in "$@"; do
        wait_for "$patience" "node $id (its log: $cluster_folder/node-$id.log)" is_ready "$id" || {
            tail -n 15 "$cluster_folder/node-$id.log" >&2
            return 1
        }
    done
}

is_ready() { curl -sf --max-time 10 -o /dev/null "$(address "$1")/readyz"; }

# stop_nodes: all, in an orderly way.
stop_nodes() {
    local id
    for id in 0 1 2; do
        # One that has ended by itself is no reason to leave the others.
        if [[ -n ${node_pids[id]} ]]; then kill -TERM "${node_pids[id]}" 2>/dev/null || true; fi
    done
    for id in 0 1 2; do
        [[ -n ${node_pids[id]} ]] && stop_process "${node_pids[id]}" 20
        node_pids[id]=''
    done
}

# ask ID PATH FILTER: a node's answer, through jq.
ask() { curl -sf --max-time 60 "$(address "$1")$2" | jq -er "$3"; }

# takes_accounts ID: whether accounts can be made at a node. A new cluster takes none until its nodes have told each
# other which commands they know, and answers 503 so long.
takes_accounts() {
    [[ $(curl -s --max-time 60 -o "$cluster_folder/answer" -w '%{http_code}' -d username=nobody -d password=none \
        "$(address "$1")/auth/login") == 401 ]]
}

# download URL FILE: curl repeats the request while the node answers 503, as it does while there is no leader.
download() { curl -sfS --max-time 300 --retry 30 --retry-max-time "$patience" -o "$2" "$1"; }

# upload ID FILE TITLE: sets $song_id and $job_id. The key makes it safe that curl sends it again after a 503.
upload() {
    local answer
    answer=$(curl -sS --max-time 300 --retry 30 --retry-max-time "$patience" -H "Idempotency-Key: $(random_hex 16)" \
        -F "title=$3" -F "file=@\"$2\"" "$(address "$1")/songs/upload") ||
        die "node $1 did not take the upload"
    song_id=$(jq -er '.data.song.id' <<<"$answer" 2>/dev/null) || die "node $1 refused the upload: $answer"
    job_id=$(jq -er '.data.song.job_id' <<<"$answer") || die "node $1 named no job: $answer"
}

# leader ID: who leads, as this node sees it.
leader() { ask "$1" /cluster '.data.leader'; }

# keep_busy FOLDER: has every worker separate, from now until stop_busy: long songs, which are deleted and uploaded again
# as soon as they are done.
busy_pid=''
keep_busy() {
    local folder=$1 seed
    for seed in 11 12 13; do
        "$node" synthesize --seed "$seed" --seconds 240 --out "$folder/long-$seed" >/dev/null
    done
    separate_for_ever "$folder" &
    busy_pid=$!
    wait_for "$patience" "every worker to be busy" all_busy
}

all_busy() { [[ $(ask 0 /cluster '[.data.nodes[] | select(.working_on | length > 0)] | length') == 3 ]]; }

separate_for_ever() {
    local folder=$1 seed status answer at=0
    local -A songs=()
    # Nodes come and go while this runs: what does not work is tried again at another one.
    while true; do
        for seed in 11 12 13; do
            at=$(((at + 1) % 3))
            status=''
            if [[ -n ${songs[$seed]:-} ]]; then
                status=$(ask "$at" "/songs/${songs[$seed]}" .data.song.status 2>/dev/null) || continue
                [[ $status == SPLIT || $status == FAILED ]] || continue
                curl -sf --max-time 10 -o /dev/null -X DELETE "$(address "$at")/songs/${songs[$seed]}" || continue
                songs[$seed]=''
            fi
            answer=$(curl -sf --max-time 60 -F "title=long $seed" -F "file=@$folder/long-$seed/song.wav" \
                "$(address "$at")/songs/upload") || continue
            songs[$seed]=$(jq -er .data.song.id <<<"$answer" 2>/dev/null) || songs[$seed]=''
        done
        sleep 0.5
    done
}

stop_busy() {
    if [[ -n $busy_pid ]]; then
        kill "$busy_pid" 2>/dev/null || true
        # What it ends with is the signal, which is no failure.
        wait "$busy_pid" 2>/dev/null || true
    fi
    busy_pid=''
}

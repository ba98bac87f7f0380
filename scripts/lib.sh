# Shared functions: packages, Rust, the RocksDB archive, a private RabbitMQ, and clusters of real nodes.
# Source this file; do not run it.
#
# Builds and downloads are stored outside the clone, in $cache, so that other clones reuse them. No function prompts.
# Each stop_* function stops the processes that its start_* function started, by process id only.
# Some variables are set for the scripts that source this file.
# shellcheck shell=bash disable=SC2034

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/quartet
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
mkdir -p "$cache"

# ---- Output ----------------------------------------------------------------------------------------------------------

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# headline TEXT: prints the next step, with the seconds since the script started.
headline() { printf '\n== %s  (at %d s)\n' "$*" "$SECONDS"; }

# now_ms: prints milliseconds since 1970, without starting a process.
now_ms() { printf '%s' "$((${EPOCHREALTIME//[.,]/} / 1000))"; }

# seconds_of MILLISECONDS: prints seconds as "12.3".
seconds_of() { printf '%d.%d' "$(($1 / 1000))" "$(($1 % 1000 / 100))"; }

# Timeout in seconds for a process start, an election or a response. It is far above the need of a busy machine: a wait
# ends as soon as its condition holds, so a long timeout only delays the report of a failure.
wait_timeout=180
# Timeout in seconds for the separation of a song.
song_timeout=600

# wait_for SECONDS DESCRIPTION COMMAND...: repeats the command until it succeeds; prints an error and fails on timeout.
wait_for() {
    local limit=$1 what=$2 deadline=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= deadline)); then
            warn "error: timed out after $limit s waiting for $what"
            return 1
        fi
        sleep 0.1
    done
}

# ---- Packages and builds ---------------------------------------------------------------------------------------------

build_packages=(build-essential cmake pkg-config libclang1-14 libclang-common-14-dev curl ca-certificates)
demo_packages=(rabbitmq-server jq)
test_packages=(ffmpeg shellcheck prometheus)
format_packages=(ffmpeg lame flac sox vorbis-tools opus-tools)

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -n "$@" || die "root is required: run this as root, or as a user with passwordless sudo"
    else
        die "root is required and sudo is not installed: $*"
    fi
}

# install_packages NAME...: installs the missing packages from Debian.
install_packages() {
    local missing=() name
    for name in "$@"; do
        # dpkg still lists a package that was removed but not purged.
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || missing+=("$name")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || die "apt-get is not available; install these packages manually: ${missing[*]}"
    say "Installing from Debian: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# ensure_rust: installs the toolchain of rust-toolchain.toml.
ensure_rust() {
    [[ -d $HOME/.cargo/bin ]] && PATH=$HOME/.cargo/bin:$PATH
    if ! command -v rustup >/dev/null; then
        # A cargo without rustup works if it is new enough; Debian 12's is too old.
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
            die "cannot reach https://sh.rustup.rs: install Rust $wanted manually, then rerun"
        sh "$installer" -y -q --profile minimal --default-toolchain none --no-modify-path ||
            die "rustup installation failed; see above"
        rm -f "$installer"
        PATH=$HOME/.cargo/bin:$PATH
    fi
    # Running cargo in this folder makes rustup fetch the pinned toolchain.
    (cd "$root" && { cargo --version >/dev/null 2>&1 || rustup toolchain install; } && cargo --version) ||
        die "the Rust toolchain of rust-toolchain.toml is not available; see above"
}

# ensure_rocksdb: provides RocksDB as a static archive, compiled once and cached for later builds and clones.
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
            say "Waiting for another script that compiles RocksDB."
            flock "$rocksdb_lock"
        }
        # Another script may have compiled it while this one waited.
        [[ -s $kept/librocksdb.a ]] || compile_rocksdb "$version" "$kept"
        exec {rocksdb_lock}>&-
    fi
    export ROCKSDB_LIB_DIR=$kept ROCKSDB_STATIC=1
}

# compile_rocksdb VERSION FOLDER: takes 10 to 20 minutes on two cores, so it shows progress.
compile_rocksdb() {
    local version=$1 kept=$2 folder=$cache/rocksdb-build log=$cache/rocksdb-build.log
    local began=$SECONDS progress_pid archive
    say "Compiling RocksDB (librocksdb-sys $version). This is done once per machine and takes 10 to 20 minutes on two"
    say "cores. The result is cached in $kept."
    # The compiler runs in the foreground, so that Ctrl-C stops it. The progress display stops with the script.
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
        die "RocksDB did not compile; full log: $log"
    fi
    kill "$progress_pid" 2>/dev/null || true
    wait "$progress_pid" 2>/dev/null || true
    [[ ! -t 1 ]] || printf '\n'
    archive=$(find "$folder/release/build" -path '*/librocksdb-sys-*/out/librocksdb.a' -printf '%T@ %p\n' |
        sort -n | tail -n 1 | cut -d' ' -f2-)
    [[ -n $archive ]] || die "the RocksDB build left no archive in $folder"
    mkdir -p "$kept"
    cp "$archive" "$kept/librocksdb.a.new"
    mv "$kept/librocksdb.a.new" "$kept/librocksdb.a"
    rm -rf "$folder"
    say "  RocksDB took $((SECONDS - began)) s."
}

# show_rocksdb_progress FOLDER SCRIPT_PID: updates one line in a terminal, or prints one line per minute to a log.
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

# build_node: builds the node in the dev profile, which the tests use too, or in the release profile if RELEASE is set.
# Sets $node.
build_node() {
    install_packages "${build_packages[@]}"
    ensure_rust
    ensure_rocksdb
    say "Building the node in $CARGO_TARGET_DIR (the first build takes some minutes)"
    (cd "$root" && cargo build --locked --package node --bin node ${RELEASE:+--release})
    node=$CARGO_TARGET_DIR/debug/node
    [[ -z ${RELEASE:-} ]] || node=$CARGO_TARGET_DIR/release/node
}

# ensure_cargo_tool NAME VERSION: compiles a cargo subcommand from crates.io, once per machine and version, and adds it
# to PATH. A debug build compiles in a fraction of the time of a release build, and each of these tools runs once per
# test.
ensure_cargo_tool() {
    local name=$1 version=$2 tool=$cache/$1-$2
    if [[ ! -x $tool/bin/$name ]]; then
        say "Compiling $name $version into $tool (once per machine)"
        # Without CARGO_TARGET_DIR, cargo builds in a temporary folder and removes it.
        (cd "$root" && CARGO_PROFILE_DEV_DEBUG=0 env -u CARGO_TARGET_DIR \
            cargo install --quiet --locked --debug --version "$version" --root "$tool" "$name") ||
            die "$name cannot be installed; see above"
    fi
    PATH=$tool/bin:$PATH
}

# ensure_schemathesis: installs requests, for scripts/example_client.py, and schemathesis into a Python environment.
# Sets $python and $schemathesis.
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

# ensure_subsonic_clients: installs two OpenSubsonic client libraries into a Python environment. Sets $python.
ensure_subsonic_clients() {
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

# ensure_numpy: installs numpy into a Python environment. Sets $python.
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

# ensure_reference: installs the reference implementation into a Python environment. Sets $python.
ensure_reference() {
    local environment=$cache/reference
    python=$environment/bin/python
    if ! "$python" -c 'import demucs, torch, safetensors' 2>/dev/null; then
        say "Installing demucs and torch into $environment (takes minutes and gigabytes)"
        install_packages python3-venv
        python3 -m venv "$environment"
        "$environment/bin/pip" install --quiet torch==2.15.0 demucs==4.1.0 safetensors 'numpy<2.3' ||
            die "the reference cannot be installed; pass a Python that has it with --python"
    fi
}

# ---- Ports -----------------------------------------------------------------------------------------------------------

# port_taken PORT: whether a TCP socket listens on the port or a UDP socket is bound to it.
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

# reserve_port PORT: reserves a free port for this script and the processes that it starts. Concurrent scripts and tests
# lock one file per port, so that a port stays reserved before its process listens and while the process is down.
reserve_port() {
    local lock
    mkdir -p "$cache/ports"
    exec {lock}>"$cache/ports/$1"
    if flock -n "$lock" && ! port_taken "$1"; then return 0; fi
    exec {lock}>&-
    return 1
}

# find_port: reserves a port below the kernel's ephemeral range. Sets $found_port.
find_port() {
    local tries
    for ((tries = 0; tries < 1000; tries++)); do
        found_port=$((20000 + RANDOM % 10000))
        if reserve_port "$found_port"; then return 0; fi
    done
    die "no free port between 20000 and 30000"
}

# preferred_port PORT: reserves this port, or another one if it is taken. Sets $found_port.
preferred_port() {
    found_port=$1
    reserve_port "$found_port" || find_port
}

# ---- Processes -------------------------------------------------------------------------------------------------------

# start_detached LOG COMMAND...: starts a process in its own session, so that Ctrl-C reaches only the script, which then
# stops its processes in order. The process receives SIGTERM if the script dies. Sets $started_pid.
start_detached() {
    local log=$1
    shift
    setsid setpriv --pdeathsig TERM -- "$@" >>"$log" 2>&1 </dev/null &
    started_pid=$!
}

# stop_process PID SECONDS: sends SIGTERM, and SIGKILL if the process still runs after the timeout.
stop_process() {
    local pid=$1 deadline=$((SECONDS + $2))
    kill -TERM "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do
        if ((SECONDS >= deadline)); then
            warn "process $pid did not stop within $2 s; sending SIGKILL"
            kill -KILL "$pid" 2>/dev/null || true
            break
        fi
        sleep 0.1
    done
    wait "$pid" 2>/dev/null || true
}

# ---- RabbitMQ --------------------------------------------------------------------------------------------------------

# broker_responds PORT: whether an AMQP broker responds at 127.0.0.1:PORT.
broker_responds() {
    # The single quotes are intended: the inner shell expands its own $1.
    # shellcheck disable=SC2016
    timeout 3 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
        printf "AMQP\x00\x00\x09\x01" >&3
        IFS= read -r -n 1 -d "" byte <&3
        [[ $byte == $'"'\x01'"' ]]
    ' bash "$1" 2>/dev/null
}

# start_broker FOLDER PORT: starts a private RabbitMQ that listens only on 127.0.0.1. It has its own Erlang name daemon
# (epmd), so that several run at the same time and apart from the system's. Sets $broker_pid and $epmd_pid.
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
    # RabbitMQ's default disk limit would block publishers on a nearly full disk.
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
    # Erlang would start an epmd that outlives it. Started here, its process id is known.
    start_detached "$folder/epmd.log" env -i "${settings[@]}" epmd
    epmd_pid=$started_pid
    start_detached "$folder/broker.log" env -i "${settings[@]}" /usr/lib/rabbitmq/bin/rabbitmq-server
    broker_pid=$started_pid
    wait_for "$wait_timeout" "RabbitMQ at 127.0.0.1:$port (log: $folder/broker.log)" broker_responds "$port"
}

# stop_broker: stops RabbitMQ and its epmd.
stop_broker() {
    [[ -n ${broker_pid:-} ]] && stop_process "$broker_pid" 30
    [[ -n ${epmd_pid:-} ]] && stop_process "$epmd_pid" 5
    broker_pid='' epmd_pid=''
}

# random_hex BYTES: prints random bytes in hexadecimal.
random_hex() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# ---- A cluster of three ----------------------------------------------------------------------------------------------

http_ports=() quic_ports=() node_pids=('' '' '')

# write_cluster FOLDER [BROKER_URL PREFIX]: writes cluster.toml and the secret for three nodes on this machine, with
# free ports; if DEFAULT_PORTS is set, the default ports where these are free. SEGMENTS_PER_TASK sets the size of a
# task, SLOTS the number of tasks that a node runs at a time.
write_cluster() {
    local folder=$1 url=${2:-} prefix=${3:-quartet} id
    http_ports=() quic_ports=()
    for id in 0 1 2; do
        if [[ -n ${DEFAULT_PORTS:-} ]]; then preferred_port $((8080 + id)); else find_port; fi
        http_ports+=("$found_port")
        if [[ -n ${DEFAULT_PORTS:-} ]]; then preferred_port $((7400 + id)); else find_port; fi
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

# raise_election_timeout: makes a node wait some seconds for a silent leader before it starts an election. Tests that
# count a 503 as a failure need this on a busy machine. Appends to cluster.toml.
raise_election_timeout() {
    printf '\n[consensus]\nheartbeat_ms = 100\nelection_min_ms = 3000\nelection_max_ms = 5000\n' \
        >>"$cluster_folder/cluster.toml"
}

# address ID: prints a node's HTTP address.
address() { printf 'http://127.0.0.1:%d' "${http_ports[$1]}"; }

# start_node ID: starts a node in the background.
start_node() {
    start_detached "$cluster_folder/node-$1.log" "$node" --id "$1" --cluster "$cluster_folder/cluster.toml"
    node_pids[$1]=$started_pid
}

# kill_node ID: sends SIGKILL, as sudden as a power failure.
kill_node() {
    local pid=${node_pids[$1]}
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
    node_pids[$1]=''
}

# wait_ready ID...: waits until these nodes are ready.
wait_ready() {
    local id
    for id in "$@"; do
        wait_for "$wait_timeout" "node $id to become ready (log: $cluster_folder/node-$id.log)" is_ready "$id" || {
            tail -n 15 "$cluster_folder/node-$id.log" >&2
            return 1
        }
    done
}

is_ready() { curl -sf --max-time 10 -o /dev/null "$(address "$1")/readyz"; }

# stop_nodes: stops all nodes gracefully.
stop_nodes() {
    local id
    for id in 0 1 2; do
        # Stop the others even if this one has already exited.
        if [[ -n ${node_pids[id]} ]]; then kill -TERM "${node_pids[id]}" 2>/dev/null || true; fi
    done
    for id in 0 1 2; do
        [[ -n ${node_pids[id]} ]] && stop_process "${node_pids[id]}" 20
        node_pids[id]=''
    done
}

# get_json ID PATH FILTER: sends a GET request to a node and applies the jq filter to the response.
get_json() { curl -sf --max-time 60 "$(address "$1")$2" | jq -er "$3"; }

# accepts_accounts ID: whether a node accepts new accounts. A new cluster responds 503 until its nodes have exchanged
# their feature levels.
accepts_accounts() {
    [[ $(curl -s --max-time 60 -o "$cluster_folder/response" -w '%{http_code}' -d username=nobody -d password=none \
        "$(address "$1")/auth/login") == 401 ]]
}

# download URL FILE: retries while the node responds 503, which it does while there is no leader.
download() { curl -sfS --max-time 300 --retry 30 --retry-max-time "$wait_timeout" -o "$2" "$1"; }

# upload ID FILE TITLE: uploads a song. The idempotency key makes curl's retries after a 503 safe. Sets $song_id and
# $job_id.
upload() {
    local response
    response=$(curl -sS --max-time 300 --retry 30 --retry-max-time "$wait_timeout" -H "Idempotency-Key: $(random_hex 16)" \
        -F "title=$3" -F "file=@\"$2\"" "$(address "$1")/songs/upload") ||
        die "upload to node $1 failed"
    song_id=$(jq -er '.data.song.id' <<<"$response" 2>/dev/null) || die "node $1 rejected the upload: $response"
    job_id=$(jq -er '.data.song.job_id' <<<"$response") || die "node $1 returned no job: $response"
}

# leader ID: prints the leader's id as this node reports it.
leader() { get_json "$1" /cluster '.data.leader'; }

# start_busy_workers FOLDER: keeps every worker busy until stop_busy_workers: uploads long songs, and deletes and
# uploads each again when its separation ends.
busy_pid=''
start_busy_workers() {
    local folder=$1 seed
    for seed in 11 12 13; do
        "$node" synthesize --seed "$seed" --seconds 240 --out "$folder/long-$seed" >/dev/null
    done
    separate_in_loop "$folder" &
    busy_pid=$!
    wait_for "$wait_timeout" "every worker to be busy" all_busy
}

all_busy() { [[ $(get_json 0 /cluster '[.data.nodes[] | select(.working_on | length > 0)] | length') == 3 ]]; }

separate_in_loop() {
    local folder=$1 seed status response at=0
    local -A songs=()
    # Nodes stop and start while this runs: a failed request is retried at another node.
    while true; do
        for seed in 11 12 13; do
            at=$(((at + 1) % 3))
            status=''
            if [[ -n ${songs[$seed]:-} ]]; then
                status=$(get_json "$at" "/songs/${songs[$seed]}" .data.song.status 2>/dev/null) || continue
                [[ $status == SPLIT || $status == FAILED ]] || continue
                curl -sf --max-time 10 -o /dev/null -X DELETE "$(address "$at")/songs/${songs[$seed]}" || continue
                songs[$seed]=''
            fi
            response=$(curl -sf --max-time 60 -F "title=long $seed" -F "file=@$folder/long-$seed/song.wav" \
                "$(address "$at")/songs/upload") || continue
            songs[$seed]=$(jq -er .data.song.id <<<"$response" 2>/dev/null) || songs[$seed]=''
        done
        sleep 0.5
    done
}

stop_busy_workers() {
    if [[ -n $busy_pid ]]; then
        kill "$busy_pid" 2>/dev/null || true
        # It exits with the signal's status, which is not an error.
        wait "$busy_pid" 2>/dev/null || true
    fi
    busy_pid=''
}

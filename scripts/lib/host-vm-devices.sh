# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The devices that scripts/host-vm run plugs in for passing through, and the program beside the VM that serves some
# of them. Sourced by scripts/host-vm, never run. Works on these variables of `run`:
#   devices          the --device options, in order
#   device_arguments QEMU's arguments for them (made here)
#   sockets          the folder of --with, sockets_wanted those in it that QEMU will connect to
# shellcheck disable=SC2154

# How long QEMU waits for an answer of a vfio-user server; its default of 5 s is short for a busy machine.
SERVER_DEADLINE_MS=120000
# How long a server may take to listen.
SERVER_START=60
# Functions of one slot.
MAX_FUNCTIONS=8

# json_string TEXT
json_string() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

# option_path TEXT: a file name within one of QEMU's comma lists.
option_path() { printf '%s' "${1//,/,,}"; }

# Modern devices alone can sit behind an IOMMU.
MODERN=disable-legacy=on,iommu_platform=on

add_disk() {
    local number=$1 file=$2
    [[ -f $file && -w $file ]] || usage_error "--device disk=FILE: no file $file that can be written"
    device_arguments+=(
        -blockdev "driver=raw,node-name=disk$number,file.driver=file,file.filename=$(option_path "$(realpath "$file")")"
        -device "virtio-blk-pci,id=dev$number,bus=port$number,drive=disk$number,$MODERN"
    )
}

add_net() {
    local number=$1
    device_arguments+=(
        -netdev "user,id=net$number,restrict=on"
        -device "virtio-net-pci,id=dev$number,bus=port$number,netdev=net$number,romfile=,$MODERN"
    )
}

# QEMU wants VFs before their PF.
add_sriov_net() {
    local number=$1 vfs=$2 index
    [[ $vfs =~ ^[1-7]$ ]] || usage_error "--device sriov-net=VFS: one to seven, not '$vfs'"
    for ((index = vfs; index >= 0; index--)); do
        device_arguments+=(-netdev "user,id=net$number.$index,restrict=on")
        if ((index)); then
            device_arguments+=(
                -device "virtio-net-pci,bus=port$number,addr=0x0.0x$index,netdev=net$number.$index,sriov-pf=dev$number,romfile=,$MODERN"
            )
        else
            device_arguments+=(
                -device "virtio-net-pci,id=dev$number,bus=port$number,addr=0x0.0x0,netdev=net$number.0,romfile=,$MODERN"
            )
        fi
    done
}

add_vfio_user() {
    local number=$1 path function=0 multifunction=true id=dev$1
    local -a paths
    IFS=, read -r -a paths <<<"$2"
    ((${#paths[@]} >= 1 && ${#paths[@]} <= MAX_FUNCTIONS)) ||
        usage_error "--device vfio-user=SOCKET,...: one to $MAX_FUNCTIONS sockets"
    ((${#paths[@]} > 1)) || multifunction=false
    for path in "${paths[@]}"; do
        if [[ $path != /* ]]; then
            [[ -n $with ]] || usage_error "the socket $path is one of a server that --with starts, or a full path"
            path=$sockets/$path
        fi
        # The kernel's limit on names of sockets.
        ((${#path} < 108)) || usage_error "the path of the socket is too long: $path"
        sockets_wanted+=("$path")
        device_arguments+=(
            -device "{\"driver\":\"vfio-user-pci\",\"id\":\"$id\",\"bus\":\"port$number\",\"addr\":\"0.$function\",\"multifunction\":$multifunction,\"x-msg-timeout\":$SERVER_DEADLINE_MS,\"socket\":{\"type\":\"unix\",\"path\":$(json_string "$path")}}"
        )
        function=$((function + 1)) multifunction=false id=dev$number.$function
    done
}

# plug_devices: fills device_arguments and sockets_wanted. Each device has a root port of its own, hence a bus and
# an IOMMU group: the n-th one is 0000:0n:00.0 in the VM.
plug_devices() {
    local number=0 word
    device_arguments=() sockets_wanted=()
    for word in "${devices[@]}"; do
        number=$((number + 1))
        device_arguments+=(-device "pcie-root-port,id=port$number,slot=$number,chassis=$number,addr=0x$(printf %x $((number + 1)))")
        case $word in
            disk=*) add_disk "$number" "${word#*=}" ;;
            net) add_net "$number" ;;
            sriov-net=*) add_sriov_net "$number" "${word#*=}" ;;
            vfio-user=*) add_vfio_user "$number" "${word#*=}" ;;
            *) usage_error "--device knows disk=FILE, net, sriov-net=VFS and vfio-user=SOCKET,..., not '$word'" ;;
        esac
    done
    ((number <= 16)) || usage_error 'at most 16 devices'
}

server=''
# start_server: runs the --with command in a session of its own, so that whatever it starts ends with it.
start_server() {
    HOST_VM_SOCKETS=$sockets setsid bash -c "$with" </dev/null >"$run_dir/with.log" 2>&1 8>&- &
    server=$!
}

# wait_for_sockets: until all are there, while the server lives.
wait_for_sockets() {
    local path until=$((SECONDS + SERVER_START))
    for path in "${sockets_wanted[@]}"; do
        while [[ ! -S $path ]]; do
            if [[ -n $server ]] && ! kill -0 "$server" 2>/dev/null; then
                wait "$server" || true
                server=''
                server_failed "the command of --with ended before there was a socket $path"
            fi
            ((SECONDS < until)) || server_failed "no socket $path after $SERVER_START s"
            sleep 0.1
        done
    done
}

server_failed() {
    # shellcheck disable=SC2034 # read by clean_up
    keep_logs=1
    say "$1"
    [[ ! -s $run_dir/with.log ]] || tail -n 20 "$run_dir/with.log" | sed 's/^/  with: /' >&2
    exit "$EXIT_VM_FAILED"
}

# stop_server: politely, then not.
stop_server() {
    local tries=0
    [[ -n ${server-} ]] || return 0
    # The session's leader has its process group's number.
    kill -TERM -- "-$server" 2>/dev/null || true
    while kill -0 -- "-$server" 2>/dev/null && ((tries < 50)); do
        tries=$((tries + 1))
        sleep 0.1
    done
    kill -KILL -- "-$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=''
}
